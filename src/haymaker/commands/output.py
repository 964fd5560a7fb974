"""What commands print, for people and machines, and the outputs they refuse to overwrite."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from math import isfinite
from os.path import exists, getmtime, isfile
from pathlib import Path
from typing import Any, TextIO

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from haymaker.commands.diagnosis import versions
from haymaker.console import speaks
from haymaker.errors import ConfigError
from haymaker.files import check_writable, scratch_beside, strangers_in, whole_files, whole_folder
from haymaker.kept import partial_of

out = Console()  # results; messages go to haymaker.console
Reading = Iterable[Path | str | None]  # what a command reads, which its output must not stand over
WIDEST = 10_000  # columns, where nobody's terminal limits them
OF_INPUTS = (  # what datasets, adapters and models are made of: no file in the folder of one that is read is replaced
    *("manifest.json", "README.md", "data-*.parquet", "documents.parquet"),
    *("config.json", "generation_config.json", "*model*.safetensors*", "tokenizer*", "probe.json", "*.gguf"),
    *("adapter_config.json", "base.json", "training*.json*", "metrics.jsonl", "state.safetensors", "track*.json*"),
)
LARGE = 1e15  # from here on a float no longer tells all of its digits


def show(what: RenderableType) -> None:
    """Print a table: as wide as the terminal is, and into a file or pipe as wide as it has to be."""
    if out.is_terminal:
        out.print(what, highlight=False)
        return
    console = Console(width=WIDEST)
    with console.capture() as printed:
        console.print(what)
    typer.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


# ---- for machines: one JSON object on stdout, and nothing else there


_machine: dict[str, TextIO | None] = {"stdout": None}  # where the one object goes, until it is told


@contextmanager
def one_object(wanted: bool) -> Iterator[None]:
    """With --json stdout belongs to `show_json`, once; what anything else prints there goes to stderr."""
    _machine["stdout"] = sys.stdout if wanted else None
    try:
        with redirect_stdout(sys.stderr) if wanted else nullcontext():
            yield
    finally:
        _machine["stdout"] = None


def show_json(value: Mapping[str, Any]) -> None:
    """A result for machines, on stdout; a number that JSON does not know is null."""
    stream, _machine["stdout"] = _machine["stdout"], None
    typer.echo(json.dumps(known(value), indent=1, ensure_ascii=False, allow_nan=False), file=stream)


def show_table(name: str, rows: Sequence[Mapping[str, Any]], **about: Any) -> None:
    """Rows for machines, under a name; beside them what they share, and by which versions they were made."""
    show_json({**about, "versions": versions(), name: rows})


def shared_by(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    """Of these names those that all rows have, with one value."""
    first = rows[0] if rows else {}
    return {name: first[name] for name in names if name in first and all(row.get(name) == first[name] for row in rows)}


def show_error(message: str, code: int) -> None:
    """With --json: why there is no result, as the object; nothing where one was told before it failed."""
    if _machine["stdout"] is not None and speaks():
        show_json({"error": message, "exit_code": code})


def known(value: Any) -> Any:
    """The value with None for every NaN and infinity in it."""
    match value:
        case float():
            return value if isfinite(value) else None
        case Mapping():
            return {key: known(inner) for key, inner in value.items()}
        case list() | tuple():
            return [known(inner) for inner in value]
    return value


def show_values(values: Mapping[str, Any], as_json: bool, unknown: str = "") -> None:
    """A flat result: JSON, or a line per value; what is not known is left out where `unknown` says why it is not."""
    if as_json:
        show_json(values)
        return
    shown = {key: value for key, value in values.items() if not unknown or known(value) is not None}
    lines = Table.grid(padding=(0, 2))
    for key, value in (shown | ({"left out": unknown} if len(shown) < len(values) else {})).items():
        lines.add_row(Text(key, "bold"), Text(number_text(key, value, 4) if isinstance(value, float) else str(value)))
    show(lines)


def show_made(path: Path, as_json: bool, **about: Any) -> None:
    """What was made: its path, or as JSON also what there is to say about it."""
    if as_json:
        show_json({"out": str(path), **about})
    else:
        typer.echo(path)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as a table with these columns; numbers stand on the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        numbers = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(Text(cell_text(name, row.get(name))) for name in columns))
    show(table)


def number_text(name: str, value: float, decimals: int) -> str:
    """A number of a column of this name; p-values are never said to be 0, nor all digits of what is LARGE."""
    if name != "p" and not name.startswith("p_") and not name.endswith("_p"):
        return f"{value:.{decimals}f}" if abs(value) < LARGE else f"{value:.{decimals}g}"
    from haymaker.stats.comparisons import p_in_words  # numpy, which most commands that say nothing of chance need not

    return p_in_words(value)


def cell_text(name: str, value: Any) -> str:
    if known(value) is None:
        return ""
    if isinstance(value, list):
        return " | ".join(map(str, value))
    return number_text(name, value, 3) if isinstance(value, float) else str(value)


# ---- outputs: every file that a command writes is declared before it starts, and checked.


def declare(*files: Path, overwrite: bool, reading: Reading = ()) -> None:
    """Check the files that a command is going to write; `reading` are those that it reads.

    Raises ConfigError where two have one name, where something stands that was not asked to be replaced, or that is
    no file, or is read; OutputError where nothing can be written.
    """
    for number, path in enumerate(files):
        if path in files[:number]:
            raise ConfigError(f"{path} would be written twice; give another --out")
        if not path.name or (os.path.lexists(path) and not path.is_file()):
            raise ConfigError(f"{path} is no file; give the name of a file that can be written")
        refuse_part_of_input(path, reading)
        check_place(path, overwrite, reading)


def declare_folder(path: Path, overwrite: bool, entries: Iterable[str] | None = None, reading: Reading = ()) -> None:
    """The same for a folder, of which `entries` are all names that the command writes, or patterns of these: no other
    is ever replaced."""
    if os.path.lexists(path) and not path.is_dir():
        raise ConfigError(f"{path} is a file; give the name of a folder")
    if overwrite and entries is not None and path.is_dir():
        others = strangers_in(path, entries)
        if others:
            raise ConfigError(
                f"{path} holds {', '.join(others[:3])}, which this command does not write, so it is not replaced; "
                "give another --out"
            )
    check_place(path, overwrite, reading)


def check_place(path: Path, overwrite: bool, reading: Reading) -> None:
    place = Path(os.path.realpath(path))
    for read in reading:
        if read is not None and Path(os.path.realpath(read)).is_relative_to(place):
            raise ConfigError(f"{path} is what this command reads, or holds it ({read}); give another --out")
    refuse_existing(path, overwrite)
    check_writable(path)


def refuse_part_of_input(path: Path, reading: Reading) -> None:
    """Raise ConfigError where a file would stand among those of a folder that is read, under a name of theirs."""
    place = Path(os.path.realpath(path))
    beside = any(read is not None and Path(os.path.realpath(read)) == place.parent for read in reading)
    if beside and any(place.match(name) for name in OF_INPUTS):
        raise ConfigError(f"{path} is a part of what this command reads; give another --out")


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise ConfigError where there is something at `path` that was not asked to be replaced."""
    if not overwrite and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise ConfigError(f"{path} exists; give another --out, or --overwrite to replace it")


@contextmanager
def fresh_folder(
    path: Path, overwrite: bool, entries: Iterable[str] | None = None, reading: Reading = ()
) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the block ends well, and disappears when it does not."""
    declare_folder(path, overwrite, entries, reading)
    check_writable(scratch_beside(path))
    with whole_folder(path) as work:
        yield work


@contextmanager
def fresh_file(path: Path, *beside: Path, overwrite: bool, reading: Reading = ()) -> Iterator[Path]:
    """The same for a file, and for those `beside` it in its folder; the block writes no other."""
    declare(path, *beside, overwrite=overwrite, reading=reading)
    with whole_files(path.parent) as work:
        yield work / path.name
        undeclared = {made.name for made in work.iterdir()} - {file.name for file in (path, *beside)}
        assert not undeclared, f"{sorted(undeclared)} were not declared"


@contextmanager
def kept_beside(path: Path, overwrite: bool, part: str = "") -> Iterator[tuple[Path, bool]]:
    """Where a command keeps the rows that are done until its output stands, and whether it may replace one.

    `overwrite` forgets what an earlier command kept. Rows newer than an output are those of a command that was asked to
    replace it and was stopped: the same command goes on without being asked again.
    """
    keep = partial_of(path, part)
    if overwrite:
        with suppress(OSError):  # where nothing can be removed, nothing can be written, and that is told
            keep.unlink(missing_ok=True)
    newer = isfile(keep) and exists(path) and getmtime(keep) > getmtime(path)
    yield keep, overwrite or newer
    keep.unlink(missing_ok=True)
