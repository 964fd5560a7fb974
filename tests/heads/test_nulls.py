"""What stands beside a claim about heads, by hand and by laws."""

from itertools import permutations, product

import numpy as np
import pytest

from haymaker.heads.compare import agreement, comparison
from haymaker.heads.nulls import ENDS, agreement_nulls, layer_matched_share, map_row, transfer_nulls
from haymaker.heads.scores import HeadScores
from haymaker.records import Head


def scores(values: np.ndarray, ids: str = "e") -> HeadScores:
    return HeadScores(values, tuple(f"{ids}{i}" for i in range(len(values))), "copy", {})


def noisy(strong: list[tuple[int, int]], seed: int, rows: int = 30) -> HeadScores:
    """Scores of 6 layers of 8 heads: about 0.5 for the strong heads, next to nothing for the others."""
    values = np.random.default_rng(seed).uniform(0, 0.05, size=(rows, 6, 8))
    for head in strong:
        values[:, *head] += 0.5
    return scores(values.astype(np.float32))


REAL = noisy([(2, 0), (2, 3), (4, 1), (4, 5)], seed=0)


def test_a_cosine_is_never_beyond_one() -> None:
    # float32 maps with themselves gave 1.0000001192.
    for seed in range(50):
        own = scores(np.random.default_rng(seed).random((7, 9, 9)).astype(np.float32))
        assert own.cosine(own) <= 1.0
        assert own.cosine(own) == pytest.approx(1.0, abs=1e-12)


def test_the_same_heads_are_far_beyond_their_layers() -> None:
    found = comparison(noisy([(2, 0), (2, 3), (4, 1), (4, 5)], seed=1), REAL, 0.1, 4)
    assert (found["recall"], found["recall_low"], found["recall_high"]) == (1.0, 1.0, 1.0)
    # Two of 8 in each of two layers: a set of two shares 2 x 2 / 8 in each, 1 of 4 in all; both right: (1/28)^2.
    assert found["recall_null"] == pytest.approx(0.25)
    assert found["recall_p"] == pytest.approx(1 / 28**2)
    assert [found[f"subset_{name}"] for name in ("null", "percentile", "p")] == [
        found[f"recall_{name}"] for name in ("null", "percentile", "p")
    ]
    assert (found["overlap"], found["overlap_null"]) == (1.0, 0.25)
    assert (found["overlap_low"], found["overlap_high"]) == (1.0, 1.0)
    assert found["cosine_percentile"] > 0.99
    assert found["spearman_low"] <= found["spearman_high"] < 1  # 44 of 48 heads are noise, drawn anew in each map


def test_other_heads_of_the_same_layers_are_no_more_than_chance() -> None:
    found = comparison(noisy([(2, 1), (2, 4), (4, 2), (4, 6)], seed=1), REAL, 0.1, 4)
    assert (found["recall"], found["recall_p"]) == (0.0, pytest.approx(1.0))
    assert found["cosine_percentile"] < 0.5


def test_fewer_heads_are_counted_with_bounds() -> None:
    found = comparison(noisy([(2, 0)], seed=1), REAL, 0.1, 4)
    assert (found["fewer"], found["fewer_low"], found["fewer_high"]) == (3.0, 3.0, 3.0)
    assert (found["recall"], found["subset"]) == (0.25, 1.0)


def test_maps_of_the_same_examples_are_drawn_together() -> None:
    # A head that only half of the examples use: alone its mean varies, beside itself nothing does.
    values = np.zeros((40, 1, 2))
    values[::2, 0, 0], values[:, 0, 1] = 0.21, 0.5
    same, other = scores(values), scores(values, "other")
    assert comparison(same, same, 0.1, 1)["fewer_low"] == comparison(same, same, 0.1, 1)["fewer_high"] == 0
    assert comparison(same, other, 0.1, 1)["fewer_high"] > 0


def test_bounds_hold_their_value_and_stay_within_its_ends() -> None:
    """Few noisy examples: most samples of them are less alike than they are, so quantiles would leave the value out."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        real = rng.random((6, 8)) ** 6
        own, other = (scores(np.clip(real + rng.normal(0, 0.2, (5, 6, 8)), 0, 1), name) for name in "ab")
        found = comparison(own, other, 0.1, 5)
        for name, (least, most) in {**ENDS, "fewer": (-48, 48)}.items():
            if name in found:
                assert least <= found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] <= most, (seed, name)
        active = map_row(own, 0.1, 5)
        assert 0 <= active["active_low"] <= active["active"] <= active["active_high"] <= 48


def test_one_example_has_no_bounds() -> None:
    one = scores(np.array([[[0.5, 0.1], [0.0, 0.3]]]))
    found = comparison(one, one, 0.2, 1)
    assert np.isnan([found["recall_low"], found["cosine_high"], found["fewer_low"]]).all()
    assert found["recall"] == 1.0


def test_a_map_says_what_it_is_like() -> None:
    row = map_row(REAL, 0.1, 4)
    assert (row["active"], row["active_low"], row["active_high"], row["heads"], row["n"]) == (4, 4.0, 4.0, 48, 30)
    assert row["sparsity"] > 0.6
    assert row["reliability"] > 0.99
    assert (row["k"], row["stability"]) == (4, 1.0)
    flat = map_row(scores(np.random.default_rng(0).random((30, 6, 8))), 0.1, 4)
    assert flat["active"] == 48
    assert flat["sparsity"] < 0.05
    assert flat["stability"] < 0.5


def test_a_map_without_scores_says_so_without_failing() -> None:
    row = map_row(scores(np.full((3, 2, 2), np.nan)), 0.1, 4)
    assert (row["active"], row["k"], row["n"]) == (0, 0, 0)
    assert np.isnan([row["sparsity"], row["stability"], row["active_low"]]).all()


def test_how_many_random_heads_stand_in_the_layers_of_the_others() -> None:
    like = [Head(1, 0), Head(1, 1), Head(2, 0)]
    assert layer_matched_share([Head(1, 3), Head(1, 4), Head(2, 5)], like) == 1.0
    assert layer_matched_share([Head(1, 3), Head(0, 4), Head(2, 5)], like) == 2 / 3
    assert np.isnan(layer_matched_share([], like))


def test_every_claim_about_likeness_has_bounds_and_stands_beside_its_layers() -> None:
    """A map of zeros is like nothing: no cosine, no rank, and top heads that share what layers give."""
    found = comparison(noisy([(2, 0)], seed=1), REAL, 0.1, 4)
    for name in ("cosine", "spearman", "recall", "subset", "overlap"):
        assert found[f"{name}_low"] <= found[f"{name}_high"], name
        assert 0 <= found[f"{name}_percentile"] <= 1, name
        assert 0 < found[f"{name}_p"] <= 1, name
        assert -1 <= found[f"{name}_null"] <= 1, name
    nothing = comparison(scores(np.zeros((30, 6, 8))), REAL, 0.1, 4)
    assert np.isnan([nothing["cosine"], nothing["cosine_p"], nothing["spearman_p"], nothing["subset_low"]]).all()
    assert (nothing["recall"], nothing["recall_p"]) == (0.0, 1.0)


def test_what_trainings_changed_stands_beside_their_layers() -> None:
    """Both add the same two heads to one map: their shifts agree far more than shifts turned within layers do."""
    base = noisy([(2, 0)], seed=5)
    own, reference = noisy([(2, 0), (4, 1), (4, 5)], seed=1), noisy([(2, 0), (4, 1), (4, 5)], seed=2)
    found = transfer_nulls(own, reference, base, 0.1)
    assert found["recall_null"] == pytest.approx((1 * 1 / 8 + 2 * 2 / 8) / 3)
    assert found["shift_null"] < 0.5 < found["shift_percentile"]
    assert found["cosine_p"] < 0.05
    assert np.isnan(transfer_nulls(own, reference, reference, 0.1)["shift_p"])  # the reference changed nothing


def test_top_heads_of_two_detectors_stand_beside_their_layers() -> None:
    (row,) = agreement({"one": REAL, "other": noisy([(2, 0), (2, 3), (4, 1), (4, 5)], seed=1)}, k=4)
    assert (row["overlap"], row["overlap_null"], row["overlap_p"]) == (1.0, 0.25, pytest.approx(1 / 28**2))


@pytest.mark.parametrize("seed", range(8))
def test_p_values_of_maps_with_ties_are_those_of_all_orders(seed: int) -> None:
    """Many maps look the same once their scores change places; rounding then told them apart, and p was 0.002 for 1."""
    rng = np.random.default_rng(seed)
    own, reference = rng.choice([0.0, 0.1, 0.3], (2, 3)), rng.choice([0.25, 0.5, 0.7], (2, 3))
    own[0] = own[0, 0] + 0.1 if seed % 2 else own[0]
    found = agreement_nulls(scores(own[None]), scores(reference[None]), 0.1, 1)
    exact: dict[str, list[float]] = {"cosine": [], "spearman": []}
    for orders in product(permutations(range(3)), repeat=2):
        turned = scores(np.array([row[[*order]] for row, order in zip(own, orders, strict=True)])[None])
        exact["cosine"].append(turned.cosine(scores(reference[None])))
        exact["spearman"].append(turned.spearman(scores(reference[None])))
    for name, drawn in exact.items():  # the first order is the map's own
        assert found[f"{name}_p"] == pytest.approx(np.mean(np.array(drawn) >= drawn[0] - 1e-9), abs=0.1)
