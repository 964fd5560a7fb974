"""Settings over seeds and beside each other, by hand."""

import numpy as np
import pytest

from haymaker.stats import detectable, holm
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
    # By seed 0.0 and 0.2: two runs leave nearly everything open, whatever the questions say.
    pair = rows["real", "symbolic"]
    assert pair["difference"] == pytest.approx(0.1)
    assert pair["low"] < -0.5
    assert pair["high"] == 1
    assert pair["p_holm"] > 0.5
    assert (pair["n"], pair["seeds"], pair["family"]) == (20, 2, "reference")
    # Every question differs by 0.1, but of 20 a share of 3.84 / 23.84 = 0.161 may differ otherwise: a spread of
    # sqrt(0.161 x 0.839) = 0.3676.
    assert pair["detectable"] == pytest.approx(detectable(0.3676, 20, 2, 0.1414), abs=1e-3)
    assert pair["detectable"] > 0.5, "more than 2.80 times, as two runs know little of what runs spread"
    assert rows["symbolic", "base"]["difference"] == pytest.approx(0.5)
    assert rows["real", "base"]["p_holm"] == pytest.approx(2 * rows["real", "base"]["p"])
    assert rows["symbolic", "base"]["p_holm"] == rows["symbolic", "base"]["p"]  # a family of its own


def test_a_study_that_is_not_finished_compares_means() -> None:
    answers = ANSWERS | {("m", "mdqa", "real", 2): run([1.0] * 20)}
    row = next(row for row in pair_rows(answers) if row["second"] == "symbolic")
    assert row["seeds"] == 1
    assert row["difference"] == pytest.approx(np.mean([0.6, 0.8, 1.0]) - 0.6)


def test_every_two_settings_are_tested() -> None:
    """Of five settings ten pairs: four with real, two with the untrained model, and the rest in a family of its own."""
    answers = ANSWERS | {("m", "mdqa", name, 0): run([0.3] * 20) for name in ("extended", "low-low")}
    rows = pair_rows(answers)
    families = {name: [row for row in rows if row["family"] == name] for name in ("reference", "untrained", "others")}
    assert {name: len(own) for name, own in families.items()} == {"reference": 4, "untrained": 2, "others": 4}
    assert len({frozenset((row["first"], row["second"])) for row in rows}) == 10
    for own in families.values():
        assert [row["p_holm"] for row in own] == holm([row["p"] for row in own])


def test_settings_that_answer_alike_leave_what_so_few_questions_may_have_missed() -> None:
    """Both right on 20 of 20: 0 within 0.161 on both sides, and 1 down to 0.839; not a difference of 0.00 found."""
    answers = {("m", "mdqa", name, 0): run([1.0] * 20) for name in ("real", "symbolic")}
    (pair,) = pair_rows(answers)
    assert (pair["difference"], pair["low"], pair["high"]) == pytest.approx((0, -0.1611, 0.1611), abs=1e-4)
    assert pair["detectable"] == pytest.approx(2.802 * 0.3676 / 20**0.5, abs=1e-3)
    assert setting_rows(answers, {})[0]["score_low"] == pytest.approx(0.8389, abs=1e-4)
