"""A training step on a GPU: LoRA rank 8 on attention, 128 answer tokens at the end of one row, at 8K to 128K tokens.

Seconds against the floor of all operations at 800 TFLOP/s, peak memory against the plan's, and the same weights and
rows through transformers with PEFT and `labels=`. Losses and gradients are compared before stock is timed.
"""

import statistics
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import torch
from gpu_common import Page, Setting
from torch import Tensor

from haymaker.models.batching import batches_of
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.records import Encoded
from haymaker.training.answer_rows import answer_loss
from haymaker.training.backends import chosen_backend
from haymaker.training.batches import MicroBatch, laid_in_line, lay_out
from haymaker.training.budget import RUNGS, said
from haymaker.training.checks import verified_method
from haymaker.training.cost import cost_of_row
from haymaker.training.memory_plan import MemoryPlan, model_shape, plan_memory
from haymaker.training.packed_attention import packed_seconds
from haymaker.training.run import measured_kernels

ANSWER = 128
PACKED = 16_384  # tokens of short rows in a step
COMPARED = 8_192  # tokens at which gradients are held beside stock's
GUESSED_SECONDS = {4_096: 5, 32_768: 20, 131_072: 55, 8_192: 6, 65_536: 30, 16_384: 8}
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 5e-3, 1e-1  # relative, of bfloat16 in 32 layers
RUNG_TOLERANCE = 2e-2  # kernels of backward passes may add in any order
FLOOR_32K = 2.68
FASTEST = 800e12  # operations a second of the fastest matrix products
RESERVE = 40.0  # seconds, for the figures after
HEADER = [
    "tokens", "way", "s a step", "tokens/s", "share of own floor", "of 2.68 s at 32K", "peak, GiB", "predicted, GiB",
    "attention", "keeps",
]  # fmt: skip


class Step:
    """One model with an adapter, and one row."""

    def __init__(self, setting: Setting, model: Any, tokens: int) -> None:
        self.setting, self.model = setting, model
        ids = setting.ids(model, tokens)[0].tolist()
        self.row = Encoded(f"row of {tokens}", tuple(ids), tokens - min(ANSWER, tokens // 4))
        self.tokens = tokens
        self.weights = list(lora_parameters(model).values())

    def ours(self, plan: MemoryPlan) -> Tensor:
        batch = lay_out([self.row], torch.device(self.setting.device))
        loss = answer_loss(self.model, batch, "last_layer", plan.rungs) / len(self.row.answer_rows)
        loss.backward()
        return loss.detach()

    def stock(self) -> Tensor:
        """transformers and PEFT as they come: labels, gradient checkpointing of every layer."""
        ids = torch.tensor([self.row.input_ids], device=self.setting.device)
        labels = ids.clone()
        labels[:, : self.row.prompt_length] = -100
        loss = self.model(input_ids=ids, labels=labels, use_cache=False).loss
        loss.backward()
        return loss.detach()

    def gradient(self, step: Callable[[], Tensor]) -> tuple[float, Tensor]:
        """Loss and gradient in one vector; the gradient must be one."""
        self.model.zero_grad()
        loss = step().item()
        found = torch.cat([weight.grad.flatten() for weight in self.weights if weight.grad is not None])
        assert found.isfinite().all(), "a gradient that is not finite"
        assert found.norm() > 0, "a gradient of zero"
        self.model.zero_grad()
        return loss, found

    def timed(self, step: Callable[[], Tensor], repeats: int) -> tuple[float, float]:
        """Median seconds, without the first step where there is time for more, and peak bytes."""
        first, peak = self.setting.measured(step)
        seconds: list[float] = []
        while len(seconds) < repeats and self.setting.seconds_left > 2 * first + RESERVE:
            seconds.append(self.setting.seconds(step))
        self.model.zero_grad()
        return statistics.median(seconds or [first]), peak


def measure_ours(setting: Setting, model: Any, page: Page, tokens: int, repeats: int) -> None:
    step = Step(setting, model, tokens)
    kernels = measured_kernels(model, tokens)
    recompute = "auto"
    for _ in range(3):  # where the plan was wrong, the page says so
        plan = plan_memory(model, [tokens], tokens, recompute)
        found = setting.fits(lambda plan=plan: step.timed(lambda: step.ours(plan), repeats))
        model.zero_grad()
        if found is not None:
            break
        page.fail(
            f"{tokens:,} tokens: out of memory with {said(plan.rungs)}, {plan.peak_bytes / 2**30:.1f} GiB predicted"
        )
        recompute = RUNGS[min(len(RUNGS) - 1, RUNGS.index(plan.rungs[-1]) + 1)]
    else:
        return
    seconds, peak = found
    floor = cost_of_row(model_shape(model), tokens, 0, plan.rungs).operations / FASTEST
    page.add([
        f"{tokens:,}", "ours", f"{seconds:.3f}", f"{tokens / seconds:,.0f}", f"{floor / seconds:.3f}",
        f"{FLOOR_32K / seconds:.3f}" if tokens == 32_768 else "", f"{peak / 2**30:.1f}",
        f"{plan.peak_bytes / 2**30:.1f}", chosen_backend() or "torch's choice", said(plan.rungs),
    ], kernels=kernels, seconds=seconds, peak=peak, plan=plan.record())  # fmt: skip
    if tokens <= setting.lengths([32_768])[0]:
        method = verified_method(model, step.row, torch.device(setting.device))
        page.check(method == "last_layer", f"{tokens:,} tokens: our forward differs from transformers'")


def measure_stock(setting: Setting, model: Any, page: Page, tokens: int, repeats: int) -> None:
    step = Step(setting, model, tokens)
    plan = plan_memory(model, [tokens], tokens, "auto")
    model.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    if tokens <= setting.lengths([COMPARED])[0]:
        compare(step, plan, page)
    found = setting.fits(lambda: step.timed(step.stock, repeats))
    model.zero_grad()
    model.eval()
    model.base_model.model.gradient_checkpointing_disable()
    if found is None:
        page.add([f"{tokens:,}", "transformers + PEFT, labels", "out of memory", *[""] * (len(HEADER) - 3)])
        return
    seconds, peak = found
    page.add([
        f"{tokens:,}", "transformers + PEFT, labels", f"{seconds:.3f}", f"{tokens / seconds:,.0f}", "",
        f"{FLOOR_32K / seconds:.3f}" if tokens == 32_768 else "", f"{peak / 2**30:.1f}", "", "torch's choice",
        "full checkpointing",
    ], seconds=seconds, peak=peak)  # fmt: skip


def measure_rungs(setting: Setting, model: Any, page: Page, tokens: int, repeats: int) -> None:
    """Every rung has the gradient of the first, on this device too."""
    step, plan = Step(setting, model, tokens), plan_memory(model, [tokens], tokens, "none")
    _, first = step.gradient(lambda: step.ours(plan))
    for rung in RUNGS:
        other = plan_memory(model, [tokens], tokens, rung)
        off = max(
            float((step.gradient(lambda other=other: step.ours(other))[1] - first).norm() / first.norm())
            for _ in range(repeats)
        )
        page.note(f"{tokens:,} tokens: the gradient of rung {rung} is {off:.1e} of its norm from that of none")
        page.check(off <= RUNG_TOLERANCE, f"another gradient on rung {rung}")


def short_rows(setting: Setting, model: Any, tokens: int) -> list[Encoded]:
    """Rows of very different lengths, an eighth to a 64th of `tokens` each, that together have about as many."""
    random, rows, left = Random(0), [], tokens
    while left >= tokens // 64:
        length = min(left, random.randint(tokens // 64, tokens // 8))
        ids = tuple(random.randrange(3, model.config.vocab_size) for _ in range(length))
        rows.append(Encoded(f"row {len(rows)}", ids, length - max(1, length // 32)))
        left -= length
    return rows


def measure_packed(setting: Setting, model: Any, page: Page, tokens: int, repeats: int) -> None:
    """One step of short rows: each alone, those of about equal length side by side, and all of them in line. All have
    the same loss and gradient."""
    step, place = Step(setting, model, tokens), torch.device(setting.device)
    rows = short_rows(setting, model, tokens)
    lengths, answers = [len(row) for row in rows], sum(len(row.answer_rows) for row in rows)
    rungs = plan_memory(model, [tokens], tokens, "auto").rungs
    shape = model_shape(model)
    width = shape.query // shape.heads
    attention = packed_seconds(lengths, (shape.heads, shape.key_value // width, width), place, model.dtype)
    page.check(attention is not None, f"{tokens:,} tokens: rows in line are not served")
    ways: dict[str, list[MicroBatch]] = {
        "one row at a time": [lay_out([row], place) for row in rows],
        "of equal length": [lay_out([rows[i] for i in group], place) for group in batches_of(lengths, tokens)],
        "in line": [laid_in_line(rows, place)],
    }

    def ours(batches: list[MicroBatch]) -> Tensor:
        total = torch.zeros((), device=place)
        for batch in batches:
            loss = answer_loss(model, batch, "last_layer", rungs) / answers
            loss.backward()
            total += loss.detach()
        return total

    first: tuple[float, Tensor] | None = None
    for name, batches in ways.items():
        act = partial(ours, batches)
        found = setting.fits(lambda act=act: (*step.gradient(act), *step.timed(act, repeats)))
        if found is None:
            page.fail(f"{name}: out of memory with {said(rungs)}")
            continue
        loss, gradient, seconds, peak = found
        first = first or (loss, gradient)
        off = float((gradient - first[1]).norm() / first[1].norm())
        page.check(
            off <= GRADIENT_TOLERANCE, f"{name}: another gradient, {off:.1e} of its norm from that of single rows"
        )
        page.check(abs(loss - first[0]) <= LOSS_TOLERANCE * first[0], f"{name}: another loss")
        page.add([
            f"{sum(lengths):,} in {len(rows)} rows", name, f"{seconds:.3f}", f"{sum(lengths) / seconds:,.0f}", "", "",
            f"{peak / 2**30:.1f}", "", "", said(rungs),
        ], attention=attention, seconds=seconds, peak=peak, gradient_off=off)  # fmt: skip


def compare(step: Step, plan: MemoryPlan, page: Page) -> None:
    """Both must have the same loss and gradient, to bfloat16's roundings."""
    loss, gradient = step.gradient(lambda: step.ours(plan))
    stock_loss, stock = step.gradient(step.stock)
    off = float((gradient - stock).norm() / stock.norm())
    page.note(
        f"{step.tokens:,} tokens: loss {loss:.6f}, stock {stock_loss:.6f}; gradients differ by {off:.2e} of the norm"
    )
    page.check(abs(loss - stock_loss) <= LOSS_TOLERANCE * stock_loss, "another loss than stock's")
    page.check(off <= GRADIENT_TOLERANCE, "another gradient than stock's")


FIGURES = (  # the most important first
    (measure_ours, 32_768, 3), (measure_rungs, 4_096, 1), (measure_packed, PACKED, 1), (measure_ours, 8_192, 5),
    (measure_ours, 16_384, 3), (measure_stock, COMPARED, 3), (measure_ours, 131_072, 1), (measure_ours, 65_536, 1),
    (measure_stock, 16_384, 2), (measure_stock, 32_768, 1),
)  # fmt: skip


def measure_train(setting: Setting, model: Any) -> None:
    page = Page(
        setting, "train", "A training step",
        f"Llama-3.1-8B's shape, random weights, bfloat16; LoRA rank 8 on q, k, v, o; one row, {ANSWER} answer tokens; "
        "forward and backward. The floor is every operation at 800 TFLOP/s.", HEADER,
    )  # fmt: skip
    adapted = add_lora(model, rank=8, alpha=16.0, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, weight in lora_parameters(adapted).items():
        if ".lora_B." in name:
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * 0.02)
    for measure, tokens, repeats in FIGURES:
        (length,) = setting.lengths([tokens])
        if setting.seconds_left < GUESSED_SECONDS[tokens]:
            page.note(f"{length:,} tokens, {measure.__name__}: not run, {setting.seconds_left:.0f} s were left")
            continue
        measure(setting, adapted, page, length, repeats)
    adapted.unload()
    page.finish()
