"""The command line: flags and files in, library calls, sentences out. Importing it imports no torch."""

import os
import sys
from typing import Annotated

import typer

from haymaker import __version__
from haymaker.commands import (
    dataset_files,
    dataset_rows,
    datasets,
    doctor,
    exporting,
    extend,
    fetch,
    head_scores,
    interventions,
    models,
    studies,
    writer,
)
from haymaker.commands.boundary import Commands

# Sums in one order for any number of threads, at a few percent of the time: what is trained twice is the same bytes.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

app = typer.Typer(
    cls=Commands,
    name="haymaker",
    help="Build synthetic long-context data, extend a model with it, and read its retrieval heads.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failure, 2 usage or config error, 3 finished with failed rows, 130 interrupted.",
)


def show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"haymaker {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build synthetic long-context data, extend a model with it, and read its retrieval heads."""


for group in (
    datasets,
    dataset_rows,
    writer,
    dataset_files,
    exporting,
    doctor,
    extend,
    fetch,
    models,
    head_scores,
    interventions,
    studies,
):
    group.register(app)


def main() -> None:
    """Entry point of the `haymaker` command."""
    app(prog_name="haymaker")
    sys.exit(0)
