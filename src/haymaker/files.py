"""Files and folders: written whole or not at all, read with a sentence where they are broken, their digests and locks.

What is written here is on disk before it takes its name, so that neither a kill nor a power cut leaves half of it.
"""

import errno
import gzip
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from haymaker.errors import DataError, HaymakerError, OutputError
from haymaker.notation import RepeatedKey, parse_json
from haymaker.records import digest

GZIP_MAGIC = b"\x1f\x8b"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
BLOCK_BYTES = 4096


# ---- writing. Raises OutputError, which names the file, where there is no place, no permission or no room.


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A scratch path beside `path`; what the block writes there takes the name `path` if the block ends well.

    After an exception nothing is left, after a kill at most a hidden scratch file. The folders above are made.
    """
    scratch = scratch_beside(path)
    with naming(path, scratch):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield scratch
            sync(scratch)
            os.replace(scratch, path)
        finally:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A scratch folder; the files that the block makes in it move into `folder`, each whole, if it ends well."""
    scratch = folder / f".{os.getpid()}.tmp"
    with naming(folder, scratch):
        folder.mkdir(parents=True, exist_ok=True)
        remove(scratch)
        scratch.mkdir()
        try:
            yield scratch
            sync_tree(scratch)
            for made in sorted(scratch.iterdir()):
                os.replace(made, folder / made.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A scratch folder beside `folder` that takes its name, and its place, if the block ends well."""
    scratch = scratch_beside(folder)
    with naming(folder, scratch):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove(scratch)
        scratch.mkdir()
        try:
            yield scratch
            replace_folder(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def naming(path: Path, scratch: Path) -> Iterator[None]:
    """Turn the system's refusal to write `path` into an OutputError; what a block failed to read stays as it is.

    What a block was writing inside of the scratch path is told by the name that it would have had.
    """
    refuse_home(path)
    try:
        yield
    except OutputError as error:
        raise OutputError(str(error).replace(f"{scratch}{os.sep}", f"{path}{os.sep}")) from error
    except OSError as error:
        if not refuses(error, path, scratch):
            raise
        raise unwritable(path, error) from error


def refuse_home(path: Path) -> None:
    """OutputError for a `~` that a shell would have replaced: it would become the name of a folder here."""
    first, meant = path.parts[:1], os.path.expanduser(path)
    if meant != str(path) and not Path(*first).is_dir():
        raise OutputError(f"{path}: no shell has put the home folder in the place of {first[0]}; write {meant}")


def refuses(error: OSError, path: Path, scratch: Path) -> bool:
    """Whether an error is about writing `path`: it names that or a folder above, or what is written for it."""
    written = error.filename2 or error.filename  # where one file is copied into another
    if written is None:  # a write that finds no room names no file
        return error.errno in (*FULL, *READ_ONLY, errno.EIO)
    place = os.path.abspath(os.fsdecode(written))
    return path.absolute().is_relative_to(place) or Path(place).is_relative_to(scratch.absolute())


def unwritable(path: Path, error: OSError) -> OutputError:
    """Why there can be nothing at `path`, and what to do."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return OutputError(f"{path}: cannot be written ({reason}); make room there, and give the same command again")
    return OutputError(f"{path}: cannot be written ({reason}); give a place where files can be made")


def check_writable(path: Path) -> None:
    """Raise OutputError where no file or folder can be made at `path`: better now than after hours.

    What exists of its folders is tried by a block of bytes that leaves nothing behind.
    """
    refuse_home(path)
    try:
        there = path if path.is_dir() else path.parent
        while not os.path.lexists(there):
            there = there.parent
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(BLOCK_BYTES))
    except OSError as error:
        raise unwritable(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; a lone surrogate as an escape, in JSON its own spelling."""
    with whole_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, whole or not at all. ValueError for a number that JSON does not know."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON object a line, whole or not at all."""
    with whole_file(path) as scratch, scratch.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def replace_folder(ready: Path, folder: Path) -> None:
    """Give a finished folder its name. What has that name stands aside, beside `ready`, until it is done.

    After an interrupt one of the two stands there, and nothing aside.
    """
    sync_tree(ready)
    aside = scratch_beside(ready)
    remove(aside)
    try:
        if folder.exists():
            os.replace(folder, aside)
        os.replace(ready, folder)
        sync(folder.parent)
    finally:
        if aside.exists() and not folder.exists():
            os.replace(aside, folder)
        remove(aside)


def name_folder(ready: Path, folder: Path) -> bool:
    """Give a finished folder its name; False, and nothing changed, where somebody else's has it already."""
    sync_tree(ready)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(ready, folder)
    except OSError:
        if not folder.exists():
            raise
        return False
    sync(folder.parent)
    return True


def remove(path: Path) -> None:
    """Delete a file or folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_whole(folder: Path, aside: Path) -> None:
    """Delete a folder that disappears at once: it goes under the name `aside` first."""
    aside.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder, aside)
    shutil.rmtree(aside)


def scratch_beside(path: Path) -> Path:
    """A hidden name beside `path` that is this process's own."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def sync_tree(folder: Path) -> None:
    """Have every file and folder of a tree on disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Have a file, or a folder's list of names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- reading


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
    except gzip.BadGzipFile as error:
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


def read_appended(path: Path, keys: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of a file to which a run added a line at a time, each with these keys; none where there is no such file.

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
        if not isinstance(row, dict) or (lost := [key for key in keys if key not in row]):
            why = f"has no {', '.join(lost)}" if isinstance(row, dict) else "is not JSON"
            raise DataError(f"{path}: line {number} {why}; delete the file or train with overwrite")
        found.append(row)
    return found


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


def required(row: Any, key: str, kind: type | tuple[type, ...], place: str) -> Any:
    """row[key], checked to be of `kind`; `place` names the row in the DataError of another."""
    if not isinstance(row, Mapping):
        raise DataError(f"{place}: expected an object, found {type(row).__name__}")
    if key not in row:
        raise DataError(f"{place}: no {key!r} here; found {', '.join(sorted(row)) or 'nothing'}")
    if not isinstance(row[key], kind):
        names = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
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
    value = row.get(key)
    return [value] if isinstance(value, str) else texts_of(row, key, place)


# ---- digests


def file_digest(path: str | Path) -> str:
    """sha256 of a file's bytes, in hex. DataError for what has no end."""
    refuse_what_is_no_file(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, volatile: Iterable[str] = ()) -> str:
    """One digest of a folder's file names and contents, without files that match a volatile glob pattern."""
    patterns = tuple(volatile)
    names = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    kept = {name: path for name, path in names.items() if not any(name.match(pattern) for pattern in patterns)}
    return digest({name.as_posix(): file_digest(path) for name, path in kept.items()})


def stamps(folder: Path) -> dict[str, list[Any]]:
    """Of every file of a folder its sha256, bytes and time of change, by name: what `changed_files` compares."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: [file_digest(path), *size_and_time(path)] for name, path in files.items()}


def size_and_time(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def changed_files(folder: Path, known: Mapping[str, list[Any]], thorough: bool = True) -> list[str]:
    """What differs from the stamps, a phrase each. Unless `thorough`, bytes of a file whose size and time of change
    are as they were count as unchanged."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    wrong = [f"{folder / name} is missing" for name in known if name not in found]
    wrong += [f"{path} was not there" for name, path in found.items() if name not in known]
    for name in known.keys() & found.keys():
        sha256, *stamp = known[name]
        looked_at = thorough or stamp != [*size_and_time(found[name])]
        if looked_at and file_digest(found[name]) != sha256:
            wrong.append(f"{found[name]} was changed")
    return sorted(wrong)


# ---- locks


def take_lock(path: Path, refusal: HaymakerError) -> BaseFileLock:
    """Hold the lock file at `path` until `drop_lock`, or until this process ends, however it ends.

    Raises `refusal` where another process, or another lock of this one, holds it.
    """
    lock = FileLock(path, blocking=False, thread_local=False)
    try:
        with naming(path, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise refusal from None
    return lock


@contextmanager
def alone(path: Path, refusal: HaymakerError) -> Iterator[None]:
    """Hold the lock file at `path` for a block. Raises `refusal` where somebody else holds it."""
    lock = take_lock(path, refusal)
    try:
        yield
    finally:
        drop_lock(lock)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold the lock file at `path` for a block, after all that hold it before."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        drop_lock(lock)


def drop_lock(lock: BaseFileLock) -> None:
    """Let go of a lock; its file goes with it."""
    # While it is held: who opened the file before finds that it has no name any more, and asks again.
    with suppress(OSError):  # Windows removes no open file; there the library does, once it is closed
        os.unlink(lock.lock_file)
    lock.release()
