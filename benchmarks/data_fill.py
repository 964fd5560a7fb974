"""How full rows are, that none is over its length, and how evenly evidence is placed: by task, setting and length.

    python benchmarks/data_fill.py [--lengths 1024,4096,32768,131072] [--rows 100] [--data FOLDER] [--tokenizers FOLDER]

`--rows` are those of the shortest lengths; longer rows are fewer, so that each length costs much the same. One row of
each setting has a million tokens. Writes benchmarks/results/data_fill.md. Exit code 1 if a row is too long.
"""

import argparse
import sys
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path

from data_common import DEFAULT_DATA, SETTINGS, TASKS, recipe_of, require_data, settings_of, tokenizer_of
from scipy.stats import chisquare
from transformers import PreTrainedTokenizerBase

from haymaker.data.builder import Builder, Row
from haymaker.errors import LengthError
from haymaker.randomness import keyed

RESULTS = Path(__file__).resolve().parent / "results" / "data_fill.md"
TOKENS = 800_000  # of one cell at most, for lengths where that is fewer rows than asked for
LEAST_ROWS = 3
MILLION = 1_000_000
TENTHS = 10
HEADER = "| task | setting | length | rows | mean fill | least fill | over | too short | chi-square p of depths |"


def built(
    task: str, setting: str, length: int, rows: int, data: Path, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Row], Counter[str]]:
    """Rows of one cell without their text, and why others could not be built."""
    builder = Builder(recipe_of(task, setting, data, length=length), tokenizer)
    found: list[Row] = []
    failed: Counter[str] = Counter()
    for number in range(min(rows, builder.drafts.count or rows)):
        try:
            row = builder.row(number)
        except LengthError as error:
            failed["too few passages" if "unfilled" in str(error) else "too short"] += 1
            if "unfilled" in str(error):
                break
            continue
        found.append({name: row[name] for name in ("spans", "n_prompt_tokens", "n_target_tokens")})
    return found, failed


def depths_p(rows: list[Row]) -> float | None:
    """Chi-square p that the evidence of a first hop stands in every tenth of the documents' tokens equally often.

    What counts is a point of the evidence's document, drawn for each row: short rows hold six documents, so that where
    these start can be in six tenths alone. None for fewer than 50 rows, or where several documents carry the evidence.
    """
    depths = []
    for number, row in enumerate(rows):
        starts = [place[3] for place in row["spans"] if place[0].kind == "evidence" and place[0].index == 0]
        if len(starts) != 1:
            return None
        documents = sorted(place[3:] for place in row["spans"] if place[0].kind == "document")
        start, stop = next(tokens for tokens in reversed(documents) if tokens[0] <= starts[0])
        point = start + keyed(0, number, "point").random() * (stop - start)
        depths.append((point - documents[0][0]) / (documents[-1][1] - documents[0][0]))
    if len(depths) < 5 * TENTHS:
        return None
    tenths = Counter(int(depth * TENTHS) for depth in depths)
    return float(chisquare([tenths[i] for i in range(TENTHS)]).pvalue)


def line_of(
    task: str, setting: str, length: int, rows: int, data: Path, tokenizer: PreTrainedTokenizerBase
) -> tuple[str, int]:
    """One line of the table, and how many of its rows are over their length."""
    found, failed = built(task, setting, length, rows, data, tokenizer)
    fills = [(row["n_prompt_tokens"] + row["n_target_tokens"]) / length for row in found]
    over = sum(fill > 1 for fill in fills)
    even = depths_p(found)
    numbers = f"{sum(fills) / len(fills):.4f} | {min(fills):.4f}" if fills else "- | -"
    reasons = ", ".join(f"{count} {reason}" for reason, count in failed.items()) or "0"
    p = "-" if even is None else f"{even:.3f}"
    return f"| {task} | {setting} | {length} | {len(found)} | {numbers} | {over} | {reasons} | {p} |", over


def main() -> int:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--lengths", default="1024,4096,32768,131072")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--tokenizers", type=Path, default=Path(tempfile.gettempdir()) / "haymaker-tokenizers")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--million-rows", type=int, default=1)
    asked = parser.parse_args()
    require_data(asked.data)
    tokenizer = tokenizer_of("bytes", asked.data, asked.tokenizers, template=True)
    lines, over = [HEADER, "|---" * HEADER.count(" | ") + "|---|"], 0
    for task in asked.tasks.split(","):
        settings = [setting for setting in settings_of(task) if setting in asked.settings.split(",")]
        lengths = [*map(int, asked.lengths.split(",")), *([MILLION] if asked.million_rows else [])]
        for setting, length in product(settings, lengths):
            rows = min(asked.rows, max(LEAST_ROWS, TOKENS // length)) if length < MILLION else asked.million_rows
            line, more = line_of(task, setting, length, rows, asked.data, tokenizer)
            print(line, flush=True)
            lines.append(line)
            over += more
    RESULTS.write_text("\n".join(["# Fill and position balance (byte BPE of 32K, chat template)", "", *lines]) + "\n")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
