"""A mean and its bounds: over examples, over examples and seeds, and of every head of a map."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

Number = int | float  # rows come from JSON, where 1.0 may be written 1
Reach = tuple[Number, Number]  # of a score, or of a difference of two: the smallest and the largest there can be
SCORES: Reach = (0, 1)
DIFFERENCES: Reach = (-1, 1)


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


def bootstrap_mean(
    values: Float[ndarray, "n"],
    confidence: float = 0.95,
    draws: int = 2_000,
    seed: int = 0,
    *,
    reach: Reach | None = None,
) -> Interval:
    """Mean of `values` with a percentile bootstrap interval over them.

    Args:
        values: One number per example [n].
        confidence: Share of draws inside the bounds, 0 to 1.
        draws: Samples drawn with replacement.
        seed: Of the draws.
        reach: The smallest and the largest value that there can be, (0, 1) of a score. Where all values are equal
            no sample differs; bounds are then those of what so few examples may have missed.

    Returns:
        The mean and its bounds; of a single value without a reach no bounds.

    Raises:
        ValueError: No values.

    Source:
        Efron 1979, Bootstrap methods.

    Examples:
        >>> hm.stats.bootstrap_mean(np.array([1.0, 1.0, 1.0]))
        Interval(mean=1.0, low=1.0, high=1.0)
        >>> round(hm.stats.bootstrap_mean(np.zeros(150), reach=(0, 1)).high, 3)  # 3.84 / (150 + 3.84)
        0.025
    """
    if len(values) == 0:
        raise ValueError("an interval needs at least one value, found none")
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), bounds_of(confidence))
    return at_least(Interval(float(values.mean()), float(low), float(high)), len(values), confidence, reach)


def at_least(found: Interval, n: int, confidence: float = 0.95, reach: Reach | None = None) -> Interval:
    """An interval from samples of n values, but where these cannot differ; of one value without a reach no bounds.

    Samples of equal values are equal, so a bootstrap takes what it has not seen for impossible. But values of another
    size may be as many as Wilson's bound for none seen of n, z^2 / (n + z^2), and as far off as the reach allows.
    """
    if reach is None:
        return found if n > 1 else Interval(found.mean)
    # weights of samples do not add to 1 exactly
    if not math.isclose(found.low, found.high, rel_tol=1e-9, abs_tol=1e-12):
        return found
    low, high = (found.mean + unseen(n, confidence) * (end - found.mean) for end in reach)
    return Interval(found.mean, min(found.low, low), max(found.high, high))


def unseen(n: int, confidence: float = 0.95) -> float:
    """The largest share of a kind of which n examples had none (Wilson 1927)."""
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    return square / (n + square)


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
        Lower and upper bounds, each [layer, head]; NaN where there is no value, or one alone.

    Source:
        Efron 1979, Bootstrap methods.

    Examples:
        >>> low, high = hm.stats.bootstrap_grid(np.ones((3, 2, 4)))
        >>> low.shape, float(high.max())
        ((2, 4), 1.0)
    """
    means = resampled_means(values, draws, seed)
    empty = (~np.isnan(values)).sum(axis=0) < 2
    means[:, empty] = 0  # nanquantile warns of columns without a number
    low, high = np.nanquantile(means, bounds_of(confidence), axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def resampled_means(values: Float[ndarray, "n *grid"], draws: int = 500, seed: int = 0) -> Float[ndarray, "draw *grid"]:
    """The mean over n of every cell in each of many samples drawn with replacement; means leave NaN out.

    Args:
        values: Scores [n, ...].
        draws: Samples; two calls with one n and seed draw the same examples, so their means are paired.
        seed: Of the draws.

    Returns:
        Means [draw, ...]; NaN where a sample has no value.

    Raises:
        ValueError: No values.

    Examples:
        >>> hm.stats.resampled_means(np.ones((3, 2, 4)), draws=5).shape
        (5, 2, 4)
    """
    if len(values) == 0:
        raise ValueError("samples need at least one value, found none")
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=draws) / len(values)
    missing = np.isnan(values)
    means = np.tensordot(counts, np.where(missing, 0, values), axes=1)
    if not missing.any():
        return means
    present = np.tensordot(counts, ~missing, axes=1)
    return np.divide(means, present, out=np.full_like(means, np.nan), where=present > 0)


def bootstrap_crossed(
    values: Float[ndarray, "seed n"],
    confidence: float = 0.95,
    draws: int = 2_000,
    seed: int = 0,
    *,
    reach: Reach | None = None,
) -> Interval:
    """Mean with an interval over examples and seeds at once: both are drawn with replacement, each by itself.

    Where all seeds answer the same examples a row and a column move together, so cells are not independent. Of one seed
    it is `bootstrap_mean`, which says nothing about other seeds. With few seeds it is a little too wide.

    Args:
        values: A number per seed and example [seed, n].
        confidence: Share of draws inside the bounds, 0 to 1.
        draws: Samples.
        seed: Of the draws.
        reach: As of `bootstrap_mean`.

    Returns:
        The mean and its bounds; of a single example without a reach no bounds.

    Raises:
        ValueError: No values.

    Source:
        Owen 2007, The pigeonhole bootstrap.

    Examples:
        >>> hm.stats.bootstrap_crossed(np.array([[0.5, 0.5], [0.5, 0.5]]))
        Interval(mean=0.5, low=0.5, high=0.5)
    """
    if values.size == 0:
        raise ValueError("an interval needs at least one value, found none")
    rng, (seeds, n) = np.random.default_rng(seed), values.shape
    columns = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    means = ((rows @ values) * columns).sum(axis=1)
    low, high = np.quantile(means, bounds_of(confidence))
    return at_least(Interval(float(values.mean()), float(low), float(high)), n, confidence, reach)


def bounds_of(confidence: float) -> tuple[float, float]:
    """The two quantiles between which that share of draws lies."""
    return (1 - confidence) / 2, (1 + confidence) / 2
