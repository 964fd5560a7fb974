"""The same rows from every kind of file, and a sentence for files that are none."""

import csv
import gzip
import json
from codecs import BOM_UTF8
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from haymaker.errors import DataError
from haymaker.tasks.row_files import rows_in

ROWS: list[dict[str, Any]] = [
    {"question": f"Who is {n}?", "answers": [f"Ada {n}", 'x, "y"'], "documents": [{"text": f"Ünö\n{n}", "gold": True}]}
    for n in range(3)
]


def jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n\n" for row in ROWS))


def zipped(path: Path) -> None:
    path.write_bytes(gzip.compress(json.dumps(ROWS).encode()))


def table(path: Path, delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ROWS[0], delimiter="\t" if path.suffix == ".tsv" else delimiter)
        writer.writeheader()
        for row in ROWS:
            writer.writerow({key: value if isinstance(value, str) else json.dumps(value) for key, value in row.items()})


def stream(path: Path, opened: Callable[..., Any] = ipc.new_stream) -> None:
    found = pa.Table.from_pylist(ROWS)
    with opened(str(path), found.schema) as writer:
        writer.write_table(found)


def saved(path: Path, splits: bool = False) -> None:
    from datasets import Dataset, DatasetDict

    made = Dataset.from_list(ROWS)
    (DatasetDict({"train": made, "test": made.select([0])}) if splits else made).save_to_disk(str(path))


WRITERS: dict[str, Callable[[Path], Any]] = {
    "a.jsonl": jsonl,
    "a.unknown": jsonl,
    "a.json": lambda path: path.write_text(json.dumps(ROWS)),
    "b.json": lambda path: path.write_text(json.dumps({"data": ROWS}, indent=1)),
    "a.json.gz": zipped,
    "a.csv": table,
    "a.tsv": table,
    "A.CSV": table,
    "semicolons.csv": lambda path: table(path, ";"),
    "tabs.csv": lambda path: table(path, "\t"),
    "a.csv.gz": lambda path: (table(path), path.write_bytes(gzip.compress(path.read_bytes()))),
    "A.JSONL.GZ": lambda path: (jsonl(path), path.write_bytes(gzip.compress(path.read_bytes()))),
    "one line.json": lambda path: path.write_text(json.dumps({"version": "1", "data": ROWS})),
    "mark.jsonl": lambda path: (jsonl(path), path.write_bytes(BOM_UTF8 + path.read_bytes())),
    "mark.json": lambda path: path.write_bytes(BOM_UTF8 + json.dumps(ROWS).encode()),
    "mark.csv": lambda path: (table(path), path.write_bytes(BOM_UTF8 + path.read_bytes())),
    "mark.json.gz": lambda path: path.write_bytes(gzip.compress(BOM_UTF8 + json.dumps(ROWS).encode())),
    "crlf.jsonl": lambda path: (jsonl(path), path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))),
    "a.parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
    "a.arrow": stream,
    "b.arrow": lambda path: stream(path, ipc.new_file),
    "saved": saved,
    "splits": lambda path: saved(path, splits=True),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    found = list(rows_in(tmp_path / name))
    assert [row for _, row in found] == ROWS
    assert len({place for place, _ in found}) == 3
    assert all(str(tmp_path / name) in place for place, _ in found)


def test_a_folder_gives_the_split_that_is_asked_for(tmp_path: Path) -> None:
    jsonl(tmp_path / "train-00000-of-00001.jsonl")
    (tmp_path / "validation.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "README.md").write_text("about")
    assert [row for _, row in rows_in(tmp_path)] == ROWS
    assert [row for _, row in rows_in(tmp_path, "dev")] == [{"a": 1}]
    with pytest.raises(DataError, match="no file here is of the split test; found train-00000.*validation"):
        list(rows_in(tmp_path, "test"))


def test_the_word_of_a_split_inside_another_is_none(tmp_path: Path) -> None:
    (tmp_path / "latest.jsonl").write_text('{"a": 1}\n')
    assert [row for _, row in rows_in(tmp_path, "train")] == [{"a": 1}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b\n1\n", "row 1: expected as many cells as the heading has columns"),
        ("a.csv", "a,b\n1,2,3\n", "row 1: expected as many cells"),
        ("a.csv", "a,b,a\n1,2,3\n", "two columns are called 'a'"),
        ("a.csv", 'a\n"1\n', "not a table of cells"),
        ("a.parquet", "rows", "cannot be read as parquet"),
        ("a.arrow", "rows", "cannot be read as Arrow"),
        ("a.json", "[1]", "item 0: expected an object, found int"),
        ("a.json", "[{", "not JSON"),
        ("a.jsonl", "{\n", "not JSON"),
    ],
)
def test_a_broken_file_is_told_by_its_place(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as found:
        list(rows_in(tmp_path / name))
    assert str(tmp_path / name) in str(found.value)


def test_a_folder_without_rows_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected files of rows .*found none"):
        list(rows_in(tmp_path))


def test_cells_of_a_table_are_read_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'"",a,b,c,d\r\n1,"two\r\nlines, ""so""",NA,,true\r\n2,[sic] x,"[1, 2]",NaN,false\r\n'
    )
    found = [row for _, row in rows_in(tmp_path / "a.csv")]
    assert found == [
        {"": "1", "a": 'two\r\nlines, "so"', "b": None, "c": None, "d": "true"},
        {"": "2", "a": "[sic] x", "b": [1, 2], "c": "NaN", "d": "false"},
    ]


def test_long_cells_are_read_and_the_interpreter_keeps_its_limit(tmp_path: Path) -> None:
    long, limit = "x" * 300_000, csv.field_size_limit(1000)
    try:
        (tmp_path / "a.csv").write_text(f"a,b\n1,{long}\n2,{long}\n")
        (tmp_path / "b.csv").write_text(f'a\n{long}\n"1\n')
        for place, row in rows_in(tmp_path / "a.csv"):
            assert row["b"] == long, place
            assert csv.field_size_limit() == 1000
        with pytest.raises(DataError, match="not a table of cells"):
            list(rows_in(tmp_path / "b.csv"))
        next(rows_in(tmp_path / "a.csv"))  # and no more of it
        assert csv.field_size_limit() == 1000
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF-1.7", b"BZh91AY"])
def test_spreadsheets_and_documents_are_told(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.xlsx").write_bytes(start + bytes(40))
    with pytest.raises(DataError, match="mine.xlsx: not a file of rows; save it as .jsonl"):
        list(rows_in(tmp_path / "mine.xlsx"))


def test_another_encoding_is_told(tmp_path: Path) -> None:
    for encoding in ("latin-1", "utf-16"):
        (tmp_path / "a.csv").write_text("question\nWho, é?", encoding=encoding)
        with pytest.raises(DataError, match="cannot be decoded .* save the file as UTF-8"):
            list(rows_in(tmp_path / "a.csv"))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "b.arrow"])
@pytest.mark.parametrize("content", [b"caf\xe9", b"\xed\xa0\x80"], ids=["latin-1", "half a letter"])
def test_a_table_whose_texts_are_not_utf8_is_told(name: str, content: bytes, tmp_path: Path) -> None:
    found = pa.table({"question": pa.array([b"a", content]).view(pa.string())})
    if name == "a.parquet":
        pq.write_table(found, tmp_path / name)
    else:
        with (ipc.new_stream if name == "a.arrow" else ipc.new_file)(str(tmp_path / name), found.schema) as writer:
            writer.write_table(found)
    with pytest.raises(DataError, match=rf"{name}: cannot be read as .*UTF-?8"):
        list(rows_in(tmp_path / name))


def test_a_table_that_python_cannot_hold_is_told(tmp_path: Path) -> None:
    """A column twice, a date that no calendar has, a column's name that is not UTF-8."""
    path, texts = tmp_path / "a.parquet", pa.array(["a", "b"])
    tables = {
        "the column 'question' stands twice": pa.Table.from_arrays([texts, texts], names=["question", "question"]),
        "a value of rows 0 to 1 cannot be read": pa.table(
            {"question": texts, "day": pa.array([0, 2**30], pa.date32())}
        ),
        "cannot be read as parquet": pa.table({"question": texts, "ZZZZ": texts}),
    }
    for said, found in tables.items():
        pq.write_table(found, path, store_schema=False)
        path.write_bytes(path.read_bytes().replace(b"ZZZZ", b"\x80ZZZ"))
        with pytest.raises(DataError, match=said):
            list(rows_in(path))
