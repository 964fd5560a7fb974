"""Tokens a second and core that a build emits, beside the tokenizer's own speed on the same text in the same run.

    python benchmarks/data_speed.py [--rows 500] [--tokens 2000000] [--lengths 4096,32768,131072] [--tasks mdqa,kv]

Speed is of CPU time in one thread, drafts, plans, spans, checks and table included, reading the source not; the
tokenizer's is `encode_batch` in one thread on the same rows, cut at lines and given whole, as a build has to. Then the
wall time of whole builds with one worker and with two (memory: build_memory.py). A byte-level BPE of 32,768 is trained
on the real passages. Writes benchmarks/results/data_speed.md. For comparison, RULER's published method tokenises 2.8 to
3.4 tokens for each it emits and takes 4.8 s for a row of 131K (reference/data.md).
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread, before the tokenizer is made

import pyarrow as pa
import pyarrow.compute as pc
from data_common import DEFAULT_DATA, SETTINGS, TASKS, recipe_of, require_data, settings_of, tokenizer_of
from tables import machine, write_page
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from haymaker.data.builder import Builder
from haymaker.data.parallel import build_folder, rows_per_part
from haymaker.errors import LengthError

RESULTS = Path(__file__).resolve().parent / "results" / "data_speed.md"
TEXT_CHARACTERS = 4_096  # of one text for the tokenizer's own speed; it is slower on longer ones
YARDSTICK_TOKENS = 8_000_000  # of a cell that the tokenizer is timed on, about: parts of it, spread evenly
SCALING_LENGTH = 16_384
HEADER = (
    "| task | setting | length | rows | build, M tokens/s | tokenizer on lines | share | on whole rows | share "
    "| tokenised / emitted |"
)


@dataclass
class Speed:
    """Seconds of CPU and tokens of one cell."""

    rows: int = 0
    emitted: int = 0
    before: int = 0  # tokens of a row that was built first and is not timed
    seconds: float = 0.0
    lines: list[float] = field(default_factory=lambda: [0.0, 0.0])  # the tokenizer's own tokens and seconds
    whole: list[float] = field(default_factory=lambda: [0.0, 0.0])

    @property
    def build(self) -> float:
        """Tokens a second."""
        return self.emitted / self.seconds


def pieces(text: str) -> Iterator[str]:
    """The text cut at lines, for no tokenizer is given megabytes at once."""
    start = 0
    while start < len(text):
        stop = text.find("\n", start + TEXT_CHARACTERS)
        stop = len(text) if stop < 0 else stop
        yield text[start:stop]
        start = stop


def measured(builder: Builder, tokenizer: PreTrainedTokenizerBase, rows: int) -> Speed:
    """Rows built and tokenised in turns, so that both see the machine in the same state.

    Copies of the tokenizer are the yardsticks: one that has just seen the same words would be faster than it is.
    """
    found = Speed()
    copies = [Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()) for _ in range(2)]  # type: ignore[attr-defined]
    rows = min(rows, builder.drafts.count or rows)
    found.before = tokens_of(builder.table([0])[0])  # what is loaded once for a process is not timed
    at_once = rows_per_part(builder.recipe)
    every = max(1, rows * builder.recipe.length // YARDSTICK_TOKENS)
    for start in range(0, rows, at_once):
        before = time.process_time()
        table, _ = builder.table(range(start, min(rows, start + at_once)))
        between = time.process_time()
        found.seconds += between - before
        if start // at_once % every == 0:
            contents = [messages[0]["content"] for messages in table["messages"].to_pylist()]
            own_speed(copies[0], [text for content in contents for text in pieces(content)], found.lines)
            own_speed(copies[1], contents, found.whole)
        found.rows += table.num_rows
        found.emitted += tokens_of(table)
    return found


def tokens_of(table: pa.Table) -> int:
    return sum(pc.sum(table[name]).as_py() for name in ("n_prompt_tokens", "n_target_tokens"))


def own_speed(yardstick: Tokenizer, texts: list[str], found: list[float]) -> None:
    """Add the tokenizer's tokens and seconds on these texts."""
    before = time.process_time()
    encodings = yardstick.encode_batch(texts, add_special_tokens=False)
    found[1] += time.process_time() - before
    found[0] += sum(map(len, encodings))


def line_of(task: str, setting: str, length: int, rows: int, data: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """One line of the table."""
    builder = Builder(recipe_of(task, setting, data, length=length), tokenizer)
    try:
        found = measured(builder, tokenizer, rows)
    except LengthError as error:
        reason = "too few passages" if "unfilled" in str(error) else "too short for its evidence"
        return f"| {task} | {setting} | {length} | {reason}{' | -' * 6} |"
    again = builder.costs.aligner.spent / (found.before + found.emitted)
    cells = [f"{found.build / 1e6:.2f}"]
    for tokens, seconds in (found.lines, found.whole):
        cells += [f"{tokens / seconds / 1e6:.2f}", f"{found.build * seconds / tokens:.2f}"]
    return f"| {task} | {setting} | {length} | {found.rows} | {' | '.join(cells)} | {again:.3f} |"


def scaling(asked: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> str:
    """Wall seconds of whole builds of two sizes, with one worker and with two: what the further rows cost counts."""
    few, many = asked.scaling_rows // 5, asked.scaling_rows
    walls = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows, workers in product((few, many), (1, 2)):
            recipe = recipe_of("niah", "low-high", asked.data, length=SCALING_LENGTH, rows=rows)
            start = time.perf_counter()
            build_folder(recipe, tokenizer, Path(folder) / f"{rows}-{workers}", workers=workers)
            walls[rows, workers] = time.perf_counter() - start
    further = {workers: walls[many, workers] - walls[few, workers] for workers in (1, 2)}
    tokens = (many - few) * SCALING_LENGTH / 1e6
    return (
        f"{few} and {many} rows of {SCALING_LENGTH} tokens (niah, low-high) into a folder: {walls[few, 1]:.1f} and "
        f"{walls[many, 1]:.1f} s with one worker, {walls[few, 2]:.1f} and {walls[many, 2]:.1f} s with two, of which "
        f"starting them takes some seconds. The further rows: {tokens / further[1]:.2f} M tokens/s with one, "
        f"{tokens / further[2]:.2f} with two, {further[1] / further[2]:.2f} times as fast."
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=10**9, help="of a cell, about: fewer rows where they are long")
    parser.add_argument("--lengths", default="4096,32768,131072")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--scaling-rows", type=int, default=1_500)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--tokenizers", type=Path, default=Path(tempfile.gettempdir()) / "haymaker-tokenizers")
    return parser.parse_args()


def main() -> int:
    """Prints and writes the table, then scaling."""
    asked = arguments()
    require_data(asked.data)
    lengths = [int(length) for length in asked.lengths.split(",")]
    tokenizer = tokenizer_of("bytes", asked.data, asked.tokenizers)
    lines = [HEADER, "|---" * HEADER.count(" | ") + "|---|"]
    for task in asked.tasks.split(","):
        for setting in [found for found in settings_of(task) if found in asked.settings.split(",")]:
            for length in lengths:
                rows = min(asked.rows, -(-asked.tokens // length))
                lines.append(line_of(task, setting, length, rows, asked.data, tokenizer))
                print(lines[-1], flush=True)
    notes = [scaling(asked, tokenizer)] if asked.scaling_rows else []
    print("\n".join(notes))
    page = [
        "# Speed of building data",
        "",
        machine(["tokenizers", "pyarrow"]),
        "",
        *lines,
        "",
        *(f"- {note}" for note in notes),
    ]
    write_page(RESULTS, "\n".join(page) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
