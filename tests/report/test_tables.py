"""What the report reads, before anything is said of it."""

from typing import Any

import pytest
import report_rows
from report_rows import Row

from haymaker.errors import DataError
from haymaker.report.lead import headlines, nearest
from haymaker.report.tables import MEANING, check, in_order, kind, measured
from haymaker.stats import Interval


@pytest.fixture
def results() -> Row:
    return report_rows.results()


def test_settings_keep_the_order_of_the_paper() -> None:
    assert in_order(["new", "symbolic", "real", "base", "real"]) == ["base", "real", "symbolic", "new"]


def test_settings_are_compared_where_most_of_them_are(results: Row) -> None:
    found = measured(results["tables"])
    assert list(found) == list(report_rows.F1)
    assert {row["length"] for one in found.values() for row in one.runs} == {512}


def test_only_the_test_split_is_compared(results: Row) -> None:
    train = [{**row, "split": "train", "score": 1.0} for row in results["tables"]["evaluation"]]
    found = measured({"evaluation": train + results["tables"]["evaluation"]})
    assert [row["score"] for row in found["real"].runs] == [report_rows.F1["real"]]


def test_several_seeds_are_told_together_as_the_study_did(results: Row) -> None:
    """Of runs at 0.5 and 0.7: the study's own bounds where it has them, else what the runs' bounds and spread say."""
    one = {**results["tables"]["evaluation"][2], "setting": "real", "seed": 0, "score": 0.5, "n": 100, "cut_off": 10}
    runs = [one, {**one, "seed": 1, "score": 0.7, "cut_off": 30}]
    alone = measured({"evaluation": runs})["real"]
    assert alone.score == (0.6, 0, 1)  # 12.7 x 0.1 to both sides is more than a share can be
    pooled = {"setting": "real", "score": 0.6, "score_low": 0.41, "score_high": 0.79}
    found = measured({"evaluation": runs, "settings": [pooled]})["real"]
    assert found.score == Interval(0.6, 0.41, 0.79)
    assert found.cut_off == 0.2  # 40 of 200
    lost = measured({"evaluation": [one, {**one, "seed": 1, "score": None}]})["real"]
    assert lost.score == Interval.of(one), "one seed's own bounds, no spread of one number"


def test_a_setting_with_changes_has_the_kind_of_its_setting_and_may_lead() -> None:
    for name in (*MEANING, "mine"):
        assert kind(f"{name}:depth=0,competitors=12") == kind(name)
    scores = {"real": 0.6, "low-high": 0.4, "low-high:competitors=12": 0.7, "real:depth=0": 0.9}
    rows = [report_rows.scored(name, 512, score) for name, score in scores.items()]
    told = headlines(measured({"evaluation": rows}))
    assert [one.name for one in told] == ["real data", "best synthetic data: low-high:competitors=12"]
    pairs = [
        {"first": "real", "second": name, "family": "reference", "difference": 0.6 - score, "p_holm": 0.01}
        | {"low": 0.5 - score, "high": 0.7 - score, "detectable": None}
        for name, score in scores.items()
    ]
    assert nearest(pairs)[0].startswith("real minus low-high:competitors=12")


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("evaluation", "n", True, "expected a whole number"),
        ("evaluation", "n", 2.5, "expected a whole number"),
        ("evaluation", "n", float("nan"), "expected a whole number"),
        ("evaluation", "length", -1, "expected a whole number"),
        ("heads", "layer", 10**9, "expected a whole number of 0 to 4,096"),
        ("heads", "score", 10**400, "too large to have been measured"),
        ("evaluation", "score", -1e300, "too large to have been measured"),
        ("evaluation", "score", False, "expected a number or null"),
        ("evaluation", "parsed_low", "0.8", "expected a number or null"),
        ("evaluation", "model", ["m"], "expected a text"),
        ("evaluation", "setting", None, "expected a text"),
        ("evaluation", "seed", {}, "expected a text"),
        ("timings", "cell", None, "expected a text"),
        ("patterns", "sentence", 5, "expected a text"),
        ("patterns", "model", ["m"], "expected a text"),
    ],
)
def test_a_value_that_no_study_writes_is_named(table: str, column: str, value: Any, said: str, results: Row) -> None:
    results["tables"][table][0][column] = value
    with pytest.raises(DataError, match=f"table {table}, row 0, column {column}: .*{said}"):
        check(results)


def test_what_a_verdict_is_of_and_a_model_that_is_no_mapping_are_named(results: Row) -> None:
    with pytest.raises(DataError, match=r"expected meta.model to be a mapping, found int"):
        check(results | {"meta": {"model": 5}})
    del results["tables"]["patterns"][0]["task"]
    with pytest.raises(DataError, match="table patterns, row 0: no column task"):
        check(results)
