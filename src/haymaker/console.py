"""What people see while something runs: messages and progress bars on stderr, never on stdout."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

err = Console(stderr=True)
said = {"quiet": False}  # whether notes and bars are left out; errors never are
OnProgress = Callable[[int], Any]  # told how much was finished since it was last called


@contextmanager
def bar(what: str, total: int) -> Iterator[OnProgress]:
    """A progress bar that disappears at the end; the block is given the function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=said["quiet"] or not err.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)


def note(message: str, style: str = "", always: bool = False) -> None:
    """A message on stderr, as it is; with --quiet only what is said always."""
    if always or not said["quiet"]:
        err.print(message, style=style, markup=False, highlight=False, soft_wrap=True)
