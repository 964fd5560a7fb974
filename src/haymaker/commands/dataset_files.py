"""haymaker data verify | diff | overlap | pool | unpool: a dataset's files."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from haymaker.commands.datasets import report_problems
from haymaker.commands.options import Columns, DataFolder, Json, Overwrite
from haymaker.commands.output import declare_folder, show_json, show_made, show_values
from haymaker.commands.own_prompt import of_file, rows_under
from haymaker.console import bar, note

app = typer.Typer(
    help="A dataset's files: verify, diff, overlap, pool, unpool.", no_args_is_help=True, rich_markup_mode=None
)
OutFolder = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")]
MOST_SHOWN = 20


def register(commands: typer.Typer) -> None:
    commands.add_typer(app, name="data")


@app.command()
def verify(folder: DataFolder, json: Json = False) -> None:
    """Hold a dataset's files against its manifest: their sha256, the number of rows, ids that stand once."""
    from haymaker.data.compare import files_of
    from haymaker.data.compare import verify as problems_of
    from haymaker.data.dataset import Folder

    with bar("files", len(files_of(Folder(folder)))) as advance:
        problems = problems_of(folder, on_progress=advance)
    report_problems(problems, json, f"{folder}: every file is as the manifest records")


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="A dataset folder, or a file of rows.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    columns: Columns = None,
    json: Json = False,
) -> None:
    """Compare two datasets by row. Exit code 1 where they differ."""
    from haymaker.data.compare import diff as difference_of

    given = [of_file(path, columns) for path in (first, second)]
    given = given if any(given) else [columns, columns]  # which two datasets refuse
    one, other = (rows_under(path, of_it, evidence=False) for path, of_it in zip((first, second), given, strict=True))
    with bar("rows", len(one) + len(other)) as advance:
        found = difference_of(one, other, on_progress=advance)
    if json:
        show_json({**asdict(found), "columns": found.columns})
    else:
        typer.echo(f"{found.same} rows are the same, {len(found.changed)} differ")
        for name, count in found.columns.items():
            typer.echo(f"  {count} in {name}")
        for path, ids in ((first, found.only_first), (second, found.only_second)):
            typer.echo(f"{len(ids)} only in {path}")
            for name in ids[:MOST_SHOWN]:
                typer.echo(f"  {name}")
    if found.changed or found.only_first or found.only_second:
        raise typer.Exit(1)


@app.command()
def overlap(
    folder: DataFolder,
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="The dataset it must not share with: training, say.")],
    json: Json = False,
) -> None:
    """Count rows whose question or evidence stands in another dataset too, and record that in the card."""
    from haymaker.data.compare import record_overlap
    from haymaker.data.dataset import Folder

    with bar("rows", len(Folder(folder)) + len(Folder(other))) as advance:
        found = record_overlap(folder, other, on_progress=advance)
    show_values(found, json)


@app.command()
def pool(folder: DataFolder, out: OutFolder, overwrite: Overwrite = False, json: Json = False) -> None:
    """Write a dataset with every text once, in documents.parquet, and rows that refer to them."""
    from haymaker.data.layouts import pool as pool_folder

    write_other(pool_folder, folder, out, overwrite, json)


@app.command()
def unpool(folder: DataFolder, out: OutFolder, overwrite: Overwrite = False, json: Json = False) -> None:
    """Write a pooled dataset with the text of every row in its place."""
    from haymaker.data.layouts import unpool as unpool_folder

    write_other(unpool_folder, folder, out, overwrite, json)


def write_other(layout: Callable[..., Any], folder: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """The dataset in another layout, and what it takes before and then."""
    from haymaker.data.dataset import Folder

    declare_folder(out, overwrite, reading=(folder,))
    with bar("rows", len(Folder(folder))) as advance:
        made = layout(folder, out, overwrite, on_progress=advance)
    report_sizes(folder, made.path, as_json)


def report_sizes(before: Path, after: Path, as_json: bool) -> None:
    sizes = [sum(path.stat().st_size for path in folder.iterdir()) for folder in (before, after)]
    note(f"{sizes[0]:,} bytes are now {sizes[1]:,}")
    show_made(after, as_json, bytes_before=sizes[0], bytes_after=sizes[1])
