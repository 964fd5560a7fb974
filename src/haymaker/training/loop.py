"""The training loop: steps, the checks of the first one, the state now and then, and a clean stop."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor
from torch.nn import functional

from haymaker.config import TrainConfig
from haymaker.errors import Interrupted, ModelError
from haymaker.models.answer_rows import Method, answer_logits, best_method, largest_difference
from haymaker.models.lora import lora_parameters
from haymaker.records import Encoded
from haymaker.training.batches import MicroBatch, lay_out, micro_batches, rows_of_step
from haymaker.training.state import METRICS_FILE, append_line, keep_lines, load_state, save_state

METHOD_TOLERANCE = {torch.bfloat16: 5e-2, torch.float16: 1e-2}  # of the largest logit
METHOD_TOLERANCE_FLOAT32 = 1e-4
Report = Callable[[Mapping[str, Any]], None]


@dataclass
class Run:
    """A training run between two saved states. `finished` counts completed steps."""

    folder: Path
    model: PeftModel
    rows: Sequence[Encoded]
    config: TrainConfig
    identity: Mapping[str, Any]
    finished: int
    method: Method = "all_rows"
    metrics: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.saved, self.whole = self.finished, True
        self.weights = list(lora_parameters(self.model).values())
        self.optimizer = torch.optim.AdamW(self.weights, lr=self.config.rate, weight_decay=0.0)
        if self.finished:
            load_state(self.folder, self.model, self.optimizer)
        self.metrics = keep_lines(self.folder / METRICS_FILE, self.finished)
        self.device = self.weights[0].device
        self.method = verified_method(self.model, self.rows[0], self.device)

    def go(self, report: Report) -> None:
        """Run the steps that are left. Raises Interrupted, with the state saved, when the user stops it."""
        with stop_signal() as stopped:
            try:
                while self.finished < self.config.steps and not stopped.is_set():
                    self.take_step(report)
            except KeyboardInterrupt:
                stopped.set()
        if stopped.is_set() and self.finished < self.config.steps:
            self.save()
            raise Interrupted(
                f"{self.folder}: stopped after step {self.saved} of {self.config.steps}; what was done until there is "
                "saved, give the same command again to go on"
            )

    def take_step(self, report: Report) -> None:
        started = time.perf_counter()
        line = self.accumulate(rows_of_step(self.rows, self.config.batch, self.config.seed, self.finished))
        self.whole = False  # an interrupt in here must not save half an update
        line |= self.update()
        self.finished += 1
        self.whole = True
        line["seconds"] = time.perf_counter() - started
        line["tokens_per_second"] = line["tokens"] / line["seconds"]
        self.metrics.append({"step": self.finished, **line})
        append_line(self.folder / METRICS_FILE, self.metrics[-1])
        if self.finished % self.config.save_every == 0 and self.finished < self.config.steps:
            self.save()
        report(self.metrics[-1])

    def accumulate(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        """Gradients of the mean loss over all answer tokens of the step, however it is cut into parts."""
        answer_tokens = sum(len(row.answer_rows) for row in rows)
        loss, tokens = torch.zeros((), device=self.device), 0
        for group in micro_batches(rows, self.config.tokens_at_once):
            batch = lay_out(group, self.device)
            part = answer_loss(self.model, batch, self.method) / answer_tokens
            part.backward()
            loss += part.detach()
            tokens += batch.tokens
        return {"loss": loss.item(), "answer_tokens": answer_tokens, "tokens": tokens}

    def update(self) -> dict[str, Any]:
        if self.finished == 0:
            check_first_gradients(self.model)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.config.clip_norm).item()
        if not 0 < norm < float("inf"):
            raise ModelError(
                f"step {self.finished + 1}: the norm of the gradient is {norm}, so nothing can be learned from it; "
                "lower the rate, or look at the rows of this step"
            )
        rate = self.config.rate * rate_share(self.finished, self.config.steps, self.config.warmup_share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {"gradient_norm": norm, "rate": rate}

    def save(self) -> None:
        """Save the last finished step, unless an update of the weights is under way."""
        if self.finished and self.whole:
            save_state(self.folder, self.model, self.optimizer, self.finished, self.identity)
            self.saved = self.finished


def rate_share(step: int, steps: int, warmup_share: float) -> float:
    """Share of the full rate at 0-based `step`: linear warm-up, then linear decay that reaches 0 at `steps`."""
    warmup = round(steps * warmup_share)
    return (step + 1) / (warmup + 1) if step < warmup else (steps - step) / (steps - warmup)


def answer_loss(model: Any, batch: MicroBatch, method: Method) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over the answer tokens, computed in float32."""
    logits = answer_logits(model, batch.ids, batch.rows, method)[batch.counted]
    return functional.cross_entropy(logits.float(), batch.targets[batch.counted], reduction="sum")


def verified_method(model: Any, row: Encoded, device: torch.device) -> Method:
    """The cheapest method that agrees with the model's own forward on a row; the run's record names it."""
    method = best_method(model)
    if method != "last_layer":
        return method
    batch = lay_out([row], device)
    difference = largest_difference(model, batch.ids, batch.rows, method)
    return method if difference <= METHOD_TOLERANCE.get(model.dtype, METHOD_TOLERANCE_FLOAT32) else "head"


def check_first_gradients(model: Any) -> None:
    """Every B must have a gradient at step 1 (A has none while B is zero), or a part of the adapter hangs loose."""
    dead = [
        name
        for name, weight in lora_parameters(model).items()
        if ".lora_B." in name and (weight.grad is None or not weight.grad.isfinite().all() or not weight.grad.any())
    ]
    if dead:
        raise ModelError(f"{len(dead)} adapter matrices get no finite gradient at step 1, such as {dead[0]}")


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """Ctrl-C asks for a stop at the end of the step; a second one stops at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
