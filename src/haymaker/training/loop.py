"""Training: LoRA, loss on answer tokens only. Verified at the first step, resumable bit for bit."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from peft import PeftModel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from haymaker.choices import TRACKER
from haymaker.config import TrainConfig
from haymaker.console import OnProgress
from haymaker.errors import DataError, ModelError
from haymaker.files import read_json, write_json, write_text
from haymaker.models.adapter_card import CARD_FILE, adapter_card, base_of_others
from haymaker.models.handshake import BASE_FILE, BaseRecord, describe_base, library_versions, weights_digest
from haymaker.models.load import LanguageModel, attach_adapter
from haymaker.models.lora import ADAPTER_FILES, add_lora, lora_parameters, remove_lora, save_adapter
from haymaker.models.lora_targets import Targets, head_masks, target_modules
from haymaker.records import Encoded, Example, digest, rows_of_kind
from haymaker.training.backends import chosen_backend
from haymaker.training.batches import encoded_rows
from haymaker.training.parallel import World, joined_world
from haymaker.training.run import Report, Run
from haymaker.training.sharding import let_go, shard_base, sharding_device
from haymaker.training.state import METRICS_FILE, STATE_FILE, kept_on_disk, read_lines, read_state_header
from haymaker.training.trackers import TRACKER_FILE

RECORD_FILE = "training.json"
TRACKING_FILES = ("tracking.jsonl", "tracking.json", TRACKER_FILE)


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
    track_on: Iterable[Example] | None = None,
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
        track_on: The rows on which heads are scored where the config says `track`; None: the first of `rows`.

    Returns:
        The folder, the metrics of every step (loss in nats per answer token), `final_loss` and the run's record.

    Raises:
        LengthError: Rows beyond the context.
        DataError: No rows, rows without an answer, or an `out` that holds another run.
        ConfigError: Processes that are no multiple of `context_parallel`.
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
    folder, given = Path(out), rows_of_kind(rows, (Example, Encoded))
    encoded = encoded_rows(given, lm.tokenizer, lm.context)
    tracker = new_tracker(lm, given if track_on is None else track_on, config, folder)
    identity = identity_of(lm, encoded, config)
    with joined_world(sharding_device() if config.shard else lm.device, config.context_parallel) as world:
        if world.is_first:
            folder.mkdir(parents=True, exist_ok=True)
            if overwrite:
                clear(folder)
        world.wait()
        if (folder / RECORD_FILE).is_file():
            return finished_run(lm, folder, identity)
        return whole_run(
            lm, encoded, config, folder, identity=identity, world=world, on_progress=on_progress,
            tracker=tracker,
        )  # fmt: skip


def whole_run(
    lm: LanguageModel,
    rows: Sequence[Encoded],
    config: TrainConfig,
    folder: Path,
    *,
    identity: Mapping[str, Any],
    world: World,
    on_progress: OnProgress | None,
    tracker: Any,
) -> TrainResult:
    """Train from where the folder's state stands to the end; on any exception `lm` is as it was."""
    targets = Targets(config.targets, config.layers, config.heads, config.ranks)
    masks = head_masks(lm.model, targets, target_modules(lm.model, targets))
    model = add_lora(lm.model, config.rank, config.alpha, config.seed, targets=targets)
    try:
        if config.shard:
            shard_base(model, world)
        done = steps_done(folder, identity)
        watch = watcher(tracker, model, config.steps, done) if world.is_first else None
        run = Run(folder, model, rows, config, identity, finished=done, world=world, masks=masks, watch=watch)
        with reporting(config.steps, done, on_progress) as report:
            run.go(report)
        return publish(lm, run, done, tracker)
    except BaseException:
        lm.model, lm.adapter = remove_lora(model), None
        raise


def new_tracker(lm: LanguageModel, rows: Iterable[Example | Encoded], config: TrainConfig, folder: Path) -> Any:
    """What scores heads while the model is trained, None where the config does not ask for it."""
    # heads are a stage of their own: training knows them by name alone
    return resolve_name(TRACKER.place)(lm, rows, config.track, folder) if config.track else None


def watcher(tracker: Any, model: PeftModel, steps: int, done: int) -> Callable[[int], None] | None:
    """Has the tracker read the model after the steps that it asks for."""
    if tracker is None:
        return None
    tracker.keep(done)
    return lambda step: tracker.read(model, step) if tracker.due(step, steps) else None


def refuse_changed_model(lm: LanguageModel) -> None:
    if isinstance(lm.model, PeftModel):
        raise ModelError(f"{lm.name} already carries an adapter; load the base model anew to train another")
    if str(lm.base.config._attn_implementation).startswith("haymaker"):
        raise ModelError(f"{lm.name} is inside a probe or edit block; leave the block before training")
    quantizer: Any = getattr(lm.base, "hf_quantizer", None)
    if quantizer is not None and not quantizer.is_trainable:
        kind = getattr(quantizer.quantization_config, "quant_method", type(quantizer).__name__)
        raise ModelError(
            f"{lm.name} is quantised ({getattr(kind, 'value', kind)}) in a way that nothing can be trained on; "
            "train on the checkpoint that it was made from"
        )


def identity_of(lm: LanguageModel, rows: Sequence[Encoded], config: TrainConfig) -> dict[str, Any]:
    """What must be the same for a run to go on: everything that its numbers depend on."""
    extended = lm.extension and lm.extension.extended
    return {
        # another number of processes, or another tracker, may go on
        "config": config.model_dump(mode="json", exclude={"context_parallel", "shard", "tracker"}),
        "data": digest([[row.example_id, list(row.input_ids), list(row.answer_rows)] for row in rows]),
        "base": weights_digest(lm.model),
        "extension": extended and [extended.length, extended.theta, extended.window],
    }


def clear(folder: Path) -> None:
    """Forget a run; other files of the folder stay."""
    for name in (RECORD_FILE, STATE_FILE, METRICS_FILE, BASE_FILE, CARD_FILE, *TRACKING_FILES, *ADAPTER_FILES):
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


def publish(lm: LanguageModel, run: Run, resumed_from: int, tracker: Any = None) -> TrainResult:
    """Write the adapter folder, its record last, put the adapter on `lm`, and drop the state."""
    model = run.model.requires_grad_(False).eval()
    lm.model, lm.adapter = model, run.folder
    record, base = record_of(run, resumed_from), describe_base(lm, run.identity["base"])
    if run.world.is_first:
        with kept_on_disk(run.folder, run.saved):
            save_adapter(model, run.folder, base_of_others(lm))
            write_text(run.folder / CARD_FILE, adapter_card(lm))
            base.save(run.folder)
            if tracker is not None:
                readings = tracker.finish()
                record["tracking"] = {"readings": len(readings), "seconds": sum(row["seconds"] for row in readings)}
            write_json(run.folder / RECORD_FILE, record)
        (run.folder / STATE_FILE).unlink(missing_ok=True)
    let_go(model)
    run.world.wait()
    return TrainResult(run.folder, run.metrics, record)


def record_of(run: Run, resumed_from: int) -> dict[str, Any]:
    """How the run went: what it trained on what, by which method, on which machine."""
    return {
        "identity": dict(run.identity),
        "rows": len(run.rows),
        "parameters": sum(weight.numel() for weight in lora_parameters(run.model).values()),
        "method": run.method,
        "final_loss": run.metrics[-1]["loss"],
        "seconds": sum(line["seconds"] for line in run.metrics),
        "resumed_from": resumed_from,
        "processes": run.world.size,
        "device": str(run.device),
        "dtype": str(run.model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "memory": run.plan.record() | {"peak_bytes": max(line["peak_bytes"] for line in run.metrics)},
        "attention": chosen_backend(),
        "attention_seconds": run.kernels,
        "versions": library_versions(),
    }
