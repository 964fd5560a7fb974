"""OpenAI-MRCR's score: how alike an answer is to the turn that should be said again."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from haymaker.errors import DataError
from haymaker.metrics.shared import require


def mrcr(prediction: str, golds: Sequence[str]) -> float:
    """Likeness (SequenceMatcher's ratio) of an answer to a wanted text, 0 where the answer lacks the string before it.

    Args:
        prediction: The answer, as text.
        golds: The wanted text, and the random string that it begins with, which both are compared without. Any gold
            that another one begins with is such a string; of several wanted texts the likest counts.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        OpenAI-MRCR (2025), grade.

    Examples:
        >>> hm.metrics.mrcr("x7Roses", ["x7Roses.", "x7"]), hm.metrics.mrcr("Roses.", ["x7Roses.", "x7"])
        (0.9090909090909091, 0.0)
    """
    require(prediction, golds)
    if not golds:
        raise DataError("expected at least one gold text, found none; drop the row when the data is built")
    starts = {gold for gold in golds for other in golds if other != gold and other.startswith(gold)}
    return max(_likeness(prediction, gold, starts) for gold in golds if gold not in starts)


def _likeness(prediction: str, gold: str, starts: set[str]) -> float:
    start = max((one for one in starts if gold.startswith(one)), key=len, default="")
    if not prediction.startswith(start):
        return 0.0
    return SequenceMatcher(None, prediction.removeprefix(start), gold.removeprefix(start)).ratio()
