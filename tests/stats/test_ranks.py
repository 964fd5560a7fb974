"""Rank correlations and reliability against values worked by hand."""

from itertools import permutations

import numpy as np
import pytest

from haymaker.errors import HaymakerError
from haymaker.stats import spearman, spearman_interval, spearman_within, split_half, top_stability


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


def test_halves_that_oppose_each_other_are_not_reliable_and_stay_finite() -> None:
    # Two examples with opposed maps: every split correlates at -1, where Spearman-Brown runs to minus infinity.
    values = np.array([[[0.0, 1.0, 2.0]], [[2.0, 1.0, 0.0]]])
    assert split_half(values) == pytest.approx(-1.0)


def test_pooled_rho_ignores_that_groups_stand_at_different_levels() -> None:
    # Within each group no relation (rho 0.0); the levels alone would correlate at nearly 1.
    first, second = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 4.0, 1.0, 3.0])
    assert spearman_within([(first, second)]).rho == pytest.approx(0.0)
    shifted = spearman_within([(first, second), (first + 100, second + 100), (first + 200, second + 200)])
    assert shifted.rho == pytest.approx(0.0, abs=1e-9)
    assert shifted.n == 12


def test_pooled_rho_by_hand() -> None:
    # rho 1 of three pairs and rho -1 of five: (2 x 1 - 4 x 1) / 6 = -1/3.
    up, down = np.arange(3.0), np.arange(5.0)
    assert spearman_within([(up, up), (down, -down)]).rho == pytest.approx(-1 / 3)


def test_five_perfect_settings_in_three_groups_are_far_beyond_chance() -> None:
    x = np.arange(5.0)
    assert spearman_within([(x, x)] * 3).p < 0.001
    assert np.isnan(spearman_within([(x, np.ones(5))]).rho)


def test_bounds_of_rho_by_hand() -> None:
    # atanh(0) = 0, sqrt(1 / (28 - 3)) = 0.2, tanh(1.96 x 0.2) = 0.373.
    found = spearman_interval(0.0, 28)
    assert (found.low, found.high) == pytest.approx((-0.373, 0.373), abs=1e-3)
    assert np.isnan(spearman_interval(0.9, 3).low)
    assert spearman_interval(1.0, 5).high == pytest.approx(1.0)


def test_top_heads_of_a_stable_map_are_the_same_in_both_halves_and_of_noise_are_not() -> None:
    rng = np.random.default_rng(0)
    assert top_stability(np.tile(np.arange(40.0).reshape(1, 4, 10), (6, 1, 1)), k=4) == (1.0, 1.0, 1.0)
    noise = top_stability(rng.normal(size=(40, 10, 10)), k=10)
    assert noise.mean < 0.3  # chance shares 10 % of them
    assert np.isnan(top_stability(np.ones((1, 2, 2)), k=1).mean)
    with pytest.raises(HaymakerError, match="whole number of 1 to 4"):
        top_stability(np.ones((2, 2, 2)), k=5)


def test_what_is_not_known_has_no_rank() -> None:
    """scipy ranks NaN as NaN, with which no order compares: p would be 0."""
    known, unknown = np.arange(5.0), np.array([np.nan, 1.0, 2.0, 3.0, 4.0])
    assert np.isnan(spearman(unknown, known)[:2]).all()
    assert np.isnan(spearman_within([(unknown, known)]).rho)
    assert np.isnan(split_half(np.ones((1, 2, 4))))


def test_ties_are_ranked_and_tried_as_scipy_does() -> None:
    """Ranks 1.5, 1.5, 3, 4 and 1, 2.5, 2.5, 4: rho = 0.8333 by Pearson of ranks; 24 orders of them by hand."""
    first, second = np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0, 3.0])
    a, b = np.array([1.5, 1.5, 3.0, 4.0]), np.array([1.0, 2.5, 2.5, 4.0])
    rhos = np.array([np.corrcoef(a[list(order)], b)[0, 1] for order in permutations(range(4))])
    found = spearman(first, second)
    assert found.rho == pytest.approx(np.corrcoef(a, b)[0, 1])
    tails = (rhos >= found.rho - 1e-9).mean(), (rhos <= found.rho + 1e-9).mean()
    assert found.p == pytest.approx(min(1, 2 * min(tails)))


def test_bounds_of_a_perfect_order_say_how_few_settings_there_are() -> None:
    """Of n = 5 taken for 0.95, whose z is 1.832; less 1.96 x sqrt((1 + 1 / 2) / 2) = 1.697 it is 0.134."""
    for n, least in ((4, -0.8), (5, 0.0), (8, 0.6)):
        found = spearman_interval(1.0, n)
        assert found.high == 1
        assert least < found.low < 0.97
        assert spearman_interval(-1.0, n) == pytest.approx((-1, -1, -found.low))


def test_the_top_of_a_map_without_order_is_drawn_by_lot() -> None:
    """Of 8 equal heads both halves draw 2: each has 2 / 8 of the other's. With 1 head ahead: 1 + 1 x 1 / 7 of 2."""
    assert top_stability(np.zeros((6, 2, 4)), k=2) == pytest.approx((0.25, 0.25, 0.25))
    ahead = np.zeros((6, 2, 4))
    ahead[:, 0, 3] = 1
    assert top_stability(ahead, k=2).mean == pytest.approx((1 + 1 / 7) / 2)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e9])
def test_ranks_do_not_see_rounding(scale: float) -> None:
    """A mean of three seeds may be off by its last digit: of equal scores there is then still no order."""
    first, second = np.array([0.9, 0.8, 0.8, 0.3, 0.7]), np.array([0.5, 0.6, 0.1, 0.2, 0.2])
    off = np.array([0, 1, -1, 0, 1]) * 1e-16
    for a, b in ((first + off, second), (first, second + off), (first - off, second - off)):
        assert spearman(a * scale, b * scale) == spearman(first, second)
        assert spearman_within([(a * scale, b * scale)]) == spearman_within([(first, second)])
    assert np.isnan(spearman((0.8 + off) * scale, second).rho)
