"""The nouns of a study: a stage is a pure function of parameters and inputs, a cell one call of it.

A cell's key is the hash of everything that may change its output: stage and version, all parameters with their
defaults, the contents of its inputs, and the versions of the libraries that compute numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from os.path import expanduser
from pathlib import Path
from typing import Any, Literal

from haymaker.choices import plug_ins
from haymaker.config import Frozen
from haymaker.errors import ConfigError
from haymaker.models.names import MODEL_FILES, TOKENIZER_FILES, check_model, check_tokenizer, model_files, model_here

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Run = Callable[[Any, Mapping[str, Path], Path], Tables | None]


@dataclass(frozen=True)
class Pieces:
    """How the work of a stage divides among processes.

    `count` says for parameters in how many pieces, 1 for what is not worth it. `make` makes piece number i of n beside
    the output folder (params, input paths, output folder, i, n), in any order and any process; the stage itself then
    finds the pieces there and makes what is missing. Output and key are those of undivided work.
    """

    count: Callable[[Any], int]
    make: Callable[[Any, Mapping[str, Path], Path, int, int], None]


@dataclass(frozen=True)
class Stage:
    """A named function (params, input paths, output folder) -> rows by table of results.json, to which the cell's
    columns are added. Raise `version` when its output changes meaning.

    `volatile` are glob patterns of output files that differ from run to run (clock times) and so stay out of the
    content digest. A `resumable` stage finds in its output folder what an interrupted call of the same key left there.
    What a `rounding` stage writes has last bits that the processor and its threads choose, and names of the machine:
    its content is what it was made of, its key.
    """

    name: str
    params: type[Frozen]
    run: Run
    version: int = 1
    libraries: tuple[str, ...] = ()
    volatile: tuple[str, ...] = ()
    resumable: bool = False
    rounding: bool = False
    pieces: Pieces | None = None  # only of a resumable stage


@dataclass(frozen=True)
class Outside:
    """Something that a study reads and does not make: a path or, for models, also a packaged name or Hub id.

    Its contents count, not where it lies.
    """

    kind: Literal["file", "model", "tokenizer"]
    name: str

    def path(self) -> Path:
        """Where it lies on this machine. Raises ConfigError where it does not."""
        if self.kind == "file":
            return existing_file(self.name)
        return model_here(self.name, check_model if self.kind == "model" else check_tokenizer)

    def files(self) -> list[Path]:
        """The files whose contents count."""
        path = self.path()
        if self.kind == "file":
            return [path]
        return model_files(path, TOKENIZER_FILES if self.kind == "tokenizer" else MODEL_FILES)


def existing_file(name: str) -> Path:
    path = Path(expanduser(name))
    if not path.is_file():
        raise ConfigError(
            f"{name}: no such file; paths of a study are relative to the folder it is run in ({Path.cwd()})"
        )
    return path


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
    """All that may change the cell's output; its digest is the key. `contents` are those of its inputs by name."""
    params = cell.params.model_dump(mode="json")
    return {
        "stage": cell.stage.name,
        "version": cell.stage.version,
        "params": params,
        "inputs": dict(contents),
        "libraries": {library: library_version(library) for library in cell.stage.libraries} | plug_ins(params),
    }


@cache
def library_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
