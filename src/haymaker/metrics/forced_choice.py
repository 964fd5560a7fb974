"""What a model would rather have said, where it cannot be asked to answer."""

from collections.abc import Sequence

from haymaker.metrics.shared import best


def gold_over_foil(prediction: str, golds: Sequence[str]) -> float:
    """1 if the text that a model prefers, of a gold and a foil, is the gold, else 0.

    `hm.evaluate` makes the prediction: of the target answer and a wrong one, the text whose tokens are more probable
    behind the prompt (mean log-probability per token). It needs no generation, so it tells of base models that do not
    answer questions whether they found the answer.

    Args:
        prediction: The text that the model prefers.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 or 1; guessing gives 0.5.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        Ours; a choice by log-probability as for LAMBADA or ARC (Brown et al. 2020).

    Examples:
        >>> hm.metrics.gold_over_foil("Ada", ["Ada"]), hm.metrics.gold_over_foil("Bob", ["Ada"])
        (1.0, 0.0)
    """
    return best(equal, prediction, golds)


def equal(prediction: str, gold: str) -> float:
    return float(prediction.strip() == gold.strip())
