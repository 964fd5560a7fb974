"""Settings over seeds and beside each other, by hand."""

import numpy as np
import pytest

from haymaker.study.answers import pair_rows, setting_rows

QUESTIONS = [f"q{i}" for i in range(20)]


def run(scores: list[float]) -> dict[str, float]:
    return dict(zip(QUESTIONS, scores, strict=True))


BASE = [0.0, 0.2] * 10
ANSWERS = {
    ("m", "mdqa", "base", None): run(BASE),
    ("m", "mdqa", "real", 0): run([score + 0.5 for score in BASE]),
    ("m", "mdqa", "real", 1): run([score + 0.7 for score in BASE]),
    ("m", "mdqa", "symbolic", 0): run([score + 0.5 for score in BASE]),
    ("m", "mdqa", "symbolic", 1): run([score + 0.5 for score in BASE]),
}


def test_a_setting_is_the_mean_over_its_seeds_and_says_how_they_spread() -> None:
    rows = {row["setting"]: row for row in setting_rows(ANSWERS, {("m", "mdqa"): "squad_f1"})}
    # Means 0.6 and 0.8: standard deviation 0.2 / sqrt(2).
    assert rows["real"]["score"] == pytest.approx(0.7)
    assert (rows["real"]["seed_low"], rows["real"]["seed_high"]) == pytest.approx((0.6, 0.8))
    assert rows["real"]["seed_spread"] == pytest.approx(0.1414, abs=1e-4)
    assert (rows["real"]["n"], rows["real"]["seeds"], rows["real"]["metric"]) == (20, 2, "squad_f1")
    assert rows["base"]["seed_spread"] is None
    assert rows["real"]["score_low"] < 0.62 < 0.78 < rows["real"]["score_high"]  # wider than over questions alone


def test_pairs_are_paired_by_question_and_seed_and_corrected_by_family() -> None:
    rows = {(row["first"], row["second"]): row for row in pair_rows(ANSWERS)}
    assert set(rows) == {("real", "base"), ("real", "symbolic"), ("symbolic", "base")}
    # By seed 0.0 and 0.2: each of two drawn twice half of the time.
    pair = rows["real", "symbolic"]
    assert (pair["difference"], pair["low"], pair["high"]) == pytest.approx((0.1, 0.0, 0.2))
    assert (pair["n"], pair["seeds"], pair["family"]) == (20, 2, "reference")
    # Every question differs by 0.1, so only the seeds leave anything open: 2.80 x 0.1414 / sqrt(2).
    assert pair["detectable"] == pytest.approx(0.280, abs=1e-3)
    assert rows["symbolic", "base"]["difference"] == pytest.approx(0.5)
    assert rows["real", "base"]["p_holm"] == pytest.approx(2 * rows["real", "base"]["p"])
    assert rows["symbolic", "base"]["p_holm"] == rows["symbolic", "base"]["p"]  # a family of its own


def test_a_study_that_is_not_finished_compares_means() -> None:
    answers = ANSWERS | {("m", "mdqa", "real", 2): run([1.0] * 20)}
    row = next(row for row in pair_rows(answers) if row["second"] == "symbolic")
    assert row["seeds"] == 1
    assert row["difference"] == pytest.approx(np.mean([0.6, 0.8, 1.0]) - 0.6)
