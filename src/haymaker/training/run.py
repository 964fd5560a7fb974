"""The steps of a training run between two saved states."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from haymaker.config import TrainConfig
from haymaker.console import stop_signal
from haymaker.errors import Interrupted
from haymaker.models.batching import batches_of
from haymaker.models.handshake import base_of
from haymaker.models.lora import lora_parameters, weights_with_masks
from haymaker.models.memory import memory_of
from haymaker.records import Encoded
from haymaker.training.answer_rows import Method, answer_loss
from haymaker.training.backends import choose_backend
from haymaker.training.batches import MicroBatch, laid_in_line, lay_out, packs_of, rows_of_step
from haymaker.training.checks import check_first_gradients, check_reached, verified_method
from haymaker.training.folder import processes_of
from haymaker.training.memory_plan import MemoryPlan, Meter, answer_share, model_shape, plan_memory
from haymaker.training.optimizer import apply_masks, clip, new_optimizer, rate_share, set_rate
from haymaker.training.packed_attention import packed_seconds
from haymaker.training.parallel import World
from haymaker.training.state import METRICS_FILE, append_line, keep_lines, kept_on_disk, load_state, save_state
from haymaker.training.trackers import check_tracker, sending

PACKING_DEVICES = ("cuda",)  # on a CPU padding costs little, and short rows fill a core
TURNS_BY_LENGTH = ("dynamic", "longrope")
Report = Callable[[Mapping[str, Any]], None]
Masks = Mapping[str, tuple[str, torch.Tensor]]


@dataclass
class Run:
    """A training run between two saved states. `finished` counts completed steps."""

    folder: Path
    model: PeftModel
    rows: Sequence[Encoded]
    config: TrainConfig
    identity: Mapping[str, Any]
    finished: int
    world: World = field(default_factory=World)
    masks: Masks = field(default_factory=dict)
    watch: Callable[[int], None] | None = None  # is told of every finished step, and of step 0
    by: Sequence[Mapping[str, Any]] = ()  # what computed the steps so far, and computes the rest
    method: Method = "all_rows"
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_tracker(self.config.tracker)
        self.saved, self.whole = self.finished, True
        self.weights = list(lora_parameters(self.model).values())
        self.device = self.weights[0].device
        self.meter = Meter(self.model, self.device)
        self.optimizer = new_optimizer(self.weights, self.config)
        if self.finished:
            load_state(self.folder, self.model, self.optimizer)
        path = self.folder / METRICS_FILE
        self.metrics = keep_lines(path, self.finished, writes=self.world.is_first)
        self.method = verified_method(self.model, self.rows[0], self.device, self.world)
        lengths = [len(row) for row in self.rows]
        self.packs = self.method == "last_layer" and self.world.context == 1 and packing_is_exact(self.model)
        packed = measured_packs(self.model, lengths, self.config) if self.packs else {}
        self.packs = bool(packed)
        if self.packs:  # a pack is full, unless one row is longer or all rows are shorter
            step = sum(sorted(lengths)[-self.config.batch :])
            lengths = [max(*lengths, min(self.config.tokens_at_once, step))]
        self.plan: MemoryPlan = plan_memory(
            self.model, lengths, self.config.tokens_at_once, self.config.recompute, world=self.world,
            batch=self.config.batch, answers=answer_share(self.rows),
        )  # fmt: skip
        self.kernels = measured_kernels(self.model, self.plan.tokens) if self.method == "last_layer" else {}
        self.kernels |= packed

    def go(self, report: Report) -> None:
        """Run the steps that are left. Raises Interrupted, with the state saved, when the user stops it."""
        if not self.finished:
            self.watched()
        tracker = sending(self.config, self.folder, self.finished, wanted=self.world.is_first)
        with stop_signal("this step") as stopped, tracker as send:

            def tell(line: Mapping[str, Any]) -> None:
                send(line)
                report(line)

            try:
                while self.finished < self.config.steps and not self.world.any(stopped.is_set()):
                    self.take_step(tell)
                if self.finished < self.config.steps:
                    self.save()
            except KeyboardInterrupt:  # in this process alone, perhaps: it waits for no other
                self.keep()
        if self.finished < self.config.steps:
            raise Interrupted(
                f"{self.folder}: stopped after step {self.saved} of {self.config.steps}; what was done until there is "
                "saved, give the same command again to go on"
            )

    def take_step(self, report: Report) -> None:
        started = time.perf_counter()
        self.meter.reset()
        line = self.accumulate(rows_of_step(self.rows, self.config.batch, self.config.seed, self.finished))
        self.whole = False  # an interrupt in here must not save half an update
        line |= self.update()
        self.finished += 1
        self.whole = True
        line["seconds"] = time.perf_counter() - started
        line["tokens_per_second"] = line["tokens"] / line["seconds"]
        line["peak_bytes"] = self.meter.read()
        self.metrics.append({"step": self.finished, **line})
        if self.world.is_first:
            append_line(self.folder / METRICS_FILE, self.metrics[-1])
        self.watched()
        if self.finished % self.config.save_every == 0 and self.finished < self.config.steps:
            self.save()
        report(self.metrics[-1])

    def watched(self) -> None:
        """Tell of the finished steps whoever reads the model after them, and writes what was read."""
        if self.watch is not None:
            with kept_on_disk(self.folder, self.finished):
                self.watch(self.finished)

    def accumulate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """Gradients of the mean loss over all answer tokens of the step, however it is cut into parts."""
        answer_tokens = sum(len(row.answer_rows) for row in rows)
        loss, tokens = torch.zeros((), device=self.device), 0
        for own in self.parts(rows):
            part_rows = own or rows[:1]
            with memory_of([row.example_id for row in part_rows], advice(self.plan)):
                batch = self.laid_out(part_rows)
                part = answer_loss(self.model, batch, self.method, self.plan.rungs) * bool(own) / answer_tokens
                check_reached(part)
                part.backward()
            loss += part.detach()
            tokens += batch.tokens * bool(own)
        total, tokens = self.world.sum_gradients(self.weights, loss, tokens)
        return {"loss": total, "answer_tokens": answer_tokens, "tokens": tokens}

    def parts(self, rows: Sequence[Encoded]) -> list[list[Encoded]]:
        """The rows that this process takes at a time. Where weights are gathered all processes take as many turns:
        those that have fewer rows take part with none."""
        own = self.world.share(rows)
        lengths, most = [len(row) for row in own], self.config.tokens_at_once
        groups = packs_of(lengths, most, self.config.packed_below) if self.packs else batches_of(lengths, most)
        found = [[own[i] for i in group] for group in groups]
        turns = -self.world.least(-len(found)) if self.config.shard else len(found)
        return found + [[]] * (round(turns) - len(found))

    def laid_out(self, rows: Sequence[Encoded]) -> MicroBatch:
        """Tensors of rows that go together: in line, side by side, or this process's chunks of them."""
        if self.packs and len(rows) > 1:
            return laid_in_line(rows, self.device)
        return self.world.cut(lay_out(rows, self.device))

    def update(self) -> dict[str, Any]:
        if self.finished == 0:
            check_first_gradients(self.model, masked=bool(self.masks))
        apply_masks(weights_with_masks(self.model, self.masks))
        norm = clip(self.weights, self.config.clip_norm, self.finished + 1)
        config = self.config
        rate = config.rate * rate_share(self.finished, config.steps, config.warmup_share, config.schedule)
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"gradient_norm": norm, "rate": rate}

    def save(self) -> None:
        """Save the last finished step; all processes must call it."""
        self.world.by_first(self.keep)
        self.saved = self.finished

    def keep(self) -> None:
        """Save the last finished step where this process writes, unless an update of the weights is under way."""
        if self.finished and self.whole and self.world.is_first:
            whose = {**self.identity, "processes": processes_of(self.world, self.config), "computers": self.by}
            save_state(self.folder, self.model, self.optimizer, self.finished, whose)
            self.saved = self.finished


def measured_kernels(model: PeftModel, tokens: int) -> dict[str, float]:
    """Seconds of one layer's attention by kernel, on a GPU."""
    shape = model_shape(model)
    width = shape.query // shape.heads
    return choose_backend((shape.heads, shape.key_value // width, tokens, width), model.device, model.dtype)


def measured_packs(model: PeftModel, lengths: Sequence[int], config: TrainConfig) -> dict[str, float]:
    """Seconds of one layer's attention of packed rows, of the pack with the most; empty where they are not served."""
    shape = model_shape(model)
    width = shape.query // shape.heads
    pack = max(packs_of(lengths, config.tokens_at_once, config.packed_below), key=len)
    sizes = (shape.heads, shape.key_value // width, width)
    seconds = packed_seconds([lengths[i] for i in pack], sizes, model.device, model.dtype)
    return {} if seconds is None else {"packed": seconds}


def packing_is_exact(model: PeftModel) -> bool:
    """Whether rows are packed: on a GPU, and where no token's turn depends on how long its row is."""
    rotary: Any = getattr(base_of(model).get_decoder(), "rotary_emb", None)
    return model.device.type in PACKING_DEVICES and getattr(rotary, "rope_type", "default") not in TURNS_BY_LENGTH


def advice(plan: MemoryPlan) -> str:
    return (
        f"{plan.peak_bytes / 2**30:.1f} GiB were predicted for {plan.tokens} tokens at once, of "
        f"{plan.free_bytes / 2**30:.1f} free; set recompute to full or offload, or tokens_at_once lower"
    )
