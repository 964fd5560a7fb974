"""Whether recorded token spans are those of the whole prompt: every task x setting x tokenizer x chat template.

    python benchmarks/data_spans.py [--rows 1000] [--data FOLDER] [--tokenizers FOLDER] [--tasks mdqa,kv] [--world]
        [--length 32768] [--also FOLDER] [--out FILE]

Every row's prompt is tokenised whole by transformers alone, as it is before generation, and each span looked for in a
plain loop over the offsets. A row is right if its numbers of tokens and all of its spans are the recorded ones, and
every evidence span, decoded, holds the evidence (letter case, blanks and accents set aside, which some tokenizers drop;
where a token is unknown, the text that it covers counts). Rows of files come first; the world's make up the number.
`--also` takes tokenizers of your own, a folder of saved ones, in the place of the three trained ones. Writes
benchmarks/results/data_spans.md. Exit code 1 if a row is wrong.
"""

import argparse
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import data_common
from data_common import DEFAULT_DATA, KINDS, SETTINGS, TASKS, recipe_of, require_data, settings_of
from tables import machine
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from haymaker.data import builder
from haymaker.data.schema import Row
from haymaker.errors import LengthError

LENGTH = 768  # tokens of a row
LENGTHS = dict.fromkeys(TASKS, LENGTH) | {"summhay": 4_096}  # of rows of files; SummHay's documents are of about 900
builder.drafts_of = lru_cache(2)(builder.drafts_of)  # a source is read once for all tokenizers,
builder.tokenizer_digest = lru_cache(builder.tokenizer_digest)  # and a vocabulary once for all sources
RESULTS = Path(__file__).resolve().parent / "results" / "data_spans.md"


def whole(row: Row, tokenizer: PreTrainedTokenizerBase) -> tuple[str, list[int], list[tuple[int, int]]]:
    """The row with its answer as a model reads it: text, tokens, and the characters of each."""
    answer = row["answers"][0]
    text = f"{row['messages'][0]['content']} {answer}"
    if tokenizer.chat_template:
        turns = [*row["messages"], {"role": "assistant", "content": answer}]
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))  # type: ignore[arg-type]
    found = tokenizer(text, return_offsets_mapping=True, add_special_tokens=not tokenizer.chat_template)
    return text, found["input_ids"], found["offset_mapping"]  # type: ignore[return-value]


def counted(row: Row, tokenizer: PreTrainedTokenizerBase, found: tuple[str, list[int], Any]) -> tuple[int, int]:
    """Tokens of the prompt, and of the answer with what closes it: up to the next token of the vocabulary's own list of
    added ones (a blank before it is a token too), or one that is appended where a row has none behind its answer."""
    text, ids, offsets = found
    answer = row["answers"][0]
    start = text.rindex(answer)
    begin = next(i for i, (first, stop) in enumerate(offsets) if first < stop and stop > len(text[:start].rstrip(" ")))
    while begin and offsets[begin - 1][0] == offsets[begin - 1][1] and ids[begin - 1] not in tokenizer.all_special_ids:
        begin -= 1
    last = max(i for i, (first, stop) in enumerate(offsets) if first < stop and first < start + len(answer))
    closing = next((i for i in range(last + 1, len(ids)) if ids[i] in tokenizer.added_tokens_decoder), last + 1)
    return begin, closing + 1 - begin


def is_right(row: Row, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the row's tokens are those of its prompt, and its evidence can be read from them."""
    found = text, ids, offsets = whole(row, tokenizer)
    holders: list[list[int]] = [[] for _ in text]  # of each character the tokens that hold it
    for token, (start, stop) in enumerate(offsets):
        for at in range(start, stop):
            holders[at].append(token)
    shift = text.index(row["messages"][0]["content"])
    for label, start, stop, first, last in row["spans"]:
        on = [token for at in range(shift + start, shift + stop) for token in holders[at]]
        if not on or (min(on), max(on) + 1) != (first, last):
            return False
        said = str(tokenizer.decode(ids[first:last])) if label.kind == "evidence" else ""
        if tokenizer.unk_token_id in ids[first:last]:
            said = text[offsets[first][0] : offsets[last - 1][1]]
        if label.kind == "evidence" and folded(text[shift + start : shift + stop]) not in folded(said):
            return False
    counts = (row["n_prompt_tokens"], row["n_target_tokens"])
    if counts != counted(row, tokenizer, found):
        return False
    ended = sum(counts) <= len(ids) and ids[sum(counts) - 1] in tokenizer.added_tokens_decoder
    return not (ended and str(tokenizer.decode(ids[sum(counts) :])).strip())  # a line break may stand behind a turn


def folded(text: str) -> str:
    """Text without blanks, letter case, accents and invisible characters: what every kind of tokenizer keeps."""
    parts = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in parts if unicodedata.category(letter)[0] not in "CMZ")


def rows_of(
    task: str, setting: str, data: Path | None, count: int, tokenizer: PreTrainedTokenizerBase
) -> Iterator[Row]:
    """Up to `count` rows; those whose evidence is longer than so short a row are left out."""
    length = LENGTHS[task] if data else LENGTH
    rows = builder.Builder(recipe_of(task, setting, data, length=length), tokenizer)
    for number in range(min(count, rows.drafts.count or count)):
        try:
            yield rows.row(number)
        except LengthError:
            continue


def cell(task: str, setting: str, data: Path | None, count: int, tokenizer: PreTrainedTokenizerBase) -> list[bool]:
    """Which rows are right: rows of files, then rows of the world."""
    found = [is_right(row, tokenizer) for row in rows_of(task, setting, data, count, tokenizer)]
    more = rows_of(task, setting, None, count - len(found), tokenizer) if data else ()
    return found + [is_right(row, tokenizer) for row in more]


def tokenizers_of(asked: argparse.Namespace) -> Iterator[tuple[str, PreTrainedTokenizerBase]]:
    """Each tokenizer without a chat template and with one: its own, or the benchmark's."""
    own = sorted(path.parent for path in asked.also.glob("*/tokenizer.json")) if asked.also else []
    for name in [folder.name for folder in own] or KINDS:
        for chat in (False, True):
            if own:
                tokenizer = AutoTokenizer.from_pretrained(asked.also / name)
                tokenizer.chat_template = (tokenizer.chat_template or data_common.TEMPLATE) if chat else None
            else:
                tokenizer = data_common.tokenizer_of(name, asked.data, asked.tokenizers, chat)
            yield f"{name}{', chat' if chat else ''}", tokenizer


def main() -> int:
    """Prints and writes the table, one line for each task and setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--tokenizers", type=Path, default=Path(tempfile.gettempdir()) / "haymaker-tokenizers")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--world", action="store_true", help="rows of the miniature world alone")
    parser.add_argument("--length", type=int, help="tokens of each row of files")
    parser.add_argument("--also", type=Path, help="a folder of tokenizers, NAME/tokenizer.json with what is beside it")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    require_data(asked.data)
    LENGTHS.update(dict.fromkeys(LENGTHS, asked.length) if asked.length else {})
    tokenizers, data = dict(tokenizers_of(asked)), None if asked.world else asked.data
    lines = [f"| task | setting | {' | '.join(tokenizers)} |", "|---|---|" + "---|" * len(tokenizers)]
    right: list[bool] = []
    for task in asked.tasks.split(","):
        for setting in [found for found in settings_of(task) if found in asked.settings.split(",")]:
            cells = [cell(task, setting, data, asked.rows, tokenizer) for tokenizer in tokenizers.values()]
            lines.append(f"| {task} | {setting} | " + " | ".join(f"{sum(one)}/{len(one)}" for one in cells) + " |")
            print(lines[-1], flush=True)
            right += sum(cells, [])
    summary = f"{sum(right)} of {len(right)} rows are right: `{' '.join(['python', *sys.argv])}`."
    print(summary)
    heading = ["# Recorded spans against the whole prompt tokenised anew", "", machine(["tokenizers"])]
    asked.out.write_text("\n".join([*heading, "", summary, "", *lines]) + "\n")
    return int(not all(right))


if __name__ == "__main__":
    sys.exit(main())
