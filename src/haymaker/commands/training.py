"""haymaker train: an adapter from a dataset, or what that would take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from haymaker.choices import TRACKERS
from haymaker.commands import options as flag
from haymaker.commands.options import inputs_of
from haymaker.commands.output import declare_folder, show_values
from haymaker.commands.own_prompt import data_renamed, of_file
from haymaker.config import DtypeName, Extend, Frozen, TrainConfig
from haymaker.config_files import load_config, read_yaml, set_dotted
from haymaker.console import speaks
from haymaker.errors import ConfigError
from haymaker.file_reading import read_json
from haymaker.study.refusals import model_config, model_folder, refuse_other_extension
from haymaker.study.stages import Inputs, TrainParams, forecast_training, train_adapter
from haymaker.study.training_refusals import refuse_other_track, sizes_of
from haymaker.training.trackers import check_tracker

RECORD_FILE = "training.json"
TRAINING_FILES = (RECORD_FILE, "state.safetensors", "metrics.jsonl")  # what a run that can go on has left
PACKAGED = Path(__file__).parents[1] / "studies" / "train"
READY = tuple(sorted(path.stem for path in PACKAGED.glob("*.yaml")))


class TrainJob(Frozen):
    """A training run as a file: what is trained on what, and how. Options of the command line go before it."""

    model: str | None = Field(default=None, description="a packaged name, a folder or a Hub id")
    data: str | None = Field(default=None, description="a dataset folder, or a file of one's own rows")
    extend: int | Extend | None = Field(default=None, description="tokens of the context, or how it is extended")
    dtype: DtypeName = Field(default="auto", description="precision; auto: what the machine does well")
    track_on: str | None = Field(default=None, description="rows with evidence that `train.track` reads heads on")
    train: TrainConfig = Field(default=TrainConfig(), description="how it is trained, as in the next table")


def register(app: typer.Typer) -> None:
    app.command("train")(train)


def train(
    *,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG]",
            help=f"A YAML file: model, data, extend, dtype, train. Or a packaged one: {', '.join(READY)}.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A packaged name, a folder or a Hugging Face id.")] = None,
    data: Annotated[Path | None, typer.Option(help="A dataset folder, or a file of your own rows.")] = None,
    columns: flag.Columns = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The adapter folder; an interrupted run in it goes on.")
    ] = None,
    extend: flag.ExtendTo = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="auto, float32, bfloat16, float16.")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with keys of a TrainConfig.")] = None,
    overrides: flag.Set = None,
    track_on: Annotated[Path | None, typer.Option(help="Rows on which heads are tracked, see `track`.")] = None,
    tracker: Annotated[
        str | None, typer.Option(help=f"Also send metrics to {', '.join(TRACKERS)}; metrics.jsonl has them always.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and train nothing.")] = False,
    device: flag.Device = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Train a LoRA adapter on the answers of a dataset."""
    chosen = chosen_job(
        job, config, [*(overrides or []), *([f"tracker={tracker}"] if tracker else [])], model=model, data=data,
        extend=extend, dtype=dtype, track_on=track_on,
    )  # fmt: skip
    extension = Extend(length=chosen.extend) if isinstance(chosen.extend, int) else chosen.extend
    params = TrainParams(extend=extension, dtype=chosen.dtype, train=chosen.train)
    if out is None and not dry_run:
        raise ConfigError("--out: the adapter folder is required; with --dry-run it is not")
    check_tracker(chosen.train.tracker)
    with inputs_read(chosen, columns) as inputs:
        if dry_run or out is None:
            about = model_config(model_folder(str(inputs["model"])))
            refuse_other_extension(extension, about, str(chosen.model))
            refuse_other_track(chosen.train.track, sizes_of(about), str(chosen.model))
            tell(forecast_training(params, inputs, device), json)
            return
        if not any((out / name).exists() for name in TRAINING_FILES):
            declare_folder(out, overwrite, reading=(chosen.model, chosen.data))
        train_adapter(params, inputs, out, overwrite)
    tell({"out": str(out), "steps": chosen.train.steps} | summary(read_json(out / RECORD_FILE)), json)


@contextmanager
def inputs_read(job: TrainJob, columns: list[str] | None) -> Iterator[Inputs]:
    """What a job reads, the columns of its files called as `columns` says, while the block lasts."""
    data, track = Path(job.data or ""), Path(job.track_on) if job.track_on else None
    with data_renamed(data, columns) as rows, data_renamed(track, of_file(track, columns)) as tracked:
        yield inputs_of(model=job.model, data=rows, track=tracked)


def tell(values: dict[str, Any], as_json: bool) -> None:
    """A result once, however many processes have it."""
    if speaks():
        show_values(values, as_json)


def find_job(job: str) -> Path:
    """A path, or the file of a packaged config of that name."""
    if Path(job).is_file():
        return Path(job)
    if job not in READY:
        raise ConfigError(f"{job}: no such config; give the path of a YAML file, or a packaged one: {', '.join(READY)}")
    return PACKAGED / f"{job}.yaml"


def chosen_job(job: str | None, config: Path | None, overrides: list[str] | None, **options: Any) -> TrainJob:
    """The job of a file with the options over it. Raises ConfigError where model or data stand in neither."""
    if job is not None and config is not None:
        raise ConfigError(f"--config {config}: {job} says how to train, under `train`; give one of the two")
    values = read_yaml(find_job(job)) if job is not None else {}
    given = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    values |= {key: value for key, value in given.items() if value is not None}
    if config is not None:
        values["train"] = load_config(config, TrainConfig).model_dump(exclude_unset=True)
    trained: dict[str, Any] = dict(values.get("train") or {})
    for override in overrides or []:
        set_dotted(trained, override)
    known: dict[str, Any] = values | {"train": TrainConfig(**trained)}
    chosen = TrainJob(**known)
    if missing := [f"--{key}" for key in ("model", "data") if getattr(chosen, key) is None]:
        raise ConfigError(f"{' and '.join(missing)}: required, here or in the CONFIG file")
    return chosen


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """What a finished run says of itself: its loss, and its memory as it was planned and as it was."""
    memory = record["memory"]
    said = {"loss": record["final_loss"], "seconds": record["seconds"], "processes": record["processes"]}
    said["recompute"] = memory["recompute"]
    said |= {f"{key}_gib": memory[f"{key}_bytes"] / 2**30 for key in ("predicted_peak", "peak")}
    return said | ({"tracking_seconds": record["tracking"]["seconds"]} if "tracking" in record else {})
