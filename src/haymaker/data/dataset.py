"""A dataset in memory: examples, the table that holds them, and what they were built from."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from haymaker import markup
from haymaker.config import Recipe
from haymaker.data.card import card
from haymaker.data.checks import SUMMED, summary
from haymaker.data.pooled import DOCUMENTS, POOLED, restored
from haymaker.data.schema import SCHEMA, Row, example_of
from haymaker.errors import DataError
from haymaker.file_digests import file_digest
from haymaker.file_reading import read_json_if_there, required
from haymaker.files import strangers_in, whole_folder, write_json, write_text
from haymaker.records import Example

if TYPE_CHECKING:
    import pandas

SHOWN = 10  # rows that a dataset shows of itself


class Dataset(Sequence[Example]):
    """Examples with what they were built from. Indexing and iterating give Examples; `rows` gives plain dicts.

    Args:
        table: The rows, with the columns of `haymaker.data.schema.SCHEMA`.
        manifest: Recipe, inputs, tokenizer, versions, what was rejected, and checks.

    Raises:
        IndexError: A row that there is not. A slice is a Dataset.

    Examples:
        >>> len(rows), rows.recipe.task, type(rows[0]).__name__, len(rows[:1])
        (2, 'mdqa', 'Example', 1)
    """

    def __init__(self, table: pa.Table, manifest: dict[str, Any]) -> None:
        self.table, self.manifest = table, manifest

    def __repr__(self) -> str:
        recipe, checks = self.manifest["recipe"], self.manifest["checks"]
        tokens = f" of {checks['tokens_least']:,} to {checks['tokens_most']:,} tokens" if checks["tokens"] else ""
        rejected = sum(self.manifest["rejected"].values())
        left_out = f", {rejected} of the source rejected" if rejected else ""
        return f"Dataset({recipe['task']}, {recipe['setting']}: {len(self)} rows{tokens}{left_out})"

    def _repr_html_(self) -> str:
        columns = ("id", "question", "answers", "n_prompt_tokens", "concept", "context")
        rows = [row | {"answers": " | ".join(map(str, row["answers"] or ()))} for row in self[:SHOWN].select(columns)]
        return markup.table(rows, repr(self) if len(self) <= SHOWN else f"{self!r}, the first {SHOWN}")

    def to_pandas(self) -> "pandas.DataFrame":
        """The rows as a pandas frame, with the columns of `haymaker.data.schema.SCHEMA`."""
        return self.table.to_pandas()

    @property
    def recipe(self) -> Recipe:
        """What the rows were built by."""
        return Recipe(**self.manifest["recipe"])

    @property
    def rows(self) -> Iterator[Row]:
        """Rows as plain dicts, with the columns of `haymaker.data.schema.SCHEMA`."""
        return self.select(SCHEMA.names)

    def select(self, columns: Sequence[str]) -> Iterator[Row]:
        """Rows as plain dicts of these columns only."""
        for batch in self.table.select(columns).to_batches(max_chunksize=64):
            yield from batch.to_pylist()

    def __len__(self) -> int:
        return self.table.num_rows

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Example | Dataset":
        if isinstance(index, slice):
            chosen = self.table.take(pa.array(range(*index.indices(len(self))), pa.int64()))
            about = {key: value for key, value in self.manifest.items() if key != "overlap"}
            return Dataset(chosen, {**about, "rows": chosen.num_rows})
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a dataset of {len(self)}")
        return example_of(self.table.slice(index % len(self), 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Example]:
        return map(example_of, self.rows)

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the folder; it appears whole or not at all. An existing one raises DataError unless `overwrite`."""
        appearing(Path(folder), overwrite, self.write)
        return Path(folder)

    def write(self, folder: Path) -> None:
        """Shards, manifest and card into an empty folder."""
        shards = Shards(folder, len(self), self.manifest["recipe"]["length"])
        shards.add(self.table)
        # The checks anew, for this may be a part of what was built.
        shards.close({**self.manifest, "checks": summary(self.select(SUMMED))})


def load_dataset(folder: str | Path) -> Dataset:
    """The dataset in a folder, of either layout.

    Args:
        folder: What `haymaker build` or `Dataset.save` wrote.

    Returns:
        The dataset, in memory.

    Raises:
        DataError: No dataset there, or a file is missing, altered or of another schema.

    Examples:
        >>> folder = rows.save("rows")
        >>> hm.load_dataset(folder)[0] == rows[0]
        True
    """
    stored = Folder(folder)
    return Dataset(pa.concat_tables(stored.tables()), stored.manifest)


# ---- A dataset's folder: zstd parquet shards, manifest.json, and a README.md that `datasets.load_dataset` reads.

FORMAT = "haymaker-dataset/2"
POOLED_FORMAT = "haymaker-pooled/1"
SCHEMAS = {FORMAT: SCHEMA, POOLED_FORMAT: POOLED}
MOST_ROWS_PER_GROUP = 64
TOKENS_PER_GROUP = 2**22  # about 16 MB of text
GROUPS_PER_SHARD = 32
DOCUMENT_FILE = "documents.parquet"
FILES = ("manifest.json", "README.md", "data-*.parquet", DOCUMENT_FILE)
MANIFEST: dict[str, type] = {  # what every manifest holds
    "rows": int,
    "shards": list,
    "recipe": dict,
    "inputs": dict,
    "rejected": dict,
    "failed": list,
    "checks": dict,
    "versions": dict,
}
PARTS: dict[str, dict[str, type]] = {  # and what is read of its parts
    "recipe": {"task": str, "setting": str, "split": str, "rows": int, "length": int},
    "checks": dict.fromkeys(("tokens", "tokens_least", "tokens_most"), int),
}


def rows_per_group(length: int) -> int:
    """Rows of one row group, which is what a reader holds at a time."""
    return max(1, min(MOST_ROWS_PER_GROUP, TOKENS_PER_GROUP // length))


# ---- reading


class Folder:
    """A dataset on disk, read one row group at a time. Raises DataError where a file is missing or altered."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest = read_manifest(self.path)

    @property
    def recipe(self) -> Recipe:
        return Recipe(**self.manifest["recipe"])

    @property
    def pooled(self) -> bool:
        return self.manifest["format"] == POOLED_FORMAT

    @cached_property
    def texts(self) -> pa.ChunkedArray:
        """Texts of a pooled dataset, by number."""
        path = checked(self.path, self.manifest["documents"])
        return pa.concat_tables(groups(path, DOCUMENTS, ["text"])).column("text")

    def __len__(self) -> int:
        return self.manifest["rows"]

    def __iter__(self) -> Iterator[Example]:
        return map(example_of, self.rows)

    @property
    def rows(self) -> Iterator[Row]:
        return self.select(SCHEMA.names)

    def select(self, columns: Sequence[str]) -> Iterator[Row]:
        """Rows as plain dicts of these columns only."""
        for table in self.tables(columns):
            yield from table.to_pylist()

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Row groups in order, pooled ones with their texts back in place."""
        for table in self.stored(columns):
            whole = self.pooled and "messages" in table.column_names
            yield restored(table, self.texts) if whole else table

    def stored(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Row groups as they are written; every shard's bytes and columns are checked first."""
        wanted, found = SCHEMAS[self.manifest["format"]], 0
        for shard in self.manifest["shards"]:
            for table in groups(checked(self.path, shard), wanted, columns):
                found += table.num_rows
                yield table
        if found != len(self):
            raise DataError(f"{self.path}: manifest.json says {len(self)} rows, the shards hold {found}")


def groups(path: Path, wanted: pa.Schema, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    """A file's row groups. Raises DataError for one of other columns, and for what is no parquet."""
    try:
        with pq.ParquetFile(path) as file:
            check_columns(path, wanted, file.schema_arrow)
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=None if columns is None else list(columns))
                table.validate(full=True)  # texts in UTF-8, or what reads them meets an error that is not Arrow's
                yield table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as parquet ({error}); copy or build the folder again") from None


def checked(folder: Path, entry: dict[str, Any]) -> Path:
    """A file that the manifest names, its bytes compared."""
    path = folder / entry["file"]
    if entry["file"] != path.name or not isfile(path):
        raise DataError(f"{path}: the manifest names this file, but it is missing; copy the whole folder")
    if file_digest(path) != entry["sha256"]:
        raise DataError(f"{path}: its bytes are not those the manifest records; copy or build the folder again")
    return path


def check_columns(path: Path, wanted: pa.Schema, found: pa.Schema) -> None:
    if not found.equals(wanted):
        raise DataError(f"{path}: expected columns {', '.join(wanted.names)}, found {', '.join(found.names)}")


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json of a dataset's folder."""
    path = folder / "manifest.json"
    manifest = read_json_if_there(path, "build the dataset again")
    if manifest is None and folder.is_file():
        raise DataError(
            f"{folder}: a file of rows, and this is about a dataset's folder; `haymaker stats` says what of a file is "
            "left out, and which rows are too long (--tokenizer, --length)"
        )
    if manifest is None:
        raise DataError(f"{folder}: no dataset here (manifest.json is missing); `haymaker build` writes one")
    found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
    if not isinstance(found, str) or found not in SCHEMAS:
        raise DataError(f"{path}: expected format {' or '.join(SCHEMAS)}, found {found!r}")
    check_manifest(manifest, str(path))
    return manifest


def check_manifest(manifest: dict[str, Any], place: str) -> None:
    """DataError where something that is read of a manifest lacks, or is of another kind."""
    for key, kind in MANIFEST.items():
        required(manifest, key, kind, place)
    if not 0 <= manifest["rows"] < 2**63:
        raise DataError(f"{place}: expected a number of rows, found {manifest['rows']}")
    if not manifest["shards"]:
        raise DataError(f"{place}: expected a shard or more, of no rows too, found none")
    for part, kinds in PARTS.items():
        for key, kind in kinds.items():
            required(manifest[part], key, kind, f"{place}, {part}")
    for reason in manifest["rejected"]:
        required(manifest["rejected"], reason, int, f"{place}, rejected")
    for failure in manifest["failed"]:
        required(failure, "row", int, f"{place}, failed")
        required(failure, "reason", str, f"{place}, failed")
    documents = [required(manifest, "documents", dict, place)] if manifest["format"] == POOLED_FORMAT else []
    for entry in (*manifest["shards"], *documents):
        for key in ("file", "sha256"):
            required(entry, key, str, f"{place}, shards")


class Shards:
    """Writes tables of rows as a dataset's shards. Where tables end does not matter: groups and shards are cut anew."""

    def __init__(self, folder: Path, rows: int, length: int, layout: str = FORMAT) -> None:
        self.folder, self.layout, self.schema = folder, layout, SCHEMAS[layout]
        self.group = rows_per_group(length)
        self.most = GROUPS_PER_SHARD * self.group
        self.count = max(1, -(-rows // self.most))
        self.waiting = self.schema.empty_table()
        self.shards: list[dict[str, Any]] = []
        self.writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table) -> None:
        """Append rows; those that do not fill a row group wait."""
        self.waiting = pa.concat_tables([self.waiting, table.cast(self.schema)])
        while self.waiting.num_rows >= self.group:
            self.write(self.waiting.slice(0, self.group))
            self.waiting = self.waiting.slice(self.group)

    def write(self, table: pa.Table) -> None:
        if self.writer is None:
            name = f"data-{len(self.shards):05d}-of-{self.count:05d}.parquet"
            self.writer = pq.ParquetWriter(self.folder / name, self.schema, compression="zstd")
            self.shards.append({"file": name, "rows": 0})
        self.writer.write_table(table.combine_chunks(), row_group_size=self.group)
        self.shards[-1]["rows"] += table.num_rows
        if self.shards[-1]["rows"] == self.most:
            self.end_shard()

    def end_shard(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None
            self.shards[-1]["sha256"] = file_digest(self.folder / self.shards[-1]["file"])

    def close(self, manifest: dict[str, Any]) -> None:
        """Write what waits, manifest and card."""
        if self.waiting.num_rows or not self.shards:
            self.write(self.waiting)
        self.end_shard()
        rows = sum(shard["rows"] for shard in self.shards)
        taken = {"format", "rows", "shards", *(() if self.layout == POOLED_FORMAT else ("documents",))}
        about = {key: value for key, value in manifest.items() if key not in taken}
        write_manifest(self.folder, {"format": self.layout, "rows": rows, **about, "shards": self.shards})


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """manifest.json and the card drawn from it; each appears whole or not at all."""
    write_json(folder / "manifest.json", manifest)
    write_text(folder / "README.md", card(manifest))


def stands(folder: Path) -> bool:
    """Whether there is something at the folder's name."""
    return folder.is_file() or (folder.is_dir() and any(folder.iterdir()))


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """Raise DataError for something that is not a dataset, and to `overwrite` one with files of others in it."""
    if not stands(folder):
        return
    if not (folder / "manifest.json").is_file():
        raise DataError(f"{folder} is not a dataset, so it is not overwritten; choose another folder")
    if overwrite and (others := strangers_in(folder, FILES)):
        raise DataError(
            f"{folder} holds {', '.join(others[:3])}, which is no part of the dataset, so it is not overwritten; "
            "choose another folder"
        )


def appearing(folder: Path, overwrite: bool, write: Callable[[Path], Any]) -> Folder:
    """A dataset's folder that appears whole or not at all. Raises DataError for one that exists, unless `overwrite`."""
    check_replaceable(folder, overwrite)
    if stands(folder) and not overwrite:
        raise DataError(f"{folder} exists; choose another folder or say overwrite")
    with whole_folder(folder) as work:
        write(work)
    return Folder(folder)
