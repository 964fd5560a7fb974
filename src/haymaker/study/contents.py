"""Digests of contents: files, folders, and what cells read from outside."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from haymaker.records import digest
from haymaker.study.outside import Outside


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_digest(folder: Path, volatile: Iterable[str] = ()) -> str:
    """One digest of a folder's file names and contents, without files that match a volatile glob pattern."""
    patterns = tuple(volatile)
    names = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    kept = {name: path for name, path in names.items() if not any(name.match(pattern) for pattern in patterns)}
    return digest({name.as_posix(): file_digest(path) for name, path in kept.items()})


class Digests:
    """Digests of outside files, kept by path, size and time of change: weights are not hashed twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = self.read()

    def read(self) -> dict[str, str]:
        try:
            return json.loads(self.path.read_text())
        except (OSError, ValueError):  # it is only a cache: what is lost is hashed again
            return {}

    def of(self, outside: Outside) -> str:
        """The digest of its contents; file names count within a folder. ConfigError where it is not on this machine."""
        files = outside.files()
        return digest([("" if outside.kind == "file" else path.name, self.of_file(path)) for path in files])

    def of_file(self, path: Path) -> str:
        about = path.stat()
        label = f"{path.resolve()} {about.st_size} {about.st_mtime_ns}"
        if label not in self.known:
            self.known[label] = file_digest(path)
            self.write()
        return self.known[label]

    def write(self) -> None:
        if not self.path.parent.is_dir():  # `plan` of a study that never ran leaves nothing behind
            return
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(self.known, indent=1))
        os.replace(temporary, self.path)
