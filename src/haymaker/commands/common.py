"""What commands share: flags, output for people and machines, folders that appear whole or not at all."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from haymaker.errors import ConfigError

out = Console()  # results; messages go to haymaker.console

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the config, as in a.b=c.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Model = Annotated[str, typer.Option("--model", help="A packaged name, a folder or a Hugging Face id.")]
Adapter = Annotated[Path | None, typer.Option("--adapter", help="An adapter folder; it brings its own extension.")]
ExtendTo = Annotated[
    int | None, typer.Option("--extend", metavar="LENGTH", help="Extend the context to LENGTH tokens.")
]
Data = Annotated[Path, typer.Option("--data", help="A dataset folder, as `haymaker build` writes it.")]
KVRule = Annotated[str, typer.Option("--kv-rule", help="How query heads make a KV head's score: max or mean.")]
Rows = Annotated[int | None, typer.Option("--rows", min=1, help="Use the first rows only.")]


def print_json(value: Any) -> None:
    """A result for machines, on stdout."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def show(values: Mapping[str, Any], as_json: bool) -> None:
    """A flat result: JSON, or a line per value."""
    if as_json:
        print_json(values)
        return
    width = max(map(len, values))
    for key, value in values.items():
        typer.echo(f"{key:<{width}}  {value:.4f}" if isinstance(value, float) else f"{key:<{width}}  {value}")


def table(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> None:
    """Rows as aligned columns on stdout; `columns` maps keys to headings."""
    cells = [list(columns.values())] + [[plain(row.get(key)) for key in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def plain(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise ConfigError where there is something at `path` that was not asked to be replaced."""
    if not overwrite and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise ConfigError(f"{path} exists; give another --out, or --overwrite to replace it")


@contextmanager
def fresh_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the block ends well, and disappears when it does not."""
    refuse_existing(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.mkdir()
    try:
        yield work
        remove(path)
        os.replace(work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def fresh_file(path: Path, overwrite: bool) -> Iterator[Path]:
    """The same for a file; files written beside it under its stem come along."""
    refuse_existing(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.mkdir()
    try:
        yield work / path.name
        for made in sorted(work.iterdir()):
            os.replace(made, path.with_name(made.name))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
