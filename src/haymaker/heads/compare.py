"""Two score files beside each other, whatever their formats: numbers, and a map for the terminal."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from haymaker.errors import ConfigError
from haymaker.heads.formats import HeadList, KVScores, Rule, ScoreFile
from haymaker.heads.nulls import agreement_intervals, agreement_nulls, top_overlap
from haymaker.heads.scores import HeadScores, jaccard
from haymaker.markup import Rows
from haymaker.records import Head

SHADES = " ·░▒▓█"  # by score over the map's highest; a head without a score is a question mark
MEASURES = ("cosine", "spearman", "recall", "subset", "overlap")
STYLES = {"both": "green", "alone": "red", "neither": "dim"}


def comparable(
    first: ScoreFile, second: ScoreFile, rule: Rule = "max", query_heads: int | None = None
) -> tuple[HeadScores, HeadScores, str]:
    """Two score maps of one shape, and what their heads are: `query head` or `kv head`.

    Where one file is of KV heads the other is reduced to them by `rule`; a list of heads takes the other's shape.
    Raises ConfigError for a list beside KV heads without `query_heads`, the query heads of a layer.
    """
    if isinstance(first, KVScores) or isinstance(second, KVScores):
        kv = next(scores for scores in (first, second) if isinstance(scores, KVScores))
        a, b = (as_kv(scores, kv.values.shape, rule, query_heads) for scores in (first, second))
        return a, b, "kv head"
    shapes = [scores.shape if isinstance(scores, HeadList) else scores.mean.shape for scores in (first, second)]
    maps = [scores for scores in (first, second) if isinstance(scores, HeadScores)]
    layers, heads = maps[0].mean.shape if maps else np.max(shapes, axis=0).tolist()
    a, b = (s.as_scores(layers, heads) if isinstance(s, HeadList) else s for s in (first, second))
    return a, b, "query head"


def as_kv(scores: ScoreFile, shape: tuple[int, ...], rule: Rule, query_heads: int | None) -> HeadScores:
    """Scores of KV heads as a map of their own."""
    layers, kv_heads = shape
    if isinstance(scores, HeadList):
        if query_heads is None:
            raise ConfigError("a list of query heads beside KV heads: say how many query heads a layer has")
        scores = scores.as_scores(layers, query_heads)
    if isinstance(scores, HeadScores):
        scores = KVScores.from_heads(scores, kv_heads, rule)
    return HeadScores(scores.values[None], ("kv",), "kv", scores.about)


def comparison(own: HeadScores, reference: HeadScores, threshold: float, k: int) -> dict[str, Any]:
    """How alike two maps are, as a flat row; `k` is that of the overlap, at most the heads that have a score.

    Beside every measure stand its bounds over examples (`_low`, `_high`) and what layers alone would give (`_null`, its
    percentile and one-sided p).
    """
    k = min(k, len(own.ranked()), len(reference.ranked()))
    return {
        **agreement_intervals(own, reference, threshold, k),
        "k": k,
        "threshold": threshold,
        "active": len(own.active(threshold)),
        "active_reference": len(reference.active(threshold)),
        "above_one": own.above_one,
        "above_one_reference": reference.above_one,
        "sparsity": own.sparsity(),
        "sparsity_reference": reference.sparsity(),
        **agreement_nulls(own, reference, threshold, k),
    }


def agreement(named: Mapping[str, HeadScores], k: int = 10) -> Rows:
    """How alike the maps of several detectors or models are, pair by pair.

    Args:
        named: Head scores by name, of one shape.
        k: Top heads that are compared.

    Returns:
        Rows (a list of dicts, in a notebook a table), one per pair, with `cosine` and `spearman` of the means,
        `overlap` of the top k heads (a share) beside heads of the same layers (`overlap_null`, its percentile and
        one-sided p), and the Jaccard index of those two sets.

    Raises:
        DataError: Scores of two shapes, or a map in which no head has a score.

    Examples:
        >>> found = hm.agreement(hm.detect_all(lm, rows, ("copy", "mass")), k=3)
        >>> found[0]["first"], found[0]["second"], 0 <= found[0]["overlap"] <= 1
        ('copy', 'mass', True)
    """
    return Rows(
        {
            "first": a,
            "second": b,
            "cosine": named[a].cosine(named[b]),
            "spearman": named[a].spearman(named[b]),
            **top_overlap(named[a], named[b], k),
            "jaccard": jaccard(set(named[a].top(k)), set(named[b].top(k))),
            "k": k,
        }
        for a, b in combinations(named, 2)
    )


def side_by_side(own: HeadScores, reference: HeadScores, names: tuple[str, str], threshold: float = 0.0) -> Table:
    """A line per layer and a cell per head, denser with the score; green where both are active, red where one is."""
    active = own.active(threshold), reference.active(threshold)
    table = Table(title=f"layer x head; shades up to {peak(own):.3g} and {peak(reference):.3g}", title_justify="left")
    table.add_column("layer", justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, no_wrap=True)
    for layer in range(len(own.mean)):
        lines = (line(own, layer, active[0], active[1]), line(reference, layer, active[1], active[0]))
        table.add_row(str(layer), *lines)
    return table


def peak(scores: HeadScores) -> float:
    return float(np.nan_to_num(scores.mean).max())


def line(scores: HeadScores, layer: int, active: set[Head], others: set[Head]) -> Text:
    """One layer's cells."""
    text, top = Text(), peak(scores)
    for head, value in enumerate(scores.mean[layer]):
        here, there = Head(layer, head) in active, Head(layer, head) in others
        style = STYLES["both" if here and there else "alone" if here else "neither"]
        text.append("?" if np.isnan(value) else shade(float(value), top), style)
    return text


def shade(value: float, top: float) -> str:
    """Blank for nothing, then denser in equal steps up to `top`."""
    if value <= 0 or top <= 0:
        return SHADES[0]
    return SHADES[min(len(SHADES) - 1, 1 + int(value / top * (len(SHADES) - 1)))]
