"""A dataset's folder in the other layout: pooled (every text once) and back, the same rows."""

from pathlib import Path

import pyarrow.parquet as pq

from haymaker.console import OnProgress, told
from haymaker.data.dataset import DOCUMENT_FILE, FORMAT, POOLED_FORMAT, Folder, Shards, appearing
from haymaker.data.pooled import DOCUMENTS, TextPool
from haymaker.errors import DataError
from haymaker.file_digests import file_digest


def pool(
    folder: str | Path, out: str | Path, overwrite: bool = False, *, on_progress: OnProgress | None = None
) -> Folder:
    """Write a dataset with every text once. Raises DataError where it is pooled already, or `out` exists."""
    source = Folder(folder)
    if source.pooled:
        raise DataError(f"{folder}: pooled already")
    return appearing(
        Path(out), overwrite, lambda work: write_pooled(source, work, told(on_progress, "rows", len(source)))
    )


def unpool(
    folder: str | Path, out: str | Path, overwrite: bool = False, *, on_progress: OnProgress | None = None
) -> Folder:
    """Write a pooled dataset with the text of every row in its place: the files that were pooled, byte for byte."""
    source = Folder(folder)
    if not source.pooled:
        raise DataError(f"{folder}: not pooled")
    return appearing(
        Path(out), overwrite, lambda work: write_plain(source, work, told(on_progress, "rows", len(source)))
    )


def write_pooled(source: Folder, work: Path, advance: OnProgress) -> None:
    texts, path = TextPool(), work / DOCUMENT_FILE
    shards = Shards(work, len(source), source.recipe.length, POOLED_FORMAT)
    with pq.ParquetWriter(path, DOCUMENTS, compression="zstd") as writer:
        for table in source.tables():
            shards.add(texts.pooled(table))
            writer.write_table(texts.new_texts())
            advance(table.num_rows)
    documents = {"file": DOCUMENT_FILE, "rows": len(texts.numbers), "sha256": file_digest(path)}
    shards.close({**source.manifest, "documents": documents})


def write_plain(source: Folder, work: Path, advance: OnProgress) -> None:
    shards = Shards(work, len(source), source.recipe.length, FORMAT)
    for table in source.tables():
        shards.add(table)
        advance(table.num_rows)
    shards.close(source.manifest)
