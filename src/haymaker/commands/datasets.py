"""haymaker build | validate | stats."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.choices import SETTINGS, TASKS
from haymaker.commands.boundary import FAILED_ROWS
from haymaker.commands.options import (
    Columns,
    DataFolder,
    DataRows,
    Json,
    Overwrite,
    Set,
    columns_of,
    inputs_of,
    values_of,
)
from haymaker.commands.output import declare_folder, show_json, show_values
from haymaker.commands.own_prompt import of_file, rows_under
from haymaker.config import Recipe
from haymaker.console import bar, named, note
from haymaker.errors import ConfigError
from haymaker.study.stages import build_data

if TYPE_CHECKING:
    from haymaker.data.dataset import Folder

DEFAULT_TOKENIZER = "miniature-llama"
WHICH = ("rejected_rows", "remarks")  # what a manifest says of single rows of a source

Tokenizer = Annotated[
    str | None, typer.Option(help="Whose tokens are counted: a model's name or folder. [default: miniature-llama]")
]


def register(app: typer.Typer) -> None:
    app.command("build")(build)
    app.command("validate")(validate)
    app.command("stats")(stats)


def build(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="The dataset folder; an interrupted build of it goes on.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with keys of a Recipe.")] = None,
    overrides: Set = None,
    task: Annotated[str | None, typer.Option(help=f"{', '.join(TASKS)}.")] = None,
    setting: Annotated[str | None, typer.Option(help=f"{', '.join(SETTINGS)}.")] = None,
    length: Annotated[int | None, typer.Option(help="Most tokens of a row, answer included.")] = None,
    rows: Annotated[int | None, typer.Option(help="Number of rows.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the rows.")] = None,
    split: Annotated[str | None, typer.Option(help="train, dev or test.")] = None,
    source: Annotated[Path | None, typer.Option(help="A file of real rows; without, the miniature world.")] = None,
    columns: Columns = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Build the first rows only.")] = None,
    skip_failed: Annotated[
        bool, typer.Option("--skip-failed", help="Leave out rows that cannot be built, and tell (exit code 3).")
    ] = False,
    tokenizer: Tokenizer = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that build rows; the files are the same.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, from a few rows; write nothing.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Build a dataset folder of one task in one setting."""
    flags = {"task": task, "setting": setting, "length": length, "rows": rows, "seed": seed, "split": split}
    flags |= {"source": str(source) if source else None, "failed_rows": "skip" if skip_failed else None}
    flags |= {"columns": columns_of(columns)}
    recipe = first_rows(recipe_of(config, overrides, flags), limit)
    name = tokenizer or DEFAULT_TOKENIZER
    if dry_run:
        print_estimate(recipe, name, workers, json)
        return
    if out is None:
        raise ConfigError("--out: give the folder to write")
    if not (out / "manifest.json").is_file():
        declare_folder(out, overwrite, reading=(source, name))
    build_data(recipe, inputs_of(tokenizer=name), out, workers, overwrite)
    from haymaker.data.dataset import Folder

    made = Folder(out)
    print_built(made, out, json)
    if made.manifest["failed"]:
        raise typer.Exit(FAILED_ROWS)


def recipe_of(config: Path | None, overrides: list[str] | None, flags: dict[str, Any]) -> Recipe:
    """Defaults < file < --set < flags."""
    values = values_of(config, overrides) | {key: value for key, value in flags.items() if value is not None}
    try:
        return Recipe(**values)
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}" if config else str(error)) from None


def first_rows(recipe: Recipe, limit: int | None) -> Recipe:
    """The recipe of the first rows: they are the same rows."""
    return recipe if limit is None else recipe.changed(rows=min(limit, recipe.rows))


def print_estimate(recipe: Recipe, name: str, workers: int, as_json: bool) -> None:
    from haymaker.data.estimate import estimate
    from haymaker.models.load import load_tokenizer

    found = asdict(estimate(recipe, load_tokenizer(name), workers))
    if as_json:
        show_json(found)
        return
    found["rejected"] = reasons(found["rejected"])
    show_values({**found, "bytes": f"{found['bytes']:,}", "tokens": f"{found['tokens']:,}"}, as_json)


def print_built(made: "Folder", out: Path, as_json: bool) -> None:
    """What was built, rejected and left out."""
    manifest = made.manifest
    counts = {key: manifest["checks"][key] for key in ("tokens", "tokens_least", "tokens_most")}
    if as_json:
        about = {key: manifest[key] for key in ("recipe", "rejected", "failed", "checks")}
        show_json({"out": str(out), "rows": len(made), "tokens": counts["tokens"], **about})
        return
    note(f"{len(made)} rows of {counts['tokens_least']} to {counts['tokens_most']} tokens")
    if manifest["rejected"]:
        note(f"rejected rows of the source: {reasons(manifest['rejected'], manifest.get('rejected_rows'))}")
    if repeats := manifest["checks"]["rows_with_repeats"]:
        why = ", as source and pool have too few; give a (larger) pool of passages" * bool(manifest["recipe"]["source"])
        note(f"{repeats} of {len(made)} rows hold a document more than once{why}", style="yellow")
    for failure in manifest["failed"]:
        note(f"row {failure['row']} was left out: {failure['reason']}", style="yellow")
    typer.echo(out)


def reasons(counted: dict[str, int], rows: dict[str, list[str]] | None = None) -> str:
    """How many rows are rejected for which reason; and where `rows` says it, which come first."""
    which = {reason: f": {named(found)}" for reason, found in (rows or {}).items()}
    return "; ".join(f"{count} ({reason}{which.get(reason, '')})" for reason, count in counted.items()) or "none"


def validate(
    *,
    folder: DataFolder,
    tokenizer: Annotated[str | None, typer.Option(help="Without, the one that the dataset names.")] = None,
    source: Annotated[Path | None, typer.Option(help="Where the file of real rows lies now.")] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild/--no-rebuild", help="Build every row again too, and compare all of it.")
    ] = True,
    json: Json = False,
) -> None:
    """Re-derive every row of a dataset and compare. Exit code 1 where something differs."""
    from haymaker.data.dataset import Folder
    from haymaker.data.validation import refuse_rows_that_were_not_built
    from haymaker.data.validation import validate as validate_rows
    from haymaker.models.load import load_tokenizer

    stored = Folder(folder)
    refuse_rows_that_were_not_built(stored)
    name = tokenizer or stored.manifest["tokenizer_name"]
    if name is None:
        raise ConfigError(f"{folder} does not name its tokenizer; give --tokenizer")
    reader = load_tokenizer(name)
    with bar("rows", len(stored)) as advance:
        found = validate_rows(stored, reader, rebuild, advance, str(source) if source else None)
    report_problems(found.problems, json, f"{found.rows} rows hold", rows=found.rows)


def report_problems(problems: list[str], as_json: bool, passed: str, **counts: int) -> None:
    """The problems, a line each, and exit code 1; or that there are none."""
    if as_json:
        show_json({"passed": not problems, **counts, "problems": problems})
    else:
        typer.echo("\n".join(problems) if problems else passed)
    if problems:
        raise typer.Exit(1)


def known_rows(rows: dict[str, list[str]], as_json: bool) -> Any:
    """Which rows something was found of, for people the first ones."""
    return rows if as_json else "; ".join(f"{reason}: {named(found)}" for reason, found in rows.items())


def stats(
    *,
    folder: DataRows,
    against: Annotated[
        Path | None, typer.Option(metavar="OTHER", help="A dataset (of training, say) to look for the same rows in.")
    ] = None,
    columns: Columns = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Counts the tokens of a file of your own rows: a model's name or folder.")
    ] = None,
    length: Annotated[int | None, typer.Option(min=1, help="Also tell which rows have more tokens than that.")] = None,
    json: Json = False,
) -> None:
    """Count a dataset's tokens, places, kinds of answers, and what its checks found."""
    from haymaker.data.compare import overlap
    from haymaker.data.compare import stats as stats_of

    stored = rows_under(folder, columns, tokenizer)
    with bar("rows", len(stored)) as advance:
        found = stats_of(stored, length, on_progress=advance) | {"rejected": stored.manifest["rejected"]}
    found |= {key: known_rows(stored.manifest[key], json) for key in WHICH if stored.manifest.get(key)}
    which = found.pop("rows_found")
    found |= {"rows_found": known_rows(which, json)} if which else {}
    if not found["tokens"]:  # rows of a file, as no tokenizer read them
        if length:
            raise ConfigError(f"--length: tokens of {folder} are not counted; give --tokenizer too")
        found |= {key: None for key in found if key.startswith(("tokens", "fill"))}
        note(f"{folder}: tokens are not counted; give --tokenizer")
    if against is not None:
        other = rows_under(against, of_file(against, columns))
        with bar("rows", len(stored) + len(other)) as advance:
            found |= overlap(stored, other, on_progress=advance)
    show_values(found, json)
