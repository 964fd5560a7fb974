"""What people see of a study that runs: on a terminal a table of the cells under way, elsewhere a line for each."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from haymaker.console import err, note, said
from haymaker.study.lease import owner
from haymaker.study.runners import Outcome
from haymaker.study.runners.sending import last_line, log_path
from haymaker.study.store import Store

MOST_ROWS = 24  # of the table: those that run come first


@dataclass(frozen=True)
class Running:
    """A cell under way: where, since when (seconds), and what its log said last."""

    cell: str
    worker: str
    seconds: float
    said: str


def running_cells(store: Store, keys: Mapping[str, str]) -> list[Running]:
    """Those of these cells that a process works on, by their leases: of whichever runner or machine.

    A cell that is made in pieces stands once for each that is under way.
    """
    found = []
    for name, key in keys.items():
        for held in filter(None, map(owner, store.leases(key))):
            worker = f"{str(held.get('host', '')).split(' ')[0]}:{held.get('pid')}"
            said = last_line(log_path(store, key))
            found.append(Running(name, worker, time.time() - float(held.get("since", time.time())), said))
    return found


class Tally:
    """How many cells have ended, and how long the others will take by what those took."""

    def __init__(self, cells: list[str], seconds: Mapping[str, float | None]) -> None:
        self.cells, self.expected = cells, {name: seconds.get(name) or 0.0 for name in cells}
        self.began = time.monotonic()
        self.ended: dict[str, str] = {}
        self.took = 0.0

    def end(self, cell: str, outcome: Outcome) -> None:
        self.ended[cell] = outcome.status
        self.took += outcome.seconds

    def count(self, *statuses: str) -> int:
        return sum(status in statuses for status in self.ended.values())

    def left(self) -> float | None:
        """Seconds until all cells have ended, as far as that can be told; None before the first has."""
        made = [name for name, status in self.ended.items() if status == "done"]
        expected = sum(self.expected[name] for name in made)
        if not expected or not self.took:
            return None
        rest = sum(seconds for name, seconds in self.expected.items() if name not in self.ended)
        return rest / expected * (time.monotonic() - self.began)


class Lines:
    """A line on stderr for every cell that ends."""

    def __init__(self, store: Store, tally: Tally) -> None:
        self.store, self.tally = store, tally
        width = len(str(len(tally.cells)))
        self.number = {name: f"[{i:>{width}}/{len(tally.cells)}]" for i, name in enumerate(tally.cells, 1)}

    def started(self, cell: str) -> None:
        """Nothing is told: a runner may keep it waiting."""

    def ended(self, cell: str, outcome: Outcome) -> None:
        self.tally.end(cell, outcome)
        message = f": {outcome.message}" if outcome.message else ""
        note(f"{self.number[cell]} {cell} {outcome.status} in {outcome.seconds:.1f} s{message}")

    def waiting(self, cells: Mapping[str, str]) -> None:
        """Nothing is told."""


class Board(Lines):
    """The same lines above a table that is drawn anew several times a second."""

    def __init__(self, store: Store, tally: Tally, live: Live) -> None:
        super().__init__(store, tally)
        self.live = live
        self.running: list[Running] = []
        self.handed_over = 0

    def ended(self, cell: str, outcome: Outcome) -> None:
        super().ended(cell, outcome)
        self.draw([row for row in self.running if row.cell != cell], self.handed_over - 1)

    def waiting(self, cells: Mapping[str, str]) -> None:
        self.draw(running_cells(self.store, cells), len(cells))

    def draw(self, running: list[Running], handed_over: int) -> None:
        self.running, self.handed_over = running, handed_over
        room = self.live.console.height - len(("header", "and more", "sums"))
        self.live.update(board(self.tally, running, handed_over, room))


def board(tally: Tally, running: list[Running], handed_over: int, room: int = MOST_ROWS) -> RenderableType:
    """The table of what runs, in so many lines at most, and a line of sums."""
    shown = max(0, min(MOST_ROWS, room))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    for name, options in COLUMNS.items():
        table.add_column(name, **options)
    for row in running[:shown]:
        table.add_row(row.worker, row.cell, spoken(row.seconds), Text(row.said))
    if len(running) > shown:
        table.add_row("", f"and {len(running) - shown} more", "", "")
    return Group(table, Text(sums(tally, len({row.cell for row in running}), handed_over), "bold"))


COLUMNS: Mapping[str, dict[str, Any]] = {
    "worker": {"no_wrap": True},
    "cell": {"no_wrap": True},
    "for": {"justify": "right", "no_wrap": True},
    "last line of its log": {"ratio": 1, "no_wrap": True, "overflow": "ellipsis"},
}


def sums(tally: Tally, running: int, handed_over: int) -> str:
    parts = [f"{tally.count('done', 'kept')} of {len(tally.cells)} done", f"{running} running"]
    if waiting := handed_over - running:
        parts.append(f"{waiting} waiting for a place")
    if failed := tally.count("failed"):
        parts.append(f"{failed} failed")
    left = tally.left()
    return ", ".join(parts) + (f"; about {spoken(left)} left" if left is not None else "")


def spoken(seconds: float) -> str:
    """A duration in the two units that matter: 12 s, 3:05 min, 2:10 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"


@contextmanager
def watched(store: Store, cells: list[str], seconds: Mapping[str, float | None], serial: bool) -> Iterator[Lines]:
    """Who hears of cells, for the block. In this process a cell's own progress bar is what is watched."""
    tally = Tally(cells, seconds)
    if serial or said["quiet"] or not err.is_terminal:
        yield Lines(store, tally)
        return
    with Live(console=err, transient=True, refresh_per_second=2) as live:
        yield Board(store, tally, live)
