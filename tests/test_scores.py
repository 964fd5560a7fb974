"""HeadScores: set algebra by hand, laws of comparison, files."""

import json
from pathlib import Path

import numpy as np
import pytest

from haymaker.errors import DataError
from haymaker.records import Head
from haymaker.scores import HeadScores


def scores(*examples: list[list[float]]) -> HeadScores:
    return HeadScores(np.array(examples), tuple(f"e{i}" for i in range(len(examples))), "copy", {"model": "m"})


# Means: layer 0 (0.5, 0.0), layer 1 (0.25, 1.0).
FOUR = scores([[1.0, 0.0], [0.5, 1.0]], [[0.0, 0.0], [0.0, 1.0]])


def test_mean_top_and_active() -> None:
    assert FOUR.mean.tolist() == [[0.5, 0.0], [0.25, 1.0]]
    assert FOUR.top(2) == [Head(1, 1), Head(0, 0)]
    assert [str(head) for head in FOUR.ranked()] == ["1-1", "0-0", "1-0", "0-1"]
    assert FOUR.active() == {Head(0, 0), Head(1, 0), Head(1, 1)}
    assert FOUR.active(0.25) == {Head(0, 0), Head(1, 1)}


def test_ties_go_to_the_lower_head() -> None:
    assert scores([[0.5, 0.5], [0.5, 0.5]]).top(2) == [Head(0, 0), Head(0, 1)]


def test_comparison_by_hand() -> None:
    other = scores([[0.0, 1.0], [0.0, 1.0]])  # active: 0-1 and 1-1
    # <(.5, 0, .25, 1), (0, 1, 0, 1)> = 1; norms sqrt(1.3125) and sqrt(2).
    assert FOUR.cosine(other) == pytest.approx(1 / (1.3125 * 2) ** 0.5)
    assert FOUR.recall(other) == 1 / 2  # of the reference's {0-1, 1-1} only 1-1 is active
    assert FOUR.subset(other) == 1 / 3  # of our {0-0, 1-0, 1-1} only 1-1 is in the reference
    assert FOUR.overlap(other, 2) == 1 / 2  # {1-1, 0-0} and {0-1, 1-1}


def test_a_map_equals_itself() -> None:
    assert FOUR.cosine(FOUR) == pytest.approx(1.0)
    assert FOUR.recall(FOUR) == FOUR.subset(FOUR) == FOUR.overlap(FOUR, 3) == 1.0


def test_nothing_to_compare_is_not_a_number() -> None:
    empty = scores([[0.0, 0.0], [0.0, 0.0]])
    assert np.isnan(FOUR.cosine(empty))
    assert np.isnan(FOUR.recall(empty))


def test_shapes_must_agree() -> None:
    with pytest.raises(DataError, match=r"\(2, 2\) and \(1, 2\)"):
        FOUR.cosine(scores([[0.0, 1.0]]))


def test_no_examples_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one"):
        HeadScores(np.zeros((0, 2, 2)), (), "copy")


def test_round_trip(tmp_path: Path) -> None:
    FOUR.save(tmp_path / "heads.safetensors")
    loaded = HeadScores.load(tmp_path / "heads.safetensors")
    assert np.array_equal(loaded.values, FOUR.values)
    assert (loaded.example_ids, loaded.metric, loaded.provenance) == (FOUR.example_ids, "copy", {"model": "m"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heads.json", "heads.safetensors"]
    assert json.loads((tmp_path / "heads.json").read_text())["top"]["1-1"] == 1.0


@pytest.mark.parametrize("broken", ["heads.json", "heads.safetensors"])
def test_a_missing_half_is_named(tmp_path: Path, broken: str) -> None:
    FOUR.save(tmp_path / "heads.safetensors")
    (tmp_path / broken).unlink()
    with pytest.raises(DataError, match=broken):
        HeadScores.load(tmp_path / "heads.safetensors")


def test_head_prints_and_parses() -> None:
    assert Head.parse("16-19") == Head(16, 19)
    assert str(Head.parse("0-3")) == "0-3"
    for wrong in ("16", "L16H19", "-1-2", "a-b"):
        with pytest.raises(ValueError, match="layer-head"):
            Head.parse(wrong)
