"""The best score that a row's golds allow: 1 for most, less where no answer can be wholly right."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache

from haymaker.choices import METRICS
from haymaker.errors import DataError
from haymaker.metrics.citation import citations
from haymaker.metrics.shared import RowMetric, require_golds

STRANGER = "\ue000"  # of no language
_NUMBER = re.compile(r"\d+")


def ceiling(metric: str | RowMetric, golds: Sequence[str]) -> float:
    """The best score that any answer can have on a row with these golds.

    Below 1 the row says nothing of a model: `squad_f1` of the gold "A" is 0 whatever is answered, for articles are
    taken out. Tried are the golds themselves, all of them together, their numbers and their citations.

    Args:
        metric: A row metric, or the name of one.
        golds: The texts that count as right.

    Returns:
        The score, 0 to 1.

    Raises:
        ConfigError: A metric that there is not.
        DataError: Golds that the metric refuses, whatever the answer.

    Examples:
        >>> hm.metrics.ceiling("squad_f1", ["The A"]), hm.metrics.ceiling("squad_f1", ["The A", "mill"])
        (0.0, 1.0)
    """
    require_golds(golds)
    score = METRICS[metric] if isinstance(metric, str) else metric
    found: list[float] = []
    for answer in perfect_answers(golds):
        with suppress(DataError):  # a text that a metric cannot read is no good answer; another may be
            found.append(score(answer, golds))
        if found[-1:] == [1]:  # no score is above
            return 1.0
    return max(found) if found else score("", golds)


def unearned(metric: str, golds: Sequence[str]) -> float:
    """What an answer of one letter that no gold has scores on a row: above 0 where a gold is in every answer, as "..."
    is for `best_subspan_em`, which compares without punctuation."""
    try:
        return METRICS[metric](STRANGER, golds_for(metric, golds))
    except DataError:  # it reads answers of a form that a letter has not
        return 0.0


@cache
def asks_for_all(metric: str) -> bool:
    """Whether a metric gives golds together more than any one of them, as RULER's share of them does."""
    golds = ["12", "56"]
    try:
        all_of_them, *each = (METRICS[metric](said, golds) for said in (together(golds), *golds))
    except Exception:  # of golds that it does not read; one of another package may raise anything
        return False
    return all_of_them > max(each)


def together(golds: Sequence[str]) -> str:
    """Golds as one answer, as RULER's generators write their examples; between commas where one of them has a blank."""
    return (", " if any(len(gold.split()) > 1 for gold in golds) else " ").join(golds)


def to_say(metric: str, golds: Sequence[str]) -> str:
    """What a right answer says: the first gold, or the first text that scores more where a metric gives less for that:
    all of several golds that it asks for, document numbers in brackets, a choice in its words."""
    if len(golds) > 1 and asks_for_all(metric):
        return together(golds)
    try:
        read = golds_for(metric, golds)
        best = ceiling(metric, read)
        return next(
            (said for said in (*golds, *perfect_answers(read)) if METRICS[metric](said, read) == best), golds[0]
        )
    except Exception:  # as above: who judges says what is wrong
        return golds[0]


def golds_for(metric: str, golds: Sequence[str]) -> list[str]:
    """The golds as a metric reads them: themselves, or, where it wants document numbers, those that they cite.

    Raises DataError where the metric reads neither.
    """
    try:
        ceiling(metric, golds)
    except DataError:
        cited = sorted({number for gold in golds for number in citations(gold)})
        if not cited:
            raise
        ceiling(metric, numbers := [str(number) for number in cited])
        return numbers
    return list(golds)


def perfect_answers(golds: Sequence[str]) -> Iterator[str]:
    """Answers of which one is the best there can be, by every rule of `METRICS`."""
    yield " ".join(golds)  # first, as it is the best of most: of one gold that gold itself
    yield from golds
    yield from (" ".join(gold.split()) for gold in golds)  # on one line, for rules that read the first
    yield from (number for gold in golds for number in _NUMBER.findall(gold))
    yield from (f"The correct answer is ({gold.strip()})" for gold in golds)
    yield "".join(f"[{gold.strip()}]" for gold in golds)
    yield ""
