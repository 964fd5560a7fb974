"""Rank correlation with exact permutations, and how stable a ranking of heads is over draws of examples."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.errors import DataError
from haymaker.stats.borders import count, generator, number, numbers, share
from haymaker.stats.intervals import ROUNDING, Interval

LAST_DIGITS = 13  # decimals of a number beside the largest: sums are off by some 1e-15 of it
EXACT = 8  # pairs up to which all orders are tried, 8! = 40,320


class Correlation(NamedTuple):
    """Spearman's rank correlation, its two-sided permutation p-value, and the number of pairs.

    Attributes:
        rho: The correlation, -1 to 1.
        p: The p-value.
        n: Pairs.

    Examples:
        >>> hm.stats.Correlation(rho=0.9, p=0.08, n=5).n
        5
    """

    rho: float
    p: float
    n: int


def spearman(first: Float[ndarray, "n"], second: Float[ndarray, "n"], seed: int = 0) -> Correlation:
    """Spearman's rho with a permutation p-value: all orders up to n = 8, 10,000 random ones beyond.

    Args:
        first: Numbers [n].
        second: As many others, paired.
        seed: Of the random orders.

    Returns:
        rho, two-sided p (twice the smaller tail, at most 1), and n. A constant side, NaN on a side, or fewer than two
        pairs have no ranks to correlate, and rho and p are NaN.

    Raises:
        DataError: What is not as many numbers on both sides.
        ConfigError: A seed that is none.

    Source:
        Spearman 1904.

    Examples:
        >>> hm.stats.spearman(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0])).rho
        1.0
    """
    from scipy import stats as scipy_stats  # half a second, for those who ask

    first, second = pair_of(first, second)
    n, first, second = len(first), rounded(first), rounded(second)
    if not rankable(first, second):
        return Correlation(math.nan, math.nan, n)
    ranks, rng = (scipy_stats.rankdata(first), scipy_stats.rankdata(second)), generator(seed)

    def rho(permuted: ndarray) -> float:
        return float(np.corrcoef(permuted, ranks[1])[0, 1])

    result = scipy_stats.permutation_test(
        (ranks[0],),
        rho,
        permutation_type="pairings",
        n_resamples=10_000 if n > EXACT else math.factorial(n),
        rng=rng,
    )
    return Correlation(float(result.statistic), float(result.pvalue), n)


def pair_of(first: Any, second: Any) -> tuple[ndarray, ndarray]:
    """Two arrays of as many numbers. Raises DataError for anything else."""
    one, other = (numbers(side, 1, name=name, some=False) for side, name in ((first, "first"), (second, "second")))
    if len(one) != len(other):
        raise DataError(f"expected as many numbers on both sides, found {len(one)} and {len(other)}")
    return one, other


def pairs_in(groups: Any) -> list[Any]:
    """Groups of two sides. Raises DataError for anything else."""
    try:
        return [(first, second) for first, second in groups]
    except (TypeError, ValueError):
        raise DataError(f"expected a pair of arrays per group, found {groups!r:.40}") from None


def rounded(values: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """As shares of the largest, without the last digits: means of the same numbers in another order share a rank."""
    largest = np.abs(values).max(initial=0)
    return np.round(values / largest, LAST_DIGITS) if 0 < largest < math.inf else values


def rankable(first: Float[ndarray, "n"], second: Float[ndarray, "n"]) -> bool:
    """Whether two sides have ranks to correlate."""
    sides = np.stack((first, second))
    return len(first) > 1 and not np.isnan(sides).any() and all(np.unique(side).size > 1 for side in sides)


def split_half(values: Float[ndarray, "n layer head"], draws: int = 50, seed: int = 0) -> float:
    """Reliability of a head map: mean correlation of two random halves' means, stepped up by Spearman-Brown.

    Args:
        values: Scores [n, layer, head].
        draws: Random halves.
        seed: Of the halves.

    Returns:
        The reliability, at most 1; NaN where a half is constant, and of fewer than two examples.

    Raises:
        DataError: What is no array of numbers of that shape.
        ConfigError: Draws or a seed that are none.

    Source:
        Spearman 1910; Brown 1910.

    Examples:
        >>> round(hm.stats.split_half(np.tile(np.arange(8.0).reshape(1, 2, 4), (4, 1, 1))), 6)
        1.0
    """
    values, draws, rng = numbers(values, 3, some=False), count(draws), generator(seed)
    if len(values) < 2 or values.size == 0:
        return math.nan
    found = []
    for _ in range(draws):
        order = rng.permutation(len(values))
        halves = [values[order[i::2]].mean(axis=0, dtype=np.float64).ravel() for i in (0, 1)]
        if any(np.ptp(half) == 0 for half in halves):
            return float("nan")
        found.append(np.corrcoef(halves[0], halves[1])[0, 1])
    correlation = float(np.mean(found))  # stepped up once: near -1 each single step would run to minus infinity
    return 2 * correlation / (1 + correlation) if correlation > 0 else correlation


def spearman_within(groups: Sequence[tuple[ndarray, ndarray]], draws: int = 10_000, seed: int = 0) -> Correlation:
    """Spearman's rho within groups, pooled: ranks are taken, and permuted, inside each group alone.

    So a group with higher values throughout (an easier task, a better model) makes no correlation.

    Args:
        groups: Pairs of numbers, first and second, a pair of arrays per group; those of fewer than two pairs, with a
            constant side, or with NaN are left out.
        draws: Random orders.
        seed: Of them.

    Returns:
        The groups' mean rho weighted by n - 1, its two-sided p-value, and the pairs counted.

    Raises:
        DataError: What is no pair of arrays, or not as many numbers on both sides.
        ConfigError: Draws or a seed that are none.

    Source:
        Stratified permutation: Good 2005, section 3.7.

    Examples:
        >>> first, second = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0])
        >>> round(hm.stats.spearman_within([(first, second), (first, second + 100)]).rho, 6)
        1.0
    """
    from scipy import stats as scipy_stats  # half a second, for those who ask

    draws, rng = count(draws), generator(seed)
    pairs = [pair_of(*group) for group in pairs_in(groups)]
    kept = [pair for pair in ((rounded(a), rounded(b)) for a, b in pairs) if rankable(*pair)]
    n = sum(len(first) for first, _ in kept)
    if not kept:
        return Correlation(math.nan, math.nan, n)
    ranked = [tuple(standard(scipy_stats.rankdata(side)) for side in pair) for pair in kept]
    weights = np.array([len(first) - 1 for first, _ in kept]) / (n - len(kept))
    observed = sum(w * float(a @ b) for w, (a, b) in zip(weights, ranked, strict=True))
    null = np.zeros(draws)
    for weight, (a, b) in zip(weights, ranked, strict=True):
        null += weight * (rng.permuted(np.tile(a, (draws, 1)), axis=1) @ b)
    reached = int((np.abs(null) >= abs(observed) - 1e-12).sum())
    return Correlation(float(np.clip(observed, -1, 1)), (1 + reached) / (1 + draws), n)


def standard(values: Float[ndarray, "n"]) -> Float[ndarray, "n"]:
    """Centred, of length 1: the product of two such vectors is their correlation."""
    centred = values - values.mean()
    return centred / np.linalg.norm(centred)


def spearman_interval(rho: float, n: int, confidence: float = 0.95) -> Interval:
    """Bounds of a rank correlation, by Fisher's z with the variance of ranks; without bounds below four pairs.

    A perfect order has no z. It is taken for half a step less, 6 / (n^3 - n): an exchange of neighbours costs a step.

    Args:
        rho: The correlation, -1 to 1.
        n: Pairs.
        confidence: Share of studies whose bounds hold the true value, 0 to 1.

    Returns:
        rho and its bounds; they are rough where n is below 10.

    Raises:
        DataError: A rho beyond -1 to 1.
        ConfigError: An n or a confidence that is none.

    Source:
        Bonett and Wright 2000, formula 3.

    Examples:
        >>> hm.stats.spearman_interval(0.5, 28).low > 0
        True
    """
    from scipy import stats as scipy_stats  # half a second, for those who ask

    rho, n, confidence = number(rho, "rho", -1, 1), count(n, "n", 0, math.inf), share(confidence)
    if math.isnan(rho) or n < 4:
        return Interval(rho)
    width = scipy_stats.norm.ppf((1 + confidence) / 2) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    most = 1 - 6 / (n**3 - n)
    middle = math.atanh(max(-most, min(most, rho)))
    return Interval(rho, min(rho, math.tanh(middle - width)), max(rho, math.tanh(middle + width)))


def top_stability(values: Float[ndarray, "n layer head"], k: int, draws: int = 50, seed: int = 0) -> Interval:
    """Share of the top k heads that two random halves of the examples have in common.

    Args:
        values: Scores [n, layer, head]; NaN is no score.
        k: Top heads compared.
        draws: Random halves.
        seed: Of the halves.

    Returns:
        The mean share over the halves, with the bounds that hold 95 % of them. Of equal scores at the end of the top k
        lots decide, so a map without any order has what lots share, k / heads. NaN of fewer than two examples.

    Raises:
        DataError: No scores of that shape.
        ConfigError: A k that is no number of heads; draws or a seed that are none.

    Examples:
        >>> hm.stats.top_stability(np.tile(np.arange(8.0).reshape(1, 2, 4), (4, 1, 1)), k=3)
        Interval(mean=1.0, low=1.0, high=1.0)
    """
    values, draws, rng = numbers(values, 3, some=False), count(draws), generator(seed)
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    k = count(k, "k (heads)", 1, flat.shape[1])
    if len(flat) < 2:
        return Interval(math.nan)
    shares = []
    for _ in range(draws):
        order = rng.permutation(len(flat))
        first, second = (chances_of_top(flat[order[i::2]], k) for i in (0, 1))
        shares.append(float(first @ second) / k)
    low, high = np.quantile(shares, (0.025, 0.975))
    return Interval(float(np.mean(shares)), float(low), float(high))


def chances_of_top(values: Float[ndarray, "n head"], k: int) -> Float[ndarray, " head"]:
    """The chance of every head to be among the k with the highest means, NaN left out; equal ones by lot."""
    counts = (~np.isnan(values)).sum(axis=0)
    means = np.where(counts > 0, np.nansum(values, axis=0, dtype=np.float64) / np.maximum(counts, 1), -np.inf)
    last = np.sort(means)[-k]
    tied = np.isclose(means, last, rtol=ROUNDING, atol=ROUNDING)
    above = (means > last) & ~tied
    return above + tied * (k - above.sum()) / tied.sum()
