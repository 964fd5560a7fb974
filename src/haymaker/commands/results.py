"""haymaker report."""

from pathlib import Path
from typing import Annotated

import typer

from haymaker.commands.common import Overwrite, refuse_existing


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    results: Annotated[Path, typer.Argument(help="results.json of a study, or the study's folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="The page.  [default: report.html beside it]")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw report.html from results.json."""
    from haymaker.report import write_report

    source = results / "results.json" if results.is_dir() else results
    if out is not None:
        refuse_existing(out, overwrite)
    typer.echo(write_report(source, out or source.with_name("report.html")))
