"""Tests between settings, against values worked by hand."""

from math import erf

import numpy as np
import pytest

from haymaker.errors import HaymakerError
from haymaker.stats import Interval, detectable, holm, paired, pooled_effect, share_interval, sign_flip
from haymaker.stats.comparisons import by_students_t


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0, 1.0, 1.0], 2 / 8),  # only +++ and --- reach 3
        ([1.0, 1.0, -1.0], 8 / 8),  # every pattern sums to at least 1
        ([2.0, 1.0, 0.0], 2 / 4),  # zeros have no sign: ++ and -- of four
        (
            [3.0, 1.0, 1.0, 1.0, -1.0],
            10 / 32,
        ),  # 5 needs four or three ones of the 3's sign: 1 + 4, twice
        ([0.0, 0.0], 1.0),
    ],
)
def test_sign_flips_by_hand(differences: list[float], p: float) -> None:
    assert sign_flip(np.array(differences)) == pytest.approx(p)


def test_random_signs_agree_with_the_normal_approximation() -> None:
    # 100 differences of 0.1 + noise of standard deviation 0.5: z = 0.1 / 0.05 = 2 in expectation.
    rng = np.random.default_rng(1)
    values = rng.normal(0.1, 0.5, size=100)
    z = abs(values.sum()) / np.sqrt((values**2).sum())
    assert sign_flip(values) == pytest.approx(1 - erf(z / np.sqrt(2)), abs=0.01)


def test_paired_sees_what_two_intervals_cannot() -> None:
    # Questions differ a lot, the settings by 0.1 on each of them.
    first = np.random.default_rng(0).random(50)
    found = paired(first + 0.1, first)
    assert found.difference == pytest.approx((0.1, 0.1, 0.1))
    assert found.p < 0.001
    assert found.n == 50


def test_paired_over_seeds_is_sure_of_no_more_than_the_seeds_are() -> None:
    # The seeds' differences are 0.0 and 0.4 on every question: two runs say next to nothing, whatever the questions.
    change = np.repeat([[0.0], [0.4]], 20, axis=1)
    found = paired(change, np.zeros_like(change), reach=(-1, 1))
    assert found.difference == pytest.approx((0.2, -1, 1))
    assert found.p == pytest.approx(0.5)  # t = 0.2 / 0.2 of one degree of freedom
    alike = paired(np.full((2, 20), 0.2), np.zeros((2, 20)))
    assert alike.p == sign_flip(np.full(20, 0.2)) < 0.001


@pytest.mark.parametrize("between", [0.0, 0.1])
def test_runs_that_differ_make_no_difference_that_is_not_there(between: float) -> None:
    """Three runs of each setting. Signs of questions alone would find one in four of ten studies where runs differ."""
    rng, found = np.random.default_rng(3), []
    for _ in range(500):
        change = rng.normal(0, between, (3, 1)) + rng.normal(0, 0.3, 60) + rng.normal(0, 0.45, (3, 60))
        found.append(by_students_t(change) < 0.05)
    assert 0.02 < np.mean(found) < 0.09
    assert paired(change, np.zeros_like(change)).p >= by_students_t(change)


def test_pairs_of_two_shapes_are_refused() -> None:
    with pytest.raises(HaymakerError, match="one shape"):
        paired(np.ones(3), np.ones(4))


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.03, 0.04 times 3, 2, 1 = 0.03, 0.06, 0.04; none below one before it: 0.06 twice.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    corrected = holm([0.02, float("nan"), 0.5])
    assert corrected[0] == pytest.approx(0.04)  # of two tests, not three
    assert np.isnan(corrected[1])
    with pytest.raises(HaymakerError, match="between 0 and 1"):
        holm([1.5])


def test_detectable_by_hand() -> None:
    # (1.960 + 0.842) x 0.5 / sqrt(100) = 0.140; seeds add 0.1^2 / 4, and leave 0.005^2 / (0.0025^2 / 3 + 0.0025^2 / 99)
    # = 11.65 degrees of freedom: (2.186 + 0.874) x sqrt(0.0025 + 0.0025) = 0.216.
    assert detectable(0.5, 100) == pytest.approx(0.1401, abs=1e-4)
    assert detectable(0.5, 100, seeds=4, seed_spread=0.1) == pytest.approx(0.2164, abs=2e-4)


def test_a_detectable_difference_is_detected_as_often_as_promised() -> None:
    rng, spread, n = np.random.default_rng(0), 0.5, 60
    true = detectable(spread, n)
    found = [sign_flip(rng.normal(true, spread, n), draws=400, seed=i) < 0.05 for i in range(200)]
    assert 0.7 < np.mean(found) < 0.9


def test_share_by_hand() -> None:
    # Wilson for 3 of 4: (0.75 + 1.92/4 +- 1.96 sqrt(0.1875/4 + 0.96/16)) / (1 + 3.84/4), 0.301 to 0.954.
    assert share_interval(3, 4) == pytest.approx((0.75, 0.301, 0.954), abs=1e-3)
    with pytest.raises(HaymakerError, match="expected a whole number"):
        share_interval(0, 0)


def test_pooling_by_hand() -> None:
    # Equal errors 0.05, means 0.2 and 0.4: Q = 2 x 0.1^2 / 0.0025 = 8, so between them (8 - 1) / 400 = 0.0175; the
    # error is sqrt((0.0025 + 0.0175) / 2) = 0.1.
    found = pooled_effect([Interval(0.2, 0.102, 0.298), Interval(0.4, 0.302, 0.498)])
    assert found == pytest.approx((0.3, 0.3 - 0.196, 0.3 + 0.196), abs=1e-6)
    assert pooled_effect([Interval(0.2, 0.1, 0.3), Interval(0.9)]) == (0.2, 0.1, 0.3)
    assert np.isnan(pooled_effect([]).mean)


@pytest.mark.parametrize("unknown", [float("nan"), float("inf")])
def test_what_is_not_known_is_no_test(unknown: float) -> None:
    """A comparison with NaN is false, so no pattern of signs would reach it: p would be 0."""
    assert np.isnan(sign_flip(np.array([unknown, 1.0, 1.0])))
    assert np.isnan(sign_flip(np.array([unknown, *[1.0] * 20])))
    assert np.isnan(paired(np.array([float("nan"), 1.0]), np.zeros(2)).p)
    assert pooled_effect([Interval(unknown, 0, 1), Interval(0.3, 0.2, 0.4)]) == (0.3, 0.2, 0.4)


def test_a_spread_below_nothing_is_refused() -> None:
    with pytest.raises(HaymakerError, match="a standard deviation: expected a number of 0"):
        detectable(-0.5, 10)
