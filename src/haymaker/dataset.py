"""A dataset in memory: examples, the table that holds them, and what they were built from."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from haymaker.config import Recipe
from haymaker.folders.folder import Folder, Shards, appearing
from haymaker.folders.schema import SCHEMA, Row, example_of
from haymaker.folders.summary import SUMMED, summary
from haymaker.records import Example


class Dataset(Sequence[Example]):
    """Examples with what they were built from. Indexing and iterating give Examples; `rows` gives plain dicts."""

    def __init__(self, table: pa.Table, manifest: dict[str, Any]) -> None:
        self.table, self.manifest = table, manifest

    @property
    def recipe(self) -> Recipe:
        return Recipe(**self.manifest["recipe"])

    @property
    def rows(self) -> Iterator[Row]:
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
    """The dataset in a folder, of either layout. Raises DataError where a file is missing, altered or of another
    schema."""
    stored = Folder(folder)
    return Dataset(pa.concat_tables(stored.tables()), stored.manifest)
