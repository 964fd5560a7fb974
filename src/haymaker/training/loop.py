"""Training: LoRA on attention, loss on answer tokens only. Verified at the first step, resumable bit for bit."""

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from peft import PeftModel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.nn import functional

from haymaker.config import TrainConfig
from haymaker.console import OnProgress
from haymaker.errors import DataError, Interrupted, ModelError
from haymaker.files import read_json, write_json
from haymaker.models.batching import batches_of
from haymaker.models.handshake import BASE_FILE, BaseRecord, describe_base, library_versions, weights_digest
from haymaker.models.load import LanguageModel, attach_adapter
from haymaker.models.lora import ADAPTER_FILES, add_lora, lora_parameters, remove_lora, save_adapter
from haymaker.records import Encoded, Example, digest
from haymaker.training.answer_rows import Method, answer_logits, best_method, largest_difference
from haymaker.training.batches import MicroBatch, encoded_rows, lay_out, rows_of_step
from haymaker.training.state import (
    METRICS_FILE,
    STATE_FILE,
    append_line,
    keep_lines,
    load_state,
    read_lines,
    read_state_header,
    save_state,
)

RECORD_FILE = "training.json"
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
        for group in batches_of([len(row) for row in rows], self.config.tokens_at_once):
            batch = lay_out([rows[i] for i in group], self.device)
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


# ---- a whole run


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its adapter folder, the metrics of every step (loss in nats per answer token), and its record."""

    folder: Path
    metrics: list[dict[str, Any]]
    record: dict[str, Any]

    @property
    def final_loss(self) -> float:
        return self.metrics[-1]["loss"]


def train(
    lm: LanguageModel,
    rows: Iterable[Example | Encoded],
    config: TrainConfig,
    out: str | Path,
    overwrite: bool = False,
    *,
    on_progress: OnProgress | None = None,
) -> TrainResult:
    """Train a LoRA adapter on the answers of `rows`, publish it in `out`, and leave it on `lm`.

    A run that stopped goes on where its last saved state stood; a finished one is loaded.

    Args:
        lm: A model without an adapter.
        rows: A Dataset, or any Examples or Encoded rows, none longer than the context.
        config: Steps, batch, rate and the rest.
        out: The adapter's folder.
        overwrite: Forget a run that is in `out`.
        on_progress: Called instead of a progress bar, with the number of steps finished since its last call, at first
            those that an earlier run had done.

    Returns:
        The folder, the metrics of every step (loss in nats per answer token), `final_loss` and the run's record.

    Raises:
        LengthError: Rows beyond the context.
        DataError: No rows, rows without an answer, or an `out` that holds another run.
        ModelError: Training would not do what it says: an adapter is on already, a matrix has no finite gradient at
            step 1.
        Interrupted: The user stopped it; what was finished is saved.

    Source:
        LoRA on attention, loss on the answer: Zhao et al. 2025 (arXiv 2410.22316).

    Examples:
        >>> base, config = hm.load_model("miniature-llama"), hm.TrainConfig(steps=1, batch=2)
        >>> result = hm.train(base, rows, config, out="adapter", on_progress=lambda steps: None)
        >>> len(result.metrics), base.adapter.name
        (1, 'adapter')
    """
    refuse_changed_model(lm)
    folder = Path(out)
    encoded = encoded_rows(rows, lm.tokenizer, lm.context)
    identity = identity_of(lm, encoded, config)
    folder.mkdir(parents=True, exist_ok=True)
    if overwrite:
        clear(folder)
    if (folder / RECORD_FILE).is_file():
        return finished_run(lm, folder, identity)
    model = add_lora(lm.model, config.rank, config.alpha, config.seed)
    try:
        run = Run(folder, model, encoded, config, identity, finished=steps_done(folder, identity))
        resumed_from = run.finished
        with reporting(config.steps, resumed_from, on_progress) as report:
            run.go(report)
    except BaseException:
        lm.model = remove_lora(model)
        raise
    return publish(lm, run, resumed_from)


def refuse_changed_model(lm: LanguageModel) -> None:
    if isinstance(lm.model, PeftModel):
        raise ModelError(f"{lm.name} already carries an adapter; load the base model anew to train another")
    if str(lm.base.config._attn_implementation).startswith("haymaker"):
        raise ModelError(f"{lm.name} is inside a probe or edit block; leave the block before training")


def identity_of(lm: LanguageModel, rows: Sequence[Encoded], config: TrainConfig) -> dict[str, Any]:
    """What must be the same for a run to go on: everything that its numbers depend on."""
    extended = lm.extension and lm.extension.extended
    return {
        "config": config.model_dump(),
        "data": digest([[row.example_id, list(row.input_ids), list(row.answer_rows)] for row in rows]),
        "base": weights_digest(lm.model),
        "extension": extended and [extended.length, extended.theta, extended.window],
    }


def clear(folder: Path) -> None:
    """Forget a run; other files of the folder stay."""
    for name in (RECORD_FILE, STATE_FILE, METRICS_FILE, BASE_FILE, *ADAPTER_FILES):
        (folder / name).unlink(missing_ok=True)


def refuse_other_run(folder: Path, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    if changed := [key for key in identity if before.get(key) != identity[key]]:
        raise DataError(
            f"{folder}: holds a run with another {' and another '.join(changed)}, so it cannot go on; "
            "give another folder, or overwrite to start again"
        )


def steps_done(folder: Path, identity: Mapping[str, Any]) -> int:
    """Steps of the state that `folder` holds, 0 where there is none. Raises DataError if it is another run's."""
    header = read_state_header(folder)
    if header is None:
        return 0
    refuse_other_run(folder, header[1], identity)
    return header[0]


def finished_run(lm: LanguageModel, folder: Path, identity: Mapping[str, Any]) -> TrainResult:
    """Put a finished run's adapter on `lm`."""
    record = read_json(folder / RECORD_FILE, "train with overwrite to write it again")
    refuse_other_run(folder, record["identity"], identity)
    attach_adapter(lm, BaseRecord.load(folder), folder)
    return TrainResult(folder, read_lines(folder / METRICS_FILE), record)


@contextmanager
def reporting(steps: int, completed: int, on_progress: OnProgress | None) -> Iterator[Report]:
    """A progress bar with the loss, unless someone else is told of the steps."""
    if on_progress is not None:
        on_progress(completed)
        yield lambda line: on_progress(1)
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), transient=True) as progress:
        bar = progress.add_task("train", total=steps, completed=completed)
        yield lambda line: progress.update(bar, completed=line["step"], description=f"train, loss {line['loss']:.3f}")


def publish(lm: LanguageModel, run: Run, resumed_from: int) -> TrainResult:
    """Write the adapter folder, its record last, put the adapter on `lm`, and drop the state."""
    model = run.model.requires_grad_(False).eval()
    lm.model, lm.adapter = model, run.folder
    save_adapter(model, run.folder, lm.name)
    describe_base(lm, run.identity["base"]).save(run.folder)
    record = {
        "identity": dict(run.identity),
        "rows": len(run.rows),
        "parameters": sum(weight.numel() for weight in lora_parameters(model).values()),
        "method": run.method,
        "final_loss": run.metrics[-1]["loss"],
        "seconds": sum(line["seconds"] for line in run.metrics),
        "resumed_from": resumed_from,
        "device": str(run.device),
        "threads": torch.get_num_threads(),
        "versions": library_versions(),
    }
    write_json(run.folder / RECORD_FILE, record)
    (run.folder / STATE_FILE).unlink(missing_ok=True)
    return TrainResult(run.folder, run.metrics, record)
