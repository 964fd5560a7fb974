"""MDQA rows in lost-in-the-middle's format: question, answers[], ctxs[]{title, text, isgold}; jsonl or gz.

Distractors keep their upstream rank order. Beyond them come passages of other questions, refused where they hold an
answer under the scoring metric.
"""

from typing import Any

from haymaker.config import Recipe
from haymaker.file_reading import required, texts_of
from haymaker.realism.answers import all_but_held, occurrences, scorable
from haymaker.realism.placeholders import LIMITED
from haymaker.records import digest
from haymaker.tasks.file_rows import UNSCORABLE, FileRow, FileRows, read_file_rows
from haymaker.tasks.pool import passage_of


def read(recipe: Recipe) -> FileRows:
    """All usable rows of `recipe.source`."""
    return read_file_rows(recipe, "lost-in-the-middle", parse_row, LIMITED)


def parse_row(row: dict[str, Any], place: str) -> FileRow | str:
    """A row of the file, or why it is of no use."""
    question = required(row, "question", str, place).strip()
    answers = [answer for answer in texts_of(row, "answers", place) if answer.strip()]
    contexts = required(row, "ctxs", list, place)
    passages = [passage_of(context, f"{place}, ctxs[{i}]") for i, context in enumerate(contexts)]
    is_gold = [marked_gold(context, f"{place}, ctxs[{i}]") for i, context in enumerate(contexts)]
    if not question or not answers:
        return "the question or all answers are empty"
    if sum(is_gold) != 1:
        return "no passage is marked gold" if not any(is_gold) else "several passages are marked gold"
    answers = [answer for answer in answers if scorable(answer)]
    if not answers:
        return UNSCORABLE
    gold = passages[is_gold.index(True)]
    found = [answer for answer in answers if occurrences(gold.text, answer)]
    if not found:
        return "the gold passage does not hold an answer" + all_but_held([gold.text], answers)
    rest = [answer for answer in answers if answer not in found]
    others = [passage for passage, gold_one in zip(passages, is_gold, strict=True) if not gold_one]
    return FileRow(digest(question), question, (*found, *rest), (gold, *others), steps=((question, found[0]),))


def marked_gold(context: dict[str, Any], place: str) -> bool:
    """Whether a passage is marked gold; one without a mark is not."""
    return context.get("isgold") is not None and bool(required(context, "isgold", (bool, int), place))
