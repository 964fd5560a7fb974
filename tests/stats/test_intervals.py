"""Statistics against values worked by hand."""

import numpy as np
import pytest

from haymaker.errors import HaymakerError
from haymaker.stats import (
    Interval,
    bootstrap_crossed,
    bootstrap_grid,
    bootstrap_mean,
    intervals,
    resampled_means,
    share_interval,
)


def test_bootstrap_interval_brackets_the_mean_and_shrinks_with_n() -> None:
    few = bootstrap_mean(np.array([0.0, 1.0] * 10))
    many = bootstrap_mean(np.array([0.0, 1.0] * 1_000))
    assert few.mean == many.mean == 0.5
    assert few.low < 0.5 < few.high
    # Standard errors: 0.5 / sqrt(20) = 0.112 and 0.5 / sqrt(2000) = 0.0112; a 95 % interval is about 3.9 of them wide.
    assert few.high - few.low == pytest.approx(3.92 * 0.112, rel=0.2)
    assert many.high - many.low == pytest.approx(3.92 * 0.0112, rel=0.2)


@pytest.mark.parametrize("picks", [1, 50, 700])
def test_samples_are_the_same_however_many_are_drawn_at_once(picks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).random(33)
    whole = bootstrap_mean(values, draws=100)
    monkeypatch.setattr(intervals, "PICKS_AT_ONCE", picks)
    assert bootstrap_mean(values, draws=100) == whole


def test_bootstrap_of_a_constant_is_a_point() -> None:
    assert bootstrap_mean(np.full(7, 0.25)) == (0.25, 0.25, 0.25)


def test_bootstrap_of_nothing_is_an_error() -> None:
    with pytest.raises(HaymakerError, match="at least one value"):
        bootstrap_mean(np.array([]))


def test_bootstrap_grid_treats_each_head_alone() -> None:
    values = np.zeros((40, 1, 2))
    values[::2, 0, 1] = 1.0
    low, high = bootstrap_grid(values)
    assert low[0, 0] == high[0, 0] == 0.0
    assert low[0, 1] < 0.5 < high[0, 1]


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


def test_an_interval_over_seeds_is_wider_than_over_examples_where_seeds_differ() -> None:
    # Three seeds whose means are 0.2, 0.5, 0.8: over examples alone the mean 0.5 is exact, over seeds it is not.
    values = np.repeat([[0.2], [0.5], [0.8]], 50, axis=1)
    found = bootstrap_crossed(values)
    assert found.mean == pytest.approx(0.5)
    # Student's t of three seeds: 4.303 x 0.3 / sqrt(3) = 0.745; samples themselves reach 0.3 (one seed three times),
    # where 1.96 of their standard deviations, sqrt(2 / 3) x 0.3 / sqrt(3), were 0.277.
    assert (found.low, found.high) == pytest.approx((0.5 - 0.745 * 0.3 / 0.277, 0.5 + 0.745 * 0.3 / 0.277), abs=0.02)
    whole = bootstrap_crossed(values, reach=(0, 1))
    assert (whole.low, whole.high) == (0, 1), "no score lies beyond"


@pytest.mark.parametrize(("seeds", "between"), [(3, 0.15), (5, 0.0)])
def test_bounds_over_seeds_hold_the_truth_as_often_as_they_say(seeds: int, between: float) -> None:
    """Differences spread by 0.3 over questions, 0.45 over answers, and a little or a lot over seeds."""
    rng, held = np.random.default_rng(seeds), []
    for i in range(150):
        of_seeds, of_questions = rng.normal(0, between, (seeds, 1)), rng.normal(0, 0.3, 150)
        found = bootstrap_crossed(of_seeds + of_questions + rng.normal(0, 0.45, (seeds, 150)), draws=120, seed=i)
        held.append(found.low <= 0 <= found.high)
    assert 0.9 < np.mean(held) < 0.99


def test_of_one_seed_the_crossed_interval_is_that_over_examples() -> None:
    values = np.array([0.0, 1.0] * 50)
    crossed, plain = bootstrap_crossed(values[None]), bootstrap_mean(values)
    assert (crossed.low, crossed.high) == pytest.approx((plain.low, plain.high), abs=0.02)


def test_two_calls_with_one_seed_resample_the_same_examples() -> None:
    values = np.random.default_rng(0).random((20, 2, 3))
    assert np.allclose(resampled_means(values + 1, draws=30) - resampled_means(values, draws=30), 1)


def test_resampled_means_leave_what_is_missing_out() -> None:
    values = np.array([[1.0, np.nan], [1.0, 3.0]])
    found = resampled_means(values, draws=200)
    assert (found[:, 0] == 1).all()
    assert set(found[~np.isnan(found[:, 1]), 1]) == {3.0}
    assert np.isnan(found[:, 1]).any()  # a draw of the first row alone has no value there


def test_values_that_are_all_equal_leave_what_so_few_may_have_missed() -> None:
    """Wilson's bound of none of 10: 3.84 / 13.84 = 0.278. Differences of 0 may lie 1 away on both sides."""
    zeros, ones = (bootstrap_mean(np.full(10, value), reach=(0, 1)) for value in (0.0, 1.0))
    assert (zeros.low, zeros.high) == pytest.approx((0, 0.2775), abs=1e-4)
    assert (ones.low, ones.high) == pytest.approx((0.7225, 1), abs=1e-4)
    assert bootstrap_crossed(np.zeros((3, 10)), reach=(-1, 1)) == pytest.approx((0, -0.2775, 0.2775), abs=1e-4)
    mixed = np.array([0.0, 1.0] * 10)
    assert bootstrap_mean(mixed, reach=(0, 1)) == bootstrap_mean(mixed)


def test_one_value_has_no_bounds() -> None:
    low, high = bootstrap_grid(np.array([[[1.0, np.nan]]]))
    assert np.isnan([low, high]).all()
    for reach in (None, (0, 1), (-1, 1)):
        one, several = np.array([0.5]), np.array([[0.4], [0.6]])
        for found in (bootstrap_mean(one, reach=reach), bootstrap_crossed(several, reach=reach)):
            assert found.mean == 0.5
            assert np.isnan(found[1:]).all()
    assert np.isnan(share_interval(1, 1)[1:]).all()


@pytest.mark.parametrize("n", [2, 5, 8, 13, 19])
def test_few_rows_have_one_rule_whatever_they_are(n: int) -> None:
    """Shares of n are Wilson's throughout, so a table's bounds rise with its scores; partial scores lie between."""
    rows = [bootstrap_mean(np.array([1.0] * k + [0.0] * (n - k)), reach=(0, 1)) for k in range(n + 1)]
    assert [row.low for row in rows] == sorted({row.low for row in rows})
    assert [row.high for row in rows] == sorted({row.high for row in rows})
    for k, row in enumerate(rows):
        assert row == pytest.approx(share_interval(k, n))
    for seed in range(20):
        values = np.random.default_rng(seed).random(n)
        found, whole = bootstrap_mean(values, reach=(0, 1)), share_interval(n // 2, n)
        assert 0 <= found.low <= found.mean <= found.high <= 1
        assert 0.4 * (whole.high - whole.low) < found.high - found.low < 1.2 * (whole.high - whole.low)


@pytest.mark.parametrize(
    ("found", "n", "low", "high"),
    [
        # (p + 1.92/n -+ 1.96 sqrt(p (1 - p) / n + 0.96 / n^2)) / (1 + 3.84 / n)
        (0, 100, 0.0, 0.0370),
        (1, 100, 0.0018, 0.0545),
        (4, 100, 0.0157, 0.0984),
        (1, 5, 0.0362, 0.6245),
    ],
)
def test_few_of_many_have_wilsons_bounds(found: int, n: int, low: float, high: float) -> None:
    values = np.array([1.0] * found + [0.0] * (n - found))
    assert bootstrap_mean(values, reach=(0, 1)) == pytest.approx((found / n, low, high), abs=1e-4)
    assert bootstrap_mean(1 - values, reach=(0, 1)) == pytest.approx((1 - found / n, 1 - high, 1 - low), abs=1e-4)
    assert share_interval(found, n) == pytest.approx((found / n, low, high), abs=1e-4)


def test_bounds_of_few_go_on_into_those_of_the_bootstrap() -> None:
    """From none to half of 100 the bounds rise, and from five on they are the bootstrap's, which is as wide there."""
    rows = [bootstrap_mean(np.array([1.0] * k + [0.0] * (100 - k)), reach=(0, 1)) for k in range(51)]
    assert [row.high for row in rows] == sorted(row.high for row in rows)
    assert all(abs(row.low - share_interval(k, 100).low) < 0.015 for k, row in enumerate(rows))
    assert all(abs(row.high - share_interval(k, 100).high) < 0.025 for k, row in enumerate(rows))


def test_a_few_partial_scores_and_differences_on_both_sides() -> None:
    """One F1 of 0.5 among 50 is a share of 0.01; Wilson of 0.01 of 50 reaches to 0.0887 (1.96^2 = 3.84, as above)."""
    half = bootstrap_mean(np.array([0.5] + [0.0] * 49), reach=(0, 1))
    assert half == pytest.approx((0.01, 0.0008, 0.0887), abs=2e-3)
    one = bootstrap_mean(np.array([-1.0] + [0.0] * 99), reach=(-1, 1))
    assert one.mean == -0.01
    # one of 100 worse: 0.0018 to 0.0545; none better: 0 to 0.0370
    assert (one.low, one.high) == pytest.approx((-0.0545, 0.0370 - 0.0018), abs=1e-3)


def test_seeds_that_differ_widen_the_bounds_of_few() -> None:
    values = np.zeros((3, 40))
    values[0, 0] = 1.0
    several, alone = bootstrap_crossed(values, reach=(0, 1)), bootstrap_crossed(values[:1], reach=(0, 1))
    assert (
        several.high >= bootstrap_mean(values.mean(axis=0), reach=(0, 1)).high > several.mean == pytest.approx(1 / 120)
    )
    assert alone == bootstrap_mean(values[0], reach=(0, 1))
