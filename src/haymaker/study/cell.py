"""The nouns of a study: a stage is a pure function of parameters and input folders, a cell one call of it.

A cell's key is the hash of everything that may change its output: stage and version, all parameters with their
defaults, the contents of its inputs, and the versions of the libraries that compute numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from haymaker.config import Frozen
from haymaker.records import digest
from haymaker.study.outside import Outside

Run = Callable[[Any, Mapping[str, Path], Path], None]


@dataclass(frozen=True)
class Stage:
    """A named function (params, input paths, output folder) -> None. Raise `version` when its output changes meaning.

    `volatile` are glob patterns of output files that differ from run to run (clock times) and so stay out of the
    content digest. A `resumable` stage finds in its output folder what an interrupted call of the same key left there.
    """

    name: str
    params: type[Frozen]
    run: Run
    version: int = 1
    libraries: tuple[str, ...] = ()
    volatile: tuple[str, ...] = ()
    resumable: bool = False


@dataclass(frozen=True)
class Cell:
    """One call of a stage: its parameters, the cells whose output it reads, and what it reads from outside.

    `columns` describe the cell in the result tables (setting, length, ...); they are no part of its key.
    """

    name: str
    stage: Stage
    params: Frozen
    inputs: Mapping[str, str] = field(default_factory=dict)  # input name -> name of a cell
    outside: Mapping[str, Outside] = field(default_factory=dict)
    columns: Mapping[str, Any] = field(default_factory=dict)


def action(cell: Cell, contents: Mapping[str, str]) -> dict[str, Any]:
    """All that may change the cell's output; `contents` are the digests of its inputs by name."""
    return {
        "stage": cell.stage.name,
        "version": cell.stage.version,
        "params": cell.params.model_dump(mode="json"),
        "inputs": dict(contents),
        "libraries": {library: library_version(library) for library in cell.stage.libraries},
    }


def action_key(cell: Cell, contents: Mapping[str, str]) -> str:
    """The name of the cell's output in the store."""
    return digest(action(cell, contents))


@cache
def library_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
