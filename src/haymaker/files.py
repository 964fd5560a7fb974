"""Reading files of real rows. A file that is broken is a DataError naming file and line; a row that is whole but of no
use is counted under its reason, never silently left out."""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from haymaker.errors import DataError
from haymaker.records import digest

GZIP_MAGIC = b"\x1f\x8b"
Item = TypeVar("Item")


def read_text(path: str | Path) -> Iterator[str]:
    """Lines of a text file, gzip or plain, whatever its name. Raises DataError for a missing or truncated file."""
    lines = 0
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == GZIP_MAGIC
        with gzip.open(path, "rt", encoding="utf-8") if zipped else open(path, encoding="utf-8") as file:
            for lines, line in enumerate(file, 1):  # noqa: B007 - the count is for the message
                yield line
    except EOFError:
        raise DataError(f"{path}: the gzip stream breaks off after line {lines}; fetch the file again") from None
    except (gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be decoded after line {lines} ({error}); fetch the file again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); give the path of a file") from None


def read_jsonl(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, row) of every line that is not blank; `place` names file and line for messages."""
    number = 0
    for number, line in enumerate(read_text(path), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{place}: not JSON ({error}); expected one JSON object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{place}: expected a JSON object, found {type(row).__name__}")
        yield place, row
    if not number:
        raise DataError(f"{path}: the file is empty; expected one JSON object a line")


def read_json(path: str | Path) -> Any:
    """The one JSON value a file holds, gzip or plain."""
    try:
        return json.loads("".join(read_text(path)))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None


def required(row: Any, key: str, kind: type | tuple[type, ...], place: str) -> Any:
    """row[key], checked to be of `kind`."""
    if not isinstance(row, Mapping):
        raise DataError(f"{place}: expected an object, found {type(row).__name__}")
    if key not in row:
        raise DataError(f"{place}: no {key!r} here; found {', '.join(sorted(row)) or 'nothing'}")
    if not isinstance(row[key], kind):
        names = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
        raise DataError(f"{place}: {key!r} should be {names}, found {type(row[key]).__name__}")
    return row[key]


def texts_of(row: Any, key: str, place: str) -> list[str]:
    """row[key], a list of texts."""
    values = required(row, key, list, place)
    wrong = [type(value).__name__ for value in values if not isinstance(value, str)]
    if wrong:
        raise DataError(f"{place}: {key!r} should be a list of texts, found {', '.join(sorted(set(wrong)))} in it")
    return values


def sift(
    rows: Iterable[tuple[str, dict[str, Any]]], parse: Callable[[dict[str, Any], str], Item | str]
) -> tuple[list[Item], Counter[str]]:
    """Parsed rows, and the counted reasons of those that `parse` rejects by giving a reason instead."""
    kept: list[Item] = []
    rejected: Counter[str] = Counter()
    for place, row in rows:
        parsed = parse(row, place)
        if isinstance(parsed, str):
            rejected[parsed] += 1
        else:
            kept.append(parsed)
    return kept, rejected


def in_split(text: str, split: str, shares: Mapping[Any, float] | None) -> bool:
    """Whether a question belongs to the split, by hash: stable when data grows. Without shares all rows do."""
    if shares is None:
        return True
    place = int(digest(["split", text])[:15], 16) / 16**15 * sum(shares.values())
    for name, share in shares.items():
        if place < share:
            return name == split
        place -= share
    return False


def file_digest(path: str | Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- writing
