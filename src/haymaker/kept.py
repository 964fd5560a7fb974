"""Rows that are done are kept in a file while the others are computed, so that the same call goes on after a stop.

The file stands beside the output, `.NAME.partial`, and goes when that is published. Its first line says of which inputs
the rows are, as digests; then there is a JSON line for each row. Rows that are computed together (a batch) are computed
again together where one of them is missing, so what comes out is that of a run that was never stopped, bit for bit.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from threading import Event
from typing import Any, Generic, TypeVar

import numpy as np

from haymaker.console import note, stop_signal
from haymaker.errors import DataError, Interrupted
from haymaker.files import alone, naming, write_text
from haymaker.records import digest

FORMAT = 1
Key = tuple[int, ...]  # of a row: its number; the place of a set of heads before it, where there are several
Found = TypeVar("Found")


@dataclass(frozen=True)
class Codec(Generic[Found]):
    """How what was found of a row becomes JSON, and comes back equal."""

    write: Callable[[Found], Any]
    read: Callable[[Any], Found]


@dataclass
class Log(Generic[Found]):
    """An open file of rows, and what an earlier call left in it."""

    path: Path
    file: FileIO
    codec: Codec[Found]
    found: dict[Key, Any]
    stopped: Event

    def add(self, found: Mapping[Key, Found]) -> None:
        """Keep rows: a kill behind this loses none of them. Raises OutputError where there is no room."""
        values = {key: self.codec.write(value) for key, value in found.items()}
        lines = [json.dumps({"row": key, "found": value}, ensure_ascii=False) + "\n" for key, value in values.items()]
        with naming(self.path, self.path):
            left = memoryview("".join(lines).encode(errors="backslashreplace"))
            while left:  # a disk that fills up takes a part
                left = left[self.file.write(left) :]
        self.found |= values


@dataclass(frozen=True)
class Kept(Generic[Found]):
    """What is done of a piece of work, and where it is kept: nowhere without a log."""

    log: Log[Found] | None = None
    place: Key = field(default=())

    def under(self, place: int) -> "Kept[Found]":
        """The rows of one of several parts of the work."""
        return replace(self, place=(*self.place, place))

    def batch(self, keys: Sequence[Key], compute: Callable[[], Sequence[Found]]) -> list[Found]:
        """What was found of rows that are computed together: by an earlier call of all of them, else now.

        Raises Interrupted before it computes where the user has asked for a stop.
        """
        if self.log is None:
            return list(compute())
        whole = [(*self.place, *key) for key in keys]
        if all(key in self.log.found for key in whole):
            return [self.log.codec.read(self.log.found[key]) for key in whole]
        if self.log.stopped.is_set():
            raise KeyboardInterrupt
        found = list(compute())
        self.log.add(dict(zip(whole, found, strict=True)))
        return found


def partial_of(output: Path, part: str = "") -> Path:
    """Where rows are kept until `output` is whole; `part` names one of several pieces of work behind one output."""
    return output.parent / f".{output.name}.{f'{part}.' if part else ''}partial"


@contextmanager
def keeping(path: Path, inputs: Mapping[str, Any], total: int, what: str, codec: Codec[Found]) -> Iterator[Kept[Found]]:
    """Rows of a piece of work that are kept at `path` as they are done, `total` in all, called `what`.

    inputs: all that decides what is found, by name. Rows of other inputs are replaced, with a sentence. Ctrl-C stops
    behind the rows in hand. Raises Interrupted then, with what is done in the file; DataError where another process
    holds it.
    """
    header = {"format": FORMAT, "inputs": {name: digest(value) for name, value in inputs.items()}}
    held = DataError(f"{path}: another process is adding rows to it; wait for it, or give another output")
    with alone(path.with_name(f"{path.name}.lock"), held), stop_signal(f"the {what} in hand") as stopped:
        found = earlier(path, header)
        if found:
            note(f"{path}: {len(found)} of {total} {what} were done before; going on behind them")
        with naming(path, path):
            file = path.open("ab", buffering=0)  # what is added is with the system, nothing waits
        log: Log[Found] = Log(path, file, codec, found, stopped)
        try:
            yield Kept(log)
        except KeyboardInterrupt:
            raise Interrupted(stopped_with(len(found), total, what, path)) from None
        finally:
            file.close()
            if not found:
                path.unlink(missing_ok=True)


def stopped_with(done: int, total: int, what: str, path: Path) -> str:
    if not done:
        return f"stopped before the first of {total} {what} was done; nothing is left behind"
    return (
        f"stopped with {done} of {total} {what} done; they are kept in {path}: give the same command again to go on "
        "(--overwrite starts anew)"
    )


def earlier(path: Path, header: Mapping[str, Any]) -> dict[Key, Any]:
    """The rows that stand at `path`; afterwards it holds a header and these alone, ready for more."""
    if path.is_file():
        first, found, end = read(path)
        if first == header:
            os.truncate(path, end)
            return found
        if found:
            note(f"{path}: holds rows that were made with {others(first, header)}; they are replaced", style="yellow")
    write_text(path, json.dumps(header) + "\n")
    return {}


def read(path: Path) -> tuple[Any, dict[Key, Any], int]:
    """Header, rows and how many bytes are whole: a line that a kill or a power cut broke ends the file."""
    first, found, end = None, {}, 0
    with path.open("rb") as file:
        for line in file:
            try:
                assert line.endswith(b"\n")
                value = json.loads(line)
                if first is None:
                    first = value
                else:
                    found[tuple(value["row"])] = value["found"]
            except (AssertionError, ValueError, LookupError, TypeError):
                break
            end += len(line)
    return first, found, end


def others(first: Any, header: Mapping[str, Any]) -> str:
    """In words, in which inputs a file's header differs."""
    inputs = first.get("inputs") if isinstance(first, dict) else None
    if not isinstance(inputs, dict):
        return "another version"
    wanted = header["inputs"]
    changed = [name for name in {**wanted, **inputs} if inputs.get(name) != wanted.get(name)]
    return f"another {' and another '.join(changed)}" if changed else "another version"


# ---- arrays as JSON


def written_array(values: np.ndarray) -> dict[str, Any]:
    """An array of two dimensions; its numbers are exact, NaN is null."""
    rows = [[None if value != value else value for value in row] for row in values.tolist()]
    return {"dtype": str(values.dtype), "values": rows}


def read_array(written: Mapping[str, Any]) -> np.ndarray:
    """What `written_array` wrote."""
    rows = [[np.nan if value is None else value for value in row] for row in written["values"]]
    return np.array(rows, dtype=written["dtype"])
