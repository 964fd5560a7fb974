"""What people see while something runs, messages and progress bars on stderr, never on stdout; and how they stop it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

err = Console(stderr=True)
said = {"quiet": False}  # whether notes and bars are left out; errors never are
LINE_SECONDS = 2.0  # between two lines of progress in a log
OnProgress = Callable[[int], Any]  # told how much was finished since it was last called


def speaks() -> bool:
    """Whether this process tells people what all do: alone, or the first that torchrun or accelerate started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def bar(what: str, total: int) -> Iterator[OnProgress]:
    """A progress bar that disappears at the end; the block is given the function that advances it."""
    if _in_lines:
        yield Lines(what, total).advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = said["quiet"] or not err.is_terminal or not speaks()
    with Progress(*columns, console=err, transient=True, disable=hidden) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)


_in_lines = False


def progress_in_lines(wanted: bool) -> None:
    """Whether progress is told line by line, as in the log of a process that nobody watches."""
    global _in_lines
    _in_lines = wanted


class Lines:
    """Progress as a line now and then."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done, self.told = what, total, 0, 0.0

    def advance(self, steps: int) -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.told >= LINE_SECONDS or self.done >= self.total:
            self.told = now
            note(f"{self.what}: {self.done} of {self.total}")


def note(message: str, style: str = "", always: bool = False) -> None:
    """A message on stderr, as it is; with --quiet only what is said always."""
    if always or not said["quiet"]:
        err.print(message, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def stop_signal(what: str) -> Iterator[threading.Event]:
    """Ctrl-C asks for a stop behind `what` is in hand, and is answered at once; a second one stops at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()
        note(f"stopping after {what}; Ctrl-C again stops at once", style="yellow")

    signal.signal(signal.SIGINT, ask)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGINT, before)
