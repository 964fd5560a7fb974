"""A mean and its bounds: over examples, over examples and seeds, and of every head of a map."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean, stdev
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.stats.borders import count, ends, generator, numbers, share

Number = int | float  # rows come from JSON, where 1.0 may be written 1
Reach = tuple[Number, Number]  # of a score, or of a difference of two: the smallest and the largest there can be
SCORES: Reach = (0, 1)
DIFFERENCES: Reach = (-1, 1)
PICKS_AT_ONCE = 2**20  # of a bootstrap: 16 MiB
ROUNDING = 1e-9  # what is apart by no more is equal: sums of the same numbers in another order
FEW = 5  # values of another kind, fewer than a bootstrap needs
SMALL = 4 * FEW  # values in all: of fewer a bootstrap is too narrow, whatever they are


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
        reach: The smallest and the largest value that there can be, (0, 1) of a score. Of fewer than 20 values, and
            where fewer than five differ from the rest, bounds are Wilson's: of 0 of n, 1 of n and so on.

    Returns:
        The mean and its bounds; of a single value no bounds.

    Raises:
        DataError: No values, or what is no array of numbers of that shape.
        ConfigError: A confidence, draws, a seed or a reach that is none.

    Source:
        Efron 1979, Bootstrap methods.

    Examples:
        >>> hm.stats.bootstrap_mean(np.array([1.0, 1.0, 1.0]))
        Interval(mean=1.0, low=1.0, high=1.0)
        >>> round(hm.stats.bootstrap_mean(np.zeros(150), reach=(0, 1)).high, 3)  # 3.84 / (150 + 3.84)
        0.025
        >>> one = hm.stats.bootstrap_mean(np.eye(100)[0], reach=(0, 1))  # 1 of 100, by Wilson
        >>> round(one.low, 4), round(one.high, 4)
        (0.0018, 0.0545)
    """
    values, draws, reach = numbers(values, 1), count(draws), ends(reach)
    low, high = np.quantile(drawn_means(values, draws, seed), bounds_of(confidence))
    found = Interval(float(values.mean()), float(low), float(high))
    return by_counts(found, values[None], confidence, reach) or found


def drawn_means(values: Float[ndarray, "n"], draws: int, seed: int) -> Float[ndarray, "draw"]:
    """Means of samples drawn with replacement, some at a time: all at once are 16 bytes a draw and value."""
    rng, n, means = generator(seed), len(values), np.empty(draws)
    some = max(1, PICKS_AT_ONCE // n)
    for first in range(0, draws, some):
        picks = rng.integers(n, size=(min(some, draws - first), n))
        means[first : first + some] = values[picks].mean(axis=1)
    return means


def by_counts(
    found: Interval, values: Float[ndarray, "seed n"], confidence: float = 0.95, reach: Reach | None = None
) -> Interval | None:
    """Bounds of few values, or of values that are nearly all the same, of which samples know too little; else None.

    The bootstrap takes what it has not seen for impossible: 0 of n would be 0 for certain, and 1 of n never more than
    a few. Here the values away from the median, up and down, are shares of the way to the reach's ends, each with
    Wilson's bounds; of scores of 0 and 1 that is Wilson's interval itself. A single value has none.
    """
    n = values.shape[1]
    if n < 2:
        return Interval(found.mean)
    if reach is None:
        return None
    middle = float(np.quantile(values, 0.5, method="lower"))
    away = np.where(abs(values - middle) < 1e-9, 0.0, values - middle)
    if n >= SMALL and int(away.any(axis=0).sum()) >= FEW:
        return None
    low_end, high_end = reach
    up = wilson(share_of(away.clip(min=0), high_end - middle), n, confidence)
    down = wilson(share_of(-away.clip(max=0), middle - low_end), n, confidence)
    low = middle + (high_end - middle) * up.low - (middle - low_end) * down.high
    high = middle + (high_end - middle) * up.high - (middle - low_end) * down.low
    return Interval(found.mean, min(low, found.mean), max(high, found.mean))


def share_of(distances: Float[ndarray, "seed n"], whole: Number) -> float:
    """The mean distance as a share of the whole one, at most 1; none of none."""
    return min(float(distances.mean()) / whole, 1.0) if whole > 0 else 0.0


def wilson(share: Number, n: int, confidence: float = 0.95) -> Interval:
    """A share of n with the bounds of Wilson 1927, which are right also near 0 and 1."""
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    middle, half = share + square / (2 * n), math.sqrt(square * (share * (1 - share) / n + square / (4 * n**2)))
    scale = 1 + square / n
    low, high = (middle - half) / scale, (middle + half) / scale
    return Interval(share, low if share > 0 else 0.0, high if share < 1 else 1.0)


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

    Raises:
        DataError: No values, or what is no array of numbers of that shape.
        ConfigError: A confidence, draws or a seed that is none.

    Source:
        Efron 1979, Bootstrap methods.

    Examples:
        >>> low, high = hm.stats.bootstrap_grid(np.ones((3, 2, 4)))
        >>> low.shape, float(high.max())
        ((2, 4), 1.0)
    """
    values = numbers(values, 3)
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
        DataError: No values, or what is no array of numbers of that shape.
        ConfigError: A confidence, draws, a seed or a reach that is none.

    Examples:
        >>> hm.stats.resampled_means(np.ones((3, 2, 4)), draws=5).shape
        (5, 2, 4)
    """
    values, draws, rng = numbers(np.atleast_1d(values)), count(draws), generator(seed)
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

    Where all seeds answer the same examples a row and a column move together, so cells are not independent. Samples of
    a few seeds hold too little of what seeds spread, so bounds are stretched, or drawn in, to the width of Student's t.
    Of one seed it is `bootstrap_mean`, which says nothing about other seeds.

    Args:
        values: A number per seed and example [seed, n].
        confidence: Share of draws inside the bounds, 0 to 1.
        draws: Samples.
        seed: Of the draws.
        reach: As of `bootstrap_mean`.

    Returns:
        The mean and its bounds; of a single example no bounds.

    Raises:
        DataError: No values, or what is no array of numbers of that shape.
        ConfigError: A confidence, draws, a seed or a reach that is none.

    Source:
        Owen 2007, The pigeonhole bootstrap; Satterthwaite 1946, degrees of freedom of a sum of variances.

    Examples:
        >>> hm.stats.bootstrap_crossed(np.array([[0.5, 0.5], [0.5, 0.5]]))
        Interval(mean=0.5, low=0.5, high=0.5)
    """
    values, draws, reach = numbers(values, 2), count(draws), ends(reach)
    rng, (seeds, n) = generator(seed), values.shape
    columns = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws) / seeds
    means = ((rows @ values) * columns).sum(axis=1)
    low, high = np.quantile(means, bounds_of(confidence))
    found = as_wide_as_t(Interval(float(values.mean()), float(low), float(high)), means, values, confidence, reach)
    counted = by_counts(found, values, confidence, reach)
    if counted is None:
        return found
    if seeds == 1 or math.isnan(counted.low):
        return counted
    return Interval(found.mean, min(found.low, counted.low), max(found.high, counted.high))  # seeds differ as well


def as_wide_as_t(
    found: Interval, means: ndarray, values: Float[ndarray, "seed n"], confidence: float, reach: Reach | None
) -> Interval:
    """Bounds of a crossed bootstrap, made as wide as Student's t in proportion; as they are where there is one seed."""
    error, freedom = crossed_error(values)
    if not error > 0 or not means.std() > 0:
        return found
    from scipy import stats as scipy_stats  # half a second, for those who ask

    scale = float(scipy_stats.t.ppf((1 + confidence) / 2, freedom)) * error
    scale /= NormalDist().inv_cdf((1 + confidence) / 2) * float(means.std())
    low, high = reach or (-math.inf, math.inf)
    down, up = max(found.mean - found.low, 0.0) * scale, max(found.high - found.mean, 0.0) * scale
    return Interval(found.mean, max(found.mean - down, low), min(found.mean + up, high))


def crossed_error(values: Float[ndarray, "seed n"]) -> tuple[float, float]:
    """The standard error of a mean over seeds and examples that are both drawn, and its degrees of freedom.

    Mean squares of seeds, examples and what is left; never less than examples alone leave open. NaN of one of either.
    """
    seeds, n = values.shape
    if seeds < 2 or n < 2:
        return math.nan, math.nan
    by_seed, by_example = values.mean(axis=1), values.mean(axis=0)
    left = values - by_seed[:, None] - by_example + values.mean()
    squares = np.array([n * by_seed.var(ddof=1), seeds * by_example.var(ddof=1), 0.0])
    squares[2] = (left**2).sum() / ((seeds - 1) * (n - 1))
    total = max(squares[0] + squares[1] - squares[2], squares[1])
    freedom = np.array([seeds - 1, n - 1, (seeds - 1) * (n - 1)])
    if not total > 0:
        return 0.0, math.nan
    return math.sqrt(total / (seeds * n)), float(total**2 / (squares**2 / freedom).sum())


def over_seeds(runs: Sequence[Interval]) -> Interval:
    """The mean of several seeds' effects. Its bounds add what examples and what seeds leave open (Student's t).

    Seeds share their examples, so these do not average out. One seed says nothing about others.
    """
    kept = [run for run in runs if not math.isnan(run.mean)]
    if len(kept) < 2:
        return kept[0] if kept else Interval(math.nan)
    from scipy import stats as scipy_stats  # half a second, for those who ask

    mean, error = fmean(run.mean for run in kept), stdev(run.mean for run in kept) / math.sqrt(len(kept))
    between = float(scipy_stats.t.ppf(0.975, len(kept) - 1)) * error
    down, up = fmean(run.mean - run.low for run in kept), fmean(run.high - run.mean for run in kept)
    return Interval(mean, mean - math.hypot(down, between), mean + math.hypot(up, between))


def as_share(found: Interval) -> Interval:
    """Its bounds as those of a share, which lies between 0 and 1."""
    return Interval(found.mean, max(found.low, 0.0), min(found.high, 1.0))


def bounds_of(confidence: float) -> tuple[float, float]:
    """The two quantiles between which that share of draws lies."""
    confidence = share(confidence)
    return (1 - confidence) / 2, (1 + confidence) / 2
