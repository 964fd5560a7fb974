"""Checks a file or folder, damaged at random: reading it is an error of ours, or gives what was there."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from fuzzing import changes_of, damaged, fuzz
from hypothesis import strategies as st

from haymaker.errors import HaymakerError


@dataclass(frozen=True)
class Artifact:
    """How it is made in a folder, and what reading it gives."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    digested: bool = False  # whether what is not refused is what was there


def tried(artifact: Artifact, path: Path) -> Any:
    """What reading gives; None where it is refused, with a sentence."""
    try:
        return artifact.read(path)
    except HaymakerError as error:
        assert str(error).strip()  # noqa: PT017
        return None


Contents = dict[str, bytes | None]  # of a file's place in the artifact; None is a folder, "" the artifact itself


def contents(path: Path) -> Contents:
    places = [path, *sorted(path.rglob("*"))]
    return {str(one.relative_to(path)).strip("."): None if one.is_dir() else one.read_bytes() for one in places}


def put(found: Contents, path: Path) -> None:
    """The artifact as it was made, whatever a reading left there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for name, content in found.items():
        (path / name).mkdir() if content is None else (path / name).write_bytes(content)


def check(artifact: Artifact, home: Path) -> int:
    """Reads what damage leaves; how many different contents that were."""
    for folder in ("whole", "here"):
        (home / folder).mkdir()
    whole = artifact.make(home / "whole")
    found, path = contents(whole), home / "here" / whole.name
    files = {name: content for name, content in found.items() if content is not None}
    changes = {name: changes_of(content) for name, content in files.items()}
    put(found, path)
    right = tried(artifact, path)
    assert right is not None
    passed = {(name, digest(content)) for name, content in files.items()}

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(list(files)))
        content = damaged(data.draw, changes[name])
        if (name, digest(content)) in passed:
            return
        put(found, path)
        (path / name).unlink() if content is None else (path / name).write_bytes(content)
        got = tried(artifact, path)
        assert not artifact.digested or got in (None, right)
        passed.add((name, digest(content)))

    run()
    return len(passed) - len(files)


def digest(content: bytes | None) -> bytes | None:
    return content and sha256(content).digest()
