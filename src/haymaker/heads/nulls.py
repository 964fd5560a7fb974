"""What stands beside a claim about heads: bounds over examples, nulls of the same layers, stability. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import rankdata

from haymaker.heads.scores import HeadScores, cosine_of
from haymaker.records import Head
from haymaker.stats import Interval, Null, Number, null_of_draws, resampled_means, shared_by_layers

DRAWS = 500
ENDS = {"cosine": (-1.0, 1.0), "spearman": (-1.0, 1.0), "shift": (-1.0, 1.0)}  # of measures that have any
ENDS |= dict.fromkeys(("recall", "subset", "overlap"), (0.0, 1.0))
WITHOUT_ENDS = (-np.inf, np.inf)


# ---- one map


def map_row(scores: HeadScores, threshold: float, k: int) -> dict[str, Any]:
    """What one map is like: active heads with bounds over examples, sparsity, reliability, stability of its top k."""
    k = min(k, len(scores.ranked())) if scores.counts.any() else 0
    stable = scores.stability(k) if k else Interval(np.nan)
    drawn = (means_of(scores) > threshold).sum(axis=1, dtype=float) if enough(scores) else np.empty(0)
    heads = int((scores.counts > 0).sum())
    active = around(len(scores.active(threshold)), drawn, (0.0, float(heads)))
    return {
        "metric": scores.metric,
        "n": int(scores.counted.sum()),
        "heads": heads,
        "threshold": threshold,
        **{"active": active.mean, "active_low": active.low, "active_high": active.high},
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


def around(value: Number, drawn: Float[ndarray, " draw"], ends: tuple[float, float] = WITHOUT_ENDS) -> Interval:
    """A measure of maps with bounds: 1.96 standard errors to each side, within its ends; NaN without draws.

    The standard error is the spread of samples of the examples. Their quantiles are no bounds here: samples are noisier
    than the examples they are of, noise makes maps less alike, and so most samples lie on one side of the value.
    """
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return Interval(value)
    reach = 1.96 * float(known.std())
    return Interval(value, max(ends[0], value - reach), min(ends[1], value + reach))


# ---- two maps


def agreement_intervals(own: HeadScores, reference: HeadScores, threshold: float, k: int) -> dict[str, float]:
    """Cosine, rank correlation, recall, subset, overlap of the top k, and how many more heads the reference has active,
    each with its bounds over examples.

    Where both maps are of the same examples, these are drawn together.
    """
    whole = {
        "cosine": own.cosine(reference),
        "spearman": own.spearman(reference),
        "recall": own.recall(reference, threshold),
        "subset": own.subset(reference, threshold),
        "overlap": own.overlap(reference, k),
        "fewer": float(len(reference.active(threshold)) - len(own.active(threshold))),
    }
    drawn: dict[str, ndarray] = dict.fromkeys(whole, np.empty(0))
    if enough(own) and enough(reference):
        paired = own.example_ids == reference.example_ids
        a, b = means_of(own), means_of(reference, seed=0 if paired else 1)
        drawn |= measures(a, b, threshold)
        drawn |= {"spearman": rank_correlations(a, b), "overlap": shared_tops(a, b, k)}
    found = {name: around(whole[name], drawn[name], ENDS.get(name, WITHOUT_ENDS)) for name in whole}
    bounds = {f"{name}_{end}": getattr(one, end) for name, one in found.items() for end in ("low", "high")}
    return whole | bounds


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


def rank_correlations(
    own: Float[ndarray, "draw head"], reference: Float[ndarray, "draw head"]
) -> Float[ndarray, " draw"]:
    """Spearman's rho in every draw, over the heads that have a score in all; NaN where a side is constant."""
    both = ~(np.isnan(own) | np.isnan(reference)).any(axis=0)
    if not both.any():
        return np.full(len(own), np.nan)
    a, b = (centred_ranks(side[:, both]) for side in (own, reference))
    return ratio((a * b).sum(axis=1), np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def centred_ranks(values: Float[ndarray, "draw head"]) -> Float[ndarray, "draw head"]:
    ranks = rankdata(values, axis=1)
    return ranks - ranks.mean(axis=1, keepdims=True)


def shared_tops(
    own: Float[ndarray, "draw head"], reference: Float[ndarray, "draw head"], k: int
) -> Float[ndarray, " draw"]:
    """Share of the top k that both have, in every draw; ties go to the lower head, as in `HeadScores.top`."""
    first, second = np.zeros(own.shape, bool), np.zeros(own.shape, bool)
    for chosen, means in ((first, own), (second, reference)):
        best = np.argsort(-means, axis=1, kind="stable")[:, :k]  # NaN comes last
        np.put_along_axis(chosen, best, True, axis=1)
    return (first & second).sum(axis=1) / k


def ratio(over: ndarray, under: ndarray) -> ndarray:
    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)


def transfer_nulls(own: HeadScores, reference: HeadScores, untrained: HeadScores, threshold: float) -> dict[str, float]:
    """What layers alone would give of cosine, recall, and of the cosine of what two trainings changed (`shift`)."""
    active, wanted = own.active(threshold), reference.active(threshold)
    shared = layered(own, active, wanted)
    cosine = cosine_null(own.cosine(reference), turned_maps(own.mean), reference.mean)
    changed, meant = own.mean - untrained.mean, reference.mean - untrained.mean
    observed = cosine_of(np.nan_to_num(changed).ravel(), np.nan_to_num(meant).ravel())
    shift = cosine_null(observed, turned_maps(changed), meant)
    return (
        beside("recall", shared, shared.mean / len(wanted) if wanted else np.nan)
        | beside("cosine", cosine, cosine.mean)
        | beside("shift", shift, shift.mean)
    )


def agreement_nulls(own: HeadScores, reference: HeadScores, threshold: float, k: int) -> dict[str, float]:
    """Recall, subset and overlap beside sets with as many heads in the same layers, cosine and rank correlation beside
    maps whose scores change places within their layers: chance's mean, the percentile, and the one-sided p.
    """
    active, wanted = own.active(threshold), reference.active(threshold)
    by_layers, tops = layered(own, active, wanted), layered(own, set(own.top(k)), set(reference.top(k)))
    expected = {
        "recall": by_layers.mean / len(wanted) if wanted else np.nan,
        "subset": by_layers.mean / len(active) if active else np.nan,
        "overlap": tops.mean / k,
    }
    turned = turned_maps(own.mean)
    ranks = rank_correlations(turned, np.broadcast_to(reference.mean.ravel(), turned.shape))
    found = {
        "cosine": cosine_null(own.cosine(reference), turned, reference.mean),
        "spearman": null_of_draws(own.spearman(reference), ranks.tolist()),
    }
    return (
        beside("recall", by_layers, expected["recall"])
        | beside("subset", by_layers, expected["subset"])  # as many heads are shared, so it is as likely
        | beside("overlap", tops, expected["overlap"])
        | {key: value for name, null in found.items() for key, value in beside(name, null, null.mean).items()}
    )


def layered(scores: HeadScores, first: set[Head], second: set[Head]) -> Null:
    """How many heads two sets share, beside sets with as many in each layer."""
    layers, width = scores.mean.shape
    one, other = (Counter(head.layer for head in heads) for heads in (first, second))
    depth = range(layers)
    return shared_by_layers(width, [one[i] for i in depth], [other[i] for i in depth], len(first & second))


def turned_maps(own: Float[ndarray, "layer head"]) -> Float[ndarray, "draw heads"]:
    """A map many times, its scores changed in their places within each layer."""
    rng = np.random.default_rng(0)
    return np.array([rng.permuted(own, axis=1).ravel() for _ in range(DRAWS)])


def cosine_null(observed: float, turned: Float[ndarray, "draw heads"], reference: Float[ndarray, "layer head"]) -> Null:
    """A cosine with the reference beside those of turned maps; what has no score counts as 0."""
    fixed = np.nan_to_num(reference).ravel()
    return null_of_draws(observed, [cosine_of(one, fixed) for one in np.nan_to_num(turned)])


def top_overlap(own: HeadScores, other: HeadScores, k: int) -> dict[str, float]:
    """Share of the top k heads that both have, beside heads of the same layers."""
    tops = layered(own, set(own.top(k)), set(other.top(k)))
    return {"overlap": own.overlap(other, k)} | beside("overlap", tops, tops.mean / k)


def beside(name: str, null: Null, mean: float) -> dict[str, float]:
    return {f"{name}_null": mean, f"{name}_percentile": null.percentile, f"{name}_p": null.p}


def layer_matched_share(heads: Iterable[Head], like: Iterable[Head]) -> float:
    """Share of `heads` that stand in the layers of `like`, one for one; NaN of nothing."""
    ours, theirs = Counter(head.layer for head in heads), Counter(head.layer for head in like)
    return (ours & theirs).total() / ours.total() if ours else float("nan")
