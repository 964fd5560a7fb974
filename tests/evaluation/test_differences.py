"""Two evaluations of the same rows against each other: the rows are paired by their ids, whatever their order."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import fails, passes

import haymaker as hm
from haymaker.errors import DataError
from haymaker.evaluation.differences import difference
from haymaker.evaluation.predictions import Evaluation
from haymaker.records import Prediction

FIRST, SECOND = [1.0, 1.0, 0.5, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0, 0.0, 0.25]


def evaluation(scores: list[float], start: int = 0) -> Evaluation:
    return Evaluation(
        tuple(
            Prediction(f"e{i}", "x", ("x",), {"squad_f1": score, "squad_em": float(score == 1)}, "stop", 1, 1)
            for i, score in enumerate(scores, start)
        )
    )


def test_rows_are_paired_by_id_and_turning_both_round_turns_the_sign() -> None:
    first, second = evaluation(FIRST), evaluation(SECOND)
    shuffled = replace(second, predictions=second.predictions[::-1])
    found, back = difference(first, shuffled), difference(shuffled, first)
    expected = hm.stats.paired(np.array(FIRST), np.array(SECOND))
    assert (found["difference"], found["p"]) == pytest.approx((expected.difference.mean, expected.p))
    assert (found["n"], found["better"], found["worse"]) == (6, 4, 1)
    assert (back["difference"], back["p"], back["better"]) == pytest.approx((-found["difference"], found["p"], 1))
    assert found["difference_low"] <= found["difference"] <= found["difference_high"]
    assert difference(first, first)["p"] == 1.0


def test_rows_that_one_of_them_lacks_are_counted_and_not_paired() -> None:
    found = difference(evaluation(FIRST), evaluation(SECOND[2:], start=2), "squad_em")
    assert (found["metric"], found["n"], found["only_first"], found["only_second"]) == ("squad_em", 4, 2, 0)
    assert found["first"] == 0.5
    with pytest.raises(DataError, match="no row in common"):
        difference(evaluation(FIRST), evaluation(SECOND, start=6))
    with pytest.raises(DataError, match="more than once"):
        difference(evaluation(FIRST), Evaluation(evaluation(SECOND).predictions * 2))


def test_a_metric_that_has_not_judged_the_answers_judges_them_now() -> None:
    answers = evaluation(FIRST)
    wrong = replace(answers, predictions=tuple(replace(one, text="y") for one in answers.predictions))
    found = difference(answers.judged_by(["squad_em"]), wrong.judged_by(["musique_f1"]))
    assert (found["metric"], found["first"], found["second"]) == ("squad_em", 1.0, 0.0)
    found = difference(answers, wrong, "ruler_all")
    assert (found["metric"], found["first"], found["second"]) == ("ruler_all", 1.0, 0.0)
    with pytest.raises(DataError, match="gold_over_foil judges choices"):
        difference(answers, wrong, "gold_over_foil")


def test_rows_of_one_id_with_other_golds_are_not_paired() -> None:
    first = evaluation(FIRST)
    other = replace(first.predictions[1], answers=("another",))
    with pytest.raises(DataError, match=r"1 of 6 have other golds in the second \(e1\); evaluate on the same data"):
        difference(first, Evaluation((first.predictions[0], other, *first.predictions[2:])))


def test_the_command_takes_folders_and_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    evaluation(FIRST).save(tmp_path / "a" / "predictions.jsonl")
    evaluation(SECOND).save(tmp_path / "b.jsonl")
    told = json.loads(passes("compare", tmp_path / "a", tmp_path / "b.jsonl", "--json"))
    assert told == difference(evaluation(FIRST), evaluation(SECOND))
    fails(2, "--metric: it goes with answers", "compare", tmp_path / "x", tmp_path / "y", "--metric", "squad_em")
