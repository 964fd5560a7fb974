"""Training: LoRA on attention, loss on answer tokens only. Verified at the first step, resumable bit for bit."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from haymaker.config import TrainConfig
from haymaker.errors import DataError, ModelError
from haymaker.models.handshake import BASE_FILE, BaseRecord, describe_base, library_versions, weights_digest, write_json
from haymaker.models.load import LanguageModel, attach_adapter
from haymaker.models.lora import ADAPTER_FILES, add_lora, lora_parameters, remove_lora, save_adapter
from haymaker.records import Encoded, Example, digest
from haymaker.training.batches import encoded_rows
from haymaker.training.loop import Run
from haymaker.training.state import METRICS_FILE, STATE_FILE, read_json, read_lines, read_state_header

RECORD_FILE = "training.json"
Callback = Callable[[Mapping[str, Any]], None]


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
    callback: Callback | None = None,
) -> TrainResult:
    """Train a LoRA adapter on the answers of `rows`, publish it in `out`, and leave it on `lm`.

    A run that stopped goes on where its last saved state stood; a finished one is loaded. `callback` is given every
    step's metrics instead of a progress bar. Raises LengthError for rows beyond the context, DataError for an `out`
    that holds another run, ModelError where training would not do what it says, Interrupted when the user stops it.
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
        with reporting(config.steps, callback, resumed_from) as report:
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
    record = read_json(folder / RECORD_FILE)
    refuse_other_run(folder, record["identity"], identity)
    attach_adapter(lm, BaseRecord.load(folder), folder)
    return TrainResult(folder, read_lines(folder / METRICS_FILE), record)


@contextmanager
def reporting(steps: int, callback: Callback | None, completed: int) -> Iterator[Callback]:
    """A progress bar, unless a callback takes the metrics."""
    if callback is not None:
        yield callback
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
