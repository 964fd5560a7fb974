"""Building a dataset's folder in parts: by several processes, going on where an earlier run stopped.

Rows are independent of one another, so parts can be made in any order, by any number of workers: the finished files
are the same bytes. A part appears by atomic rename, and ends in a digest of itself. All that is unfinished stands in
one hidden folder beside the dataset's, `.NAME.parts`, until the dataset takes its name.
"""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from haymaker.config import Recipe
from haymaker.console import note
from haymaker.data.builder import Builder, Failure, nothing_built
from haymaker.data.checks import SUMMED, Summary
from haymaker.data.dataset import Folder, Shards, check_replaceable, stands
from haymaker.errors import ConfigError, DataError, HaymakerError, Interrupted
from haymaker.file_locks import alone, in_turn
from haymaker.files import remove, replace_folder, whole_file, write_text
from haymaker.processes import environment, leave_interrupts_to_parent, leave_with, threads_of

MOST_ROWS_PER_PART = 32
TOKENS_PER_PART = 2**20  # about a second of work
FAILURES = b"haymaker.failures"  # key in a part's metadata
DIGEST_BYTES = 32
Progress = Callable[[int], Any]  # called with a number of rows that are done


def build_folder(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    *,
    workers: int = 1,
    overwrite: bool = False,
    tokenizer_name: str | None = None,
    on_progress: Progress = lambda rows: None,
) -> Folder:
    """Build a recipe into a folder, part by part; memory does not grow with the number of rows.

    Run again after a stop, it goes on from the parts that are there. A folder that holds this very recipe is returned
    as it is; one that holds another raises DataError unless `overwrite`. Raises Interrupted on Ctrl-C, and whatever
    building a row raises. `tokenizer_name` is recorded, for those who want to load it.
    """
    folder = Path(folder)
    builder = Builder(recipe, tokenizer, tokenizer_name)
    work = folder.with_name(f".{folder.name}.parts")
    running = DataError(f"{folder}: another build of it is running; wait for it, or choose another folder")
    with alone(folder.with_name(f".{folder.name}.lock"), running):
        check_replaceable(folder, overwrite)
        if stands(folder) and not overwrite:
            found = finished(folder, builder)
        else:
            prepare(work, builder.identity)
            try:
                make_missing(builder, tokenizer, work, workers, on_progress)
                found = assemble(builder, work, folder)
            except (DataError, ConfigError):  # the same command would fail again: there is nothing to go on from
                remove(work)
                raise
        remove(work)
    return found


def build_parts(
    builder: Builder, folder: Path, number: int, of: int, *, on_progress: Progress = lambda rows: None
) -> None:
    """Make every `of`-th part of a dataset, from part `number` on, where `build_folder` will look for them.

    Other processes may make other parts at the same time.
    """
    work = folder.with_name(f".{folder.name}.parts")
    with in_turn(folder.with_name(f".{folder.name}.prepare")):
        prepare(work, builder.identity)
    for part in range(number, parts_of(builder.recipe), of):
        if not part_is_whole(part_path(work, part)):
            on_progress(make_part(builder, work, part))


def finished(folder: Path, builder: Builder) -> Folder:
    """The dataset of an earlier, finished run."""
    found = Folder(folder)
    if found.manifest["identity"] != builder.identity:
        raise DataError(
            f"{folder} holds another dataset ({difference(found, builder)}); choose another folder or say overwrite"
        )
    if len(found) + len(found.manifest["failed"]) != builder.recipe.rows:
        raise DataError(
            f"{folder} holds only {len(found)} of the recipe's rows; choose another folder or say overwrite"
        )
    return found


def difference(found: Folder, builder: Builder) -> str:
    """In words, in what a dataset differs from what would be built."""
    recipe, other = builder.recipe.model_dump(), found.manifest["recipe"]
    named = [f"{key}: {other.get(key)!r}, here {value!r}" for key, value in recipe.items() if other.get(key) != value]
    if sorted(found.manifest["inputs"].values()) != sorted(builder.drafts.inputs.values()):
        named.append("a source file has other contents")
    if found.manifest["tokenizer_sha256"] != builder.tokenizer_digest:
        named.append("it is for another tokenizer")
    return "; ".join(named) or "it is of another version"


def prepare(work: Path, identity: str) -> None:
    """A folder for parts of this identity: parts of another are removed, with a sentence."""
    mark = work / "identity"
    if not (mark.exists() and mark.read_bytes() == identity.encode()):
        if work.exists():
            note(f"{work}: holds parts of another dataset, of a build that was stopped; they are replaced", "yellow")
        remove(work)
        write_text(mark, identity)


# ---- parts


def rows_per_part(recipe: Recipe) -> int:
    return max(1, min(MOST_ROWS_PER_PART, TOKENS_PER_PART // recipe.length))


def parts_of(recipe: Recipe) -> int:
    return -(-recipe.rows // rows_per_part(recipe))


def rows_of(recipe: Recipe, part: int) -> range:
    """Numbers of the rows in a part."""
    size = rows_per_part(recipe)
    return range(part * size, min(recipe.rows, (part + 1) * size))


def part_path(work: Path, part: int) -> Path:
    return work / f"part-{part:06d}.parquet"


def make_missing(
    builder: Builder, tokenizer: PreTrainedTokenizerBase, work: Path, workers: int, on_progress: Progress
) -> None:
    """Make the parts that are not there yet."""
    recipe = builder.recipe
    missing = [part for part in range(parts_of(recipe)) if not part_is_whole(part_path(work, part))]
    done = recipe.rows - sum(len(rows_of(recipe, part)) for part in missing)
    on_progress(done)
    try:
        for rows in parts_made(builder, tokenizer, work, missing, min(workers, len(missing))):
            done += rows
            on_progress(rows)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped after {done} of {recipe.rows} rows; the same command goes on from there") from None
    except BrokenProcessPool:
        raise HaymakerError(
            f"a worker died after {done} of {recipe.rows} rows, perhaps for want of memory; "
            "the same command goes on from there, with fewer --workers if need be"
        ) from None


def parts_made(
    builder: Builder, tokenizer: PreTrainedTokenizerBase, work: Path, parts: list[int], workers: int
) -> Iterator[int]:
    """Rows of every part that is made, in this process or by several."""
    if workers <= 1:
        for part in parts:
            yield make_part(builder, work, part)
        return
    with worker_pool(workers, start_worker, (builder.recipe, tokenizer, work)) as pool:
        for future in as_completed([pool.submit(make_part_here, part) for part in parts]):
            yield future.result()


def make_part(builder: Builder, work: Path, part: int) -> int:
    """Build and write one part; how many rows it has or has failed to build."""
    numbers = rows_of(builder.recipe, part)
    built, failures = builder.table(numbers)
    table = built.replace_schema_metadata({FAILURES: json.dumps(failures)})
    written = BytesIO()
    pq.write_table(table, written, compression="zstd")
    with whole_file(part_path(work, part)) as scratch:
        scratch.write_bytes(written.getvalue() + sha256(written.getvalue()).digest())
    return len(numbers)


def part_is_whole(path: Path) -> bool:
    """Whether a part is there as it was written, by the digest at its end: parquet has none. Another one is told."""
    if not path.is_file():
        return False
    content = path.read_bytes()
    same = sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:]
    if not same:
        note(f"{path}: changed since it was written; its rows are built again", style="yellow")
    return same


def part_reader(path: Path) -> pa.BufferReader:
    """A part's parquet, without the digest."""
    content = pa.memory_map(str(path)).read_buffer()
    return pa.BufferReader(content.slice(0, content.size - DIGEST_BYTES))


_worker: tuple[Builder, Path] | None = None


def start_worker(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, work: Path) -> None:
    global _worker
    _worker = Builder(recipe, tokenizer), work


def make_part_here(part: int) -> int:
    assert _worker is not None
    return make_part(*_worker, part)


# ---- the finished folder


def assemble(builder: Builder, work: Path, folder: Path) -> Folder:
    """The parts as shards, with manifest and card, in a folder that appears whole."""
    ready, recipe = work / "ready", builder.recipe
    remove(ready)
    ready.mkdir()
    failures = [failure for part in range(parts_of(recipe)) for failure in failures_of(part_path(work, part))]
    if len(failures) == recipe.rows:
        raise nothing_built(failures)
    shards, summed = Shards(ready, recipe.rows - len(failures), recipe.length), Summary()
    for part in range(parts_of(recipe)):
        table = pq.read_table(part_reader(part_path(work, part)))
        shards.add(table.replace_schema_metadata(None))
        for row in table.select(SUMMED).to_pylist():
            summed.add(row)
    shards.close(builder.manifest(summed.result(), failures))
    replace_folder(ready, folder)
    return Folder(folder)


def failures_of(path: Path) -> list[Failure]:
    """Rows of a part that could not be built."""
    metadata: dict[bytes, bytes] = pq.read_schema(part_reader(path)).metadata or {}
    return [Failure(*failure) for failure in json.loads(metadata[FAILURES])]


# ---- A pool of processes that end at once when their parent dies or gives up, and leave Ctrl-C to it.

ONE_THREAD = threads_of(1)


@contextmanager
def worker_pool(
    workers: int, initialise: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each. An exception in the block ends them in the middle of what they do."""
    # Spawned, not forked: a tokenizer's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    line, ours = context.Pipe(duplex=False)  # nothing is sent: that it breaks is the message
    with environment(ONE_THREAD):
        pool = ProcessPoolExecutor(workers, context, begin, (line, initialise, arguments))
        try:
            yield pool
            pool.shutdown()
        finally:
            ours.close()
            pool.shutdown(cancel_futures=True)
            line.close()


def begin(line: Connection, initialise: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """What a worker does first."""
    leave_interrupts_to_parent()
    leave_with(line)
    initialise(*arguments)
