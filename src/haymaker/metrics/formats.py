"""In which form a metric reads an answer: who misses the form has not shown that she did not find the answer.

A rule takes an answer and its golds, and says whether the answer has the form; `FORMATS` of choices.py has one for each
metric. Pure text in, yes or no out.
"""

import re
from collections.abc import Sequence

from haymaker.errors import DataError
from haymaker.metrics.citation import citations, citations_lenient
from haymaker.metrics.long_bench import choice_of
from haymaker.metrics.shared import normalise, unspaced

FEW = 5  # words: what NQ-Open takes as a short answer (Lee et al. 2019)
ROOM = 2  # times the longest gold's words
LETTERS = 2  # of a word of Chinese or Japanese; of Thai, whose words are longer, golds have as many more
_DIGIT = re.compile(r"\d")


def phrase(text: str, golds: Sequence[str]) -> bool:
    """A few words: at least one, and at most five or twice the longest gold's, after `normalise`.

    A sentence around the right words is none: F1 of words counts all that it says besides. Where a gold is empty ("no
    answer"), an empty answer has the form.
    """
    words, wanted = words_in(text), [words_in(gold) for gold in golds]
    least = min([1, *wanted])
    return least <= words <= max(FEW, ROOM * max(wanted, default=0))


def words_in(text: str) -> int:
    """Words of a text; in scripts without blanks between them two letters are one."""
    words = normalise(text).split()
    return len(words) if text.isascii() else sum(max(1, -(-sum(map(unspaced, word)) // LETTERS)) for word in words)


def cited(text: str, golds: Sequence[str]) -> bool:
    """Document numbers in brackets, as SummHay's parser reads them: at least one."""
    try:
        return bool(citations(text))
    except DataError:
        return False


def cited_anyhow(text: str, golds: Sequence[str]) -> bool:
    """At least one document number, in any form that `citations_lenient` reads."""
    return bool(citations_lenient(text))


def numbered(text: str, golds: Sequence[str]) -> bool:
    """At least one digit."""
    return bool(_DIGIT.search(text))


def lettered(text: str, golds: Sequence[str]) -> bool:
    """Names the letter of a choice as LongBench v2 asks for it."""
    return choice_of(text) is not None


def written(text: str, golds: Sequence[str]) -> bool:
    """Anything but blanks."""
    return bool(text.strip())
