"""Rows that are done are kept in a file while the others are computed, so that the same call goes on after a stop.

The file stands beside the output, `.NAME.partial`, and goes when that is published. Its first line says of which inputs
the rows are, as digests; then there is a line for each row, a checksum and JSON. Rows that are computed together (a
batch) are computed again together where one of them is missing, so what comes out is that of a run that was never
stopped, bit for bit. For that the header keeps how many tokens a batch holds, which the free memory chose; and a batch
that ran out of memory is computed in halves, once, which its lines say.
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
from zlib import crc32

import numpy as np

from haymaker.console import note, stop_signal
from haymaker.errors import DataError, Interrupted, OutOfMemory
from haymaker.file_locks import alone
from haymaker.files import naming, write_text
from haymaker.records import digest

FORMAT = 3
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
    lines: dict[Key, Any]
    stopped: Event

    def add(self, found: Mapping[Key, Found], halved: bool) -> None:
        """Keep rows: a kill behind this loses none of them. Raises OutputError where there is no room."""
        told = {"halved": True} if halved else {}
        new = {key: {"row": key, "found": self.codec.write(value), **told} for key, value in found.items()}
        with naming(self.path, self.path):
            left = memoryview(b"".join(map(sealed, new.values())))
            while left:  # a disk that fills up takes a part
                left = left[self.file.write(left) :]
        self.lines |= new


@dataclass(frozen=True)
class Kept(Generic[Found]):
    """What is done of a piece of work, and where it is kept: nowhere without a log.

    room: Tokens (or packed rows) of a batch, by an earlier call where there was one. halved: Rows whose batch ran out
    of memory and was computed in halves, and all those after them.
    """

    log: Log[Found] | None = None
    place: Key = field(default=())
    room: int = 0
    halved: set[Key] = field(default_factory=set)

    def under(self, place: int) -> "Kept[Found]":
        """The rows of one of several parts of the work."""
        return replace(self, place=(*self.place, place))

    def was_halved(self, *key: int) -> bool:
        """Whether a row was computed in half of its batch, since memory ran out."""
        return (*self.place, *key) in self.halved

    def batch(
        self, keys: Sequence[Key], compute: Callable[[int], Sequence[Found]], divisible: bool = True
    ) -> list[Found]:
        """What was found of rows that are computed together: by an earlier call of all of them, else now.

        compute: finds it in so many parts, 1 or 2; in 2 where memory ran out, then or at an earlier batch. divisible:
        Whether that takes less memory. Raises Interrupted before it computes where the user has asked for a stop,
        OutOfMemory where the halves do not fit either.
        """
        whole = [(*self.place, *key) for key in keys]
        if self.log is not None and all(key in self.log.lines for key in whole):
            lines = [self.log.lines[key] for key in whole]
            self.halved.update(key for key, line in zip(whole, lines, strict=True) if line.get("halved"))
            return [self.log.codec.read(line["found"]) for line in lines]
        if self.log is not None and self.log.stopped.is_set():
            raise KeyboardInterrupt
        found = self._halved(whole, compute) if divisible and self.halved else self._tried(whole, compute, divisible)
        if self.log is not None:
            self.log.add(dict(zip(whole, found, strict=True)), whole[0] in self.halved)
        return found

    def row(self, key: Key, compute: Callable[[], Sequence[Found]]) -> list[Found]:
        """`batch` of a row that is computed by itself and has no half."""
        return self.batch([key], lambda _: compute(), divisible=False)

    def _tried(self, whole: Sequence[Key], compute: Callable[[int], Sequence[Found]], divisible: bool) -> list[Found]:
        try:
            return list(compute(1))
        except OutOfMemory as error:
            if not divisible:
                raise
            said = str(error)
        # behind the block, whose error holds on to every tensor of the frames that it passed
        note(f"{said.partition(';')[0]}; this batch and those after it are computed in halves", style="yellow")
        return self._halved(whole, compute)

    def _halved(self, whole: Sequence[Key], compute: Callable[[int], Sequence[Found]]) -> list[Found]:
        self.halved.update(whole)
        try:
            return list(compute(2))
        except OutOfMemory as error:
            raise OutOfMemory(f"{error}; half of a batch did not fit either") from error


def partial_of(output: Path, part: str = "") -> Path:
    """Where rows are kept until `output` is whole; `part` names one of several pieces of work behind one output."""
    return output.parent / f".{output.name}.{f'{part}.' if part else ''}partial"


@contextmanager
def keeping(
    path: Path, inputs: Mapping[str, Any], total: int, what: str, codec: Codec[Found], *, room: int = 0
) -> Iterator[Kept[Found]]:
    """Rows of a piece of work that are kept at `path` as they are done, `total` in all, called `what`.

    inputs: all that decides what is found, by name. Rows of other inputs are replaced, with a sentence. room: tokens of
    a batch, where no earlier call has settled them. Ctrl-C stops behind the rows in hand. Raises Interrupted then, with
    what is done in the file; DataError where another process holds it.
    """
    header = {"format": FORMAT, "inputs": {name: digest(value) for name, value in inputs.items()}, "room": room}
    held = DataError(f"{path}: another process is adding rows to it; wait for it, or give another output")
    with alone(path.with_name(f"{path.name}.lock"), held), stop_signal(f"the {what} in hand") as stopped:
        found, room = earlier(path, header)
        if found:
            note(f"{path}: {len(found)} of {total} {what} were done before; going on behind them")
        with naming(path, path):
            file = path.open("ab", buffering=0)  # what is added is with the system, nothing waits
        log: Log[Found] = Log(path, file, codec, found, stopped)
        try:
            yield Kept(log, room=room)
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


def earlier(path: Path, header: Mapping[str, Any]) -> tuple[dict[Key, Any], int]:
    """The rows that stand at `path`, and the room of their batches; afterwards it holds a header and these alone, ready
    for more."""
    if path.is_file():
        first, found, end = read(path)
        if (
            isinstance(first, dict)
            and isinstance(first.get("room"), int)
            and first | {"room": header["room"]} == header
        ):
            os.truncate(path, end)
            return found, first["room"]
        if found:
            note(f"{path}: holds rows that were made with {others(first, header)}; they are replaced", style="yellow")
    write_text(path, sealed(header).decode())
    return {}, header["room"]


def read(path: Path) -> tuple[Any, dict[Key, Any], int]:
    """Header, rows and how many bytes are whole: a line that a kill, a power cut or a disk broke ends the file."""
    first, found, end = None, {}, 0
    with path.open("rb") as file:
        for line in file:
            try:
                value = opened(line)
                if first is None:
                    first = value
                else:
                    found[tuple(value["row"])] = {"found": value["found"], "halved": value.get("halved", False)}
            except (ValueError, LookupError, TypeError):
                break
            end += len(line)
    return first, found, end


def sealed(value: Any) -> bytes:
    """A value as a line: its checksum, and its JSON."""
    said = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")
    return b"%08x %s\n" % (crc32(said), said)


def opened(line: bytes) -> Any:
    """What `sealed` made a line of. Raises ValueError for any other line."""
    said = line[9:-1]
    if line != b"%08x %s\n" % (crc32(said), said):
        raise ValueError("not a line that was kept, or a part of one")
    return json.loads(said)


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
