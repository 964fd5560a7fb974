"""SQuAD's exact match and F1 (v1.1, v2), and HELMET's."""

from collections import Counter
from collections.abc import Sequence

from haymaker.metrics.shared import best, harmonic, normalise, require_golds


def squad_em(prediction: str, golds: Sequence[str]) -> float:
    """1 if the prediction equals any gold after `normalise`, else 0 (SQuAD v1.1). No golds: DataError."""
    return best(same, prediction, golds)


def squad_f1(prediction: str, golds: Sequence[str]) -> float:
    """Best F1 over golds of the words shared, counted with repeats (SQuAD v1.1). No golds: DataError.

    F1 = 2PR / (P + R), P and R the shared words over those of prediction and gold; 0 where nothing is shared, also
    where both sides normalise to nothing.
    """
    return best(word_f1, prediction, golds)


def squad_v2_em(prediction: str, golds: Sequence[str]) -> float:
    """`squad_em` after SQuAD 2.0's rule: golds that normalise to nothing are dropped; none left means "no answer"."""
    return best(same, prediction, _answerable_golds(golds))


def squad_v2_f1(prediction: str, golds: Sequence[str]) -> float:
    """`squad_f1` after SQuAD 2.0's rules: as `squad_v2_em`, and 1 where both sides normalise to nothing."""
    return best(word_f1_or_both_empty, prediction, _answerable_golds(golds))


def helmet_f1(prediction: str, golds: Sequence[str]) -> float:
    """`squad_f1`, but 0 where one side is yes, no or noanswer and the other differs (HotpotQA's rule, in HELMET)."""
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
