"""SQuAD's exact match and F1 (v1.1, v2), and HELMET's."""

from collections import Counter
from collections.abc import Sequence

from haymaker.metrics.shared import best, harmonic, normalise, require_golds


def squad_em(prediction: str, golds: Sequence[str]) -> float:
    """1 if the prediction equals any gold after `normalise`, else 0.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        SQuAD evaluate-v1.1 (Rajpurkar et al. 2016).

    Examples:
        >>> hm.metrics.squad_em("The mill.", ["a mill"])
        1.0
    """
    return best(same, prediction, golds)


def squad_f1(prediction: str, golds: Sequence[str]) -> float:
    """Best F1 over golds of the words shared, counted with repeats.

    F1 = 2PR / (P + R), P and R the shared words over those of prediction and gold, both after `normalise`; 0 where
    nothing is shared, also where both sides normalise to nothing.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        SQuAD evaluate-v1.1 (Rajpurkar et al. 2016).

    Examples:
        >>> hm.metrics.squad_f1("old mill of stone", ["the stone mill", "mill"])
        0.6666666666666666
    """
    return best(word_f1, prediction, golds)


def squad_v2_em(prediction: str, golds: Sequence[str]) -> float:
    """`squad_em` after SQuAD 2.0's rule: golds that normalise to nothing are dropped.

    None left means "no answer", which an empty prediction equals.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: A prediction that is no text, or golds that are no list of texts.

    Source:
        SQuAD evaluate-v2.0 (Rajpurkar et al. 2018).

    Examples:
        >>> hm.metrics.squad_v2_em("", [""])
        1.0
    """
    return best(same, prediction, _answerable_golds(golds))


def squad_v2_f1(prediction: str, golds: Sequence[str]) -> float:
    """`squad_f1` after SQuAD 2.0's rules: as `squad_v2_em`, and 1 where both sides normalise to nothing.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: A prediction that is no text, or golds that are no list of texts.

    Source:
        SQuAD evaluate-v2.0 (Rajpurkar et al. 2018).

    Examples:
        >>> hm.metrics.squad_v2_f1("the", ["a"])
        1.0
    """
    return best(word_f1_or_both_empty, prediction, _answerable_golds(golds))


def helmet_f1(prediction: str, golds: Sequence[str]) -> float:
    """`squad_f1`, but 0 where one side is yes, no or noanswer and the other differs.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        HotpotQA's rule (Yang et al. 2018), as in HELMET (Yen et al. 2024).

    Examples:
        >>> hm.metrics.helmet_f1("yes indeed", ["yes"])
        0.0
    """
    return best(_word_f1_unless_closed, prediction, golds)


def same(prediction: str, gold: str) -> float:
    return float(normalise(prediction) == normalise(gold))


def word_f1(prediction: str, gold: str) -> float:
    predicted, expected = normalise(prediction).split(), normalise(gold).split()
    shared = (Counter(predicted) & Counter(expected)).total()
    return harmonic(shared / len(predicted), shared / len(expected)) if shared else 0.0


def word_f1_or_both_empty(prediction: str, gold: str) -> float:
    sides = normalise(prediction), normalise(gold)
    return float(sides[0] == sides[1]) if "" in sides else word_f1(prediction, gold)


def _word_f1_unless_closed(prediction: str, gold: str) -> float:
    sides = {normalise(prediction), normalise(gold)}
    return 0.0 if len(sides) == 2 and sides & {"yes", "no", "noanswer"} else word_f1(prediction, gold)


def _answerable_golds(golds: Sequence[str]) -> Sequence[str]:
    require_golds(golds)
    return [gold for gold in golds if normalise(gold)] or [""]
