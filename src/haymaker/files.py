"""Files and folders written whole or not at all.

What is written here is on disk before it takes its name, so that neither a kill nor a power cut leaves half of it. What
cannot be written for want of a place, of permission or of room is an OutputError, which names the file.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from haymaker.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
BLOCK_BYTES = 4096
SYNCS = 8  # at a time: a disk writes the lot for little more than one of them


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
    write_text(path, json_text(value))


def draft_json(path: Path, value: Any) -> None:
    """Write one JSON value into a folder that `name_folder` names later: it is on disk then, and whole."""
    with naming(path, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json_text(value), encoding="utf-8", errors="backslashreplace")


def json_text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


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
    """Delete a file or folder, if there is one; of a link that itself, and nothing of what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def strangers_in(folder: Path, own: Iterable[str]) -> list[str]:
    """What a folder holds beside these names, or patterns of names."""
    patterns = tuple(own)
    return sorted(path.name for path in folder.iterdir() if not any(fnmatch(path.name, one) for one in patterns))


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
    with ThreadPoolExecutor(SYNCS) as threads:
        list(threads.map(sync, (*folder.rglob("*"), folder)))


def sync(path: Path) -> None:
    """Have a file, or a folder's list of names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
