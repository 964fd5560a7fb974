"""What commands print, for people and machines, and the outputs they refuse to overwrite."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from haymaker.errors import ConfigError
from haymaker.files import whole_files, whole_folder

out = Console()  # results; messages go to haymaker.console
WIDEST = 10_000  # columns, where nobody's terminal limits them


def show(what: RenderableType) -> None:
    """Print a table: as wide as the terminal is, and into a file or pipe as wide as it has to be."""
    if out.is_terminal:
        out.print(what, highlight=False)
        return
    console = Console(width=WIDEST)
    with console.capture() as printed:
        console.print(what)
    typer.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))


def show_json(value: Any) -> None:
    """A result for machines, on stdout."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def show_values(values: Mapping[str, Any], as_json: bool) -> None:
    """A flat result: JSON, or a line per value."""
    if as_json:
        show_json(values)
        return
    lines = Table.grid(padding=(0, 2))
    for key, value in values.items():
        lines.add_row(Text(key, "bold"), Text(f"{value:.4f}" if isinstance(value, float) else str(value)))
    show(lines)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as a table with these columns; numbers stand on the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        numbers = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(name, justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(Text(cell_text(row.get(name))) for name in columns))
    show(table)


def cell_text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


# ---- outputs


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise ConfigError where there is something at `path` that was not asked to be replaced."""
    if not overwrite and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise ConfigError(f"{path} exists; give another --out, or --overwrite to replace it")


@contextmanager
def fresh_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the block ends well, and disappears when it does not."""
    refuse_existing(path, overwrite)
    with whole_folder(path) as work:
        yield work


@contextmanager
def fresh_file(path: Path, overwrite: bool) -> Iterator[Path]:
    """The same for a file; files written beside it come along."""
    refuse_existing(path, overwrite)
    with whole_files(path.parent) as work:
        yield work / path.name
