"""Options that several commands share, and how they become a stage's parameters and inputs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from haymaker.choices import DEVICE_NAMES, METRICS
from haymaker.config import Extend
from haymaker.config_files import read_yaml, set_dotted
from haymaker.errors import ConfigError
from haymaker.study.stage_inputs import Inputs

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the config, as in a.b=c.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
OutFolder = Annotated[Path, typer.Option("--out", help="The folder to write.")]
OutFile = Annotated[Path, typer.Option("--out", help="The file to write.")]

Model = Annotated[str, typer.Option("--model", help="A packaged name, a folder or a Hugging Face id.")]
Adapter = Annotated[Path | None, typer.Option("--adapter", help="An adapter folder; it brings its own extension.")]
ExtendTo = Annotated[
    int | None, typer.Option("--extend", metavar="LENGTH", help="Extend the context to LENGTH tokens.")
]
Device = Annotated[str | None, typer.Option("--device", help=f"{', '.join(DEVICE_NAMES)}.  [default: the one at hand]")]
Dtype = Annotated[str, typer.Option("--dtype", help="auto (what the machine does well), float32, bfloat16, float16.")]
DataFolder = Annotated[Path, typer.Argument(metavar="DATA", help="A dataset folder.")]
DataRows = Annotated[Path, typer.Argument(metavar="DATA", help="A dataset folder, or a file of your own rows.")]
Data = Annotated[Path, typer.Option("--data", help="A dataset folder, or a file of your own rows.")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=COLUMN",
        help="What a column of your rows is called: question=prompt, documents.text=body.",
    ),
]
Rows = Annotated[int | None, typer.Option("--rows", min=1, help="Use the first rows only.")]
Batch = Annotated[
    int | None,
    typer.Option("--batch", min=1, help="Most rows at once.  [default: as many as the free memory holds]"),
]
NewTokens = Annotated[
    int | None,
    typer.Option(
        "--new-tokens", min=1, help="Most tokens of an answer.  [default: the room that the rows were built with]"
    ),
]
Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help=f"{', '.join(METRICS)}; may be repeated, the headline first.  [default: the metrics of the task]",
    ),
]
By = Annotated[
    list[str] | None,
    typer.Option("--by", help="Also tell scores by depth (of the evidence), length or hops; may be repeated."),
]
Stop = Annotated[
    str,
    typer.Option(
        "--stop", help="A text that ends an answer, once there is an answer before it; empty: only the model's own end."
    ),
]

HeadFile = Annotated[
    Path, typer.Option("--heads", help="A file of head scores in any format, or heads by name: 18-6,17-3.")
]
KVRule = Annotated[str, typer.Option("--kv-rule", help="How query heads make a KV head's score: max or mean.")]
Threshold = Annotated[float, typer.Option(min=0, max=1, help="A head is active if its mean exceeds this.")]
Draws = Annotated[int, typer.Option(min=1, help="Random sets of heads for each size.")]
Seed = Annotated[int, typer.Option(help="Seed of the random sets.")]
Scope = Annotated[str, typer.Option(help="Positions that are edited: all, prompt, last, decode; joined by +.")]


def inputs_of(**paths: str | Path | None) -> Inputs:
    """A stage's inputs from options, without those that were not given."""
    return {name: Path(path) for name, path in paths.items() if path is not None}


def stop_text(given: str) -> str | None:
    r"""A stop as a shell can say it: `\n` is a line break, nothing is no stop."""
    return given.replace("\\n", "\n").replace("\\t", "\t") or None


def loading(length: int | None, dtype: str) -> dict[str, Any]:
    """How a stage loads the model."""
    return {"extend": Extend(length=length) if length is not None else None, "dtype": dtype}


def values_of(config: Path | None, overrides: list[str] | None) -> dict[str, Any]:
    """The mapping of a config file, if there is one, with every --set on top."""
    values = read_yaml(config) if config else {}
    for override in overrides or []:
        set_dotted(values, override)
    return values


def columns_of(pairs: list[str] | None) -> dict[str, str] | None:
    """Names here and the columns that stand for them, of --map question=prompt."""
    parted = [pair.partition("=") for pair in pairs or []]
    found = {name: column for name, _, column in parted}
    if not all(name and column for name, column in found.items()):
        raise ConfigError(f"--map {' '.join(pairs or [])}: expected NAME=COLUMN, as in --map question=prompt")
    return found or None
