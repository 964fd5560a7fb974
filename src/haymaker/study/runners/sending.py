"""What a runner sends to another process, and how that does it: JSON out, JSON back, what it says in the cell's log.

Never a model, a function or an object: a stage goes by the name under which a module holds it.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path

from haymaker import console
from haymaker.errors import DataError, Interrupted, StudyError
from haymaker.study.cell import Cell, Stage
from haymaker.study.runners.work import Outcome, Work, perform, sentence
from haymaker.study.store import Store

KEY = re.compile("[0-9a-f]{64}")  # a name that may be a path's


def packed(work: Work) -> str:
    """Everything that another process needs to do the work. Raises StudyError for a stage that no module holds."""
    address = address_of(work.cell.stage)
    if address is None:
        raise StudyError(
            f"{work.cell.name}: its stage {work.cell.stage.name} is no variable of a module, so no other process can "
            "find it; assign it to one, or use --runner serial"
        )
    return json.dumps(
        {
            "cell": work.cell.name,
            "stage": address,
            "params": work.cell.params.model_dump(mode="json"),
            "key": work.key,
            "action": dict(work.action),
            "paths": {name: str(path) for name, path in work.paths.items()},
            "store": str(work.store.absolute()),
            "piece": work.piece,
            "folder": str(Path.cwd()),
        }
    )


def unpacked(request: str) -> Work:
    """The work of a request."""
    values = json.loads(request)
    stage = stage_at(values["stage"])
    files = {name: path for name, path in values["paths"].items() if name in stage.params.model_fields}
    cell = Cell(values["cell"], stage, stage.params(**{**values["params"], **files}))  # whole again, as rows of a file
    paths = {name: Path(path) for name, path in values["paths"].items()}
    piece = values["piece"] and tuple(values["piece"])
    return Work(cell, values["key"], values["action"], paths, Path(values["store"]), piece)


def address_of(stage: Stage) -> str | None:
    """`module:variable` of a stage that another process can import; None for one that only this process has."""
    name = stage.run.__module__
    found = [key for key, value in vars(sys.modules[name]).items() if value is stage]
    return f"{name}:{found[0]}" if found and importable(name) else None


@cache
def importable(module: str) -> bool:
    """Whether another process with our search path would find this very module under its name."""
    path, place = None, None
    for depth in range(1, module.count(".") + 2):
        spec = found_anew(".".join(module.split(".")[:depth]), path)
        if spec is None:
            return False
        path, place = spec.submodule_search_locations, spec.origin
    return place is not None and place == getattr(sys.modules[module], "__file__", None)


def found_anew(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """A module as it would be found if it were not loaded yet, which `importlib.util.find_spec` does not tell."""
    found = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


def stage_at(address: str) -> Stage:
    module, _, name = address.partition(":")
    stage = getattr(import_module(module), name)
    if not isinstance(stage, Stage):
        raise StudyError(f"{address}: expected a stage, found {type(stage).__name__}")
    return stage


def perform_packed(request: str) -> str:
    """Do a request's work in this process, its messages in the cell's log; an Outcome as JSON."""
    values = json.loads(request)
    os.chdir(values["folder"])
    with logged(log_path(Store(Path(values["store"])), values["key"]), values["cell"]):
        outcome = performed(request)
        say(f"{outcome.status} after {outcome.seconds:.1f} s {outcome.message}".rstrip())
    return json.dumps(asdict(outcome))


def performed(request: str) -> Outcome:
    """How a request ended; also where that could not be recorded, as on a full disk."""
    try:
        return perform(unpacked(request))
    except (KeyboardInterrupt, Interrupted) as stop:
        return Outcome("stopped", message=str(stop) or "stopped")
    except Exception as error:
        return Outcome("failed", message=sentence(error))


def say(text: str) -> None:
    """A line of the log, unless there is no room for it."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def outcome_of(answer: str) -> Outcome:
    return Outcome(**json.loads(answer))


# ---- logs


def log_path(store: Store, key: str) -> Path:
    """Where what a cell's process says is kept, of all attempts. Raises DataError for what is no key."""
    if not KEY.fullmatch(key):
        raise DataError(f"{store.root}: expected the key of a cell, 64 hexadecimal digits, found {key[:80]!r}")
    return store.root / "logs" / f"{key}.log"


@contextmanager
def logged(path: Path, cell: str) -> Iterator[None]:
    """All that this process writes to stdout and stderr, also from C, goes to the end of a file instead."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with suppress(OSError):  # a disk without room: what is said goes where this process's own messages go
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
    console.progress_in_lines(True)
    try:
        begun = datetime.now().isoformat(sep=" ", timespec="seconds")
        say(f"---- {begun} {platform.node()} process {os.getpid()}: {cell}")
        yield
    finally:
        console.progress_in_lines(False)
        for stream, descriptor, number in zip((sys.stdout, sys.stderr), kept, (1, 2), strict=True):
            with suppress(OSError):
                stream.flush()
            os.dup2(descriptor, number)
            os.close(descriptor)


def last_line(path: Path, most: int = 2048) -> str:
    """The last line of a log that says something; empty without one."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - most))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def last_attempt(path: Path) -> str:
    """What the newest attempt of a cell said; empty without a log."""
    with suppress(OSError):
        text = path.read_text(errors="replace")
        return text[max(0, text.rfind("\n---- ") + 1) :]
    return ""
