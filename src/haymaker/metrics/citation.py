"""Which documents a text cites, and how well (SummHay, Laban et al. 2024)."""

import re
from collections.abc import Sequence

from haymaker.errors import DataError
from haymaker.metrics.shared import CitationScores, number_set, set_scores

_STRICT_BRACKET = re.compile(r"\[([\d, ]+)\]")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_NOUN = r"\b(?:article|document|doc|passage|source)"
_ITEM = r"(?<!\d)\d{1,6}(?:\s?[-–—]\s?\d{1,6})?(?!\d)"
_LENIENT_PART = re.compile(rf"{_ITEM}|{_NOUN}s?\b|\band\b|[\s,;&#]", re.IGNORECASE)
# A list needs the plural: "Article 5, 20 people died" cites one document.
_NAMED = re.compile(rf"{_NOUN}(?:s {_ITEM}(?:(?:,? and |[,;&] ?){_ITEM})*|\s?#?{_ITEM})", re.IGNORECASE)
_NUMBER_OR_RANGE = re.compile(r"(\d+)(?:\s?[-–—]\s?(\d+))?")
_LONGEST_RANGE = 1000  # documents; a longer range is a number with a dash in it, and would fill the memory


def citations(text: str) -> frozenset[int]:
    """Document numbers in brackets of digits, commas and blanks: `[1][3, 4]` has 1, 3 and 4.

    `[1; 2]`, `[1-4]` and `[Article 1]` hold none.

    Args:
        text: An answer.

    Returns:
        The numbers.

    Raises:
        DataError: A bracket like `[1 2]`; the official scorer crashes there.

    Source:
        The parser of SummHay (Laban et al. 2024).

    Examples:
        >>> sorted(hm.metrics.citations("Rain fell [1][3, 4]."))
        [1, 3, 4]
    """
    parts = [part for inside in _STRICT_BRACKET.findall(text) for part in inside.split(",") if part.strip()]
    return number_set(parts, "citation")


def citations_lenient(text: str) -> frozenset[int]:
    """Document numbers however a model writes them: `[1; 2]`, `[1 2]`, `[2-4]`, `[Article 1 and 3]`, `Documents 5, 6`.

    A bracket that says anything else (`[Word count: 45]`) holds none, nor does a range backwards or over 1000.

    Args:
        text: An answer.

    Returns:
        The numbers.

    Source:
        Ours.

    Examples:
        >>> sorted(hm.metrics.citations_lenient("Rain fell [2-4], says Document 7."))
        [2, 3, 4, 7]
    """
    cited = [bracket for bracket in _BRACKET.findall(text) if not _LENIENT_PART.sub("", bracket)]
    cited += _NAMED.findall(_BRACKET.sub(" ", text))
    ends = [ends for part in cited for ends in _NUMBER_OR_RANGE.findall(part)]
    return frozenset(number for first, last in ends for number in _range(int(first), int(last or first)))


def citation_scores(prediction: str, golds: Sequence[str | int], *, lenient: bool = False) -> CitationScores:
    """Precision, recall and F1 of the documents that a text cites against the gold document numbers.

    Args:
        prediction: The answer, as text.
        golds: Document numbers, as numbers or text.
        lenient: Read citations by `citations_lenient`.

    Returns:
        The three, each 0 to 1.

    Raises:
        DataError: No golds, a gold that is no number, a prediction that is no text, or (unless `lenient`) a bracket
            like `[1 2]`.

    Source:
        The citation score of one covered insight in SummHay (Laban et al. 2024).

    Examples:
        >>> hm.metrics.citation_scores("Rain fell [1][2].", ["1"])
        CitationScores(precision=0.5, recall=1.0, f1=0.6666666666666666)
    """
    if not isinstance(prediction, str):
        raise DataError(f"expected a prediction that is text, found {type(prediction).__name__}")
    if isinstance(golds, str) or not golds:
        raise DataError(f"expected golds as a list of document numbers, at least one, found {golds!r}")
    cited = citations_lenient(prediction) if lenient else citations(prediction)
    return set_scores(cited, number_set(golds, "gold document"))


def citation_f1(prediction: str, golds: Sequence[str | int]) -> float:
    """F1 of `citation_scores`, with SummHay's own parser.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a gold that is no number, a prediction that is no text, or a bracket like `[1 2]`.

    Source:
        SummHay (Laban et al. 2024).

    Examples:
        >>> hm.metrics.citation_f1("Rain fell [1][2].", ["1", "2"])
        1.0
    """
    return citation_scores(prediction, golds).f1


def citation_f1_lenient(prediction: str, golds: Sequence[str | int]) -> float:
    """F1 of `citation_scores`, with the lenient parser.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a gold that is no number, or a prediction that is no text.

    Source:
        SummHay (Laban et al. 2024), but for the parser.

    Examples:
        >>> hm.metrics.citation_f1_lenient("Rain fell [1 2].", ["1", "2"])
        1.0
    """
    return citation_scores(prediction, golds, lenient=True).f1


def _range(first: int, last: int) -> range:
    return range(first, last + 1) if last - first < _LONGEST_RANGE else range(0)
