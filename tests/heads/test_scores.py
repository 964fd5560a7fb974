"""HeadScores: set algebra by hand, laws of comparison, files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haymaker.errors import ConfigError, DataError
from haymaker.heads.compare import agreement
from haymaker.heads.formats import KVScores
from haymaker.heads.scores import HeadScores, jaccard
from haymaker.records import Head


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


@pytest.mark.parametrize("k", [-1, 1.5, "2", None])
@pytest.mark.usefixtures("unchecked")
def test_a_number_of_heads_is_one(k: Any) -> None:
    for found in (FOUR, KVScores(np.ones((2, 2)))):
        with pytest.raises(ConfigError, match=r"k: expected a number of (KV )?heads, from 0, found"):
            found.top(k)
    assert FOUR.top(np.int64(1)) == [Head(1, 1)]


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


def test_rank_correlation_by_hand() -> None:
    # FOUR's means 0.5, 0, 0.25, 1 have ranks 3, 1, 2, 4; those of the other, 0, 1, 0, 1, ranks 1.5, 3.5, 1.5, 3.5.
    # Deviations from 2.5: (0.5, -1.5, -0.5, 1.5) . (-1, 1, -1, 1) = 0.
    assert FOUR.spearman(scores([[0.0, 1.0], [0.0, 1.0]])) == pytest.approx(0.0)
    # Ranks 2, 1, 3, 4: deviations (-0.5, -1.5, 0.5, 1.5); products 4 of squares 5 and 5.
    assert FOUR.spearman(scores([[0.1, 0.0], [0.2, 9.0]])) == pytest.approx(4 / 5)
    assert FOUR.spearman(FOUR) == pytest.approx(1.0)
    assert np.isnan(FOUR.spearman(scores([[0.5, 0.5], [0.5, 0.5]])))


def test_agreement_is_a_row_per_pair() -> None:
    other = scores([[0.0, 1.0], [0.0, 1.0]])
    rows = agreement({"copy": FOUR, "mass": other, "write": FOUR}, k=2)
    assert [(row["first"], row["second"]) for row in rows] == [("copy", "mass"), ("copy", "write"), ("mass", "write")]
    assert rows[0]["cosine"] == FOUR.cosine(other)
    assert (rows[0]["overlap"], rows[0]["jaccard"]) == (1 / 2, 1 / 3)  # one of two and of three heads in common
    assert (rows[1]["overlap"], rows[1]["spearman"]) == (1.0, pytest.approx(1.0))


def test_jaccard_by_hand() -> None:
    other = scores([[0.0, 1.0], [0.0, 0.9]])
    assert jaccard(FOUR.active(), other.active()) == 1 / 4


NAN = float("nan")
# Head 0-0 has scores of both examples, 0-1 of the first, 1-0 of none, 1-1 of both.
PARTIAL = scores([[1.0, 0.6], [NAN, 0.0]], [[0.5, NAN], [NAN, 0.2]])


def test_what_is_not_seen_is_left_out_and_counted() -> None:
    assert PARTIAL.counts.tolist() == [[2, 1], [0, 2]]
    assert np.array_equal(PARTIAL.mean, [[0.75, 0.6], [NAN, 0.1]], equal_nan=True)
    assert [str(head) for head in PARTIAL.ranked()] == ["0-0", "0-1", "1-1"]
    assert PARTIAL.active(0.5) == {Head(0, 0), Head(0, 1)}
    # Only heads with a score in both are compared: (0.75, 0.6, 0.1) and (0.5, 0, 1).
    assert PARTIAL.cosine(FOUR) == pytest.approx(0.475 / (0.9325 * 1.25) ** 0.5)
    low, high = PARTIAL.interval()
    assert np.array_equal(np.isnan(low), [[False, True], [True, False]])  # one value says nothing of others
    assert (low[0, 0], high[0, 0]) == (0.5, 1.0)


def test_examples_that_do_not_count_change_nothing() -> None:
    random = np.random.default_rng(0).random((6, 2, 3))
    whole = scores(*random.tolist())
    gated = scores(*random.tolist(), *np.full((3, 2, 3), NAN).tolist())
    assert gated.counted.tolist() == [True] * 6 + [False] * 3
    assert np.allclose(gated.mean, whole.mean, rtol=1e-12)
    assert gated.reliability() == whole.reliability()
    assert np.array_equal(gated.interval(), whole.interval())


def test_scores_of_nothing_rank_no_head(tmp_path: Path) -> None:
    nothing = scores([[NAN, NAN]])
    assert nothing.active() == set()
    assert np.isnan(nothing.reliability())
    assert np.isnan(nothing.interval()).all()
    with pytest.raises(DataError, match="none of the 1 examples gives a head a score by copy"):
        nothing.top(1)
    nothing.save(tmp_path / "nothing.safetensors")
    assert json.loads((tmp_path / "nothing.json").read_text())["top"] == {}
    assert not HeadScores.load(tmp_path / "nothing.safetensors").counted.any()


def test_the_hash_tells_what_decides_the_scores() -> None:
    again = HeadScores(FOUR.values * 0, FOUR.example_ids, FOUR.metric, {"model": "m"})
    assert again.provenance_hash == FOUR.provenance_hash
    assert (
        HeadScores(FOUR.values, FOUR.example_ids, FOUR.metric, {"model": "n"}).provenance_hash != FOUR.provenance_hash
    )
    assert HeadScores(FOUR.values, FOUR.example_ids, "mass", {"model": "m"}).provenance_hash != FOUR.provenance_hash


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


@pytest.mark.parametrize("k", [0, -1, 5])
def test_a_number_of_top_heads_that_there_are_not_is_refused(k: int) -> None:
    # Four heads: an overlap of five would divide by five.
    one, other = (HeadScores(np.array([[[0.1, 0.2], [0.3, 0.4]]]), ("a",), "copy") for _ in range(2))
    with pytest.raises(ConfigError, match="k: expected 1 to 4, the number of heads with a score"):
        one.overlap(other, k)
    with pytest.raises(ConfigError):
        agreement({"one": one, "other": other}, k)
    if k < 0:
        with pytest.raises(ConfigError, match="from 0, found -1"):
            one.top(k)


@pytest.mark.parametrize("change", ["cut", "flip", "swap", "edit", "text"])
def test_a_file_of_scores_that_was_changed_is_told(change: str, tmp_path: Path) -> None:
    path, summary = HeadScores.files(tmp_path / "a.safetensors")
    HeadScores(np.full((1, 2, 2), 0.5), ("a",), "copy", {"model": "m"}).save(path)
    content = path.read_bytes()
    if change == "cut":
        path.write_bytes(content[:-3])
    elif change == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif change == "swap":  # the summary of another run
        HeadScores(np.full((1, 2, 2), 0.7), ("a",), "copy").save(tmp_path / "b.safetensors")
        summary.write_bytes((tmp_path / "b.json").read_bytes())
    elif change == "edit":
        summary.write_text(summary.read_text().replace('"m"', '"n"'))
    else:
        summary.write_text('{"metric": 7}')
    with pytest.raises(DataError, match=r"a\.(safetensors|json)"):
        HeadScores.load(path)
