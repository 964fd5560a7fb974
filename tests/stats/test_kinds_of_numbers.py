"""A statistic is of numbers, not of the type that holds them: small integers wrap around, and half precision rounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from haymaker import stats

VALUES = np.random.default_rng(0).integers(-100, 100, (3, 40))
MAPS = (3, 8, 5)
OF: dict[str, Callable[[np.ndarray], Any]] = {
    "bootstrap_mean": lambda values: stats.bootstrap_mean(values[0]),
    "bootstrap_crossed": lambda values: stats.bootstrap_crossed(values),
    "bootstrap_grid": lambda values: stats.bootstrap_grid(values.reshape(MAPS)),
    "resampled_means": lambda values: stats.resampled_means(values.reshape(MAPS)),
    "sign_flip": lambda values: stats.sign_flip(values[0]),
    "sign_flip, exact": lambda values: stats.sign_flip(values[0, :9]),
    "paired": lambda values: stats.paired(*values[:2]).difference,
    "paired, p": lambda values: stats.paired(*values[:2]).p,
    "split_half": lambda values: stats.split_half(values.reshape(MAPS)),
    "top_stability": lambda values: stats.top_stability(values.reshape(MAPS), 3),
    "hoyer": lambda values: stats.hoyer(values),
    "spearman": lambda values: stats.spearman(*values[:2]),
    "spearman_within": lambda values: stats.spearman_within([(values[0], values[1])], draws=100),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", OF)
@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.float16, np.float32])
def test_the_type_of_numbers_changes_nothing(name: str, dtype: type) -> None:
    np.testing.assert_allclose(OF[name](VALUES.astype(dtype)), OF[name](VALUES.astype(np.float64)), rtol=1e-6)
