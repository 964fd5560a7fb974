"""What the report says in words, worked by hand on tiny tables, and the arithmetic under it."""

import pytest
import report_rows
from report_rows import Row, change

from haymaker.report.findings import find
from haymaker.report.tables import at_main_length, check, groups, in_group, in_order
from haymaker.report.wording import Finding, overlap_chance


@pytest.fixture
def results() -> Row:
    return report_rows.results()


def judged(results: Row) -> dict[str, Finding]:
    """Findings by the first two words of their pattern."""
    _, tables = check(results)
    (group,) = groups(*(rows for name, rows in tables.items() if name != "timings"))
    return {" ".join(found.pattern.split()[:2]): found for found in find(in_group(tables, group))}


def plain(finding: Finding) -> str:
    return finding.sentence.replace("\u00a0", " ")


def test_overlap_chance_counts_sets() -> None:
    # 2 of 4 heads against 2 of 4: of comb(4, 2) = 6 sets one shares both and four share one.
    assert overlap_chance(4, 2, 2, 2) == pytest.approx(1 / 6)
    assert overlap_chance(4, 2, 2, 1) == pytest.approx(5 / 6)
    assert overlap_chance(4, 2, 2, 0) == 1


def test_settings_keep_the_order_of_the_paper() -> None:
    assert in_order(["new", "symbolic", "real", "base", "real"]) == ["base", "real", "symbolic", "new"]


def test_settings_are_compared_where_most_of_them_are(results: Row) -> None:
    rows = at_main_length(results["tables"]["evaluation"])
    assert list(rows) == list(report_rows.F1)
    assert {row["length"] for row in rows.values()} == {512}


def test_only_the_test_split_is_compared(results: Row) -> None:
    train = [{**row, "split": "train", "score": 1.0} for row in results["tables"]["evaluation"]]
    rows = at_main_length(train + results["tables"]["evaluation"])
    assert rows["real"]["score"] == report_rows.F1["real"]


def test_all_patterns_of_the_made_up_rows(results: Row) -> None:
    verdicts = {name: found.verdict for name, found in judged(results).items()}
    assert verdicts.pop("The more") == "cannot be told"
    assert set(verdicts.values()) == {"shows"}
    assert len(verdicts) == 7


def test_nothing_can_be_told_from_one_table(results: Row) -> None:
    results["tables"] = {"timings": [], "evaluation": results["tables"]["evaluation"][:1]}
    assert {found.verdict for found in judged(results).values()} == {"cannot be told"}


def test_real_against_synthetic_by_hand(results: Row) -> None:
    # 0.81 - 0.62 = 0.19; both margins are 0.055, so the interval is 0.19 -+ 0.055 * sqrt(2) = 0.078.
    found = judged(results)["Real data"]
    assert "0.81 [0.76, 0.86]; the best synthetic data, high-high, 0.62 [0.56, 0.68]" in plain(found)
    assert "+0.19 [+0.11, +0.27] (n = 200 questions of 512 tokens)" in plain(found)


def test_real_close_to_a_synthetic_cannot_be_told(results: Row) -> None:
    change(results["tables"]["evaluation"], {"setting": "symbolic"}, score=0.78, score_low=0.72, score_high=0.84)
    found = judged(results)["Real data"]
    assert found.verdict == "cannot be told"
    assert "holds 0 for symbolic" in plain(found)


def test_real_behind_a_synthetic_does_not_show(results: Row) -> None:
    change(results["tables"]["evaluation"], {"setting": "low-low"}, score=0.95, score_low=0.92, score_high=0.98)
    found = judged(results)["Real data"]
    assert found.verdict == "does not show"
    assert "Real is not ahead of low-low." in plain(found)


def test_training_no_better_than_extension_does_not_show(results: Row) -> None:
    change(results["tables"]["evaluation"], {"setting": "real"}, score=0.0, score_low=0.0, score_high=0.0)
    assert judged(results)["Training on"].verdict == "does not show"


def test_heads_shared_by_chance_do_not_show(results: Row) -> None:
    # 9 of 32 heads retrieve in real: 0.28 of any random set would be shared.
    change(results["tables"]["similarity"], {"setting": "symbolic"}, subset=0.25, active=4)
    found = judged(results)["Heads that"]
    assert found.verdict == "does not show"
    assert "0.25 to 1.00" in plain(found)
    assert "9 of n = 32 heads, so chance would give 0.28" in plain(found)


def test_few_shared_heads_cannot_be_told(results: Row) -> None:
    # One head that is shared: chance does as well with 9 / 32 = 0.281.
    change(results["tables"]["similarity"], {"setting": "symbolic"}, subset=1.0, active=1)
    found = judged(results)["Heads that"]
    assert found.verdict == "cannot be told"
    assert "p = 0.281" in plain(found)


def test_setting_without_retrieval_heads_is_named(results: Row) -> None:
    change(results["tables"]["similarity"], {"setting": "symbolic"}, subset=float("nan"), active=0)
    assert "No head retrieves after symbolic." in plain(judged(results)["Heads that"])


@pytest.mark.parametrize(
    ("rho", "p", "n", "verdict"),
    [
        (1.0, 0.017, 5, "shows"),
        (0.9, 0.083, 5, "cannot be told"),
        (-0.3, 0.68, 5, "does not show"),
        (0.5, 0.01, 30, "shows"),
        (0.9, None, 5, "cannot be told"),
    ],
)
def test_correlation_is_judged_by_its_p(results: Row, rho: float, p: float | None, n: int, verdict: str) -> None:
    change(results["tables"]["correlation"], {}, spearman=rho, p=p, n=n)
    found = judged(results)["The more"]
    assert found.verdict == verdict
    assert ("only a perfect order" in plain(found)) == (n == 5)
    assert f"n = {n} settings" in plain(found)


def test_masking_by_hand(results: Row) -> None:
    # A tenth of 32 heads is 3.2, so k = 3. Loss 0.81 - 0.09 = 0.72, 0.89 of 0.81.
    found = judged(results)["Masking the"]
    assert "top 3 of 32 heads" in plain(found)
    assert "a loss of 0.72 [0.64, 0.80], 0.89 of it (n = 200 questions)" in plain(found)


def test_masking_without_a_loss_does_not_show(results: Row) -> None:
    change(
        results["tables"]["ablation"],
        {"setting": "real", "heads": "retrieval"},
        score=0.93,
        score_low=0.91,
        score_high=0.95,
    )
    found = judged(results)["Masking the"]
    assert found.verdict == "does not show"
    assert "no loss" in plain(found)


def test_random_heads_that_matter_do_not_show(results: Row) -> None:
    # A loss of 0.09 is more than a tenth of 0.81.
    change(results["tables"]["ablation"], {"setting": "real", "heads": "random", "k": 3}, score=0.72)
    found = judged(results)["Masking as"]
    assert found.verdict == "does not show"
    assert "0.72 on average (0.72 over 3 draws" in plain(found)


def test_random_heads_cannot_be_told_where_nothing_is_to_lose(results: Row) -> None:
    change(results["tables"]["ablation"], {"setting": "real"}, score=0.03, score_low=0.0, score_high=0.06)
    assert judged(results)["Masking as"].verdict == "cannot be told"


def test_patching_counts_recipients(results: Row) -> None:
    # Two of five recipients lose: 3 of 5 is less than three quarters, yet more than half gain.
    for setting, original in (("high-high", 0.62), ("high-low", 0.55)):
        wanted = {"setting": setting, "heads": "intersection"}
        change(
            results["tables"]["patching"],
            wanted,
            score=original - 0.2,
            score_low=original - 0.25,
            score_high=original - 0.15,
            delta=-0.2,
        )
    found = judged(results)["Patching the"]
    assert found.verdict == "cannot be told"
    assert "helps 3 of 5 recipients" in plain(found)
    assert "high-high −0.20" in plain(found)


def test_patching_no_better_than_random_helps_nobody(results: Row) -> None:
    change(results["tables"]["patching"], {"heads": "random"}, delta=0.3)
    assert "helps 0 of 5 recipients" in plain(judged(results)["Patching the"])


def test_paired_interval_of_a_patch_goes_first(results: Row) -> None:
    change(results["tables"]["patching"], {"heads": "intersection"}, delta_low=0.05, delta_high=0.3)
    assert "symbolic +0.25 [+0.05, +0.30]" in plain(judged(results)["Patching the"])


def test_identity_must_be_exact(results: Row) -> None:
    change(results["tables"]["patching"], {"heads": "identity"}, delta=1e-9)
    found = judged(results)["Patching a"]
    assert found.verdict == "does not show"
    assert "1e-09 at most" in plain(found)


# ---- what cannot be judged is said


def test_an_interval_that_holds_zero_is_undecided_everywhere(results: Row) -> None:
    # The same mean with wide bounds: nothing is known, for better or for worse.
    for setting in ("low-low", "extended"):
        change(results["tables"]["evaluation"], {"setting": setting}, score=0.81, score_low=0.5, score_high=1.0)
    change(
        results["tables"]["ablation"],
        {"setting": "real", "heads": "retrieval"},
        score=0.81,
        score_low=0.5,
        score_high=1.0,
    )
    change(results["tables"]["patching"], {"heads": "intersection"}, delta=0.0, delta_low=-0.37, delta_high=0.37)
    found = judged(results)
    for pattern in ("Training on", "Real data", "Masking the", "Patching the"):
        assert found[pattern].verdict == "cannot be told", pattern


ABOUT_ANSWERS = ("Training on", "Real data", "Masking the", "Masking as", "Patching the")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"n": 2}, "n = 2 is too few to judge by."),
        ({"cut_off": 200}, "was cut off, so nothing is judged."),
        ({"score": 0.0, "score_low": 0.0, "score_high": 0.0}, "All scores are 0, so there is nothing to compare."),
    ],
)
def test_nothing_is_judged_of_few_questions_cut_answers_or_zeros(results: Row, values: Row, told: str) -> None:
    for name in ("evaluation", "ablation", "patching"):
        for row in results["tables"][name]:
            row.update(values)
    found = judged(results)
    for pattern in ABOUT_ANSWERS:
        assert found[pattern].verdict == "cannot be told", pattern
        assert told in plain(found[pattern]), pattern


def test_no_retrieval_head_in_real_and_few_settings_are_not_judged(results: Row) -> None:
    change(results["tables"]["similarity"], {"reference": "real"}, active_reference=0, subset=0.0)
    for row in results["tables"]["correlation"]:
        row.update(n=4, spearman=-0.9)
    found = judged(results)
    assert (found["Heads that"].verdict, found["The more"].verdict) == ("cannot be told",) * 2
    assert "No head retrieves after training on real data." in plain(found["Heads that"])


def test_an_identity_of_zeros_proves_nothing(results: Row) -> None:
    change(results["tables"]["patching"], {"heads": "identity"}, score=0.0, delta=0.0)
    found = next(found for name, found in judged(results).items() if name.startswith("Patching a"))
    assert (found.verdict, "nothing could have changed" in found.sentence) == ("cannot be told", True)
