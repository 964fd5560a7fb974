"""Building a dataset's folder in parts: by several processes, going on where an earlier run stopped.

Rows are independent of one another, so parts can be made in any order, by any number of workers: the finished files
are the same bytes. A part appears by atomic rename, so one that is there is whole.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from haymaker.build import Builder
from haymaker.config import Recipe
from haymaker.dataset import ROWS_PER_GROUP, Dataset, Shards, load_dataset, publish, table_of
from haymaker.errors import DataError, Interrupted

Progress = Callable[[int], Any]  # called with a number of rows that are done


def build_folder(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    workers: int = 1,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> Dataset:
    """Build a recipe into a folder, part by part; memory does not grow with the number of rows.

    Run again after a stop, it goes on from the parts that are there. A folder that holds this very recipe is returned
    as it is; one that holds another raises DataError unless `overwrite`. Raises Interrupted on Ctrl-C, and whatever
    building a row raises.
    """
    folder = Path(folder)
    builder = Builder(recipe, tokenizer)
    if folder.exists() and not overwrite:
        return finished(folder, builder.identity)
    work = folder.with_name(f".{folder.name}.parts")
    prepare(work, builder.identity)
    progress = on_progress or (lambda rows: None)
    missing = [part for part in range(parts_of(recipe)) if not part_path(work, part).exists()]
    progress(recipe.rows - sum(len(rows_of(recipe, part)) for part in missing))
    try:
        if workers == 1:
            for part in missing:
                progress(make_part(builder, work, part))
        elif missing:
            make_parts(recipe, tokenizer, work, missing, workers, progress)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {work} keeps the finished parts, and the same command goes on from them") from None
    assemble(builder, work, folder)
    return load_dataset(folder)


def finished(folder: Path, identity: str) -> Dataset:
    """The dataset of an earlier, finished run."""
    dataset = load_dataset(folder)
    if dataset.manifest.get("identity") != identity:
        raise DataError(f"{folder} holds another dataset; choose another folder or say overwrite")
    return dataset


def prepare(work: Path, identity: str) -> None:
    """An empty folder for parts, or one with parts of the same identity; parts of another are removed."""
    mark = work / "identity.json"
    if work.exists() and not (mark.exists() and json.loads(mark.read_text()) == identity):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    if not mark.exists():
        temporary = work / f"identity.{os.getpid()}.tmp"
        temporary.write_text(json.dumps(identity))
        os.replace(temporary, mark)


def parts_of(recipe: Recipe) -> int:
    return -(-recipe.rows // ROWS_PER_GROUP)


def rows_of(recipe: Recipe, part: int) -> range:
    """Numbers of the rows in a part."""
    return range(part * ROWS_PER_GROUP, min(recipe.rows, (part + 1) * ROWS_PER_GROUP))


def part_path(work: Path, part: int) -> Path:
    return work / f"part-{part:06d}.parquet"


def make_part(builder: Builder, work: Path, part: int) -> int:
    """Build and write one part; how many rows it has."""
    rows = [builder.row(number) for number in rows_of(builder.recipe, part)]
    temporary = work / f"part-{part:06d}.{os.getpid()}.tmp"
    pq.write_table(table_of(rows), temporary, compression="zstd", row_group_size=ROWS_PER_GROUP)
    os.replace(temporary, part_path(work, part))
    return len(rows)


# ---- several processes


_worker: tuple[Builder, Path] | None = None


def make_parts(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    work: Path,
    parts: list[int],
    workers: int,
    progress: Progress,
) -> None:
    """Build parts in `workers` processes, each with one thread of the tokenizer."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Spawned, not forked: the tokenizer's threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker, (recipe, tokenizer, work))
    try:
        for future in as_completed([pool.submit(make_part_here, part) for part in parts]):
            progress(future.result())
    finally:
        pool.shutdown(cancel_futures=True)
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def start_worker(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, work: Path) -> None:
    global _worker
    _worker = Builder(recipe, tokenizer), work


def make_part_here(part: int) -> int:
    assert _worker is not None
    return make_part(*_worker, part)


# ---- the finished folder


def assemble(builder: Builder, work: Path, folder: Path) -> None:
    """The parts as shards, with manifest and card, in a folder that appears whole."""
    ready = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True)
    try:
        recipe = builder.recipe
        shards = Shards(ready, recipe.rows)
        checks = [row for table in tables(work, recipe) for row in shards.add(table)]
        shards.close(builder.manifest(checks))
        publish(ready, folder)
    finally:
        shutil.rmtree(ready, ignore_errors=True)
    shutil.rmtree(work)


def tables(work: Path, recipe: Recipe) -> Iterator[Any]:
    for part in range(parts_of(recipe)):
        yield pq.read_table(part_path(work, part))
