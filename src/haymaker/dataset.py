"""A dataset: a table of rows in memory or in a folder (zstd parquet shards, manifest.json, README.md)."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import pyarrow.parquet as pq

from haymaker.config import Recipe
from haymaker.errors import DataError
from haymaker.records import Example, Label, Message, Segment, Span

FORMAT = "haymaker-dataset/1"
ROWS_PER_GROUP = 64
ROWS_PER_SHARD = 32 * ROWS_PER_GROUP
_SPAN = pa.struct(
    [("kind", pa.string())]
    + [(name, pa.int32()) for name in ("index", "message", "char_start", "char_end", "token_start", "token_end")]
)
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "pair_id", "task", "setting", "split", "concept", "context")]
    + [("messages", pa.list_(_MESSAGE)), ("question", pa.string()), ("answers", pa.list_(pa.string()))]
    + [("spans", pa.list_(_SPAN))]
    + [(name, pa.int32()) for name in ("n_prompt_tokens", "n_target_tokens", "max_tokens")]
    + [("gold_depths", pa.list_(pa.float64()))]
    + [(name, pa.string()) for name in ("source", "provenance", "checks")]  # JSON
)
"""Columns of a shard. Character spans count code points of one message's content; token spans those of the prompt as
the build's tokenizer sees it, chat template included; all are half-open."""
MEASURED = ("setting", "n_prompt_tokens", "n_target_tokens", "max_tokens", "gold_depths")


class Dataset(Sequence[Example]):
    """Examples with what they were built from. Indexing and iterating give Examples; `rows` gives plain dicts."""

    def __init__(self, table: pa.Table, manifest: dict[str, Any]) -> None:
        self.table, self.manifest = table, manifest

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]], manifest: dict[str, Any]) -> "Dataset":
        return cls(table_of(rows), {**manifest, "rows": len(rows)})

    @property
    def recipe(self) -> Recipe:
        return Recipe(**self.manifest["recipe"])

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        for batch in self.table.to_batches(max_chunksize=64):
            yield from batch.to_pylist()

    def __len__(self) -> int:
        return self.table.num_rows

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...
    def __getitem__(self, index: int | slice) -> "Example | Dataset":
        if isinstance(index, slice):
            chosen = self.table.take(list(range(*index.indices(len(self)))))
            return Dataset(chosen, {**self.manifest, "rows": chosen.num_rows})
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a dataset of {len(self)}")
        return example_of(self.table.slice(index % len(self), 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Example]:
        return map(example_of, self.rows)

    def save(self, folder: str | Path, overwrite: bool = False) -> Path:
        """Write the folder; it appears whole or not at all. An existing one raises DataError unless `overwrite`."""
        folder = Path(folder)
        if folder.exists() and not overwrite:
            raise DataError(f"{folder} exists; choose another folder or say overwrite")
        work = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        work.mkdir(parents=True)
        try:
            write_folder(self, work)
            publish(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return folder


# ---- rows and examples


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table; their spans may be lists of (label, character start, end, token start, end)."""
    columns = [span_column(rows) if name == "spans" else [row[name] for row in rows] for name in SCHEMA.names]
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def span_column(rows: list[dict[str, Any]]) -> pa.Array:
    """The spans of all rows, of the rows' one message each."""
    places = [place for row in rows for place in row["spans"]]
    bounds = list(accumulate((len(row["spans"]) for row in rows), initial=0))
    kinds = pa.array([place[0].kind for place in places], pa.string())
    numbers = [pa.array([place[0].index for place in places], pa.int32()), pa.array([0] * len(places), pa.int32())]
    numbers += [pa.array([place[i] for place in places], pa.int32()) for i in range(1, 5)]
    spans = pa.StructArray.from_arrays([kinds, *numbers], fields=list(_SPAN))
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), spans)


def example_of(row: dict[str, Any]) -> Example:
    """The example that a row of the table holds."""
    messages = tuple(
        Message(message["role"], segments_of(message["content"], [s for s in row["spans"] if s["message"] == i]))
        for i, message in enumerate(row["messages"])
    )
    return Example(
        **{name: row[name] for name in ("id", "task", "question", "pair_id", "split", "concept", "context")},
        messages=messages,
        answers=tuple(row["answers"]),
        source={**json.loads(row["source"]), **{name: row[name] for name in MEASURED}},
        provenance=tuple(json.loads(row["provenance"])),
    )


def segments_of(content: str, spans: list[dict[str, Any]]) -> tuple[Segment, ...]:
    """The content cut wherever a span starts or ends, each piece with the labels of the spans that hold it."""
    cuts = sorted({0, len(content), *(s["char_start"] for s in spans), *(s["char_end"] for s in spans)})
    segments, open_spans = [], []
    ahead = sorted(spans, key=lambda s: (s["char_start"], -s["char_end"], s["kind"], s["index"]), reverse=True)
    for start, stop in zip(cuts, cuts[1:], strict=False):
        open_spans = [span for span in open_spans if span["char_end"] > start]
        while ahead and ahead[-1]["char_start"] == start:
            open_spans.append(ahead.pop())
        labels = tuple(Label(span["kind"], span["index"]) for span in open_spans)
        segments.append(Segment(content[start:stop], labels))
    return tuple(segments)


def token_spans_of(row: dict[str, Any]) -> tuple[tuple[Label, Span], ...]:
    """A row's token spans, as the build's tokenizer gave them."""
    return tuple((Label(s["kind"], s["index"]), Span(s["token_start"], s["token_end"])) for s in row["spans"])


# ---- the folder


class Shards:
    """Writes tables of rows as a dataset's files, one row group each, without holding more than one of them."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows
        self.count = max(1, -(-rows // ROWS_PER_SHARD))
        self.written = 0
        self.shards: list[dict[str, Any]] = []
        self.writer: pq.ParquetWriter | None = None

    def add(self, table: pa.Table) -> list[dict[str, Any]]:
        """Append up to one row group; the rows' checks alone, for the summary."""
        if self.writer is None:
            name = f"data-{len(self.shards):05d}-of-{self.count:05d}.parquet"
            self.writer = pq.ParquetWriter(self.folder / name, SCHEMA, compression="zstd")
            self.shards.append({"file": name, "rows": 0})
        self.writer.write_table(table.combine_chunks(), row_group_size=ROWS_PER_GROUP)
        self.shards[-1]["rows"] += table.num_rows
        self.written += table.num_rows
        if self.shards[-1]["rows"] == ROWS_PER_SHARD or self.written == self.rows:
            self.end_shard()
        return table.select(["checks", "gold_depths", "n_prompt_tokens", "n_target_tokens"]).to_pylist()

    def end_shard(self) -> None:
        assert self.writer is not None
        self.writer.close()
        self.writer = None
        self.shards[-1]["sha256"] = file_digest(self.folder / self.shards[-1]["file"])

    def close(self, manifest: dict[str, Any]) -> None:
        """Write manifest and card."""
        manifest = {**manifest, "format": FORMAT, "rows": self.written, "shards": self.shards}
        (self.folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        (self.folder / "README.md").write_text(card(manifest))


def write_folder(dataset: Dataset, folder: Path) -> None:
    """Shards, manifest and card into an empty folder."""
    shards = Shards(folder, len(dataset))
    for start in range(0, max(1, len(dataset)), ROWS_PER_GROUP):
        shards.add(dataset.table.slice(start, ROWS_PER_GROUP))
    shards.close(dataset.manifest)


def publish(work: Path, folder: Path) -> None:
    """Move the finished folder to its name; an old one of that name goes only when the new one stands ready."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        os.rename(folder, old)
    os.rename(work, folder)
    shutil.rmtree(old, ignore_errors=True)


def card(manifest: dict[str, Any]) -> str:
    """README.md: the header that `datasets` reads, and the facts of the manifest."""
    recipe = manifest["recipe"]
    facts = {**recipe, "rows": manifest["rows"], "rejected": manifest.get("rejected", {})}
    lines = [f"- {name}: {value}" for name, value in facts.items() if value is not None]
    header = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        f"  - split: {recipe['split']}\n    path: data-*.parquet\n---\n"
    )
    title = f"# {recipe['task']}, {recipe['setting']}, {recipe['length']} tokens\n\n"
    checks = "\n".join(f"- {name}: {value}" for name, value in manifest.get("checks", {}).items())
    return f"{header}{title}Built by Haymaker.\n\n" + "\n".join(lines) + f"\n\n## Checks\n{checks}\n"


def load_dataset(folder: str | Path) -> Dataset:
    """The dataset in a folder. Raises DataError where a file is missing, altered or of another schema."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    tables = [read_shard(folder, shard) for shard in manifest["shards"]]
    table = pa.concat_tables(tables)
    if table.num_rows != manifest["rows"]:
        raise DataError(f"{folder}: manifest.json says {manifest['rows']} rows, the shards hold {table.num_rows}")
    return Dataset(table, manifest)


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json of a dataset's folder."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
    except OSError:
        raise DataError(f"{folder}: no dataset here (manifest.json is missing); `haymaker build` writes one") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); build the dataset again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise DataError(f"{path}: expected format {FORMAT}, found {found!r}")
    return manifest


def read_shard(folder: Path, shard: dict[str, Any]) -> pa.Table:
    """One shard, its bytes and columns checked."""
    path = folder / shard["file"]
    if not path.is_file():
        raise DataError(f"{path}: the manifest names this shard, but it is missing; copy the whole folder")
    if file_digest(path) != shard["sha256"]:
        raise DataError(f"{path}: its bytes are not those the manifest records; copy or build the folder again")
    table = pq.read_table(path)
    if not table.schema.equals(SCHEMA):
        raise DataError(f"{path}: expected columns {', '.join(SCHEMA.names)}, found {', '.join(table.schema.names)}")
    return table


def file_digest(path: str | Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
