"""Digests of contents: files, folders, and what cells read from outside."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from haymaker.errors import StudyError
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


# ---- The content-addressed store: a finished cell is a folder named by its key, complete or not there.
#
# cells/<key>/manifest.json, output/   published by one rename
# tmp/<key>-<host>-<pid>/              being written; left behind only by a kill
# work/<key>/                          the same for resumable stages: an interrupted call goes on here
# failures/<key>.json                  a failed attempt and its traceback: told, never taken for a result
# leases/<key>.json                    who works on the cell now
# plans/<study>.json                   the keys of a study's cells when it last ran, for gc

Manifest = dict[str, Any]


class Store:
    """A folder that several runners may share."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def output(self, key: str) -> Path:
        """The folder with a finished cell's output."""
        return self.root / "cells" / key / "output"

    def manifest(self, key: str) -> Manifest | None:
        """What is recorded of a finished cell; None if there is none."""
        return read_json(self.root / "cells" / key / "manifest.json")

    def manifests(self) -> Iterator[Manifest]:
        """Every finished cell, the newest first."""
        found = [self.manifest(path.parent.name) for path in (self.root / "cells").glob("*/manifest.json")]
        yield from sorted((m for m in found if m), key=lambda manifest: manifest["started"], reverse=True)

    def failure(self, key: str) -> Manifest | None:
        """The record of the last failed attempt; None if there is none or the cell finished since."""
        return read_json(self.failure_path(key))

    def failure_path(self, key: str) -> Path:
        return self.root / "failures" / f"{key}.json"

    def lease_path(self, key: str) -> Path:
        return self.root / "leases" / f"{key}.json"

    def draft(self, key: str, writer: str, resumable: bool) -> Path:
        """The folder in which `writer` makes a cell: empty, or for a resumable stage as the last attempt left it."""
        folder = self.root / "work" / key if resumable else self.root / "tmp" / f"{key}-{writer}"
        if not resumable and folder.exists():
            shutil.rmtree(folder)
        (folder / "output").mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, draft: Path, key: str, manifest: Manifest) -> None:
        """Make a draft the cell `key`: everything is on disk before the one rename."""
        write_json(draft / "manifest.json", manifest)
        sync_tree(draft)
        target = self.root / "cells" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(draft, target)
        except OSError:
            # A runner that took our lease for stale finished first: by law its output is ours.
            if not self.manifest(key):
                raise
            shutil.rmtree(draft)
        sync(target.parent)
        self.failure_path(key).unlink(missing_ok=True)

    def record_failure(self, key: str, record: Manifest) -> None:
        """Keep the traceback of a failed attempt."""
        write_json(self.failure_path(key), record)

    def plan_path(self, study: str) -> Path:
        return self.root / "plans" / f"{study}.json"

    def planned(self, study: str) -> dict[str, str]:
        """The keys that a study's cells had when it last ran (cell name -> key)."""
        return read_json(self.plan_path(study)) or {}

    def record_plan(self, study: str, keys: Mapping[str, str]) -> None:
        """Remember which keys a study's cells have now."""
        write_json(self.plan_path(study), keys)

    def planned_by_others(self, study: str) -> set[str]:
        """Keys that other studies which ran in this store refer to."""
        others = [path.stem for path in (self.root / "plans").glob("*.json") if path.stem != study]
        return {key for other in others for key in self.planned(other).values()}

    def entries(self) -> Iterator[tuple[str, Path]]:
        """Everything kept for a key: (key, path) of cells, drafts, work and failures."""
        for place in ("cells", "tmp", "work", "failures"):
            for path in sorted((self.root / place).glob("*")):
                yield path.name.removesuffix(".json").split("-")[0], path

    def remove(self, path: Path) -> None:
        """Delete one entry; a cell disappears whole, under another name first."""
        if path.is_file():
            path.unlink(missing_ok=True)
            return
        doomed = self.root / "tmp" / f"{path.name}-removed-{os.getpid()}"
        doomed.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, doomed)
        shutil.rmtree(doomed)


def read_json(path: Path) -> Manifest | None:
    """A JSON file's mapping; None if there is no file. StudyError where it is broken."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); delete it and run the study again") from None


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    sync(temporary)
    os.replace(temporary, path)


def sync_tree(folder: Path) -> None:
    """Have every file and folder of a tree on disk."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
