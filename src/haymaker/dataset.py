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
from haymaker.records import Encoded, Example, Label, Message, Segment, Span, canonical_json

FORMAT = "haymaker-dataset/1"
ROWS_PER_SHARD = 2_048
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
        return cls(pa.Table.from_pylist(rows, schema=SCHEMA), {**manifest, "rows": len(rows)})

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


def row_of(example: Example, encoded: Encoded, checks: dict[str, Any]) -> dict[str, Any]:
    """An example and its tokens as one row of the table."""
    source = {key: value for key, value in example.source.items() if key not in MEASURED}
    return {
        **{name: getattr(example, name) for name in ("id", "pair_id", "task", "split", "concept", "context")},
        **{name: example.source.get(name) for name in MEASURED},
        "messages": [{"role": message.role, "content": message.text} for message in example.messages],
        "question": example.question,
        "answers": list(example.answers),
        "spans": span_rows(example, encoded),
        "source": canonical_json(source),
        "provenance": canonical_json(list(example.provenance)),
        "checks": canonical_json(checks),
    }


def span_rows(example: Example, encoded: Encoded) -> list[dict[str, Any]]:
    """Every labelled span in characters of its message and in tokens of the prompt."""
    starts = list(accumulate((len(message.text) for message in example.messages), initial=0))
    found, message = [], 0
    pairs = zip(example.labelled_spans, encoded.labelled_spans, strict=True)
    for (label, span), (_, tokens) in sorted(pairs, key=lambda pair: (pair[0][1].start, -pair[0][1].stop, pair[0][0])):
        while span.start >= starts[message + 1]:
            message += 1
        values = (label.index, message, span.start - starts[message], span.stop - starts[message])
        names = ("index", "message", "char_start", "char_end")
        tokens_at = {"token_start": tokens.start, "token_end": tokens.stop}
        found.append({"kind": label.kind, **dict(zip(names, values, strict=True)), **tokens_at})
    return found


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
    segments, open_spans, ahead = [], [], sorted(spans, key=lambda s: (s["char_start"], -s["char_end"]))
    for start, stop in zip(cuts, cuts[1:], strict=False):
        open_spans = [span for span in open_spans if span["char_end"] > start]
        while ahead and ahead[0]["char_start"] == start:
            open_spans.append(ahead.pop(0))
        labels = tuple(Label(span["kind"], span["index"]) for span in open_spans)
        segments.append(Segment(content[start:stop], labels))
    return tuple(segments)


def token_spans_of(row: dict[str, Any]) -> tuple[tuple[Label, Span], ...]:
    """A row's token spans, as the build's tokenizer gave them."""
    return tuple((Label(s["kind"], s["index"]), Span(s["token_start"], s["token_end"])) for s in row["spans"])


# ---- the folder


def write_folder(dataset: Dataset, folder: Path) -> None:
    """Shards, manifest and card into an empty folder."""
    count = max(1, -(-len(dataset) // ROWS_PER_SHARD))
    shards = []
    for number in range(count):
        path = folder / f"data-{number:05d}-of-{count:05d}.parquet"
        part = dataset.table.slice(number * ROWS_PER_SHARD, ROWS_PER_SHARD)
        pq.write_table(part, path, compression="zstd", row_group_size=64)
        shards.append({"file": path.name, "rows": part.num_rows, "sha256": file_digest(path)})
    manifest = {**dataset.manifest, "format": FORMAT, "rows": len(dataset), "shards": shards}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(card(manifest))


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
