"""Rows in hand, not in a file: dictionaries, a frame of pandas or polars, a table of Arrow, a dataset of `datasets`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from haymaker.errors import DataError
from haymaker.file_reading import refuse_half_letters
from haymaker.records import Example, digest

PLACE = "rows given"
TABLES = {"to_pylist": (), "to_dicts": (), "to_dict": ("records",)}  # Arrow, polars, pandas: how each gives its rows
NOTHING = ("NAType", "NaTType")  # what pandas has where there is nothing


@dataclass(frozen=True)
class GivenRows:
    """Rows as a file of them would give them. Reading raises DataError that names the row, from 0."""

    rows: tuple[dict[str, Any], ...]
    name = PLACE  # what places begin with

    @classmethod
    def of(cls, source: Any) -> "GivenRows":
        """Raises DataError for what holds no rows."""
        if isinstance(source, Mapping) or not (is_table(source) or hasattr(source, "__iter__")):
            hint = f"; give one of {', '.join(map(str, source))}" if hasattr(source, "column_names") else ""
            raise DataError(f"expected a file, or rows as a list or a frame, found {type(source).__name__}{hint}")
        return cls(tuple(row_of(row, number) for number, row in enumerate(records(source))))

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(place, row) of every row."""
        return ((f"{PLACE}, row {number}", row) for number, row in enumerate(self.rows))

    @cached_property
    def inputs(self) -> dict[str, str]:
        """A digest of the rows."""
        return {PLACE: digest(json.dumps(self.rows, sort_keys=True, default=str))}


def records(source: Any) -> Iterable[Any]:
    """The rows of a table, else what is iterated."""
    if is_table(source):
        for name, arguments in TABLES.items():
            if hasattr(source, name):
                return getattr(source, name)(*arguments)
    return source


def is_table(source: Any) -> bool:
    """Whether it is a frame, or a table of Arrow, which are not iterated by their rows."""
    return hasattr(source, "columns") and any(hasattr(source, name) for name in TABLES)


def row_of(row: Any, number: int) -> dict[str, Any]:
    if isinstance(row, Example):
        raise DataError(f"{PLACE}, row {number}: an Example is data already; give it, or a list of them, as it is")
    if not isinstance(row, Mapping):
        raise DataError(f"{PLACE}, row {number}: expected an object of columns, found {type(row).__name__} {row!r:.60}")
    made = plain(row)
    refuse_half_letters(made, json.dumps(made, default=str), f"{PLACE}, row {number}")
    return made


def plain(value: Any) -> Any:
    """A value of JSON's types: arrays are lists, and NaN and the like are None, as in a file."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return plain(value.tolist())
    if type(value).__name__ in NOTHING or (isinstance(value, float) and value != value):
        return None
    written = getattr(value, "isoformat", None)
    return written() if written else value
