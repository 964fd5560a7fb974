"""What a build will take, from a few of its rows; nothing is written."""

import time
from dataclasses import dataclass
from io import BytesIO

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from haymaker.config import Recipe
from haymaker.data.builder import Builder, nothing_built

SAMPLE_ROWS = 8


@dataclass(frozen=True)
class Estimate:
    """What a recipe comes to. Bytes, seconds and tokens are judged by `sampled` rows, spread evenly."""

    rows: int
    rows_available: int | None  # None: as many as one likes
    rejected: dict[str, int]  # reason -> rows of the source
    sampled: int
    failed: int  # of the sampled rows
    tokens: int
    bytes: int
    seconds: float


def estimate(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, workers: int = 1) -> Estimate:
    """Build a few rows of a recipe and judge all by them. Raises what building raises."""
    began = time.perf_counter()
    builder = Builder(recipe, tokenizer)
    reading = time.perf_counter() - began
    count = min(SAMPLE_ROWS, recipe.rows)
    began = time.perf_counter()
    table, failures = builder.table(i * recipe.rows // count for i in range(count))
    if not table.num_rows:
        raise nothing_built(failures)
    written = BytesIO()
    pq.write_table(table, written, compression="zstd")
    seconds = (time.perf_counter() - began) / count
    tokens = sum(sum(table[name].to_pylist()) for name in ("n_prompt_tokens", "n_target_tokens"))
    return Estimate(
        rows=recipe.rows,
        rows_available=builder.drafts.count,
        rejected=dict(builder.drafts.rejected),
        sampled=count,
        failed=len(failures),
        tokens=tokens * recipe.rows // count,
        bytes=written.tell() * recipe.rows // count,
        seconds=reading + seconds * recipe.rows / workers,
    )
