"""Whether the tokens of a span, decoded, hold the evidence: every task x setting x tokenizer x chat template.

    python benchmarks/data_spans.py [--rows 1000] [--data FOLDER] [--tokenizers FOLDER] [--tasks mdqa,kv] [--world]
        [--also FOLDER] [--out FILE]

Rows are built with a tokenizer, their prompts tokenised anew, and the recorded token spans of evidence decoded. A row
holds its evidence if each span's tokens, decoded, hold the text, the first and last of them stand on it, and the
recorded number of tokens is the prompt's. Letter case, blanks and accents are set aside where the tokenizer drops them;
characters it does not know are read from the text that its tokens cover. Rows of files come first, as many as there
are; the world's make up the number asked for. `--also` takes tokenizers of your own, a folder of NAME.json files, in
the place of the three trained ones. Writes benchmarks/results/data_spans.md. Exit code 1 if a span fails.
"""

import argparse
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_common import DEFAULT_DATA, KINDS, SETTINGS, TASKS, recipe_of, require_data, settings_of, tokenizer_of
from transformers import PreTrainedTokenizerBase

from haymaker.data.builder import Builder
from haymaker.errors import LengthError
from haymaker.records import Span

LENGTHS = {"summhay": 4_096}  # tokens; its documents are of about 900
LENGTH = 768
RESULTS = Path(__file__).resolve().parent / "results" / "data_spans.md"


@dataclass
class Tally:
    """Rows of one cell: how many, in how many every evidence was held, and how many pieces added up."""

    rows: int = 0
    held: int = 0
    counted: int = 0
    too_short: int = 0


def folded(text: str) -> str:
    """Text without blanks, letter case, accents and invisible characters: what every kind of tokenizer keeps."""
    parts = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in parts if unicodedata.category(letter)[0] not in "CMZ")


def holds(row: dict[str, Any], text: str, encoding: Any, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the prompt has the recorded tokens, and each evidence span's, decoded, hold the evidence and no more."""
    content, offsets = row["messages"][0]["content"], encoding.offsets
    shift = text.index(content)
    evidence = [place for place in row["spans"] if place[0].kind == "evidence"]
    return (
        len(encoding) == row["n_prompt_tokens"]
        and bool(evidence)
        and all(
            folded(content[start:stop]) in folded(said(Span(first, last), text, encoding, tokenizer))
            and offsets[first][1] > shift + start
            and offsets[last - 1][0] < shift + stop
            for _, start, stop, first, last in evidence
        )
    )


def said(span: Span, text: str, encoding: Any, tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokens decoded; where one is unknown, the text that they cover."""
    ids = encoding.ids[span.slice]
    if tokenizer.unk_token_id in ids:
        offsets = encoding.offsets[span.slice]
        return text[offsets[0][0] : offsets[-1][1]]
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def rows_of(
    task: str, setting: str, data: Path | None, count: int, tokenizer: PreTrainedTokenizerBase, tally: Tally
) -> Iterator[tuple[dict[str, Any], str]]:
    """Up to `count` rows and their prompts as the model reads them."""
    length = LENGTHS.get(task, LENGTH) if data else LENGTH
    builder = Builder(recipe_of(task, setting, data, length=length), tokenizer)
    for number in range(min(count, builder.drafts.count or count)):
        try:
            row = builder.row(number)
        except LengthError:
            tally.too_short += 1  # its evidence is longer than such a short row
            continue
        yield row, builder.measure.rendered(row["messages"][0]["content"])


def tallied(task: str, setting: str, data: Path | None, count: int, tokenizer: PreTrainedTokenizerBase) -> Tally:
    """One cell of the table: rows of files, then rows of the world."""
    tally = Tally()
    backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    template = bool(tokenizer.chat_template)
    for source in (data, None) if data else (None,):
        for row, text in rows_of(task, setting, source, count - tally.rows, tokenizer, tally):
            tally.rows += 1
            tally.held += holds(row, text, backend.encode(text, add_special_tokens=not template), tokenizer)
            tally.counted += '"counted":true' in row["checks"]
    return tally


def main() -> int:
    """Prints and writes the table, one line for each task and setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--tokenizers", type=Path, default=Path(tempfile.gettempdir()) / "haymaker-tokenizers")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--world", action="store_true", help="rows of the miniature world alone")
    parser.add_argument("--also", type=Path, help="a folder of tokenizers, NAME.json, to take for the trained ones")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    require_data(asked.data)
    kinds = sorted(path.stem for path in asked.also.glob("*.json")) if asked.also else KINDS
    columns = [(kind, template) for kind in kinds for template in (False, True)]
    folder = asked.also or asked.tokenizers
    tokenizers = {column: tokenizer_of(column[0], asked.data, folder, column[1]) for column in columns}
    titles = [f"{kind}{', chat' if template else ''}" for kind, template in columns]
    lines = [f"| task | setting | {' | '.join(titles)} |", "|---|---|" + "---|" * len(columns)]
    total = Tally()
    for task in asked.tasks.split(","):
        for setting in [found for found in settings_of(task) if found in asked.settings.split(",")]:
            source = None if asked.world else asked.data
            cells = [tallied(task, setting, source, asked.rows, tokenizers[column]) for column in columns]
            lines.append(f"| {task} | {setting} | " + " | ".join(f"{cell.held}/{cell.rows}" for cell in cells) + " |")
            print(lines[-1], flush=True)
            total = Tally(*(sum(getattr(one, name) for one in (total, *cells)) for name in vars(total)))
    summary = (
        f"{total.held} of {total.rows} rows hold all their evidence; {total.counted} were counted from their pieces, "
        f"the others tokenised whole; {total.too_short} drafts were too long for rows of {LENGTH} tokens."
    )
    print(summary)
    asked.out.write_text("\n".join(["# Decoded spans that hold their evidence", "", summary, "", *lines]) + "\n")
    return int(total.held < total.rows)


if __name__ == "__main__":
    sys.exit(main())
