"""What a study keeps on disk: rows of cells, digests of what it reads from outside, and the content-addressed store."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Any

import numpy as np

from haymaker.errors import DataError, OutputError
from haymaker.file_digests import changed_files, file_digest
from haymaker.file_reading import read_json, read_json_if_there, rows_in
from haymaker.files import draft_json, name_folder, remove, remove_whole, write_json
from haymaker.records import digest
from haymaker.study.cell import Outside, Row, Tables
from haymaker.study.lease import alive, clear_stale, key_in

REMEDY = "delete it and run the study again"


# ---- The rows of a cell: `tables/<table>.json` in its output


def write_tables(output: Path, tables: Tables) -> None:
    """Keep a stage's rows in its output folder."""
    for name, rows in tables.items():
        draft_json(output / "tables" / f"{name}.json", [plain(row) for row in rows])


def read_tables(output: Path) -> Tables:
    """What `write_tables` kept."""
    found = sorted((output / "tables").glob("*.json"))
    return {path.stem: rows_in(read_json(path, REMEDY), str(path)) for path in found}


def plain(row: Mapping[str, Any]) -> Row:
    """A row without numpy's types and with null for numbers that are not known."""
    return {key: plain_value(value) for key, value in row.items()}


def plain_value(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not isfinite(value) else value


# ---- The digests of outside files


class Digests:
    """Digests of outside files, kept by path, size and time of change: weights are not hashed twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known = self.read()

    def read(self) -> dict[str, str]:
        try:
            return read_json(self.path)
        except DataError:  # it is only a cache: what is lost is hashed again
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
        with suppress(OutputError):  # on a read-only disk the next run hashes again
            write_json(self.path, self.known)


# ---- The content-addressed store: a finished cell is a folder named by its key, complete or not there.
#
# cells/<key>/manifest.json, output/   published by one rename
# tmp/<key>-<host>-<pid>/              being written; left behind only by a kill
# work/<key>/                          the same for resumable stages: an interrupted call goes on here
# failures/<key>.json                  a failed attempt and its traceback: told, never taken for a result
# leases/<key>.json                    who works on the cell now
# plans/<study>.json                   the keys of a study's cells when it last ran, for gc

Manifest = dict[str, Any]
MADE: Manifest = {  # what a manifest says at least, and of which type
    **dict.fromkeys(("key", "cell", "stage", "content", "started"), str),
    **{"seconds": (int, float), **dict.fromkeys(("params", "inputs", "libraries"), dict)},
}
FAILED: Manifest = dict.fromkeys(("key", "cell", "message", "failed"), str)
TORN = {"cell": "unreadable", "stage": "", "content": "", "started": "", "seconds": 0.0, "params": {}, "inputs": {}}
PLACES = ("cells", "tmp", "work", "failures", "leases", "logs", "plans", "slurm")
ACTION = ("stage", "version", "params", "inputs", "libraries")  # see `cell.action`, whose digest is the key


def record_in(path: Path, kinds: Mapping[str, Any]) -> Manifest | None:
    """What stands in a file of the store; None where there is none, or what was to be there is lost."""
    try:
        found = read_json_if_there(path, REMEDY)
    except DataError:
        return None
    right = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    return found if right and has_stamps(found) else None


def has_stamps(manifest: Manifest) -> bool:
    """Whether what it says of files can be compared."""
    files = manifest.get("files", {})
    return isinstance(files, dict) and all(isinstance(stamp, list) and len(stamp) == 3 for stamp in files.values())


class Store:
    """A folder that several runners may share."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def output(self, key: str) -> Path:
        """The folder with a finished cell's output."""
        return self.root / "cells" / key / "output"

    def manifest(self, key: str) -> Manifest | None:
        """What is recorded of a finished cell; None if there is none. Of one that is torn `problems` tells."""
        folder = self.root / "cells" / key
        if not folder.is_dir():
            return None
        return record_in(folder / "manifest.json", MADE) or {**TORN, "key": key, "libraries": {}}

    def manifests(self) -> Iterator[Manifest]:
        """Every finished cell, the newest first."""
        found = [self.manifest(path.name) for _, path in self.kept("cells")]
        yield from sorted((m for m in found if m), key=lambda manifest: manifest["started"], reverse=True)

    def problems(self, key: str, thorough: bool = True) -> list[str]:
        """What of a finished cell is not as it was made, a phrase each; see `changed_files`.

        A manifest of before there were stamps says nothing of single files.
        """
        manifest = self.manifest(key)
        if manifest is None or digest({part: manifest.get(part) for part in ACTION}) != key:
            return [f"{self.root / 'cells' / key / 'manifest.json'} is missing or was changed"]
        return changed_files(self.output(key), manifest["files"], thorough) if "files" in manifest else []

    def failure(self, key: str) -> Manifest | None:
        """The record of the last failed attempt; None if there is none, or a torn one, or the cell finished since."""
        return record_in(self.failure_path(key), FAILED)

    def failed_at(self) -> dict[str, str]:
        """When every failed cell failed, by key."""
        found = (record_in(path, FAILED) for _, path in self.kept("failures"))
        return {str(record.get("key")): str(record.get("failed")) for record in found if record}

    def failure_path(self, key: str) -> Path:
        return self.root / "failures" / f"{key}.json"

    def lease_path(self, key: str) -> Path:
        return self.root / "leases" / f"{key}.json"

    def leases(self, key: str) -> list[Path]:
        """Where it stands who works on a cell, and on pieces of it."""
        whole = self.lease_path(key)
        return [whole, *sorted(whole.parent.glob(f"{key}.*.json"))]

    def draft(self, key: str, writer: str, resumable: bool) -> Path:
        """The folder in which `writer` makes a cell: empty, or for a resumable stage as the last attempt left it."""
        folder = self.root / "work" / key if resumable else self.root / "tmp" / f"{key}-{writer}"
        for path in (folder / "output", *filter(Path.is_symlink, folder.rglob("*"))):
            self.check_inside(path)
        if not resumable:
            remove(folder)
        (folder / "output").mkdir(parents=True, exist_ok=True)
        return folder

    def check_places(self) -> None:
        """Refuse a store that came with links or pipes where this one writes and removes. Raises OutputError."""
        for place in PLACES:
            self.check_inside(self.root / place)
        entries = [path for place in PLACES[1:] for _, path in self.kept(place)]  # a cell is checked where it is made
        for path in (*entries, *(self.root / "plans").glob("*.json")):
            with suppress(FileNotFoundError):  # of a run beside this one
                mode = path.lstat().st_mode
                if S_ISLNK(mode):
                    self.check_inside(path)
                elif not (S_ISREG(mode) or S_ISDIR(mode)):
                    raise OutputError(f"{path}: neither a file nor a folder; remove it")

    def check_inside(self, path: Path) -> None:
        """Refuse to write through a link that a store came with. Raises OutputError for what lies outside of it."""
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise OutputError(f"{path}: a link leads out of the store, to {path.resolve()}; remove it")

    def publish(self, draft: Path, key: str, manifest: Manifest) -> None:
        """Make a draft the cell `key`: everything is on disk before the one rename."""
        draft_json(draft / "manifest.json", manifest)
        self.check_inside(self.root / "cells" / key)
        if not name_folder(draft, self.root / "cells" / key):
            # A runner that took our lease for stale finished first: by law its output is ours.
            shutil.rmtree(draft)
        self.failure_path(key).unlink(missing_ok=True)

    def record_failure(self, key: str, record: Manifest) -> None:
        """Keep the traceback of a failed attempt."""
        write_json(self.failure_path(key), record)

    def plan_path(self, study: str) -> Path:
        return self.root / "plans" / f"{study}.json"

    def planned(self, study: str) -> dict[str, str]:
        """The keys that a study's cells had when it last ran (cell name -> key)."""
        found = read_json_if_there(self.plan_path(study), REMEDY) or {}
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found.values()):
            raise DataError(f"{self.plan_path(study)}: expected the keys of a study's cells by name; is this a store?")
        return found

    def record_plan(self, study: str, keys: Mapping[str, str]) -> None:
        """Remember which keys a study's cells have now."""
        if self.planned(study) != keys:  # a finished study may lie on a read-only disk
            write_json(self.plan_path(study), keys)

    def planned_by_others(self, study: str) -> set[str]:
        """Keys that other studies which ran in this store refer to."""
        others = [path.stem for path in (self.root / "plans").glob("*.json") if path.stem != study]
        return {key for other in others for key in self.planned(other).values()}

    def entries(self) -> Iterator[tuple[str, Path]]:
        """Everything kept for a key: (key, path) of cells, drafts, work and failures. Raises OutputError for links."""
        self.check_places()
        for place in ("cells", "tmp", "work", "failures"):
            yield from self.kept(place)

    def kept(self, place: str) -> Iterator[tuple[str, Path]]:
        """The same of one folder. Nothing of others, who may have a folder of its name where a store was put."""
        for path in sorted((self.root / place).glob("*")):
            if key := key_in(path.name):
                yield key, path

    def remove(self, path: Path) -> None:
        """Delete one entry; a cell disappears whole, under another name first. Of a link the link alone goes."""
        if path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        remove_whole(path, self.root / "tmp" / f"{path.name}-removed-{os.getpid()}")

    def sweep(self) -> None:
        """Remove what killed runners left: drafts half-written, and leases, also of cells that they had finished.

        Raises OutputError where that may be somebody else's; see `check_places`.
        """
        self.check_places()
        for key, path in self.kept("tmp"):
            if not alive(self.lease_path(key)):
                shutil.rmtree(path, ignore_errors=True)
        clear_stale(self.root / "leases")
