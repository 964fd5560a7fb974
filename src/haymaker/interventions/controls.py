"""Head sets beside the random ones of their size: what is theirs alone, over the same questions. Pure: no torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.heads.nulls import layer_matched_share
from haymaker.interventions.head_sets import HeadSet
from haymaker.stats import DIFFERENCES, bootstrap_mean, null_of_draws

CONTROLS = ("none", "random", "identity")


def beside_random(sets: Sequence[HeadSet], scores: Sequence[Float[ndarray, "example"]]) -> list[dict[str, Any]]:
    """More columns for the row of each set, of its score per example.

    A set that means something has `beyond_random` with bounds, its mean score less that of the random sets of its size,
    paired by question; `random_percentile`, the share of those sets that score lower, ties by half; `random_draws`, how
    many there are. A random set has `layer_matched`, the share of its heads that stand in the layers of the set it
    stands beside. What has no such number has None.
    """
    return [
        dict.fromkeys(("beyond_random", "beyond_random_low", "beyond_random_high", "random_percentile"))
        | {"random_draws": 0, "layer_matched": matching(one, sets)}
        | beyond(one, sets, scores)
        for one in sets
    ]


def matching(one: HeadSet, sets: Sequence[HeadSet]) -> float | None:
    """Of a random set: the share of its heads in the layers of the first set of its size that is none."""
    like = next((other for other in sets if other.k == one.k and other.kind not in CONTROLS), None)
    return layer_matched_share(one.heads, like.heads) if one.kind == "random" and like else None


def beyond(one: HeadSet, sets: Sequence[HeadSet], scores: Sequence[ndarray]) -> dict[str, Any]:
    """The comparison of one set with its random ones; empty without any."""
    drawn = [values for other, values in zip(sets, scores, strict=True) if other.kind == "random" and other.k == one.k]
    if one.kind in CONTROLS or not drawn:
        return {}
    own = scores[next(place for place, other in enumerate(sets) if other is one)]
    change = bootstrap_mean(own - np.mean(drawn, axis=0), reach=DIFFERENCES)
    null = null_of_draws(float(own.mean()), [float(values.mean()) for values in drawn])
    return {
        **{"beyond_random": change.mean, "beyond_random_low": change.low, "beyond_random_high": change.high},
        **{"random_percentile": null.percentile, "random_draws": len(drawn)},
    }
