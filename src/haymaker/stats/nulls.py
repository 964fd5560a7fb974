"""What chance alone would give: layer-matched nulls of a set of heads, and how sparse a map of scores is."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.errors import DataError
from haymaker.stats.borders import count, number, numbers
from haymaker.stats.intervals import ROUNDING, Number


class Null(NamedTuple):
    """A number beside those that chance gives.

    Attributes:
        observed: The number.
        mean: What chance gives on average.
        low: 2.5 % of chance's numbers lie below.
        high: 2.5 % of them lie above.
        percentile: Share of them below the observed one, 0 to 1, ties by half.
        p: Chance of as much or more, one-sided.

    Examples:
        >>> hm.stats.null_of_draws(0.9, [0.1, 0.2, 0.3]).percentile
        1.0
    """

    observed: float
    mean: float
    low: float
    high: float
    percentile: float
    p: float


def null_of_draws(observed: Number, draws: Sequence[Number]) -> Null:
    """A number beside random draws of the same kind.

    Args:
        observed: The number.
        draws: Those of random sets, or of permutations.

    Returns:
        The null; p counts the observed one as a draw, so it is never below 1 / (draws + 1). Draws that differ by
        rounding alone are ties. What is NaN is no draw; beside nothing, or of an observed NaN, all is NaN.

    Raises:
        DataError: No draws, or what is no number.

    Source:
        Phipson and Smyth 2010, Permutation p-values should never be zero.

    Examples:
        >>> hm.stats.null_of_draws(0.9, [0.1, 0.2, 0.3]).p
        0.25
    """
    observed, values = number(observed, "observed"), numbers(draws, 1, name="draws")
    values = values[~np.isnan(values)]
    if math.isnan(observed) or not len(values):
        return Null(float(observed), *[math.nan] * 5)
    low, high = np.quantile(values, (0.025, 0.975))
    tied = np.isclose(values, observed, rtol=ROUNDING, atol=ROUNDING)
    percentile = float(((values < observed) & ~tied).mean() + tied.mean() / 2)
    p = (1 + int(((values > observed) | tied).sum())) / (1 + len(values))
    return Null(float(observed), float(values.mean()), float(low), float(high), percentile, p)


def shared_by_layers(heads: int, first: Sequence[int], second: Sequence[int], shared: int) -> Null:
    """How many heads two sets share, beside random sets with as many heads in each layer: exact, without draws.

    Retrieval heads stand in few layers, so sets that agree on layers alone share many heads. In each layer the number
    is hypergeometric; the sum's distribution is their convolution.

    Args:
        heads: Query heads of a layer.
        first: How many the first set has in each layer.
        second: The same of the second set.
        shared: How many they share.

    Returns:
        The number shared beside its layer-matched null.

    Raises:
        DataError: Sets of two depths, a number of heads that a layer cannot have, or more shared than can be.

    Source:
        Fisher's exact test, stratified by layer.

    Examples:
        >>> hm.stats.shared_by_layers(8, first=[0, 2], second=[1, 4], shared=2).mean  # 2 x 4 / 8
        1.0
    """
    from scipy import stats as scipy_stats  # half a second, for those who ask

    heads = count(heads, "heads", most=math.inf)
    first, second = (whole(side, heads) for side in (first, second))
    if len(first) != len(second):
        raise DataError(f"expected two sets over as many layers, found {len(first)} and {len(second)}")
    most = sum(map(min, first, second))
    if not 0 <= count(shared, "shared", 0, math.inf) <= most:
        raise DataError(f"such sets share 0 to {most} heads, found {shared}")
    chances = np.ones(1)
    for a, b in zip(first, second, strict=True):
        chances = np.convolve(chances, scipy_stats.hypergeom.pmf(np.arange(min(a, b) + 1), heads, a, b))
    shares, below = np.arange(len(chances)), np.cumsum(chances)
    low, high = (int(np.searchsorted(below, share)) for share in (0.025, 0.975))
    percentile, p = float(chances[:shared].sum() + chances[shared] / 2), float(chances[shared:].sum())
    mean = round(float(shares @ chances), 12)
    return Null(float(shared), mean, float(low), float(min(high, len(chances) - 1)), min(1.0, percentile), min(1.0, p))


def whole(side: Any, heads: int) -> list[int]:
    """How many heads a set has in each layer. Raises DataError where a layer cannot have so many."""
    found = numbers(side, 1, name="a set's heads by layer", some=False).tolist()
    if wrong := [one for one in found if not 0 <= one <= heads or one % 1]:
        raise DataError(f"expected 0 to {heads} of a layer's {heads} heads, found {wrong[0]:g}")
    return list(map(int, found))


def hoyer(values: Float[ndarray, "*grid"]) -> float:
    """Hoyer's sparsity index of a map: 0 where all heads score alike, 1 where one has all.

    Args:
        values: Scores of any shape; NaN is left out, and of scores below 0 the size counts.

    Returns:
        (sqrt(N) - |x|_1 / |x|_2) / (sqrt(N) - 1); NaN where nothing, or nothing but zeros, is there.

    Raises:
        DataError: What is no array of numbers.

    Source:
        Hoyer 2004, Non-negative matrix factorization with sparseness constraints.

    Examples:
        >>> hm.stats.hoyer(np.array([1.0, 0.0, 0.0, 0.0])), hm.stats.hoyer(np.ones(4))
        (1.0, 0.0)
    """
    values = numbers(values, some=False)
    kept = np.abs(values[np.isfinite(values)])
    norm = float(np.linalg.norm(kept))
    if len(kept) < 2 or norm == 0:
        return math.nan
    root = math.sqrt(len(kept))
    return float(np.clip((root - kept.sum() / norm) / (root - 1), 0, 1))
