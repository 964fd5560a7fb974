"""Answers by content of their request, in one SQLite file: an answer that was paid for is never asked for again."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import BaseFileLock

from haymaker.console import each
from haymaker.errors import ConfigError, DataError, HaymakerError
from haymaker.file_locks import drop_lock, take_lock
from haymaker.file_reading import read_jsonl
from haymaker.files import check_writable
from haymaker.records import canonical_json, digest
from haymaker.writing.records import MOST_TOKENS, Status

Mode = Literal["normal", "refresh", "offline", "read-only"]
FORMAT = 1  # of the file; SQLite keeps it as user_version
TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, request TEXT NOT NULL, response TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
    finish_reason TEXT NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, time TEXT NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Entry:
    """One request (canonical JSON), the raw reply to it, and what that was. `time` is UTC, ISO 8601."""

    key: str
    request: str
    response: str
    status: Status
    reason: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    time: str

    @property
    def asked_again(self) -> bool:
        """Whether the next run asks again: an error without a reply. One with a reply was paid for."""
        return self.status == "error" and not self.response


COLUMNS = tuple(field.name for field in fields(Entry))
SELECT = f"SELECT {', '.join(COLUMNS)} FROM answers"
VALUES = f"INTO answers VALUES ({', '.join('?' * len(COLUMNS))})"


class Cache:
    """The file at `path`; ":memory:" keeps nothing. Offline and read-only never change it.

    Raises ConfigError where there is no such file to read, or another run is filling it; DataError for another file.
    """

    def __init__(self, path: str | Path, mode: Mode = "normal") -> None:
        self.path, self.mode = str(path), mode
        self.writable = mode in ("normal", "refresh")
        self.lock = alone_at(self.path) if self.writable and self.path != ":memory:" else None
        try:
            self.connection = connect(self.path, self.writable)
        except HaymakerError:
            self.unlock()
            raise

    def close(self) -> None:
        self.connection.close()
        self.unlock()

    def unlock(self) -> None:
        if self.lock is not None:
            drop_lock(self.lock)

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def get(self, key: str) -> Entry | None:
        """The answer to the request of that key."""
        with explained(self.path):
            found = self.connection.execute(f"{SELECT} WHERE key = ?", (key,)).fetchone()
        return None if found is None else self.entry(found)

    def put(self, entry: Entry) -> None:
        """Keep an answer, safe from a kill when this returns; one of the same key is replaced."""
        if not self.writable:
            return
        with explained(self.path), self.connection:
            self.connection.execute(f"INSERT OR REPLACE {VALUES}", astuple(entry))

    def entries(self) -> Iterator[Entry]:
        """All of them, in the keys' order."""
        with explained(self.path):
            for row in self.connection.execute(f"{SELECT} ORDER BY key"):
                yield self.entry(row)

    def entry(self, row: tuple[Any, ...]) -> Entry:
        """A row of the file, which holds anything that another program wrote there, or a bad disk."""
        return entry_of(dict(zip(COLUMNS, row, strict=True)), f"{self.path}, key {row[0]!s:.12}")

    def statistics(self) -> dict[str, Any]:
        """Answers and tokens: in all, by status, by model."""
        with explained(self.path):
            sums = "COUNT(*), COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0)"
            count, given, taken = self.connection.execute(f"SELECT {sums} FROM answers").fetchone()
            by_status = dict(self.connection.execute("SELECT status, COUNT(*) FROM answers GROUP BY 1 ORDER BY 1"))
            model = "json_extract(request, '$.model')"
            by_model = dict(self.connection.execute(f"SELECT {model}, COUNT(*) FROM answers GROUP BY 1 ORDER BY 1"))
        tokens = {"input_tokens": given, "output_tokens": taken}
        return {"answers": count, **tokens, "by_status": by_status, "by_model": by_model}

    def export(self, path: Path) -> int:
        """Write every entry as a line of JSON, in the keys' order; how many there were."""
        count = 0
        with open(path, "w", encoding="utf-8") as file:
            for entry in each(self.entries(), None, "answers"):
                file.write(canonical_json(asdict(entry)) + "\n")
                count += 1
        return count

    def add(self, entries: Sequence[Entry]) -> tuple[int, int]:
        """Add entries, all or none; how many were new, and how many were here already."""
        with explained(self.path), self.connection:
            added = self.connection.executemany(
                f"INSERT OR IGNORE {VALUES}", [astuple(entry) for entry in entries]
            ).rowcount
        return added, len(entries) - added


def read_exported(path: Path) -> list[Entry]:
    """The entries of a file that `Cache.export` wrote.

    Raises DataError for a line that is no entry, or whose key is not that of its request.
    """
    return [entry_of(row, place) for place, row in each(read_jsonl(path), None, "answers read")]


def entry_of(row: dict[str, Any], place: str) -> Entry:
    """An entry from its values by column. Raises DataError for what is none, and a key that is not its request's."""
    if set(row) != set(COLUMNS):
        raise DataError(f"{place}: expected {', '.join(COLUMNS)}, found {', '.join(sorted(row))}")
    for name in COLUMNS:
        kind = int if name.endswith("_tokens") else str
        if type(row[name]) is not kind or (kind is int and not 0 <= row[name] <= MOST_TOKENS):
            raise DataError(f"{place}: {name!r} should be {kind.__name__}, found {row[name]!r}")
    if row["status"] not in get_args(Status):
        raise DataError(f"{place}: status should be one of {', '.join(get_args(Status))}, found {row['status']!r}")
    entry = Entry(**row)
    try:
        key = digest(json.loads(entry.request))
    except (ValueError, RecursionError):
        raise DataError(f"{place}: 'request' is not JSON") from None
    if key != entry.key:
        raise DataError(f"{place}: the key {entry.key[:12]} is not that of its request ({key[:12]}); copy it again")
    return entry


def connect(path: str, writable: bool) -> sqlite3.Connection:
    """The open database, made where there is none and it may be written."""
    if not writable and not Path(path).is_file():
        raise ConfigError(f"{path}: there is no such cache to read; give the path of one, or ask without --mode")
    if writable and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with explained(path):
        connection = sqlite3.connect(address(path, writable), uri=not writable)
        try:
            check_or_make(connection, path, writable)
        except (sqlite3.Error, DataError):
            connection.close()
            raise
    return connection


def address(path: str, writable: bool) -> str:
    return path if writable else f"{Path(path).resolve().as_uri()}?mode=ro"


def check_or_make(connection: sqlite3.Connection, path: str, writable: bool) -> None:
    """See that the file is a cache of this format, and make a new one that."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if version != FORMAT and (tables or not writable):
        raise DataError(f"{path}: not a cache of answers of format {FORMAT} (found {version}); give another path")
    if writable:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing; a power cut may lose the last
        connection.execute(TABLE)
        connection.execute(f"PRAGMA user_version={FORMAT}")
        connection.commit()


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn SQLite's refusals into one sentence."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where SQLite says a name that is no text
        raise DataError(f"{path}: cannot be used as a cache ({error}); give the path of one, or a new one") from None


def alone_at(path: str) -> BaseFileLock:
    """Hold `path`.lock until the cache is closed, or the process dies. Two runs that fill one cache would pay twice."""
    check_writable(Path(path))
    filling = ConfigError(f"{path}: another run is filling this cache; wait for it, or give another --cache")
    return take_lock(Path(f"{path}.lock"), filling)
