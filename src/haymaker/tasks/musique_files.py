"""MuSiQue's official jsonl: paragraphs{title, paragraph_text, is_supporting}, question_decomposition, answer, aliases.

Other paragraphs keep the file's order. Beyond them come paragraphs of other questions, refused where they hold the
answer, an alias or the answer of a hop under the scoring metric.
"""

from typing import Any

from haymaker.config import Recipe
from haymaker.errors import DataError
from haymaker.file_reading import required, texts_of
from haymaker.realism.answers import all_but_held, answer_ranges, scorable
from haymaker.realism.placeholders import LIMITED_STEPS
from haymaker.tasks.file_rows import UNSCORABLE, FileRow, FileRows, read_file_rows
from haymaker.tasks.pool import Passage, passage_of


def read(recipe: Recipe) -> FileRows:
    """All usable rows of `recipe.source`, those with the recipe's numbers of hops."""
    wanted = recipe.hops

    def parse(row: dict[str, Any], place: str) -> FileRow | str:
        found = parse_row(row, place)
        if isinstance(found, FileRow) and wanted is not None and len(found.steps) not in wanted:
            return "another number of hops was asked for"
        return found

    return read_file_rows(recipe, "musique", parse, LIMITED_STEPS)


def parse_row(row: dict[str, Any], place: str) -> FileRow | str:
    """A row of the file, or why it is of no use."""
    question, answer = (required(row, key, str, place).strip() for key in ("question", "answer"))
    aliases = [alias for alias in texts_of(row, "answer_aliases", place) if alias.strip()]
    if not row.get("answerable", True):
        return "the question is marked unanswerable"
    if not question or not answer:
        return "the question or the answer is empty"
    items = required(row, "paragraphs", list, place)
    passages = [passage_of(item, f"{place}, paragraphs[{i}]") for i, item in enumerate(items)]
    supporting = [bool(required(item, "is_supporting", (bool, int), place)) for item in items]
    steps = [parse_step(step, place) for step in required(row, "question_decomposition", list, place)]
    order = support_order(steps, items, place)
    if sorted(order) != [i for i, supports in enumerate(supporting) if supports]:
        return "the steps and the supporting paragraphs disagree"
    answers = tuple(one for one in (answer, *aliases) if scorable(one))
    if not answers:
        return UNSCORABLE
    if not answer_ranges(passages[order[-1]].text, answers):
        return "the last paragraph does not hold an answer" + all_but_held([passages[order[-1]].text], answers)
    others = [passage for passage, supports in zip(passages, supporting, strict=True) if not supports]
    key = required(row, "id", str, place)
    return FileRow(
        key,
        question,
        in_passage_first(answers, passages[order[-1]]),
        passages=(*[passages[i] for i in order], *others),
        steps=tuple((asked, answered) for asked, answered, _ in steps),
    )


def in_passage_first(answers: tuple[str, ...], passage: Passage) -> tuple[str, ...]:
    """The answers with those that stand in the passage first, for the first is what training teaches."""
    return tuple(sorted(answers, key=lambda answer: not answer_ranges(passage.text, [answer])))


def parse_step(step: Any, place: str) -> tuple[str, str, int]:
    """Question, answer and paragraph number of one hop."""
    if not isinstance(step, dict):
        raise DataError(f"{place}: expected question_decomposition to hold objects, found {type(step).__name__}")
    question, answer = (required(step, key, str, place) for key in ("question", "answer"))
    return question, answer, required(step, "paragraph_support_idx", int, place)


def support_order(steps: list[tuple[str, str, int]], items: list[dict[str, Any]], place: str) -> list[int]:
    """Positions of the hops' paragraphs; a paragraph's own idx is what steps name it by."""
    position = {required(item, "idx", int, place): i for i, item in enumerate(items)}
    missing = [support for *_, support in steps if support not in position]
    if not steps or missing:
        raise DataError(f"{place}: the steps name paragraphs {missing or 'nowhere'}; there are {sorted(position)}")
    return [position[support] for *_, support in steps]
