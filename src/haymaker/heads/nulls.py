"""What stands beside a claim about heads: bounds over examples, nulls of the same layers, stability. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.heads.scores import HeadScores, cosine_of
from haymaker.records import Head
from haymaker.stats import Interval, Null, Number, null_of_draws, resampled_means, shared_by_layers

DRAWS = 500


# ---- one map


def map_row(scores: HeadScores, threshold: float, k: int) -> dict[str, Any]:
    """What one map is like: active heads with bounds over examples, sparsity, reliability, stability of its top k."""
    k = min(k, len(scores.ranked())) if scores.counts.any() else 0
    stable = scores.stability(k) if k else Interval(np.nan)
    active = (means_of(scores) > threshold).sum(axis=1) if enough(scores) else np.empty(0)
    return {
        "metric": scores.metric,
        "n": int(scores.counted.sum()),
        "heads": int((scores.counts > 0).sum()),
        "threshold": threshold,
        **bounded("active", len(scores.active(threshold)), active),
        "sparsity": scores.sparsity(),
        "reliability": scores.reliability(),
        "k": k,
        **{"stability": stable.mean, "stability_low": stable.low, "stability_high": stable.high},
    }


def enough(scores: HeadScores) -> bool:
    """Whether there are examples to draw from."""
    return int(scores.counted.sum()) > 1


def means_of(scores: HeadScores, seed: int = 0) -> Float[ndarray, "draw head"]:
    """Means of all heads in many samples of the examples; maps of the same examples are drawn alike."""
    return resampled_means(scores.values.reshape(len(scores.values), -1), DRAWS, seed)


def bounded(name: str, value: Number, draws: ndarray) -> dict[str, Any]:
    """Columns name, name_low, name_high; NaN without draws."""
    known = draws[~np.isnan(draws)] if len(draws) else draws
    low, high = np.quantile(known, (0.025, 0.975)) if len(known) else (np.nan, np.nan)
    return {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}


# ---- two maps


def agreement_intervals(own: HeadScores, reference: HeadScores, threshold: float) -> dict[str, float]:
    """Bounds over examples of cosine, recall and subset, and of how many more heads the reference has active.

    Where both maps are of the same examples, these are drawn together.
    """
    fewer = float(len(reference.active(threshold)) - len(own.active(threshold)))
    drawn: dict[str, ndarray] = dict.fromkeys(("cosine", "recall", "subset", "fewer"), np.empty(0))
    if enough(own) and enough(reference):
        paired = own.example_ids == reference.example_ids
        drawn = measures(means_of(own), means_of(reference, seed=0 if paired else 1), threshold)
    columns = {name: bounded(name, np.nan, draws) for name, draws in drawn.items()}
    found = {key: value for name, row in columns.items() for key, value in row.items() if key != name}
    return {"fewer": fewer} | found


def measures(
    own: Float[ndarray, "draw head"], reference: Float[ndarray, "draw head"], threshold: float
) -> dict[str, Float[ndarray, " draw"]]:
    """Cosine, recall, subset and difference of active heads in every draw; NaN where there is none."""
    both = ~(np.isnan(own) | np.isnan(reference))
    a, b = np.where(both, own, 0), np.where(both, reference, 0)
    active, wanted = own > threshold, reference > threshold
    shared = (active & wanted).sum(axis=1).astype(float)
    return {
        "cosine": ratio((a * b).sum(axis=1), np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)),
        "recall": ratio(shared, wanted.sum(axis=1)),
        "subset": ratio(shared, active.sum(axis=1)),
        "fewer": (wanted.sum(axis=1) - active.sum(axis=1)).astype(float),
    }


def ratio(over: ndarray, under: ndarray) -> ndarray:
    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)


def agreement_nulls(own: HeadScores, reference: HeadScores, threshold: float, k: int) -> dict[str, float]:
    """Recall, subset and overlap beside sets with as many heads in the same layers, cosine beside a map whose scores
    change places within their layers: chance's mean, the percentile, and the one-sided p.
    """
    active, wanted = own.active(threshold), reference.active(threshold)
    by_layers, tops = layered(own, active, wanted), layered(own, set(own.top(k)), set(reference.top(k)))
    expected = {
        "recall": by_layers.mean / len(wanted) if wanted else np.nan,
        "subset": by_layers.mean / len(active) if active else np.nan,
        "overlap": tops.mean / k,
    }
    turned = null_of_draws(own.cosine(reference), turned_cosines(own, reference))
    return (
        beside("recall", by_layers, expected["recall"])
        | {"subset_null": expected["subset"]}
        | beside("overlap", tops, expected["overlap"])
        | beside("cosine", turned, turned.mean)
    )


def layered(scores: HeadScores, first: set[Head], second: set[Head]) -> Null:
    """How many heads two sets share, beside sets with as many in each layer."""
    layers, width = scores.mean.shape
    one, other = (Counter(head.layer for head in heads) for heads in (first, second))
    depth = range(layers)
    return shared_by_layers(width, [one[i] for i in depth], [other[i] for i in depth], len(first & second))


def turned_cosines(own: HeadScores, reference: HeadScores) -> list[float]:
    """Cosines with the reference after the own scores have changed places within their layers."""
    rng, a, b = np.random.default_rng(0), np.nan_to_num(own.mean), np.nan_to_num(reference.mean)
    return [cosine_of(rng.permuted(a, axis=1).ravel(), b.ravel()) for _ in range(DRAWS)]


def beside(name: str, null: Null, mean: float) -> dict[str, float]:
    return {f"{name}_null": mean, f"{name}_percentile": null.percentile, f"{name}_p": null.p}


def layer_matched_share(heads: Iterable[Head], like: Iterable[Head]) -> float:
    """Share of `heads` that stand in the layers of `like`, one for one; NaN of nothing."""
    ours, theirs = Counter(head.layer for head in heads), Counter(head.layer for head in like)
    return (ours & theirs).total() / ours.total() if ours else float("nan")
