"""Statistics against values worked by hand."""

import numpy as np
import pytest

from haymaker.stats import Interval, bootstrap_grid, bootstrap_mean, spearman, split_half


def test_bootstrap_interval_brackets_the_mean_and_shrinks_with_n() -> None:
    few = bootstrap_mean(np.array([0.0, 1.0] * 10))
    many = bootstrap_mean(np.array([0.0, 1.0] * 1_000))
    assert few.mean == many.mean == 0.5
    assert few.low < 0.5 < few.high
    # Standard errors: 0.5 / sqrt(20) = 0.112 and 0.5 / sqrt(2000) = 0.0112; a 95 % interval is about 3.9 of them wide.
    assert few.high - few.low == pytest.approx(3.92 * 0.112, rel=0.2)
    assert many.high - many.low == pytest.approx(3.92 * 0.0112, rel=0.2)


def test_bootstrap_of_a_constant_is_a_point() -> None:
    assert bootstrap_mean(np.full(7, 0.25)) == (0.25, 0.25, 0.25)


def test_bootstrap_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        bootstrap_mean(np.array([]))


def test_bootstrap_grid_treats_each_head_alone() -> None:
    values = np.zeros((40, 1, 2))
    values[::2, 0, 1] = 1.0
    low, high = bootstrap_grid(values)
    assert low[0, 0] == high[0, 0] == 0.0
    assert low[0, 1] < 0.5 < high[0, 1]


@pytest.mark.parametrize(
    ("second", "rho", "p"),
    [
        # 5! = 120 orders; only the identity and its reverse reach |rho| = 1, so p = 2 / 120.
        ([1.0, 2.0, 3.0, 4.0, 5.0], 1.0, 2 / 120),
        ([5.0, 4.0, 3.0, 2.0, 1.0], -1.0, 2 / 120),
        # Rank differences 1, 1, 0, 0, 0: rho = 1 - 6 * 2 / (5 * 24) = 0.9.
        ([2.0, 1.0, 3.0, 4.0, 5.0], 0.9, None),
    ],
)
def test_spearman_by_hand(second: list[float], rho: float, p: float | None) -> None:
    found = spearman(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array(second))
    assert found.rho == pytest.approx(rho)
    assert found.n == 5
    if p is not None:
        assert found.p == pytest.approx(p, rel=0.01)


def test_spearman_of_a_constant_cannot_be_told() -> None:
    found = spearman(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0]))
    assert np.isnan(found.rho)
    assert np.isnan(found.p)


def test_split_half_is_one_for_a_stable_map_and_near_zero_for_noise() -> None:
    rng = np.random.default_rng(0)
    stable = np.broadcast_to(np.arange(12.0).reshape(3, 4), (20, 3, 4))
    assert split_half(np.array(stable)) == pytest.approx(1.0)
    assert abs(split_half(rng.normal(size=(200, 8, 8)))) < 0.5


def test_difference_has_an_interval_from_both_intervals() -> None:
    # 0.9 - 0.5 = 0.4. Down: sqrt(0.03^2 + 0.04^2) = 0.05. Up: sqrt(0.06^2 + 0.08^2) = 0.10.
    found = Interval(0.9, 0.87, 0.96).minus(Interval(0.5, 0.42, 0.54))
    assert (found.mean, found.low, found.high) == pytest.approx((0.4, 0.35, 0.5))


def test_difference_without_bounds_has_none() -> None:
    found = Interval(0.9, 0.8, 1.0).minus(Interval(0.5))
    assert np.isnan([found.low, found.high]).all()
    assert not found.low > 0


def test_an_interval_of_a_row_knows_what_is_not_known() -> None:
    row = {"score": 0.5, "score_low": 0, "score_high": None, "em": float("inf"), "delta": None}
    found = Interval.of(row)
    assert found is not None
    assert found[:2] == (0.5, 0.0)
    assert np.isnan(found.high)
    assert Interval.of(row, "em") is None
    assert Interval.of(row, "delta") is None


def test_draws_spread_from_the_smallest_to_the_largest() -> None:
    assert Interval.spread([0.75, 0.25, 0.5]) == (0.5, 0.25, 0.75)
