"""What people see of a study that runs."""

import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from haymaker.commands import study_table
from haymaker.commands.study_table import (
    MOST_ROWS,
    Board,
    Lines,
    Running,
    Tally,
    board,
    running_cells,
    spoken,
    sums,
    watched,
)
from haymaker.study import Store
from haymaker.study.lease import lease
from haymaker.study.runners import Outcome
from haymaker.study.runners.sending import log_path

KEYS = {name: letter * 64 for name, letter in (("train/real", "a"), ("heads/real", "b"), ("data/real", "c"))}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since the start, as the table sees them."""
    now = [0.0]
    monkeypatch.setattr(study_table.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (185, "3:05 min"), (3600, "1:00 h"), (7800, "2:10 h")],
)
def test_a_duration_is_said_in_two_units(seconds: float, said: str) -> None:
    assert spoken(float(seconds)) == said


def test_the_time_left_follows_from_what_the_finished_cells_took(clock: list[float]) -> None:
    tally = Tally(["a", "b", "c"], {"a": 10.0, "b": 10.0, "c": 40.0})
    assert tally.left() is None
    tally.end("a", Outcome("kept"))
    assert tally.left() is None, "what was finished before says nothing of this machine"
    clock[0] = 20.0
    tally.end("b", Outcome("done", 20.0))
    assert tally.left() == 80.0  # b took 20 s for 10, so c takes 80 for 40
    assert sums(tally, 1, 1) == "2 of 3 done, 1 running; about 1:20 min left"
    tally.end("c", Outcome("failed", 1.0))
    assert sums(tally, 0, 0) == "2 of 3 done, 0 running, 1 failed; about 0 s left"


def test_cells_that_run_are_told_by_their_leases_with_the_last_line_of_their_log(tmp_path: Path) -> None:
    store = Store(tmp_path)
    log = log_path(store, KEYS["train/real"])
    log.parent.mkdir(parents=True)
    log.write_text("---- began\nstep 3 of 9\n\n")
    pieces = [store.lease_path(f"{KEYS['data/real']}.{number}") for number in range(2)]
    with lease(store.lease_path(KEYS["train/real"])), lease(pieces[0]), lease(pieces[1]):
        found = running_cells(store, KEYS)
    assert [row.cell for row in found] == ["train/real", "data/real", "data/real"]  # one in two pieces
    assert found[0].worker.endswith(f":{os.getpid()}")
    assert found[0].said == "step 3 of 9"
    assert 0 <= found[0].seconds < 60
    assert running_cells(store, KEYS) == []


def drawn(thing: Any) -> str:
    console = Console(width=100, record=True, file=StringIO())
    console.print(thing)
    return console.export_text()


def test_the_table_has_a_row_a_cell_and_counts_those_that_have_no_place() -> None:
    rows = [Running(f"cell/{i}", "host:1", 65.0, f"[bold]line[/] {i}") for i in range(MOST_ROWS + 3)]
    text = drawn(board(Tally([row.cell for row in rows], {}), rows, len(rows) + 5))
    assert "cell/0" in text
    assert f"cell/{MOST_ROWS} " not in text
    assert "and 3 more" in text
    assert "1:05 min" in text
    assert "[bold]line[/] 0" in text, "a log's words are no markup"
    assert f"0 of {len(rows)} done, {len(rows)} running, 5 waiting for a place" in text


@pytest.mark.parametrize("height", [3, 8, 24, 60])
def test_the_sums_are_seen_on_a_terminal_of_any_height_and_after_the_last_cell_too(height: int, tmp_path: Path) -> None:
    rows = [Running(f"cell/{i}", "host:1", 65.0, "line") for i in range(MOST_ROWS + 3)]
    console = Console(width=100, height=height, file=StringIO(), force_terminal=True)
    live = Live(console=console, auto_refresh=False)
    seen = Board(Store(tmp_path), Tally([row.cell for row in rows], {}), live)
    seen.draw(rows, len(rows))
    lines = drawn(live.get_renderable()).splitlines()
    assert (len(lines) <= height, lines[-1].strip()) == (True, "0 of 27 done, 27 running")
    for row in rows:
        seen.ended(row.cell, Outcome("done", 1.0))
    assert drawn(live.get_renderable()).splitlines()[-1].strip() == "27 of 27 done, 0 running"


def test_without_a_terminal_each_cell_that_ends_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with watched(Store(tmp_path), ["a", "b"], {}, serial=False) as lines:
        assert type(lines) is Lines
        lines.started("b")
        lines.ended("b", Outcome("failed", 2.0, "no room"))
        lines.waiting({"a": "a" * 64})
    assert capsys.readouterr().err == "[2/2] b failed in 2.0 s: no room\n"


def test_a_lease_that_is_being_written_is_nobody_s(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.lease_path(KEYS["train/real"])
    path.parent.mkdir()
    path.write_text(json.dumps({"token": "x"})[:4])
    assert running_cells(store, KEYS) == []
