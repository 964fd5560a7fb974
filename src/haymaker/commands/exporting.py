"""haymaker export: a dataset's rows as other trainers and benchmarks read them."""

from pathlib import Path
from typing import Annotated

import typer

from haymaker.choices import EXPORTS
from haymaker.commands.options import Columns, DataRows, Json, Overwrite
from haymaker.commands.output import fresh_file, show_json
from haymaker.commands.own_prompt import rows_under
from haymaker.console import bar, each, note

Bare = Annotated[bool, typer.Option("--bare", help="The form's own keys alone: no id, question, answers, evidence.")]


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    *,
    data: DataRows,
    form: Annotated[str, typer.Option("--format", help=f"{', '.join(EXPORTS)}.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write: .jsonl, .json, .csv or .parquet.")],
    columns: Columns = None,
    bare: Bare = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a dataset's rows as other tools train from them: a prompt, and the answer as what is learned."""
    from haymaker.data.exports import check_ending, exported, write_rows

    check_ending(out)
    EXPORTS.entry(form)
    with fresh_file(out, overwrite=overwrite, reading=(data,)) as file:
        rows = rows_under(data, columns)
        with bar("rows", len(rows)) as advance:
            write_rows(each(exported(rows, form, bare), advance, "rows"), file)
    if json:
        show_json({"out": str(out), "rows": len(rows), "format": form})
        return
    note(f"{len(rows)} rows")
    typer.echo(out)
