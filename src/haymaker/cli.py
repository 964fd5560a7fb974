"""The command line: flags and files in, library calls, sentences out. Importing it imports no torch."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from haymaker import __version__
from haymaker.commands import dataset_files, dataset_rows, datasets, head_scores, interventions, models, studies, writer
from haymaker.console import note
from haymaker.errors import ConfigError, HaymakerError, Interrupted

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


class Commands(TyperGroup):
    """Turns errors that a user can act on into one sentence and an exit code; bugs keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HaymakerError as error:
            say(str(error))
            raise typer.Exit(code_of(error)) from None
        except KeyboardInterrupt:
            say("interrupted; nothing half-written is left behind")
            raise typer.Exit(INTERRUPTED) from None


def say(message: str) -> None:
    """One sentence on stderr."""
    note(f"haymaker: {message}", style="red")


def code_of(error: HaymakerError) -> int:
    if isinstance(error, Interrupted):
        return INTERRUPTED
    return USAGE if isinstance(error, ConfigError) else FAILURE


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


for group in (datasets, dataset_rows, writer, dataset_files, models, head_scores, interventions, studies):
    group.register(app)


def main() -> None:
    """Entry point of the `haymaker` command."""
    app(prog_name="haymaker")
    sys.exit(0)
