"""What several families of metrics share: normalising, the best of several golds, sets of numbers, and the border."""

import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from haymaker.errors import ConfigError, DataError

RowMetric = Callable[..., float]
PairScore = Callable[[str, str], float]
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_UNSPACED = (
    ("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"), ("\u1950", "\u19ff"), ("\u1a20", "\u1aaf"),
    ("\u3005", "\u3007"), ("\u3040", "\u30ff"), ("\u31f0", "\u31ff"), ("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"),
    ("\ua9e0", "\ua9ff"), ("\uaa60", "\uaadf"), ("\uf900", "\ufaff"), ("\uff66", "\uff9f"),
    ("\U00020000", "\U0003ffff"),
)  # fmt: skip


def normalise(text: str) -> str:
    """SQuAD's spelling of an answer: lower case, no ASCII punctuation, no articles, single blanks.

    Curly quotes, dashes, accents and zero-width characters stay.

    Args:
        text: An answer.

    Returns:
        Its spelling.

    Source:
        SQuAD evaluate-v1.1 (Rajpurkar et al. 2016).

    Examples:
        >>> hm.metrics.normalise("The  A-ha, again!")
        'aha again'
    """
    # Punctuation goes before articles, so "A-ha" becomes "aha" and keeps its a.
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def unspaced(letter: str) -> bool:
    """Whether a letter is of a script without blanks between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    return any(first <= letter <= last for first, last in _UNSPACED)


class CitationScores(NamedTuple):
    """Agreement of two sets of document numbers, each 0 to 1.

    Attributes:
        precision: Share of the cited that are wanted.
        recall: Share of the wanted that are cited.
        f1: Their harmonic mean.

    Examples:
        >>> hm.metrics.CitationScores(precision=0.5, recall=1.0, f1=2 / 3).recall
        1.0
    """

    precision: float
    recall: float
    f1: float


def best(
    score: PairScore,
    prediction: str,
    golds: Sequence[str],
    *,
    without_golds: float | None = None,
    prepare: Callable[[str], str] = str,
) -> float:
    """Best score of the prepared prediction over the golds, the border of every row metric."""
    require(prediction, golds)
    if golds:
        prepared = prepare(prediction)
        return max(score(prepared, gold) for gold in golds)
    if without_golds is None:
        raise DataError("expected at least one gold text, found none; drop the row when the data is built")
    return without_golds


def require(prediction: str, golds: Sequence[str]) -> None:
    if not isinstance(prediction, str):
        found = type(prediction).__name__
        raise DataError(f"expected a prediction that is text, found {found}; count a failed call as a failed row")
    require_golds(golds)


def require_golds(golds: Sequence[str]) -> None:
    # One text alone is the likely slip, and would be scored letter by letter.
    if isinstance(golds, str) or not isinstance(golds, Sequence):
        raise DataError(f"expected golds as a list of texts, found {golds!r}")
    for gold in golds:
        if not isinstance(gold, str):
            raise DataError(f"expected every gold to be text, found {gold!r}")


def harmonic(precision: float, recall: float) -> float:
    # In this order of operations the official scorers round the same way, to the last bit.
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def set_scores(found: frozenset[int] | set[int], wanted: frozenset[int]) -> CitationScores:
    shared = len(found & wanted)
    precision = shared / len(found) if found else 0.0
    recall = shared / len(wanted) if wanted else 0.0
    return CitationScores(precision, recall, harmonic(precision, recall))


def number_set(values: Iterable[int | str], what: str) -> frozenset[int]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DataError(f"expected a list of whole numbers, each of a {what}, found {values!r:.80}")
    return frozenset(whole_number(value, what) for value in values)


def whole_number(value: Any, what: str) -> int:
    if isinstance(value, int | str) and not isinstance(value, bool):
        with suppress(ValueError):
            return int(value)
    raise DataError(f"expected a {what} that is a whole number, found {value!r:.80}")


def field(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise DataError(f"{row.get('id', 'a row')}: expected a field {name!r}, found {', '.join(row) or 'none'}")
    return row[name]


def named(known: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise ConfigError(f"unknown {what}: {name!r}; known are {', '.join(sorted(known))}")
    return known[name]
