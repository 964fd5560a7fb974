"""Training: LoRA, loss on answer tokens only. Verified at the first step, resumable bit for bit."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from peft import PeftModel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from haymaker.attention.hook import refuse_tuples
from haymaker.choices import TRACKER
from haymaker.config import TrainConfig
from haymaker.console import OnProgress, err, told
from haymaker.errors import DataError, ModelError
from haymaker.file_digests import file_digest
from haymaker.file_reading import read_json
from haymaker.files import write_json, write_text
from haymaker.models.adapter_card import CARD_FILE, adapter_card, base_of_others
from haymaker.models.explaining import explained
from haymaker.models.handshake import WEIGHTS_FILE, BaseRecord, describe_base, library_versions, weights_digest
from haymaker.models.load import LanguageModel, attach_adapter
from haymaker.models.lora import add_lora, lora_parameters, remove_lora, save_adapter
from haymaker.models.lora_targets import Targets, head_masks, target_modules
from haymaker.models.other_adapters import adapter_files
from haymaker.models.turns import changed_here
from haymaker.provenance import positions_in_use, tell_other_tokenizer
from haymaker.records import Encoded, Example, digest, rows_of_kind
from haymaker.training.backends import chosen_backend
from haymaker.training.batches import encoded_rows
from haymaker.training.folder import (
    POSITIONS,
    RECORD_FILE,
    TRACKED,
    computers,
    held_folder,
    refuse_other_run,
    steps_done,
)
from haymaker.training.parallel import World, joined_world
from haymaker.training.run import Report, Run
from haymaker.training.sharding import let_go, shard_base, sharding_device
from haymaker.training.state import METRICS_FILE, STATE_FILE, kept_on_disk, read_lines

NUMBER = int | float
# Of a run's record, to go by it, and of its parts.
NEEDED = {"identity": dict, "dtype": str, "final_loss": NUMBER, "seconds": NUMBER, "processes": int, "memory": dict}
OF_PARTS = {"memory": ("predicted_peak_bytes", "peak_bytes"), "tracking": ("seconds",)}


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its adapter folder, the metrics of every step (loss in nats per answer token), and its record."""

    folder: Path
    metrics: list[dict[str, Any]]
    record: dict[str, Any]

    @property
    def final_loss(self) -> float:
        return self.record["final_loss"]


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
        DataError: No rows, rows without an answer, or an `out` that holds another run, or into which another process
            trains; an `out` whose state was left by other versions of torch, transformers or PEFT.
        ConfigError: Processes that are no multiple of `context_parallel`.
        ModelError: Training would not do what it says: an adapter is on already, a matrix has no finite gradient at
            step 1; another thread trains this model, or runs it meanwhile (there).
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
    for read in (rows, track_on):
        tell_other_tokenizer(read, lm)
    folder, given = Path(out), rows_of_kind(rows, (Example, Encoded))
    encoded = encoded_rows(given, lm.tokenizer, lm.context)
    with changed_here(lm.base, "training it"):
        tracker = new_tracker(lm, given if track_on is None else track_on, config, folder)
        identity = identity_of(lm, encoded, config) | ({} if tracker is None else {TRACKED: tracker.identity})
        place = sharding_device() if config.shard else lm.device
        with joined_world(place, config.context_parallel) as world, held_folder(folder, world, overwrite):
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
        done = steps_done(folder, identity, world, config)
        by = computers(folder, model, tells=world.is_first)
        watch = watcher(tracker, model, config.steps, done) if world.is_first else None
        run = Run(folder, model, rows, config, identity, finished=done, world=world, masks=masks, watch=watch, by=by)
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
    refuse_tuples(lm.base)
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
    return {
        # of a finished run the processes do not matter, and of none the tracker
        "config": config.model_dump(mode="json", exclude={"context_parallel", "shard", "tracker"}),
        "data": digest([[row.example_id, list(row.input_ids), list(row.answer_rows)] for row in rows]),
        "base": weights_digest(lm.model),
        "dtype": dtype_name(lm.model),
        POSITIONS: positions_in_use(lm, exact=False),
    }


def dtype_name(model: Any) -> str:
    return str(model.dtype).removeprefix("torch.")


def finished_run(lm: LanguageModel, folder: Path, identity: Mapping[str, Any]) -> TrainResult:
    """Put a finished run's adapter on `lm`."""
    record = read_json(folder / RECORD_FILE, "train with overwrite to write it again")
    if not isinstance(record, dict) or (lost := list(lost_in(record))):
        why = f"it has no {', '.join(lost)} that can be read" if isinstance(record, dict) else "it is no mapping"
        raise DataError(
            f"{folder / RECORD_FILE}: not the record of a run ({why}); train with overwrite to write it again"
        )
    with explained(str(folder), "adapter"):
        adapter_files(folder)
    refuse_other_run(folder, {"dtype": record["dtype"], **record["identity"]}, identity)
    attach_adapter(lm, BaseRecord.load(folder), folder)
    return TrainResult(folder, read_lines(folder / METRICS_FILE), record)


def lost_in(record: Mapping[str, Any]) -> Iterator[str]:
    """What a run's record lacks, or has of another type."""
    yield from (key for key, kind in NEEDED.items() if not isinstance(record.get(key), kind))
    for name, parts in OF_PARTS.items():
        if isinstance(found := record.get(name, {}), dict):
            told = (part for part in parts if name in record and not isinstance(found.get(part), NUMBER))
            yield from (f"{name}.{part}" for part in told)
        else:
            yield name


@contextmanager
def reporting(steps: int, completed: int, on_progress: OnProgress | None) -> Iterator[Report]:
    """A progress bar with the loss, unless someone else is told of the steps."""
    if on_progress is not None:
        on_progress(completed)
        yield lambda line: on_progress(1)
        return
    if not err.is_terminal:
        advance = told(None, "training steps", steps)
        advance(completed)
        yield lambda line: advance(1)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("train", total=steps, completed=completed)
        yield lambda line: progress.update(bar, completed=line["step"], description=f"train, loss {line['loss']:.3f}")


def publish(lm: LanguageModel, run: Run, resumed_from: int, tracker: Any = None) -> TrainResult:
    """Write the adapter folder, its record last, put the adapter on `lm`, and drop the state."""
    model = run.model.requires_grad_(False).eval()
    lm.model, lm.adapter = model, run.folder
    record, base = record_of(run, resumed_from), describe_base(lm, run.identity["base"])
    run.world.by_first(lambda: write_adapter(lm, run, record, base, tracker))
    let_go(model)
    run.world.wait()
    return TrainResult(run.folder, run.metrics, record)


def write_adapter(lm: LanguageModel, run: Run, record: dict[str, Any], base: BaseRecord, tracker: Any) -> None:
    """The files of a finished run; the state goes when all of them are there."""
    with kept_on_disk(run.folder, run.saved):
        save_adapter(run.model, run.folder, base_of_others(lm))
        write_text(run.folder / CARD_FILE, adapter_card(lm))
        replace(base, adapter=file_digest(run.folder / WEIGHTS_FILE)).save(run.folder)
        if tracker is not None:
            readings = tracker.finish()
            record["tracking"] = {"readings": len(readings), "seconds": sum(row["seconds"] for row in readings)}
        write_json(run.folder / RECORD_FILE, record)
    (run.folder / STATE_FILE).unlink(missing_ok=True)


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
        "dtype": dtype_name(run.model),
        "threads": torch.get_num_threads(),
        "memory": run.plan.record() | {"peak_bytes": max(line["peak_bytes"] for line in run.metrics)},
        "attention": chosen_backend(),
        "attention_seconds": run.kernels,
        "versions": library_versions(),
        "computers": run.by,  # more than one where a run went on elsewhere
    }
