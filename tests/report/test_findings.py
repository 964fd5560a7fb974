"""What was judged, in words: worked by hand on tiny tables. The verdicts themselves: tests/study/test_patterns.py."""

import pytest
import report_rows
from report_rows import Row, change

from haymaker.report import render
from haymaker.report.findings import VERDICTS, Findings, find
from haymaker.report.intervention_panels import change_of, patching_words, score_told
from haymaker.report.tables import check
from haymaker.report.wording import chance, listed, too_few
from haymaker.stats import Interval
from haymaker.study.verdicts import Verdict


@pytest.fixture
def results() -> Row:
    return report_rows.results()


def found(results: Row) -> list[Findings]:
    return find(check(results)[1])


def test_a_pattern_is_told_with_its_effect_and_its_rule(results: Row) -> None:
    (only,) = found(results)
    first = only.patterns[0]
    assert (first.pattern, first.verdict, first.rule) == (
        "(a) Real data beats every synthetic setting",
        "shown",
        "By bounds.",
    )
    assert first.sentence.replace("\u00a0", " ") == (
        "High-high 0.19 [0.11, 0.27]. Difference of score: 0.19 [0.11, 0.27] (p = 0.001, n = 200, seeds = 1). "
        "The paper: yes."
    )


def test_what_was_not_judged_says_why_and_gives_no_number(results: Row) -> None:
    (only,) = found(results)
    assert only.patterns[1].sentence == "Not judged: with 4 settings no order. The paper: yes."
    assert only.counts() == "Of 2 patterns looked for: 1 shown, 1 undecided."


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_first_screen_says_which_verdicts_stand_on_one_run(results: Row, seeds: int) -> None:
    change(results["tables"]["patterns"], {}, seeds=seeds)
    strip = render(results).split('<ol class="strip">')[1].split("</ol>")[0]
    assert ("shown in one run</span> (a)" in strip) == (seeds == 1)
    assert "undecided</span> (d)" in strip, "of what is open nothing need be said"


def test_all_together_are_a_group_of_their_own(results: Row) -> None:
    results["tables"]["patterns"] += [row | {"model": "all", "task": "all"} for row in results["tables"]["patterns"]]
    assert [one.group for one in found(results)] == [
        (report_rows.KEYS["model"], report_rows.KEYS["task"]),
        ("all",) * 2,
    ]


def test_the_page_knows_the_verdicts_of_studies() -> None:
    assert set(VERDICTS) == set(Verdict.__args__)  # type: ignore[attr-defined]


def test_paired_interval_of_a_patch_goes_first(results: Row) -> None:
    rows = results["tables"]["patching"]
    (row,) = [row for row in rows if (row["setting"], row["heads"]) == ("symbolic", "intersection")]
    alone = change_of(row, rows)
    change(rows, {"heads": "intersection"}, delta=0.25, delta_low=0.05, delta_high=0.3)
    assert change_of(row, rows) == Interval(0.25, 0.05, 0.3) != alone


def test_masked_heads_have_an_interval_and_random_ones_their_draws() -> None:
    rows = [
        {"heads": heads, "seed": seed, "score": 0.5, "score_low": 0.4, "score_high": 0.7}
        for heads in ("retrieval", "random")
        for seed in (0, 1, 2)
    ]
    change(rows, {"heads": "random", "seed": 2}, score=0.8)
    told = [score_told([row for row in rows if row["heads"] == heads]).text for heads in ("retrieval", "random")]
    assert [one.replace("\u00a0", " ") for one in told] == ["0.50 [0.40, 0.70]", "0.60 [0.50, 0.80]"]


@pytest.mark.parametrize("sizes", [(3, 3), (1, 3)])
def test_bars_of_a_patch_are_told_as_they_are(results: Row, sizes: tuple[int, int]) -> None:
    """Over questions and seeds; where seeds have sets of other sizes, of those that have one."""
    rows = [row for row in results["tables"]["patching"] if row["heads"] == "intersection"]
    results["tables"]["patching"] = [row | {"seed": seed, "k": sizes[seed]} for row in rows for seed in (0, 1)]
    told = patching_words(check(results)[1])
    assert "95 % intervals over questions and 2 seeds of training" in told
    assert ("of those that have sets of the size" in told) == (sizes[0] != sizes[1])


def test_phrases() -> None:
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert [chance(p).replace("\u00a0", " ") for p in (0.017, 0.0001, float("nan"))] == [
        "p = 0.017",
        "p < 0.001",
        "p unknown",
    ]
    assert (too_few(4) != "", "perfect order" in too_few(5), too_few(6)) == (True, True, "")
