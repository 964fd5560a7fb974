"""What a caller gave, checked once at the border: numbers of some shape, a share, a count. Errors name it."""

import math
import operator
from typing import Any

import numpy as np
from numpy import ndarray

from haymaker.errors import ConfigError, DataError

MOST_DRAWS = 100_000  # of a bootstrap or a permutation test: ten times what any needs, and what memory holds


def numbers(values: Any, *axes: int, name: str = "values", some: bool = True) -> ndarray:
    """`values` as an array of float64 with one of these numbers of axes, or with any if none is said.

    Raises DataError for what is not numbers, has other axes, or is empty although `some` are needed.
    """
    try:
        found = np.asarray(values)
        if found.dtype.kind not in "biufO":
            raise TypeError(f"found {found.dtype}")
        found = found.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: expected an array of numbers ({error})") from None
    if axes and found.ndim not in axes:
        raise DataError(f"{name}: expected {' or '.join(map(str, axes))} axes, found the shape {found.shape}")
    if some and found.size == 0:
        raise DataError(f"{name}: expected at least one value, found none")
    return found


def number(value: Any, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A number from low to high, NaN among them. Raises DataError for anything else."""
    if not isinstance(value, int | float | np.number) or not (low <= value <= high or value != value):
        raise DataError(f"{name}: expected a number of {low:g} to {high:g}, found {value!r:.40}")
    return float(value)


def share(value: Any, name: str = "confidence") -> float:
    """A share between 0 and 1, both left out. Raises ConfigError for anything else."""
    if not isinstance(value, int | float | np.number) or not 0 < value < 1:
        raise ConfigError(f"{name}: expected a share between 0 and 1, as 0.95, found {value!r:.40}")
    return float(value)


def count(value: Any, name: str = "draws", least: int = 1, most: float = MOST_DRAWS) -> int:
    """A whole number. Raises ConfigError for anything else."""
    try:
        found = operator.index(value)
    except TypeError:
        found = least - 1
    if not least <= found <= most or isinstance(value, bool):
        raise ConfigError(f"{name}: expected a whole number of {least:,} to {most:,}, found {value!r:.40}")
    return found


def generator(seed: Any) -> np.random.Generator:
    """Draws of a seed."""
    return np.random.default_rng(count(seed, "seed", 0, math.inf))


def ends(reach: Any) -> tuple[float, float] | None:
    """The smallest and the largest value that there can be. Raises ConfigError for what is not two such numbers."""
    if reach is None:
        return None
    try:
        low, high = map(float, reach)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ConfigError(f"reach: expected the smallest and the largest value, as (0, 1), found {reach!r:.40}")
    return low, high
