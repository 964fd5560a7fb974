"""What a runner runs. It has slots and `submit(work) -> Future[Outcome]`; the store does the rest.

`perform` does all of a cell's work in whichever process calls it: lease, draft, stage, manifest, publishing. It needs
only what `Work` holds and the shared store, so a process pool, Ray or Slurm can call it as it stands.
"""

import os
import platform
import shutil
import textwrap
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from haymaker.errors import HaymakerError, Interrupted, StudyError, is_failure
from haymaker.file_digests import folder_digest, stamps
from haymaker.file_reading import read_json
from haymaker.files import write_json
from haymaker.study.cell import Cell
from haymaker.study.lease import alive, lease, writer
from haymaker.study.store import Manifest, Store, write_tables

PIECES = "pieces"  # in a draft: what each of them took
FEWER_WORKERS = "fewer --workers leave each cell more of it"
UNFORESEEN_CHARACTERS = 300  # of an unforeseen error's text; the traceback has the rest


@dataclass(frozen=True)
class Work:
    """A cell whose inputs are all there, or a piece of one: its number, and of how many."""

    cell: Cell
    key: str
    action: Mapping[str, Any]
    paths: Mapping[str, Path]  # input name -> folder or file
    store: Path
    piece: tuple[int, int] | None = None


@dataclass(frozen=True)
class Request:
    """What a cell asks of the machine that makes it. `minutes` None: not known.

    `rank` is the seconds of the longest chain of cells that begins with it: what is long is best begun early.
    """

    gpus: float = 0.0
    memory_bytes: int = 0
    minutes: float | None = None
    rank: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    `kept` was finished by somebody else meanwhile, `busy` is being made by somebody else; `lost` is a call whose
    process died, and `stopped` one that was told to end.
    """

    status: Literal["done", "kept", "failed", "busy", "lost", "stopped"]
    seconds: float = 0.0
    message: str = ""
    again: bool = True  # of one that was lost: whether another try may go better


@runtime_checkable
class Runner(Protocol):
    """Is handed up to `slots` pieces of work at a time, and may keep those waiting that it has no place for."""

    slots: int

    def submit(self, work: Work) -> "Future[Outcome]": ...


@runtime_checkable
class Stoppable(Protocol):
    """A runner that has processes or jobs to end."""

    def stop(self) -> None:
        """End what still runs, after giving it time to save its state. Called once, at the end of all work too."""
        ...


def perform(work: Work) -> Outcome:
    """Make one cell, or say why not. A stage's exception is recorded and told; Ctrl-C goes through."""
    store = Store(work.store)
    if work.piece is not None:
        return perform_piece(work, store, *work.piece)
    with lease(store.lease_path(work.key)) as held:
        if not held:
            return Outcome("busy")
        if store.manifest(work.key):
            return Outcome("kept")
        return make(work, store)


def perform_piece(work: Work, store: Store, number: int, of: int) -> Outcome:
    """Make a piece where the whole cell will be put together. What fails here fails again there, and is told then."""
    assert work.cell.stage.pieces is not None
    if alive(store.lease_path(work.key)):
        return Outcome("busy")
    with lease(store.lease_path(f"{work.key}.{number}")) as held:
        if not held or store.manifest(work.key):
            return Outcome("busy" if not held else "kept")
        draft, clock = store.draft(work.key, writer(), resumable=True), time.monotonic()
        work.cell.stage.pieces.make(work.cell.params, work.paths, draft / "output", number, of)
        seconds = round(time.monotonic() - clock, 3)
        write_json(draft / PIECES / f"{number}.json", seconds)
        return Outcome("done", seconds)


def taken_by_pieces(draft: Path) -> float:
    """Seconds that the pieces of a cell took, and forget them."""
    seconds = sum((float(read_json(path)) for path in (draft / PIECES).glob("*.json")), 0.0)
    shutil.rmtree(draft / PIECES, ignore_errors=True)
    return seconds


def make(work: Work, store: Store) -> Outcome:
    started, clock, stage = datetime.now(UTC), time.monotonic(), work.cell.stage
    draft: Path | None = None
    try:
        draft = store.draft(work.key, writer(), stage.resumable)
        write_tables(draft / "output", stage.run(work.cell.params, work.paths, draft / "output") or {})
        seconds = round(time.monotonic() - clock + taken_by_pieces(draft), 3)
        store.publish(draft, work.key, manifest_of(work, draft / "output", started, seconds))
        return Outcome("done", seconds)
    except Interrupted:  # a stage that saved its state on Ctrl-C: no failure
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        seconds = round(time.monotonic() - clock, 3)
        store.record_failure(work.key, failure_of(work, error, started, seconds))
        return Outcome("failed", seconds, sentence(error))
    finally:
        if draft is not None and not stage.resumable:
            shutil.rmtree(draft, ignore_errors=True)


def manifest_of(work: Work, output: Path, started: datetime, seconds: float) -> Manifest:
    """What is recorded of a finished cell. Clock times and names stand here, outside the content digest."""
    if not any(path.is_file() for path in output.rglob("*")):
        raise StudyError(f"stage {work.cell.stage.name} wrote nothing; expected at least one file in {output}")
    return {
        "key": work.key,
        "cell": work.cell.name,
        **work.action,
        "content": work.key if work.cell.stage.rounding else folder_digest(output, work.cell.stage.volatile),
        "files": stamps(output),
        "started": started.isoformat(),
        "seconds": seconds,
        "host": platform.node(),
        "python": platform.python_version(),
    }


def failure_of(work: Work, error: Exception, started: datetime, seconds: float) -> Manifest:
    return {
        "key": work.key,
        "cell": work.cell.name,
        **work.action,
        "message": sentence(error),
        "traceback": "".join(traceback.format_exception(error)),
        "started": started.isoformat(),
        "failed": datetime.now(UTC).isoformat(),
        "seconds": seconds,
        "host": platform.node(),
        "pid": os.getpid(),
    }


def sentence(error: Exception) -> str:
    """What went wrong, in one line; the type of an error that was not foreseen."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        text = f"{text or 'memory ran out'}; {FEWER_WORKERS}"
    if isinstance(error, HaymakerError):
        return text
    return f"{type(error).__name__}: {textwrap.shorten(text, UNFORESEEN_CHARACTERS)}"
