"""Pure statistics: intervals, rank correlation, reliability. No torch, no files."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats as scipy_stats

Number = int | float  # rows come from JSON, where 1.0 may be written 1


class Interval(NamedTuple):
    """A mean with its confidence bounds.

    Attributes:
        mean: The mean.
        low: The lower bound.
        high: The upper bound.

    Examples:
        >>> hm.stats.Interval(0.5, 0.4, 0.6).high
        0.6
    """

    mean: Number
    low: Number = math.nan
    high: Number = math.nan

    @classmethod
    def of(cls, row: Mapping[str, Any], name: str = "score") -> "Interval | None":
        """Columns `name`, `name`_low and `name`_high of a row; None where the mean is null or not finite."""
        mean, low, high = (known(row.get(column)) for column in (name, f"{name}_low", f"{name}_high"))
        return None if math.isnan(mean) else cls(mean, low, high)

    @classmethod
    def spread(cls, values: Sequence[Number]) -> "Interval":
        """The mean of several draws with the smallest and the largest."""
        return cls(sum(values) / len(values), min(values), max(values))

    def minus(self, other: "Interval") -> "Interval":
        """The difference with an interval from the two intervals (MOVER: Zou and Donner 2008).

        It takes the two as independent. Scores of the same questions rise and fall together, which makes it too wide
        rather than too narrow.
        """
        difference = self.mean - other.mean
        down = math.hypot(self.mean - self.low, other.high - other.mean)
        up = math.hypot(self.high - self.mean, other.mean - other.low)
        return Interval(difference, difference - down, difference + up)


def known(value: Number | None) -> float:
    """The value, NaN where it is null or not finite.

    Args:
        value: A number of a row, or null.

    Returns:
        The number, or NaN.

    Examples:
        >>> hm.stats.known(0.5), hm.stats.known(None)
        (0.5, nan)
    """
    return float(value) if value is not None and math.isfinite(value) else math.nan


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


def bootstrap_mean(
    values: Float[ndarray, "n"], confidence: float = 0.95, draws: int = 2_000, seed: int = 0
) -> Interval:
    """Mean of `values` with a percentile bootstrap interval over them.

    Args:
        values: One number per example [n].
        confidence: Share of draws inside the bounds, 0 to 1.
        draws: Samples drawn with replacement.
        seed: Of the draws.

    Returns:
        The mean and its bounds.

    Raises:
        ValueError: No values.

    Source:
        Efron 1979, Bootstrap methods.

    Examples:
        >>> hm.stats.bootstrap_mean(np.array([1.0, 1.0, 1.0]))
        Interval(mean=1.0, low=1.0, high=1.0)
    """
    if len(values) == 0:
        raise ValueError("an interval needs at least one value, found none")
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(values.mean()), float(low), float(high))


def bootstrap_grid(
    values: Float[ndarray, "n layer head"], confidence: float = 0.95, draws: int = 500, seed: int = 0
) -> tuple[Float[ndarray, "layer head"], Float[ndarray, "layer head"]]:
    """Bounds of the mean over n of every (layer, head), by the percentile bootstrap. Means leave NaN out.

    Args:
        values: Scores [n, layer, head].
        confidence: Share of draws inside the bounds, 0 to 1.
        draws: Samples drawn with replacement.
        seed: Of the draws.

    Returns:
        Lower and upper bounds, each [layer, head]; NaN where no value is.

    Source:
        Efron 1979, Bootstrap methods.

    Examples:
        >>> low, high = hm.stats.bootstrap_grid(np.ones((3, 2, 4)))
        >>> low.shape, float(high.max())
        ((2, 4), 1.0)
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=draws)
    bounds, missing = [(1 - confidence) / 2, (1 + confidence) / 2], np.isnan(values)
    means = np.tensordot(counts / len(values), np.where(missing, 0, values), axes=1)
    if not missing.any():
        low, high = np.quantile(means, bounds, axis=0)
        return low, high
    present = np.tensordot(counts / len(values), ~missing, axes=1)
    means = np.divide(means, present, out=np.full_like(means, np.nan), where=present > 0)
    empty = missing.all(axis=0)
    means[:, empty] = 0  # nanquantile warns of columns without a number
    low, high = np.where(empty, np.nan, np.nanquantile(means, bounds, axis=0))
    return low, high


def spearman(first: Float[ndarray, "n"], second: Float[ndarray, "n"], seed: int = 0) -> Correlation:
    """Spearman's rho with a permutation p-value: all orders up to n = 8, 10,000 random ones beyond.

    Args:
        first: Numbers [n].
        second: As many others, paired.
        seed: Of the random orders.

    Returns:
        rho, two-sided p, and n. A constant side, or fewer than two pairs, has no ranks to correlate, and rho and p are
        NaN.

    Source:
        Spearman 1904.

    Examples:
        >>> hm.stats.spearman(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 9.0])).rho
        1.0
    """
    n = len(first)
    if n < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Correlation(float("nan"), float("nan"), n)
    ranks = scipy_stats.rankdata(first), scipy_stats.rankdata(second)

    def rho(permuted: ndarray) -> float:
        return float(np.corrcoef(permuted, ranks[1])[0, 1])

    result = scipy_stats.permutation_test(
        (ranks[0],), rho, permutation_type="pairings", n_resamples=10_000 if n > 8 else math.factorial(n), rng=seed
    )
    return Correlation(float(result.statistic), float(result.pvalue), n)


def split_half(values: Float[ndarray, "n layer head"], draws: int = 50, seed: int = 0) -> float:
    """Reliability of a head map: mean correlation of two random halves' means, stepped up by Spearman-Brown.

    Args:
        values: Scores [n, layer, head].
        draws: Random halves.
        seed: Of the halves.

    Returns:
        The reliability, at most 1; NaN where a half is constant.

    Source:
        Spearman 1910; Brown 1910.

    Examples:
        >>> round(hm.stats.split_half(np.tile(np.arange(8.0).reshape(1, 2, 4), (4, 1, 1))), 6)
        1.0
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        order = rng.permutation(len(values))
        halves = [values[order[i::2]].mean(axis=0).ravel() for i in (0, 1)]
        if any(np.ptp(half) == 0 for half in halves):
            return float("nan")
        correlation = np.corrcoef(halves[0], halves[1])[0, 1]
        found.append(2 * correlation / (1 + correlation))
    return float(np.mean(found))
