"""Sets beside random ones of their size, by hand."""

import numpy as np
import pytest

from haymaker.interventions.controls import beside_random
from haymaker.interventions.head_sets import HeadSet
from haymaker.records import Head

TOP = (Head(2, 0), Head(2, 1))
SETS = [
    HeadSet("none", 0, 0, ()),
    HeadSet("retrieval", 2, 0, TOP),
    HeadSet("random", 2, 0, (Head(2, 4), Head(2, 5))),
    HeadSet("random", 2, 1, (Head(2, 4), Head(3, 5))),
    HeadSet("retrieval", 1, 0, TOP[:1]),
]
SCORES = [np.array(row) for row in ([1.0, 1, 1, 1], [0.0, 0, 0, 1], [1.0, 1, 0, 1], [1.0, 1, 1, 1], [1.0, 0, 0, 0])]


def test_a_set_is_paired_with_the_mean_of_its_random_sets() -> None:
    none, top, first, second, alone = beside_random(SETS, SCORES)
    # Random means 1, 1, 0.5, 1 per question; the set less them: -1, -1, -0.5, 0.
    assert top["beyond_random"] == pytest.approx(-0.625)
    assert top["beyond_random_low"] < -0.625 < top["beyond_random_high"] < 0.5
    assert (top["random_percentile"], top["random_draws"]) == (0.0, 2)  # below both 0.75 and 1
    assert none["beyond_random"] is None
    assert alone["beyond_random"] is None  # no random set of its size
    assert alone["random_draws"] == 0


def test_a_random_set_says_how_far_it_is_of_the_same_layers() -> None:
    found = [row["layer_matched"] for row in beside_random(SETS, SCORES)]
    assert found == [None, None, 1.0, 0.5, None]
