"""Files read with a sentence where they are broken: texts, JSON, and what a row of them has to hold."""

import gzip
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any
from zlib import error as BrokenStream

from haymaker.errors import DataError, MissingKey
from haymaker.notation import RepeatedKey, parse_json

GZIP_MAGIC = b"\x1f\x8b"
MOST_AT_ONCE = 2**28  # characters of a line, or of a file that is read whole
MOST_CHARACTERS = 2**33  # of a file that is read line by line
MOST_BYTES = 2**32  # of a file that is read whole


def refuse_what_is_no_file(path: str | Path) -> None:
    """DataError for a pipe, a socket or a device: what it gives is gone once it is read, or never ends."""
    with suppress(OSError, ValueError):  # what cannot be looked at is told where it is opened
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{path}: expected a file, found a pipe or a device; write what it gives into a file")


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """A file's bytes. Raises OSError, and DataError where it is no file or has more than `most` bytes."""
    refuse_what_is_no_file(path)
    if (found := path.stat().st_size) > most:
        raise DataError(f"{path}: {found:,} bytes, too many to read; expected at most {most:,}")
    return path.read_bytes()


def read_text(path: str | Path, most: int = MOST_CHARACTERS, newline: str | None = None) -> Iterator[str]:
    """Lines of a text file in UTF-8, gzip or plain, whatever its name; a byte order mark is none of its characters.

    Ends of lines become a line feed, unless `newline` is "" (as open has it).

    Raises DataError for a missing or truncated file, one of more than `most` characters, or a line of too many.
    """
    lines = found = 0
    refuse_what_is_no_file(path)
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == GZIP_MAGIC
        how: Any = {"mode": "rt", "encoding": "utf-8-sig", "newline": newline}
        with gzip.open(path, **how) if zipped else open(path, **how) as file:
            while line := file.readline(MOST_AT_ONCE + 1):
                lines, found = lines + 1, found + len(line)
                if len(line) > MOST_AT_ONCE or found > most:
                    held = f"line {lines} has more than {MOST_AT_ONCE:,}" if found <= most else f"more than {most:,}"
                    raise DataError(f"{path}: {held} characters, too many to read; split the file")
                if "\0" in line:
                    raise DataError(f"{path}: line {lines} holds NUL, as UTF-16 does; save the file as UTF-8")
                yield line
    except EOFError:
        raise DataError(f"{path}: the gzip stream breaks off after line {lines}; fetch the file again") from None
    except (gzip.BadGzipFile, BrokenStream) as error:
        raise DataError(f"{path}: cannot be decoded after line {lines} ({error}); fetch the file again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be decoded after line {lines} ({error}); save the file as UTF-8") from None
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
            row = parse_json(line)
        except RepeatedKey as error:
            raise DataError(f"{place}: {error}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: not JSON ({error}); expected one JSON object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{place}: expected a JSON object, found {type(row).__name__}")
        refuse_half_letters(row, line, place)
        yield place, row
    if not number:
        raise DataError(f"{path}: the file is empty; expected one JSON object a line")


def read_appended(path: Path, kinds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of a file to which a run added a line at a time, each with keys of these kinds; none without such a file.

    A last line that a crash cut short is left out: its step runs again. Raises DataError for any other that is no row.
    """
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    while lines and not lines[-1].strip():
        lines.pop()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == len(lines) > len(found):
                break
            row = None
        lost = [key for key, kind in kinds.items() if not is_of(row.get(key), kind)] if isinstance(row, dict) else []
        if lost or not isinstance(row, dict):
            why = f"has no {', '.join(lost)} that can be read" if lost else "is not JSON"
            raise DataError(f"{path}: line {number} {why}; delete the file or train with overwrite")
        found.append(row)
    return found


def is_of(value: Any, kind: Any) -> bool:
    """Whether a value of JSON is of a kind; one without bound is no number, nor are true and false."""
    if isinstance(value, bool) or (isinstance(value, int | float) and not abs(value) < 2**63):
        return False
    return isinstance(value, kind)


def refuse_half_letters(value: Any, text: str, place: str) -> None:
    """DataError where a JSON value holds half of a surrogate pair: no letter, so no tokenizer or file takes it."""
    if "\\ud" in text or "\\uD" in text:  # an escape alone can say one; most files have none
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise DataError(
                f"{place}: {half} alone is half of a letter (a surrogate); take it out of the text"
            ) from None


def read_json(path: str | Path, remedy: str = "fetch the file again") -> Any:
    """The one JSON value a file holds, gzip or plain. Raises DataError that ends with `remedy` where it is broken."""
    try:
        text = "".join(read_text(path, MOST_AT_ONCE))
        if not text.strip():
            raise DataError(f"{path}: the file is empty; {remedy}")
        value = parse_json(text)
    except RepeatedKey as error:
        raise DataError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); {remedy}") from None
    refuse_half_letters(value, text, str(path))
    return value


def read_json_if_there(path: Path, remedy: str) -> Any:
    """`read_json`, or None where there is no such file."""
    return read_json(path, remedy) if path.is_file() else None


def rows_in(value: Any, place: str) -> list[dict[str, Any]]:
    """A value that a file holds, checked to be a table: a list of rows. Raises DataError for anything else."""
    if not isinstance(value, list):
        raise DataError(f"{place}: expected a list of rows, found {type(value).__name__}")
    for number, row in enumerate(value):
        if not isinstance(row, dict):
            raise DataError(f"{place}, row {number}: expected a mapping of columns, found {type(row).__name__}")
    return value


def required(row: Any, key: str, kind: type | tuple[type, ...], place: str) -> Any:
    """row[key], checked to be of `kind`; `place` names the row in the DataError of another."""
    if not isinstance(row, Mapping):
        raise DataError(f"{place}: expected an object, found {type(row).__name__}")
    if key not in row:
        raise MissingKey(f"{place}: no {key!r} here; found {', '.join(sorted(row)) or 'nothing'}", row, key)
    kinds = (kind,) if isinstance(kind, type) else kind
    is_truth = isinstance(row[key], bool) and bool not in kinds  # a number, to Python
    if is_truth or not isinstance(row[key], kinds):
        names = " or ".join(one.__name__ for one in kinds)
        raise DataError(f"{place}: {key!r} should be {names}, found {type(row[key]).__name__}")
    return row[key]


def only_fields(row: Mapping[str, Any], kind: type, place: str) -> None:
    """DataError for a row that lacks a field of the dataclass `kind`, or has one that it does not know."""
    known = {one.name: one.default is MISSING and one.default_factory is MISSING for one in fields(kind) if one.init}
    if missing := [name for name, needed in known.items() if needed and name not in row]:
        found = ", ".join(sorted(row)) or "nothing"
        raise DataError(f"{place}: no {', '.join(map(repr, missing))} here; found {found}")
    if unknown := sorted(set(row) - set(known)):
        raise DataError(f"{place}: {', '.join(map(repr, unknown))} is not known here; known are {', '.join(known)}")


def texts_of(row: Any, key: str, place: str) -> list[str]:
    """row[key], checked to be a list of texts."""
    values = required(row, key, list, place)
    wrong = [type(value).__name__ for value in values if not isinstance(value, str)]
    if wrong:
        raise DataError(f"{place}: {key!r} should be a list of texts, found {', '.join(sorted(set(wrong)))} in it")
    return values


def texts_in(row: Any, key: str, place: str) -> list[str]:
    """row[key] as a list of texts; one text alone is a list of it."""
    value = row.get(key) if isinstance(row, Mapping) else None
    return [value] if isinstance(value, str) else texts_of(row, key, place)
