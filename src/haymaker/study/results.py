"""Results as pandas frames, and every table of a study as csv and parquet beside its results.json."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from haymaker.errors import DataError
from haymaker.file_reading import read_json_if_there, read_jsonl, rows_in
from haymaker.files import whole_file, whole_files
from haymaker.study.cell import Tables
from haymaker.study.store import REMEDY, read_tables

if TYPE_CHECKING:
    import pandas

TABLES = "tables"  # the folder of csv and parquet beside results.json


class Results(Mapping[str, Any]):
    """Tables by name as pandas frames, each made when it is asked for."""

    def __init__(self, tables: Tables, where: Path) -> None:
        self.tables, self.where = tables, where

    def __getitem__(self, name: str) -> "pandas.DataFrame":
        from pandas import DataFrame

        if name not in self.tables:
            raise KeyError(f"{self.where}: no table {name!r}; there are {', '.join(self.tables)}")
        return DataFrame(self.tables[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)

    def __repr__(self) -> str:
        rows = ", ".join(f"{name} {len(rows)}" for name, rows in self.tables.items())
        return f"Results({self.where}: rows of {rows})"

    def _repr_html_(self) -> str:
        from haymaker.markup import table

        return table([{"table": name, "rows": len(rows)} for name, rows in self.tables.items()], str(self.where))


def load_results(folder: str | Path) -> Results:
    """The tables of a study, or of a command's output, as pandas frames.

    Args:
        folder: A study's folder, its results.json, or what `haymaker eval`, `ablate` or `patch` wrote.

    Returns:
        A mapping from table names (evaluation, heads, similarity, ablation, patching, correlation, timings; of `eval`
        also predictions) to frames.

    Raises:
        DataError: No results there, or a table that is no list of rows.

    Examples:
        >>> import json
        >>> with open("results.json", "w") as file:
        ...     json.dump({"tables": {"evaluation": [{"setting": "real", "score": 0.5}]}}, file)
        >>> hm.load_results("results.json")["evaluation"].score.mean()
        np.float64(0.5)
    """
    path = Path(folder)
    tables = study_tables(path) or command_tables(path)
    if not tables:
        raise DataError(
            f"{path}: no results here; give a study's folder (results.json in it), or what eval, ablate or patch wrote"
        )
    return Results(tables, path)


def study_tables(path: Path) -> Tables:
    found = read_json_if_there(path / "results.json" if path.is_dir() else path, REMEDY) if path.exists() else None
    tables = found.get("tables") if isinstance(found, dict) else None
    named = tables.items() if isinstance(tables, dict) else ()
    return {name: rows_in(rows, f"{path}, table {name}") for name, rows in named}


def command_tables(path: Path) -> Tables:
    """What a command left in its output folder."""
    if not path.is_dir():
        return {}
    tables = dict(read_tables(path))
    row = read_json_if_there(path / "evaluation.json", REMEDY)
    tables |= {"evaluation": rows_in([row], f"{path / 'evaluation.json'}")} if row is not None else {}
    predictions = path / "predictions.jsonl"
    return tables | ({"predictions": [row for _, row in read_jsonl(predictions)]} if predictions.is_file() else {})


def write_table_files(tables: Tables, folder: Path) -> None:
    """Every table that has rows as NAME.csv and NAME.parquet; what is no number or text in a cell is JSON there."""
    with whole_files(folder) as scratch:
        for name, rows in tables.items():
            if rows:
                made = table_of(rows)
                pq.write_table(made, scratch / f"{name}.parquet")
                pyarrow.csv.write_csv(made, scratch / f"{name}.csv")


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Rows as one file, csv or parquet by its ending, whole or not at all."""
    with whole_file(path) as scratch:
        made = table_of(rows)
        pyarrow.csv.write_csv(made, scratch) if path.suffix == ".csv" else pq.write_table(made, scratch)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a flat table with the columns of all of them; a column of several types, or of lists, is text."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: column_of([row.get(name) for row in rows]) for name in names})


def column_of(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return pa.array(values, pa.float64() if float in kinds or not kinds else pa.int64())
    return pa.array(values if kinds == {bool} else [None if value is None else text_of(value) for value in values])


def text_of(value: Any) -> str:
    """What stands in a cell: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
