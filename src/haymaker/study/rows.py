"""Rows that a stage gives to the tables of a study: `tables/<table>.json` in its output, a list of flat mappings."""

import json
from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]


def write_rows(output: Path, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """What a stage calls to add rows to a table of the study."""
    folder = output / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{table}.json").write_text(json.dumps([plain(row) for row in rows], indent=1, allow_nan=False) + "\n")


def plain(row: Mapping[str, Any]) -> Row:
    """A row without numpy's types and with null for numbers that are not known."""
    return {key: plain_value(value) for key, value in row.items()}


def plain_value(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not isfinite(value) else value
