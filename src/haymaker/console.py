"""What people see while something runs, messages and progress bars on stderr, never on stdout; and how they stop it."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

err = Console(stderr=True)
said = {"quiet": False}  # whether notes and bars are left out; errors never are
LINE_SECONDS = 2.0  # between two lines of progress in a log
UNWATCHED_SECONDS = 30.0  # the same where stderr is no terminal, and nobody asked for lines
NAMED = 3  # names that a sentence holds
CALL_SECONDS = 10.0  # the same of a call of the library, in a script or a notebook
OnProgress = Callable[[int], Any]  # told how much was finished since it was last called
Item = TypeVar("Item")


def speaks() -> bool:
    """Whether this process tells people what all do: alone, or the first that torchrun or accelerate started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def bar(what: str, total: int, about: str = "") -> Iterator[OnProgress]:
    """Progress with steps a second and the time left; the block is given the function that advances it.

    A bar that disappears at the end in a terminal; elsewhere a line now and then, none of what is done in seconds.
    `about` (device, precision, threads) is said once.
    """
    if _in_lines or not err.is_terminal:
        yield Lines(what, total, about, LINE_SECONDS if _in_lines else UNWATCHED_SECONDS).advance
        return
    hidden = said["quiet"] or not speaks()
    if about and not hidden:
        note(about)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=hidden) as progress:
        task = progress.add_task(what, total=total)
        yield lambda steps: progress.advance(task, steps)


class Speed(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text(rate_of(task.speed) if task.speed else "")


def rate_of(speed: float) -> str:
    """Steps a second, or of slow ones the seconds of a step."""
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"


_in_lines = False


def progress_in_lines(wanted: bool) -> None:
    """Whether progress is told line by line, as in the log of a process that nobody watches."""
    global _in_lines
    _in_lines = wanted


class Lines:
    """Progress as a line now and then, the first one after as long; a total of 0 is not known."""

    def __init__(self, what: str, total: int, about: str = "", seconds: float = LINE_SECONDS) -> None:
        self.what, self.total, self.about, self.seconds = what, total, about, seconds
        self.done, self.lines, self.began = 0, 0, time.monotonic()
        self.told = self.began if seconds > LINE_SECONDS else 0.0

    def advance(self, steps: int) -> None:
        self.done += steps
        now = time.monotonic()
        ended = self.done >= self.total > 0 and (self.lines or self.seconds <= LINE_SECONDS)
        if speaks() and (now - self.told >= self.seconds or ended):
            self.told, self.lines = now, self.lines + 1
            total = f" of {self.total}" if self.total else ""
            note(f"{self.what}: {self.done}{total}{self.pace(now)}")

    def pace(self, now: float) -> str:
        """Speed and time left; what it computes with, the first time."""
        about = f" ({self.about})" if self.about and self.lines == 1 else ""
        if not self.done or now - self.began < 1:
            return about
        each = (now - self.began) / self.done
        left = timedelta(seconds=round(each * (self.total - self.done)))
        return f", {rate_of(1 / each)}" + (f", {left} left" if self.total else "") + about


def told(on_progress: OnProgress | None, what: str, total: int = 0) -> OnProgress:
    """Whom a call tells of its progress: its caller, else people, by a line where it takes longer than ten seconds."""
    return on_progress or Lines(what, total, seconds=CALL_SECONDS).advance


def each(rows: Iterable[Item], on_progress: OnProgress | None, what: str, total: int = 0) -> Iterator[Item]:
    """The rows, of each of which is `told` once it was used."""
    advance = told(on_progress, what, total)
    for row in rows:
        yield row
        advance(1)


def note(message: str, style: str = "", always: bool = False) -> None:
    """A message on stderr, as it is; with --quiet, and of several processes, only what is said always."""
    if always or (speaks() and not said["quiet"]):
        err.print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


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


@contextmanager
def ended_as_interrupted() -> Iterator[None]:
    """Inside the block SIGTERM, a scheduler's or a service's stop, is a Ctrl-C to this process, where it meant its end;
    and SIGINT is one even where a script's `&` had it ignored: every command stops by either, wherever it was started.

    Processes that are forked inside it end by SIGTERM as ever.
    """
    before, own = signal.getsignal(signal.SIGTERM), os.getpid()
    ours = (signal.SIG_DFL, signal.default_int_handler)  # the latter from the first line of a process on
    if threading.current_thread() is not threading.main_thread() or before not in ours:
        yield
        return
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def pass_on(number: int, frame: Any) -> None:
        if os.getpid() != own:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        answer = signal.getsignal(signal.SIGINT)
        (answer if callable(answer) else signal.default_int_handler)(number, frame)

    signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)
