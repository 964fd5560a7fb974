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
from haymaker.models.lora import lora_parameters, weights_with_masks
from haymaker.models.memory import memory_of
from haymaker.records import Encoded
from haymaker.training.answer_rows import Method, answer_loss
from haymaker.training.backends import choose_backend
from haymaker.training.batches import lay_out, rows_of_step
from haymaker.training.checks import check_first_gradients, check_reached, verified_method
from haymaker.training.memory_plan import MemoryPlan, model_shape, peak_of, plan_memory, reset_peak
from haymaker.training.optimizer import apply_masks, clip, new_optimizer, rate_share, set_rate
from haymaker.training.parallel import World
from haymaker.training.state import METRICS_FILE, append_line, keep_lines, load_state, save_state

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
    method: Method = "all_rows"
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.saved, self.whole = self.finished, True
        self.weights = list(lora_parameters(self.model).values())
        self.device = self.weights[0].device
        self.optimizer = new_optimizer(self.weights, self.config)
        if self.finished:
            load_state(self.folder, self.model, self.optimizer)
        path = self.folder / METRICS_FILE
        self.metrics = keep_lines(path, self.finished, writes=self.world.is_first)
        self.method = verified_method(self.model, self.rows[0], self.device)
        self.plan: MemoryPlan = plan_memory(
            self.model, [len(row) for row in self.rows], self.config.tokens_at_once, self.config.recompute
        )
        self.kernels = measured_kernels(self.model, self.plan.tokens) if self.method == "last_layer" else {}

    def go(self, report: Report) -> None:
        """Run the steps that are left. Raises Interrupted, with the state saved, when the user stops it."""
        if self.watch is not None and not self.finished:
            self.watch(0)
        with stop_signal("this step") as stopped:
            try:
                while self.finished < self.config.steps and not self.world.any(stopped.is_set()):
                    self.take_step(report)
            except KeyboardInterrupt:
                stopped.set()
        if self.finished < self.config.steps:
            self.save()
            raise Interrupted(
                f"{self.folder}: stopped after step {self.saved} of {self.config.steps}; what was done until there is "
                "saved, give the same command again to go on"
            )

    def take_step(self, report: Report) -> None:
        started = time.perf_counter()
        reset_peak(self.device)
        line = self.accumulate(rows_of_step(self.rows, self.config.batch, self.config.seed, self.finished))
        self.whole = False  # an interrupt in here must not save half an update
        line |= self.update()
        self.finished += 1
        self.whole = True
        line["seconds"] = time.perf_counter() - started
        line["tokens_per_second"] = line["tokens"] / line["seconds"]
        line["peak_bytes"] = peak_of(self.device)
        self.metrics.append({"step": self.finished, **line})
        if self.world.is_first:
            append_line(self.folder / METRICS_FILE, self.metrics[-1])
        if self.watch is not None:
            self.watch(self.finished)
        if self.finished % self.config.save_every == 0 and self.finished < self.config.steps:
            self.save()
        report(self.metrics[-1])

    def accumulate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """Gradients of the mean loss over all answer tokens of the step, however it is cut into parts."""
        answer_tokens = sum(len(row.answer_rows) for row in rows)
        own = self.world.share(rows)
        loss, tokens = torch.zeros((), device=self.device), 0
        for group in batches_of([len(row) for row in own], self.config.tokens_at_once):
            part_rows = [own[i] for i in group]
            with memory_of([row.example_id for row in part_rows], advice(self.plan)):
                batch = lay_out(part_rows, self.device)
                part = answer_loss(self.model, batch, self.method, self.plan.rungs) / answer_tokens
                check_reached(part)
                part.backward()
            loss += part.detach()
            tokens += batch.tokens
        total, tokens = self.world.sum_gradients(self.weights, loss, tokens)
        return {"loss": total, "answer_tokens": answer_tokens, "tokens": tokens}

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
        """Save the last finished step, unless an update of the weights is under way."""
        if self.finished and self.whole:
            if self.world.is_first:
                save_state(self.folder, self.model, self.optimizer, self.finished, self.identity)
            self.world.wait()
            self.saved = self.finished


def measured_kernels(model: PeftModel, tokens: int) -> dict[str, float]:
    """Seconds of one layer's attention by kernel, on a GPU."""
    shape = model_shape(model)
    width = shape.query // shape.heads
    return choose_backend((shape.heads, shape.key_value // width, tokens, width), model.device, model.dtype)


def advice(plan: MemoryPlan) -> str:
    return (
        f"{plan.peak_bytes / 2**30:.1f} GiB were predicted for {plan.tokens} tokens at once, of "
        f"{plan.free_bytes / 2**30:.1f} free; set recompute to full or offload, or tokens_at_once lower"
    )
