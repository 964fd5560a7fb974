"""Nulls and sparsity against values worked by hand."""

import numpy as np
import pytest

from haymaker.errors import HaymakerError
from haymaker.stats import hoyer, null_of_draws, shared_by_layers


def test_shared_heads_by_hand() -> None:
    # One layer of 4 heads, 2 and 2: P(0, 1, 2 shared) = 1/6, 4/6, 1/6.
    found = shared_by_layers(4, [2], [2], shared=2)
    assert (found.mean, found.p) == pytest.approx((1.0, 1 / 6))
    assert found.percentile == pytest.approx(5 / 6 + 1 / 12)
    assert (found.low, found.high) == (0.0, 2.0)


def test_a_second_layer_without_heads_of_one_set_changes_nothing() -> None:
    assert shared_by_layers(4, [2, 0], [2, 3], 1) == pytest.approx(shared_by_layers(4, [2], [2], 1))


def test_the_layered_null_is_that_of_draws() -> None:
    rng, first, second = np.random.default_rng(0), [3, 1, 0], [2, 4, 1]
    drawn = [
        sum(len(set(rng.permutation(6)[:a]) & set(range(b))) for a, b in zip(first, second, strict=True))
        for _ in range(4_000)
    ]
    exact, sampled = shared_by_layers(6, first, second, 3), null_of_draws(3, drawn)
    assert exact.mean == pytest.approx(sampled.mean, abs=0.05)
    assert exact.p == pytest.approx(sampled.p, abs=0.03)
    assert exact.percentile == pytest.approx(sampled.percentile, abs=0.03)


def test_agreeing_on_layers_alone_is_no_evidence() -> None:
    # All retrieval heads of both maps fill one layer of 8 of 10: whole-model chance says p < 1e-6, the layers say 1.
    assert shared_by_layers(8, [8] + [0] * 9, [8] + [0] * 9, 8).p == pytest.approx(1.0)


def test_sets_that_cannot_be_are_refused() -> None:
    with pytest.raises(HaymakerError, match="as many layers|of a layer's 4 heads"):
        shared_by_layers(4, [5], [1], 1)


def test_draws_by_hand() -> None:
    # Of four draws two lie below 0.5 and one is equal: (2 + 0.5) / 4; as much or more: 2, and itself: 3 / 5.
    found = null_of_draws(0.5, [0.1, 0.2, 0.5, 0.9])
    assert (found.percentile, found.p) == pytest.approx((0.625, 0.6))
    with pytest.raises(HaymakerError, match="draws: expected at least one"):
        null_of_draws(0.5, [])


def test_what_rounding_alone_tells_apart_is_a_tie() -> None:
    """The same numbers summed in another order are neither more nor less than one another."""
    for off in (0.0, 1e-16, -1e-16, 2e-14):
        found = null_of_draws(0.5 + off, [0.5, 0.5 - 1e-16, 0.5 + 1e-16, 0.1])
        assert (found.percentile, found.p) == pytest.approx(((1 + 1.5) / 4, 4 / 5))


def test_sparsity_by_hand() -> None:
    # (2 - 1.4 / 1) / (2 - 1) of (0.8, 0.6, 0, 0): norms 1.4 and 1.
    assert hoyer(np.array([[0.8, 0.6], [0.0, 0.0]])) == pytest.approx(0.6)
    assert hoyer(np.array([0.8, 0.6, 0.0, 0.0, np.nan])) == pytest.approx(0.6)
    assert np.isnan(hoyer(np.zeros(4)))


def test_what_is_not_known_is_beside_nothing_and_what_cannot_be_is_refused() -> None:
    assert np.isnan(null_of_draws(float("nan"), [1.0, 2.0])[1:]).all()
    assert np.isnan(null_of_draws(1.0, [float("nan")])[1:]).all()
    assert null_of_draws(2.0, [1.0, float("nan"), 3.0]).percentile == 0.5
    for counts, shared in (([1], 2), ([-1], 0), ([9], 1)):
        with pytest.raises(HaymakerError, match="expected|share"):
            shared_by_layers(8, counts, [1], shared)
