"""Where the evidence of a row stands and how many pieces it has, and scores by that: by depth, by length, by hops."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from haymaker.errors import ConfigError
from haymaker.records import Encoded, Example, Prediction, Span
from haymaker.stats import SCORES, Number, bootstrap_mean

AROUND = ("document", "evidence", "filler")  # labels of what the context is made of
FIFTHS = 5
UNKNOWN = "unknown"


def depth_of(item: Encoded) -> float | None:
    """Share of the context before the evidence, 0 (it opens the context) to 1 (it ends it); the mean over its pieces.

    Tokens count, and of the context alone: neither the instruction before nor the question behind it. None where there
    is no evidence, or nothing beside it that is marked as context: of a text of one's own only the needles are.
    """
    prompt = [(label.kind, span) for label, span in item.labelled_spans if span.stop <= item.prompt_length]
    around = [span for kind, span in prompt if kind in AROUND]
    pieces = [span for kind, span in prompt if kind == "evidence"]
    if not pieces or len(around) == len(pieces):
        return None
    whole = Span(min(span.start for span in around), max(span.stop for span in around))
    if any(len(piece) == len(whole) for piece in pieces):
        return None
    return fmean((piece.start - whole.start) / (len(whole) - len(piece)) for piece in pieces)


def hops_of(example: Example) -> int:
    """Pieces of evidence that an answer rests on; 0 where none is marked."""
    return len({label for label, _ in example.labelled_spans if label.kind == "evidence"})


# ---- scores by groups of rows


def depth_group(one: Prediction) -> tuple[Number, str]:
    """A fifth of the context."""
    if one.depth is None:
        return np.inf, UNKNOWN
    fifth = min(int(one.depth * FIFTHS), FIFTHS - 1)
    return fifth, f"{fifth / FIFTHS:.1f}-{(fifth + 1) / FIFTHS:.1f}"


def length_group(one: Prediction) -> tuple[Number, str]:
    """A doubling of the prompt's tokens: 257-512, 513-1024 and so on; unknown of answers that came without."""
    if not one.prompt_tokens:
        return np.inf, UNKNOWN
    top = 1 << (max(one.prompt_tokens, 2) - 1).bit_length()
    return top, f"{top // 2 + 1}-{top}"


def hops_group(one: Prediction) -> tuple[Number, str]:
    """The number itself."""
    return (np.inf, UNKNOWN) if one.hops is None else (one.hops, str(one.hops))


GROUPS: Mapping[str, Callable[[Prediction], tuple[Number, str]]] = {
    "depth": depth_group,
    "length": length_group,
    "hops": hops_group,
}


def check_by(names: Sequence[str]) -> None:
    """Raises ConfigError for a grouping that there is not."""
    if unknown := [name for name in names if name not in GROUPS]:
        raise ConfigError(f"by: expected {', '.join(GROUPS)}, found {unknown[0]!r}")


def grouped(predictions: Sequence[Prediction], by: str, metric: str) -> list[dict[str, Any]]:
    """A row per group of answers, in order: the metric's mean with its bounds over them, how many there are, and the
    share that has the form which the metric reads."""
    check_by([by])
    found: dict[tuple[Number, str], list[Prediction]] = {}
    for one in predictions:
        found.setdefault(GROUPS[by](one), []).append(one)
    return [{"by": by, "group": name} | group_row(rows, metric) for (_, name), rows in sorted(found.items())]


def group_row(rows: Sequence[Prediction], metric: str) -> dict[str, Any]:
    score = bootstrap_mean(np.array([one.scores[metric] for one in rows]), reach=SCORES)
    parsed = fmean(metric not in one.unread for one in rows)
    bounds = {"score": score.mean, "score_low": score.low, "score_high": score.high}
    return {"n": len(rows), "metric": metric} | bounds | {"parsed": parsed}
