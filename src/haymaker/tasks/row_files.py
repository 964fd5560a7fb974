"""Rows of files, whatever the file: jsonl, json, csv, parquet, arrow, plain or gzip, and folders of these.

A folder is one that `datasets` saved (`save_to_disk`), or holds such files, as a dataset of the hub does when it is
downloaded.
"""

import csv
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from haymaker.errors import DataError
from haymaker.file_reading import read_json, read_jsonl, read_text
from haymaker.notation import parse_json

Rows = Iterator[tuple[str, dict[str, Any]]]
SPLIT_WORDS = {"train": ("train",), "dev": ("validation", "valid", "dev"), "test": ("test",)}
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".arrow")
OTHER_FILES = (  # spreadsheets, documents and archives; .zst, .bz2, .xz
    *(b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF"),
    *(b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zX"),
)
RESULTS = {  # a file by which a folder is known
    "predictions.jsonl": "answers of `haymaker eval`, which `haymaker score` and hm.read_predictions read",
    "results.json": "a study's results, which `haymaker report` and hm.load_results read",
    "tables/ablation.json": "results of `haymaker ablate`, which hm.load_results reads",
    "tables/patching.json": "results of `haymaker patch`, which hm.load_results reads",
    "adapter_config.json": "an adapter, which commands take as --adapter",
    "tokenizer_config.json": "a model, which commands take as --model",
}
MISSING = ("", "NA")  # of a cell: pandas and R write them where there is nothing
LONGEST_CELL = 2**31 - 1  # the most that csv takes everywhere; of itself it takes 131,072 characters, less than a novel
_limiting = threading.Lock()  # csv has one limit for all threads


def rows_in(path: str | Path, split: str = "train") -> Rows:
    """(place, row) of every row; `place` names file and row. Raises DataError for what is not rows.

    `split` chooses among the files of a folder that are named by split.
    """
    path = Path(path)
    refuse_results(path)
    if path.is_dir():
        for file in files_of(path, split):
            yield from rows_in(file, split)
        return
    match ending_of(path):
        case ".parquet":
            yield from table_rows(path, pq_batches(path))
        case ".arrow":
            yield from table_rows(path, arrow_batches(path))
        case ".csv" | ".tsv":
            yield from csv_rows(path)
        case ending:
            refuse_other_files(path, ending)
            yield from json_rows(path)


def refuse_results(path: Path) -> None:
    """DataError for what a command wrote that is no rows, and for a model: what it is, and what reads it."""
    for name, what in RESULTS.items():
        if path.name == name or (path.is_dir() and (path / name).is_file()):
            raise DataError(f"{path}: expected rows, found {what}")


def ending_of(path: Path) -> str:
    """A file's ending in small letters, without .gz."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def refuse_other_files(path: Path, ending: str) -> None:
    """DataError for what is no text at all: a spreadsheet, a document, an archive."""
    if ending in ENDINGS or not path.is_file():
        return
    if ending == ".safetensors":
        raise DataError(f"{path}: expected rows, found head scores or weights (safetensors); give a file of rows")
    with path.open("rb") as raw:
        start = raw.read(4)
    if start.startswith(OTHER_FILES):
        raise DataError(f"{path}: not a file of rows; save it as {', '.join(ENDINGS)}, plain or .gz")


def files_of(folder: Path, split: str) -> list[Path]:
    """The files of a folder that hold its rows: of several splits those of this one."""
    if (folder / "dataset_dict.json").is_file():  # what DatasetDict.save_to_disk writes: a folder a split
        return files_of(folder_of_split(folder, split), split)
    files = sorted(path for path in folder.rglob("*") if endings(path) and not path.name.startswith((".", "dataset_")))
    if datasets := [path.parent.relative_to(folder) for path in files if path.name == "manifest.json"]:
        raise DataError(f"{folder}: no dataset here, but in {', '.join(map(str, datasets))}; give one of them")
    files = [path for path in files if path.name != "state.json"]
    if not files:
        raise DataError(f"{folder}: expected files of rows ({', '.join(ENDINGS)}), found none")
    named = {name: [path for path in files if has_word(path, words)] for name, words in SPLIT_WORDS.items()}
    if any(named.values()) and not named[split]:
        raise DataError(f"{folder}: no file here is of the split {split}; found {', '.join(p.name for p in files)}")
    return named[split] or files


def has_word(path: Path, words: tuple[str, ...]) -> bool:
    """Whether a file's name has one of the words in it, as train-00000-of-00002 has."""
    return not set(words).isdisjoint(re.split("[^a-z]+", path.name.lower()))


def endings(path: Path) -> bool:
    return path.is_file() and ending_of(path) in ENDINGS


def folder_of_split(folder: Path, split: str) -> Path:
    found = [folder / name for name in SPLIT_WORDS[split] if (folder / name).is_dir()]
    if not found:
        there = sorted(path.name for path in folder.iterdir() if path.is_dir())
        raise DataError(f"{folder}: no split {split} here; found {', '.join(there) or 'none'}")
    return found[0]


def json_rows(path: Path) -> Rows:
    """A list of objects, an object with a list of them under `data`, or an object a line."""
    start = next((line for line in read_text(path) if line.strip()), "").lstrip()
    whole = read_json(path) if start.startswith("[") or start.strip() == "{" else None
    if whole is None:
        for place, row in read_jsonl(path):
            yield from item_rows(path, row["data"]) if isinstance(row.get("data"), list) else [(place, row)]
        return
    yield from item_rows(path, whole.get("data", [whole]) if isinstance(whole, dict) else whole)


def item_rows(path: Path, items: Any) -> Rows:
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a list of objects, found {type(items).__name__}")
    for number, row in enumerate(items):
        if not isinstance(row, dict):
            raise DataError(f"{path}, item {number}: expected an object, found {type(row).__name__}")
        yield f"{path}, item {number}", row


def csv_rows(path: Path) -> Rows:
    """A row a line under a heading; a cell that spells a JSON list or object is one, an empty one and NA are None."""
    lines = read_text(path, newline="")  # what stands in quotes is read as it is
    try:
        reader = csv.DictReader(lines, delimiter=delimiter_of(path), strict=True)
        names = list(reader.fieldnames or ())
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise DataError(f"{path}: two columns are called {twice[0]!r}; give each a name of its own")
        for number, row in enumerate(of_any_length(reader), 1):
            if None in row or None in row.values():
                raise DataError(f"{path}, row {number}: expected as many cells as the heading has columns")
            yield f"{path}, row {number}", {key: cell(text) for key, text in row.items()}
    except csv.Error as error:
        raise DataError(f"{path}: not a table of cells ({error}); write it again") from None


def of_any_length(rows: Iterator[dict[str, str]]) -> Iterator[dict[str, str]]:
    """What a reader of csv reads, however long its cells; between rows the interpreter's limit is its own again."""
    while True:
        with _limiting:
            before = csv.field_size_limit(LONGEST_CELL)
            try:
                row = next(rows, None)
            finally:
                csv.field_size_limit(before)
        if row is None:
            return
        yield row


def delimiter_of(path: Path) -> str:
    """What parts the names of the heading: tabs in a .tsv, else commas, or the semicolons of other countries."""
    heading = next(read_text(path), "")
    if ending_of(path) == ".tsv":
        return "\t"
    return next((mark for mark in (",", ";", "\t") if mark in heading), ",")


def cell(text: str) -> Any:
    if text in MISSING:
        return None
    if text[:1] in ("[", "{"):
        try:
            return parse_json(text)
        except (ValueError, RecursionError):
            return text
    return text


UNREADABLE = (OSError, ValueError, OverflowError, pa.ArrowException)  # names that are not UTF-8 among them


def pq_batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from map(validated, file.iter_batches(batch_size=256))
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as parquet ({' '.join(str(error).split())[:120]})") from None


def validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, every text of it in UTF-8. Raises ArrowInvalid."""
    batch.validate(full=True)
    return batch


def arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Of a stream, as `datasets` writes, or of an Arrow file."""
    try:
        with path.open("rb") as raw:
            is_file = raw.read(6) == b"ARROW1"
        with pa.memory_map(str(path)) as source:
            if is_file:
                reader = pa.ipc.open_file(source)
                yield from (validated(reader.get_batch(i)) for i in range(reader.num_record_batches))
            else:
                yield from map(validated, pa.ipc.open_stream(source))
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as Arrow ({' '.join(str(error).split())[:120]})") from None


def table_rows(path: Path, batches: Iterator[pa.RecordBatch]) -> Rows:
    number = 0
    for batch in batches:
        names = batch.schema.names
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(f"{path}: the column {twice[0]!r} stands twice; keep one")
        try:
            rows = batch.to_pylist()
        except UNREADABLE as error:  # a date that no calendar has, say
            why = " ".join(str(error).split())[:120]
            raise DataError(
                f"{path}: a value of rows {number} to {number + len(batch) - 1} cannot be read ({why})"
            ) from None
        for row in rows:
            yield f"{path}, row {number}", row
            number += 1
