"""A dataset's build divides among workers: the same bytes, whatever becomes of the pieces."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from haymaker.config import Recipe
from haymaker.errors import Interrupted
from haymaker.study import Plan, Store, execute, stages
from haymaker.study.cell import Cell, Outside
from haymaker.study.lease import lease
from haymaker.study.runners import Outcome, Work, perform
from haymaker.study.runners.sending import outcome_of, packed, perform_packed, unpacked
from haymaker.study.survey import Survey

ROWS = 70  # 32 rows a part: three parts


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(stages, "PIECE_TOKENS", 2000)  # 70 rows of 96 tokens: three pieces
    recipe = Recipe(task="mdqa", setting="low-low", length=96, rows=ROWS)
    return Plan.of(
        "build", [Cell("data", stages.DATA, recipe, outside={"tokenizer": Outside("tokenizer", "miniature-llama")})]
    )


@dataclass
class Here:
    """A runner of many places that does all in this process; `spoil` may change how a piece ends."""

    spoil: Callable[[Work], Outcome | None] = lambda work: None
    had: list[tuple[int, int] | None] = field(default_factory=list)
    slots: int = 8

    def submit(self, work: Work) -> "Future[Outcome]":
        self.had.append(work.piece)
        future: Future[Outcome] = Future()
        future.set_result(self.spoil(work) or perform(work))
        return future


def built(plan: Plan, store: Store, runner: Any = None) -> dict[str, Any]:
    """The bytes of the dataset's shards, its key and content; nothing of the work is left."""
    assert execute(plan, store, runner).complete
    standing = Survey(plan, store).all()["data"]
    output = store.output(str(standing.key))
    assert sorted(path.name for path in output.parent.iterdir()) == ["manifest.json", "output"]
    assert not list((store.root / "work").glob("*"))
    shards = {path.name: path.read_bytes() for path in sorted(output.glob("*.parquet"))}
    return {"key": standing.key, "content": (standing.manifest or {})["content"], **shards}


def test_a_build_in_pieces_has_the_bytes_of_one_that_is_not_divided(plan: Plan, tmp_path: Path) -> None:
    whole, pieces = built(plan, Store(tmp_path / "whole")), Here()
    assert built(plan, Store(tmp_path / "pieces"), pieces) == whole
    assert pieces.had == [(0, 3), (1, 3), (2, 3), None]
    few = Here(slots=2)
    assert built(plan, Store(tmp_path / "few"), few) == whole
    assert few.had == [None], "three pieces are more than it takes at a time"
    for spoil in (
        lambda work: Outcome("lost", message="a node failed") if work.piece == (1, 3) else None,
        lambda work: Outcome("failed", message="no room") if work.piece else None,
    ):
        assert built(plan, Store(tmp_path / f"spoilt {id(spoil)}"), Here(spoil)) == whole


def test_the_manifest_counts_the_seconds_of_all_pieces(plan: Plan, tmp_path: Path, monkeypatch: Any) -> None:
    slow = iter(range(0, 10_000, 10))
    monkeypatch.setattr("haymaker.study.runners.work.time", SimpleNamespace(monotonic=lambda: float(next(slow))))
    store = Store(tmp_path)
    execute(plan, store, Here())
    # two looks at a clock that goes on by 10 s for each piece, and for the whole
    assert (Survey(plan, store).all()["data"].manifest or {})["seconds"] == 40.0


def test_pieces_of_two_commands_are_made_once(plan: Plan, tmp_path: Path) -> None:
    store, busy = Store(tmp_path), []

    def second_command(work: Work) -> None:
        if work.piece is None:
            return
        with lease(store.lease_path(f"{work.key}.{work.piece[0]}")):
            busy.append((perform(work).status, Survey(plan, store).all()["data"].state))
        with lease(store.lease_path(work.key)):
            busy.append((perform(work).status, Survey(plan, store).all()["data"].state))

    execute(plan, store, Here(second_command))
    assert busy == [("busy", "running")] * 6


def test_a_piece_that_is_stopped_ends_the_run_and_the_next_one_goes_on(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path)
    stop = Here(lambda work: Outcome("stopped", message="stopped") if work.piece == (2, 3) else None)
    with pytest.raises(Interrupted):
        execute(plan, store, stop)
    parts = {path.name: path.stat().st_mtime_ns for path in store.root.glob("work/*/.output.parts/part-*")}
    assert len(parts) == 2
    seen: dict[str, int] = {}

    def look(work: Work) -> None:
        if work.piece is None:
            found = store.root.glob("work/*/.output.parts/part-*")
            seen.update({path.name: path.stat().st_mtime_ns for path in found})

    built(plan, store, Here(look))
    assert {name: seen[name] for name in parts} == parts


def test_a_piece_goes_to_another_process_as_json(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path)
    works: list[Work] = []
    execute(plan, store, Here(lambda work: works.append(work) or Outcome("failed") if work.piece else None))
    assert [unpacked(packed(work)).piece for work in works] == [(0, 3), (1, 3), (2, 3)]
    assert outcome_of(perform_packed(packed(works[0]))).status == "kept"


@pytest.mark.parametrize(
    ("rows", "length", "pieces"), [(400, 512, 1), (2400, 32768, 4), (1_000_000, 131_072, 256), (1, 16, 1)]
)
def test_what_is_small_is_not_divided(rows: int, length: int, pieces: int) -> None:
    recipe = Recipe(task="mdqa", setting="low-low", length=length, rows=rows)
    assert stages.pieces_of_build(recipe) == pieces  # 16.8 M tokens each, 256 at most
