"""Two settings answered the same questions: is one better, by how much, and could a smaller difference be seen?"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.errors import DataError
from haymaker.stats.borders import count, generator, number, numbers, share
from haymaker.stats.intervals import Interval, Number, Reach, bootstrap_crossed, crossed_error, wilson

EXACT_FLIPS = 16  # differences up to which every pattern of signs is tried, 2^16 = 65,536
FLIPS_AT_ONCE = 1_000


class Paired(NamedTuple):
    """A paired difference, its two-sided p-value, and the examples.

    Attributes:
        difference: Mean of first minus second, with its bounds.
        p: The p-value.
        n: Examples.

    Examples:
        >>> hm.stats.Paired(hm.stats.Interval(0.1, 0.0, 0.2), 0.04, 200).n
        200
    """

    difference: Interval
    p: float
    n: int


def paired(
    first: Float[ndarray, "..."], second: Float[ndarray, "..."], seed: int = 0, *, reach: Reach | None = None
) -> Paired:
    """First minus second on the same examples: bootstrap bounds, and a sign-flip test without any distribution.

    Args:
        first: A score per example [n], or per training seed and example [seed, n].
        second: As many others, paired.
        seed: Of the draws.
        reach: The smallest and the largest difference that there can be, as of `bootstrap_mean`.

    Returns:
        The difference with bounds over examples, and over seeds where there are several; the p-value of the examples'
        mean differences (exact up to 16 that are not 0, of 10,000 random signs beyond; NaN where a score is), and of
        several seeds that of Student's t over seeds and examples where it is the larger; and n.

    Raises:
        DataError: Two shapes, no example, or what is no array of numbers.
        ConfigError: A seed or a reach that is none.

    Source:
        Fisher 1935; Dror et al. 2018, The hitchhiker's guide to testing statistical significance in NLP.

    Examples:
        >>> hm.stats.paired(np.array([1.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0])).p  # 2 of 2^3 patterns of signs
        0.25
    """
    first, second = numbers(first, 1, 2, name="first"), numbers(second, 1, 2, name="second")
    if first.shape != second.shape:
        raise DataError(f"expected two arrays of one shape with examples, found {first.shape} and {second.shape}")
    change = np.atleast_2d(first - second)
    p = max(sign_flip(change.mean(axis=0), seed=seed), by_students_t(change))
    return Paired(bootstrap_crossed(change, seed=seed, reach=reach), p, change.shape[1])


def by_students_t(change: Float[ndarray, "seed n"]) -> float:
    """The two-sided p-value of a mean over seeds and examples; 0 where there is no error to hold it against."""
    error, freedom = crossed_error(change)
    if not error > 0:
        return 0.0
    from scipy import stats as scipy_stats  # half a second, for those who ask

    return float(2 * scipy_stats.t.sf(abs(change.mean()) / error, freedom))


def sign_flip(differences: Float[ndarray, "n"], draws: int = 10_000, seed: int = 0) -> float:
    """How often random signs make a sum as far from 0 as the differences' own: a two-sided p-value.

    Args:
        differences: Of paired scores [n].
        draws: Random patterns of signs, where there are too many for all.
        seed: Of them.

    Returns:
        The p-value; 1 where no difference is other than 0, NaN where one is not finite: that is no test.

    Raises:
        DataError: No difference, or what is no array of numbers.
        ConfigError: Draws or a seed that are none.

    Examples:
        >>> hm.stats.sign_flip(np.array([1.0, 1.0, 1.0, 1.0]))  # 2 of 2^4
        0.125
    """
    differences, draws = numbers(differences, 1, name="differences"), count(draws)
    if not np.isfinite(differences).all():
        return math.nan
    kept = differences[differences != 0]
    if len(kept) == 0:
        return 1.0
    limit = abs(kept.sum()) - 1e-12 * np.abs(kept).sum()
    if len(kept) <= EXACT_FLIPS:
        bits = np.arange(2 ** len(kept))[:, None] >> np.arange(len(kept)) & 1
        return float((np.abs((2 * bits - 1) @ kept) >= limit).mean())
    rng, reached = generator(seed), 0
    for start in range(0, draws, FLIPS_AT_ONCE):
        signs = 2 * rng.integers(2, size=(min(FLIPS_AT_ONCE, draws - start), len(kept)), dtype=np.int8) - 1
        reached += int((np.abs(signs @ kept) >= limit).sum())
    return (1 + reached) / (1 + draws)


def holm(ps: Sequence[Number]) -> list[float]:
    """p-values of several tests, corrected so that the chance of any false one is bounded (Holm 1979).

    Args:
        ps: p-values; NaN is no test and stays NaN.

    Returns:
        The corrected ones in the same order, at most 1.

    Raises:
        DataError: A p-value beyond 0 to 1.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure.

    Examples:
        >>> hm.stats.holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    ps = numbers(ps, 1, name="ps", some=False).tolist()
    if wrong := [p for p in ps if not math.isnan(p) and not 0 <= p <= 1]:
        raise DataError(f"p-values lie between 0 and 1, found {wrong[0]}")
    order = sorted((i for i, p in enumerate(ps) if not math.isnan(p)), key=lambda i: ps[i])
    found, least = [math.nan] * len(ps), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * ps[i]))
        found[i] = least
    return found


def detectable(
    spread: float, n: int, seeds: int = 1, seed_spread: float = 0.0, *, power: float = 0.8, level: float = 0.05
) -> float:
    """The smallest true difference that a paired test of n examples and some seeds finds with that power.

    Args:
        spread: Standard deviation over examples of the paired difference.
        n: Examples.
        seeds: Training runs of each setting.
        seed_spread: Standard deviation over seeds of the mean difference.
        power: Chance of finding it, 0 to 1.
        level: Chance of finding one that is not there, two-sided, 0 to 1.

    Returns:
        The difference, in the score's unit.

    Raises:
        DataError: A spread below 0.
        ConfigError: No example or seed, or a power or level that is no share.

    Source:
        Normal approximation, of several seeds Student's t with Satterthwaite's degrees of freedom; Card et al. 2020,
        With little power comes great responsibility.

    Examples:
        >>> round(hm.stats.detectable(0.5, 200), 3)  # (1.96 + 0.84) 0.5 / sqrt(200)
        0.099
    """
    n, seeds, level = count(n, "n", most=math.inf), count(seeds, "seeds", most=math.inf), share(level, "level")
    spread, seed_spread = (number(one, "a standard deviation", 0) for one in (spread, seed_spread))
    of_examples, of_seeds, sides = spread**2 / n, seed_spread**2 / seeds, (1 - level / 2, share(power, "power"))
    if seeds == 1 or not of_seeds:
        quantiles = sum(map(NormalDist().inv_cdf, sides))
    else:  # seeds are few, so what they spread is little known
        from scipy import stats as scipy_stats  # half a second, for those who ask

        freedom = (of_examples + of_seeds) ** 2 / (of_seeds**2 / (seeds - 1) + of_examples**2 / max(n - 1, 1))
        quantiles = sum(float(scipy_stats.t.ppf(side, freedom)) for side in sides)
    return float(quantiles * math.sqrt(of_examples + of_seeds))


def share_interval(found: int, n: int, confidence: float = 0.95) -> Interval:
    """A share with Wilson's bounds, which are right also near 0 and 1.

    Args:
        found: How many.
        n: Of how many.
        confidence: Share of studies whose bounds hold the true value, 0 to 1.

    Returns:
        The share and its bounds; of one alone no bounds.

    Raises:
        ConfigError: None of none, more found than there are, or a confidence that is no share.

    Source:
        Wilson 1927.

    Examples:
        >>> hm.stats.share_interval(0, 4).low
        0.0
    """
    n, confidence = count(n, "n", 1, 2**53), share(confidence)
    found = count(found, f"found of {n}", 0, n)
    return wilson(found / n, n, confidence) if n > 1 else Interval(found / n)


def pooled_effect(effects: Sequence[Interval]) -> Interval:
    """One effect from several studies' intervals, by random effects: studies may differ in truth.

    Args:
        effects: A mean and 95 % bounds of each; those without mean or bounds are left out.

    Returns:
        The weighted mean and its bounds; NaN of nothing.

    Raises:
        DataError: What is no list of three numbers each.

    Source:
        DerSimonian and Laird 1986.

    Examples:
        >>> hm.stats.pooled_effect([hm.stats.Interval(0.2, 0.1, 0.3), hm.stats.Interval(0.4, 0.3, 0.5)]).mean
        0.3
    """
    rows = numbers(effects, 1, 2, name="effects", some=False)
    if rows.size and rows.shape[1:] != (3,):
        raise DataError(f"effects: expected a mean and two bounds each, found the shape {rows.shape}")
    kept = [Interval(*row) for row in rows.tolist() if all(map(math.isfinite, row))]
    if len(kept) < 2:
        return kept[0] if kept else Interval(math.nan)
    means = np.array([one.mean for one in kept])
    variances = np.array([max((one.high - one.low) / 3.92, 1e-6) ** 2 for one in kept])
    weights = 1 / variances
    fixed = (weights @ means) / weights.sum()
    heterogeneity = weights @ (means - fixed) ** 2 - (len(kept) - 1)
    between = max(0.0, heterogeneity / (weights.sum() - (weights**2).sum() / weights.sum()))
    weights = 1 / (variances + between)
    mean, error = float((weights @ means) / weights.sum()), 1 / math.sqrt(weights.sum())
    return Interval(round(mean, 12), mean - 1.96 * error, mean + 1.96 * error)


def p_in_words(p: float) -> str:
    """A p-value with three decimals; of one that these would call 0, that it is smaller; unknown for NaN."""
    if math.isnan(p):
        return "unknown"
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
