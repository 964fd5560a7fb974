"""The command line: flags and files in, library calls, sentences out. Importing it imports no torch."""

import logging
import os
import signal
from typing import Annotated

import typer

from haymaker import __version__
from haymaker.commands import (
    answers,
    dataset_files,
    dataset_rows,
    datasets,
    doctor,
    exporting,
    extend,
    fetch,
    head_scores,
    interventions,
    recommendation,
    studies,
    training,
    writer,
)
from haymaker.commands.boundary import Commands
from haymaker.console import said
from haymaker.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")

# Sums in one order for any number of threads: what is trained twice is the same bytes. Large products take a tenth
# longer for that, small ones up to half (docs/log.md).
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

app = typer.Typer(
    cls=Commands,
    name="haymaker",
    help="Build synthetic long-context data, extend a model with it, and read its retrieval heads.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
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
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Results and errors alone: no notes, no progress. In any command.")
    ] = False,
    log_level: Annotated[
        str,
        typer.Option("--log-level", help="What libraries say on stderr: debug, info, warning, error. In any command."),
    ] = "warning",
) -> None:
    """Build synthetic long-context data, extend a model with it, and read its retrieval heads."""
    said["quiet"] = quiet
    set_log_level(log_level)


for group in (
    datasets,
    dataset_rows,
    writer,
    dataset_files,
    exporting,
    doctor,
    extend,
    fetch,
    training,
    answers,
    recommendation,
    head_scores,
    interventions,
    studies,
):
    group.register(app)


def set_log_level(level: str) -> None:
    """Let libraries say what they have to from this level on. Raises ConfigError for another word."""
    if level not in LEVELS:
        raise ConfigError(f"--log-level {level}: expected {', '.join(LEVELS)}")
    os.environ["TRANSFORMERS_VERBOSITY"] = level  # read when it is first imported
    if level != "warning":  # that is what Python itself says
        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger().setLevel(level.upper())


def main() -> None:
    """Run the command that this process was started with."""
    try:
        app(prog_name="haymaker")
    finally:  # the command has ended as its exit code says, also where Ctrl-C comes while Python puts things away
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
