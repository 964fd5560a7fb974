"""haymaker recommend: which data to pay for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.choices import DETECTORS
from haymaker.commands import options as flag
from haymaker.commands.output import Reading, declare, kept_beside, show_table
from haymaker.commands.own_prompt import of_file, rows_of_file
from haymaker.config import Extend, Recipe, TrainConfig
from haymaker.config_files import load_config, set_dotted
from haymaker.console import bar
from haymaker.errors import ConfigError
from haymaker.files import write_json
from haymaker.recommender.names import PROBE, REAL, check_names
from haymaker.study.store import plain

if TYPE_CHECKING:
    from haymaker.data.dataset import Dataset

ENDINGS = (".json", ".csv", ".parquet")


Candidates = Annotated[
    list[str],
    typer.Option("--candidate", metavar="[NAME=]PATH", help="A dataset folder, a file of rows, or a recipe (.yaml)."),
]
Real = Annotated[str, typer.Option("--real", help="A small real set: a dataset folder, rows, or a recipe (.yaml).")]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="[CANDIDATE:]NAME=COLUMN",
        help="What a column of every file of rows is called, question=prompt; or of one: cheap:question=prompt, "
        "real:question=prompt.",
    ),
]
Answers = Annotated[bool, typer.Option("--answers/--no-answers", help="Also score answers to the real rows.")]


def register(app: typer.Typer) -> None:
    app.command("recommend")(recommend)


def recommend(
    *,
    model: flag.Model,
    candidate: Candidates,
    real: Real,
    columns: Columns = None,
    by: Annotated[str, typer.Option("--by", help="cosine, shift, recall, loss, score, ladm or longattn.")] = "loss",
    config: Annotated[Path | None, typer.Option("--config", help="A TrainConfig of the probe training.")] = None,
    overrides: flag.Set = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a candidate that are trained on.")] = 64,
    real_rows: Annotated[int, typer.Option(min=8, help="Real rows, half of them to compare with.")] = 48,
    metric: Annotated[str, typer.Option("--metric", help=f"{', '.join(DETECTORS)}.")] = "copy",
    threshold: flag.Threshold = 0.1,
    answers: Answers = True,
    full_rows: Annotated[int, typer.Option(min=1, help="Rows of the training to be paid for.")] = 1_000,
    full_steps: Annotated[int, typer.Option(min=1, help="Its steps.")] = 250,
    full_length: Annotated[int | None, typer.Option(min=16, help="Tokens of its rows.  [default: as they are]")] = None,
    extend: flag.ExtendTo = None,
    dtype: flag.Dtype = "auto",
    out: Annotated[Path | None, typer.Option("--out", help="A file for the rows: .json, .csv or .parquet.")] = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Rank training data by a short training with each and the transfer of heads to real rows, with what each costs."""
    paths = named_paths(candidate)
    DETECTORS.entry(metric)
    from haymaker.models.load import load_model
    from haymaker.recommender.ranking import recommend as rank
    from haymaker.study.stage_inputs import computed, computing

    with probes_beside(out, overwrite, (model, real, config, *paths.values())) as keep:
        training = probe_training(config, overrides)
        sources = sources_of(paths, real, columns)
        given = sources.pop(REAL)
        lm = load_model(model, extend=Extend(length=extend) if extend is not None else None, dtype=dtype)
        with bar("probes", len(sources) + 2, computing(lm)) as advance:
            found = rank(
                lm, sources, given, by, config=training, rows=rows, real_rows=real_rows, metric=metric, keep=keep,
                threshold=threshold, answers=answers, full_rows=full_rows, full_steps=full_steps,
                full_length=full_length, on_progress=advance,
            )  # fmt: skip
        told = [plain(row) for row in found]
        if out is not None:
            write_ranking(out, told)
    if json:
        paid = {"full_rows": full_rows, "full_steps": full_steps}
        show_table("ranking", told, model=model, **computed(lm), by=by, heads=metric, verdict=found.verdict, **paid)
        return
    typer.echo(found)


@contextmanager
def probes_beside(out: Path | None, overwrite: bool, reading: Reading) -> Iterator[Path | None]:
    """Where the probes that are done are kept until the ranking stands in `out`; nowhere without that."""
    if out is None:
        yield None
        return
    check_ending(out)
    with kept_beside(out, overwrite) as (keep, replace):
        declare(out, overwrite=replace, reading=reading)
        yield keep


def probe_training(config: Path | None, overrides: list[str] | None) -> TrainConfig | None:
    """That of the file with every --set over it; over the recommender's own where there is no file."""
    if config:
        return load_config(config, TrainConfig, overrides)
    values: dict[str, Any] = dict(PROBE)
    for override in overrides or []:
        set_dotted(values, override)
    return TrainConfig(**values)


def check_ending(out: Path) -> None:
    if out.suffix not in ENDINGS:
        raise ConfigError(f"--out {out}: expected a name that ends in {', '.join(ENDINGS)}")


def write_ranking(out: Path, rows: list[dict[str, Any]]) -> None:
    """The rows in the form that the file's name asks for."""
    if out.suffix == ".json":
        write_json(out, rows)
        return
    from haymaker.study.results import write_table

    write_table(rows, out)


def named_paths(candidates: list[str]) -> dict[str, str]:
    """Every candidate by its name. Raises ConfigError where two have one, or one another row's."""
    paths = dict(map(named_path, candidates))
    if len(paths) < len(candidates):
        raise ConfigError(f"--candidate: two of {', '.join(candidates)} have one name; write NAME=PATH")
    check_names(paths)
    return paths


def named_path(text: str) -> tuple[str, str]:
    """NAME=PATH, or a path, whose last part is the name."""
    name, given, path = text.partition("=")
    return (name, path) if given else (Path(text).stem, text)


def sources_of(paths: dict[str, str], real: str, columns: list[str] | None) -> dict[str, "Recipe | Dataset"]:
    """The candidates and the real rows by name. Raises ConfigError for columns of what has none."""
    pairs = [parted(pair) for pair in columns or []]
    if unknown := {whose for whose, _ in pairs if whose} - {*paths, REAL}:
        raise ConfigError(f"--map {min(unknown)}: no candidate of that name; expected {', '.join([*paths, REAL])}")
    return {name: source_of(name, path, pairs) for name, path in (*paths.items(), (REAL, real))}


def parted(pair: str) -> tuple[str, str]:
    """Whose column is told, or nobody's in particular, and NAME=COLUMN."""
    whose, colon, _ = pair.partition("=")[0].rpartition(":")
    return (whose, pair[len(whose) + 1 :]) if colon else ("", pair)


def source_of(name: str, path: str, pairs: list[tuple[str, str]]) -> "Recipe | Dataset":
    """A recipe where the path is of a YAML file, else the rows there, their columns called as its pairs say."""
    own = [pair for whose, pair in pairs if whose == name]
    if Path(path).suffix in (".yaml", ".yml"):
        if own:
            raise ConfigError(f"--map {name}:{own[0]}: {path} is a recipe; its own `columns` say it")
        return load_config(Path(path), Recipe)
    from haymaker.data.own_data import load_data

    shared = of_file(Path(path), [pair for whose, pair in pairs if not whose])
    asked = [*(shared or []), *own]
    return rows_of_file(Path(path), asked) if asked else load_data(path)
