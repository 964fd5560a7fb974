"""MDQA and key-value retrieval: is the gold in the answer (lost-in-the-middle, Liu et al. 2023)."""

from collections.abc import Sequence

from haymaker.metrics.shared import best, normalise


def best_subspan_em(prediction: str, golds: Sequence[str]) -> float:
    """1 if any normalised gold is a substring of the prediction's normalised first line, else 0; 0 without golds.

    The official score, with its traps: only a line feed ends the line, so an answer that starts with one scores 0;
    there are no word boundaries ("US" is in "because"); a gold that normalises to nothing is in everything.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: A prediction that is no text, or golds that are no list of texts.

    Source:
        lost-in-the-middle (Liu et al. 2023), MDQA.

    Examples:
        >>> hm.metrics.best_subspan_em("It was because of it.", ["US"])
        1.0
    """
    return best(_holds, prediction, golds, without_golds=0.0, prepare=first_line)


def best_subspan_em_uncut(prediction: str, golds: Sequence[str]) -> float:
    r"""`best_subspan_em` over the whole prediction; the one for chat models.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: A prediction that is no text, or golds that are no list of texts.

    Source:
        HELMET's substring match (Yen et al. 2024).

    Examples:
        >>> hm.metrics.best_subspan_em_uncut("Well.\nThe mill.", ["mill"])
        1.0
    """
    return best(_holds, prediction, golds, without_golds=0.0)


def best_subspan_em_words(prediction: str, golds: Sequence[str]) -> float:
    """`best_subspan_em` where the gold must be consecutive whole words; one that normalises to nothing never is.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: A prediction that is no text, or golds that are no list of texts.

    Source:
        Ours.

    Examples:
        >>> hm.metrics.best_subspan_em_words("It was because of it.", ["US"])
        0.0
    """
    return best(_holds_words, prediction, golds, without_golds=0.0, prepare=first_line)


def kv_accuracy(prediction: str, golds: Sequence[str]) -> float:
    """1 if any gold value is in the whole answer, letter case aside, else 0.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        lost-in-the-middle (Liu et al. 2023), key-value retrieval.

    Examples:
        >>> hm.metrics.kv_accuracy("It is 4F-2A.", ["4f-2a"])
        1.0
    """
    return best(holds_literally, prediction, golds)


def first_line(text: str) -> str:
    return text.partition("\n")[0].strip()


def _holds(prediction: str, gold: str) -> float:
    return float(normalise(gold) in normalise(prediction))


def _holds_words(prediction: str, gold: str) -> float:
    words = normalise(gold)
    return float(bool(words) and f" {words} " in f" {normalise(prediction)} ")


def holds_literally(prediction: str, gold: str) -> float:
    # lower(), not casefold(), as the official scorers have it: "STRASSE" does not hold "straße".
    return float(gold.lower() in prediction.lower())
