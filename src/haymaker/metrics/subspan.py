"""MDQA and key-value retrieval: is the gold in the answer (lost-in-the-middle, Liu et al. 2023)."""

from collections.abc import Sequence

from haymaker.metrics.shared import best, normalise


def best_subspan_em(prediction: str, golds: Sequence[str]) -> float:
    r"""1 if any normalised gold is a substring of the prediction's normalised first line, else 0; 0 without golds.

    The official MDQA score, with its traps: only "\n" ends the line, so an answer that starts with one scores 0; there
    are no word boundaries ("US" is in "because"); a gold that normalises to nothing is in everything.
    """
    return best(_holds, prediction, golds, without_golds=0.0, prepare=first_line)


def best_subspan_em_uncut(prediction: str, golds: Sequence[str]) -> float:
    """`best_subspan_em` over the whole prediction (also HELMET's substring match); the one for chat models."""
    return best(_holds, prediction, golds, without_golds=0.0)


def best_subspan_em_words(prediction: str, golds: Sequence[str]) -> float:
    """`best_subspan_em` where the gold must be consecutive whole words; one that normalises to nothing never is."""
    return best(_holds_words, prediction, golds, without_golds=0.0, prepare=first_line)


def kv_accuracy(prediction: str, golds: Sequence[str]) -> float:
    """1 if any gold value is in the whole answer, letter case aside, else 0. No golds: DataError."""
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
