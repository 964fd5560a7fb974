"""Digests of files and folders, and what changed in one since."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haymaker.file_reading import refuse_what_is_no_file
from haymaker.records import digest

TEXT = (".json", ".jsonl")  # small beside weights, and hashed in a fraction of the time that reading it takes


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
    """What differs from the stamps, a phrase each. Unless `thorough`, bytes of weights and rows whose size and time of
    change are as they were count as unchanged; JSON, of which results are made, is always looked at."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    wrong = [f"{folder / name} is missing" for name in known if name not in found]
    wrong += [f"{path} was not there" for name, path in found.items() if name not in known]
    for name in known.keys() & found.keys():
        sha256, *stamp = known[name]
        looked_at = thorough or name.endswith(TEXT) or stamp != [*size_and_time(found[name])]
        if looked_at and file_digest(found[name]) != sha256:
            wrong.append(f"{found[name]} was changed")
    return sorted(wrong)
