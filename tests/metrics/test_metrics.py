"""Metrics: hand-worked numbers, laws, and bit-equality with scores that the official scorers gave."""

import ast
import gzip
import importlib
import importlib.util
import json
import re
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from haymaker import metrics
from haymaker.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / ".." / "shared" / "golden"
PACKAGE = "haymaker.metrics"
SUMMHAY = ROOT / ".." / "shared" / "data" / "summhay"

REFERENCES = {"i1": frozenset({1, 2, 4}), "i2": frozenset({1, 3}), "i3": frozenset({4})}


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


parity = load(ROOT / "benchmarks" / "metric_parity.py")

# --- Official scores --------------------------------------------------------------------------------------------------

# (metric, hand-made cases, fuzz cases); a squad case has ten scores, a fuzz row eight.
CASES = [
    ("squad_em", 18, 3000),
    ("squad_f1", 18, 3000),
    ("squad_v2_em", 18, 0),
    ("squad_v2_f1", 18, 0),
    ("helmet_f1", 18, 0),
    ("best_subspan_em", 18 + 16, 3000),
    ("best_subspan_em_uncut", 18, 3000),
    ("kv_accuracy", 3, 0),
    ("musique_em", 18, 0),
    ("musique_f1", 18, 3000),
    ("musique_scores", 15, 0),
    ("summhay_rows_official", 18, 0),
    ("ruler_all", 13 + 1, 3000),
    ("ruler_part", 13 + 1, 3000),
    ("longbench_f1", 18, 3000),
    ("longbench", 12, 0),
]


@pytest.fixture(scope="module")
def golden() -> dict[str, list[Any]]:
    if not (GOLDEN / "golden_metrics.json").is_file():
        pytest.skip("golden scores: no folder ../shared/golden beside the repository")
    by_metric = defaultdict(list)
    for comparison in parity.comparisons(GOLDEN):
        by_metric[comparison.metric].append(comparison)
    return by_metric


@pytest.mark.parametrize(("metric", "by_hand", "by_fuzz"), CASES)
def test_equals_the_official_scorer_on_every_golden_case(
    golden: dict[str, list[Any]], metric: str, by_hand: int, by_fuzz: int
) -> None:
    found = golden[metric]
    fuzz = [one for one in found if one.case.startswith("fuzz_qa_metrics.3000")]
    assert (len(found) - len(fuzz), len(fuzz)) == (by_hand, by_fuzz)
    assert [one for one in found if not one.equal] == []


def test_golden_cases_are_all_of_these_metrics(golden: dict[str, list[Any]]) -> None:
    assert sorted(golden) == sorted(metric for metric, _, _ in CASES)


def test_fuzz_rows_tell_squad_and_musique_apart(golden: dict[str, list[Any]]) -> None:
    squad, musique = (
        {one.case: one.found for one in golden[metric] if one.case.startswith("fuzz")}
        for metric in ("squad_f1", "musique_f1")
    )
    # 17 of these 3000 rows have both sides normalise to nothing: 0 for one rule, 1 for the other.
    apart = [case for case in squad if squad[case] != musique[case]]
    assert len(apart) == 17
    assert {(squad[case], musique[case]) for case in apart} == {(0.0, 1.0)}


def test_parity_script_sees_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    empty: dict[str, Any] = dict.fromkeys(("squad", "kv_accuracy", "musique", "summhay", "ruler", "longbench"), [])
    wrong = {"case": "wrong", "model_answer": "Paris", "golds": ["Paris"], "score": 0.0}
    right = {**wrong, "case": "right", "score": 1.0}
    corpus = {"preds": ["x"], "refs": [["x"]], "all": 100.0, "part": 100.0}
    cases = {"mdqa_best_subspan_em": [wrong, right], "summhay_topic": {"documents": []}, "ruler_corpus_level": corpus}
    (tmp_path / "golden_metrics.json").write_text(json.dumps(empty | cases))
    monkeypatch.setattr(sys, "argv", ["metric_parity.py", str(tmp_path)])
    assert parity.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["best_subspan_em", "2", "1"]
    assert lines[-1] == "differs: best_subspan_em, mdqa: wrong: expected 0.0, found 1.0"


def test_parity_script_names_a_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["metric_parity.py", str(tmp_path)])
    assert parity.main() == 2
    assert str(tmp_path) in capsys.readouterr().err


# --- SQuAD, HELMET, substring: one table, worked by hand --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Eiffel Tower!", "eiffel tower"),
        ("A-ha", "aha"),  # punctuation first: "a-ha" would lose its a as an article
        ("  New\u00a0York\t", "new york"),
        ("New\u200bYork", "new\u200byork"),
        ("“Hamlet”", "“hamlet”"),
        ("1914–1918", "1914–1918"),
        ("then another banana", "then another banana"),
        ("a\u0301 la carte", "\u0301 la carte"),
        ("STRASSE straße", "strasse straße"),  # lower, not casefold
        ("x“a”y the", "x“ ”y"),  # an article leaves a blank, not a join
        ("a an the", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert metrics.normalise(text) == expected


# prediction, golds, EM, F1 (SQuAD v1.1 = LongBench), F1 (v2 = MuSiQue), F1 HELMET, substring
ANSWERS = [
    ("The Eiffel Tower!", ["eiffel tower"], 1, 1, 1, 1, 1),
    ("an", ["the"], 1, 0, 1, 0, 1),
    ("", [""], 1, 0, 1, 0, 1),
    ("12-15", ["12 15"], 0, 0, 0, 0, 0),
    ("U.S.", ["US"], 1, 1, 1, 1, 1),
    ("“Hamlet”", ["Hamlet"], 0, 0, 0, 0, 1),
    ("Beyonc\u00e9", ["Beyonce\u0301"], 0, 0, 0, 0, 0),
    ("new new new york", ["New York"], 0, 2 / 3, 2 / 3, 2 / 3, 1),  # shared 2 of 4 and of 2: 2(1/2)/(3/2)
    ("new york new", ["new new york"], 0, 1, 1, 1, 0),  # shared with repeats: 3 of 3 and of 3
    ("A-ha", ["aha"], 1, 1, 1, 1, 1),
    ("Vitamin A", ["vitamin"], 1, 1, 1, 1, 1),
    ("New\u00a0York", ["New York"], 1, 1, 1, 1, 1),
    ("New\u200bYork", ["New York"], 0, 0, 0, 0, 0),
    ("$1.5 million", ["15 million"], 1, 1, 1, 1, 1),
    ("1914–1918", ["1914-1918"], 0, 0, 0, 0, 0),
    ("yes, it is", ["yes"], 0, 1 / 2, 1 / 2, 0, 1),  # 1 of 3 and of 1: 2(1/3)/(4/3)
    ("Barack Hussein Obama", ["Obama", "Barack Obama"], 0, 4 / 5, 4 / 5, 4 / 5, 1),  # best gold: 2 of 3 and of 2
    ("İstanbul", ["istanbul"], 0, 0, 0, 0, 0),
    ("a\u0301 la carte", ["la carte"], 0, 4 / 5, 4 / 5, 4 / 5, 1),
]


@pytest.mark.parametrize(("prediction", "golds", "em", "f1", "f1_v2", "f1_helmet", "substring"), ANSWERS)
def test_answer_table(
    prediction: str, golds: list[str], em: float, f1: float, f1_v2: float, f1_helmet: float, substring: float
) -> None:
    assert [score(prediction, golds) for score in (metrics.squad_em, metrics.squad_v2_em, metrics.musique_em)] == [
        em
    ] * 3
    assert [score(prediction, golds) for score in (metrics.squad_f1, metrics.longbench_f1)] == pytest.approx([f1] * 2)
    assert [score(prediction, golds) for score in (metrics.squad_v2_f1, metrics.musique_f1)] == pytest.approx(
        [f1_v2] * 2
    )
    assert metrics.helmet_f1(prediction, golds) == pytest.approx(f1_helmet)
    assert metrics.best_subspan_em(prediction, golds) == metrics.best_subspan_em_uncut(prediction, golds) == substring


def test_f1_is_rounded_as_the_official_order_of_operations_rounds() -> None:
    # 4 of 5 and of 5: 2 * 0.8 * 0.8 / 1.6 is a little over 4/5 in floats; other spellings of F1 give 0.8 itself.
    assert metrics.squad_f1("v w x y z", ["u w x y z"]) == 0.8000000000000002


def test_helmet_gives_closed_answers_no_partial_credit() -> None:
    assert metrics.helmet_f1("Yes!", ["yes"]) == 1.0
    assert [metrics.helmet_f1(f"{word} way", [word]) for word in ("yes", "no", "noanswer", "one")] == [0, 0, 0, 2 / 3]


def test_squad_v2_drops_golds_that_normalise_to_nothing() -> None:
    # Left: "Paris" alone, so an empty answer is wrong. MuSiQue keeps "the" and finds both sides empty.
    assert metrics.squad_v2_f1("", ["the", "Paris"]) == metrics.squad_v2_em("", ["the", "Paris"]) == 0.0
    assert metrics.musique_f1("", ["the", "Paris"]) == 1.0


def test_squad_v2_without_golds_means_no_answer() -> None:
    assert metrics.squad_v2_f1("", []) == metrics.squad_v2_em("", []) == 1.0
    assert metrics.squad_v2_f1("Paris", []) == metrics.squad_v2_em("Paris", []) == 0.0


# --- MDQA -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "golds", "expected"),
    [
        ("The answer is Wilhelm Conrad Röntgen.", ["Wilhelm Conrad Röntgen"], 1),
        ("\nParis", ["Paris"], 0),
        ("Answer:\nParis", ["Paris"], 0),
        ("It happened because of rain", ["US"], 1),
        ("I do not know", ["The"], 1),
        ("The code is 19725", ["1972"], 1),
        ("December 14, 1972", ["14 December 1972 UTC", "December 1972"], 0),
        ("Twenty-One Pilots sang it", ["Twenty One Pilots"], 0),
        ("King of Hill", ["King of the Hill"], 1),
        ("Paris\r\nbecause...", ["Paris"], 1),
        ("Paris", [], 0),
        ("Paris is\fParis", ["is Paris"], 1),
        ("no idea\u2028Paris", ["Paris"], 1),
        ("Document [1](Title: X) Paris is big Document [2](Title: Y) Rome is old", ["Rome"], 1),
    ],
)
def test_best_subspan_em(prediction: str, golds: list[str], expected: float) -> None:
    assert metrics.best_subspan_em(prediction, golds) == expected


@pytest.mark.parametrize(
    ("prediction", "gold", "cut", "uncut", "words"),
    [
        ("\nParis", "Paris", 0, 1, 0),  # the first line is empty
        ("Answer:\nParis", "Paris", 0, 1, 0),
        ("It happened because of rain", "US", 1, 1, 0),  # "us" is inside "because"
        ("The code is 19725", "1972", 1, 1, 0),
        ("I do not know", "The", 1, 1, 0),  # "The" normalises to nothing
        ("It was in the US.", "US", 1, 1, 1),
        ("King of Hill", "King of the Hill", 1, 1, 1),
        ("the, and", "", 1, 1, 0),
        ("The", "a", 1, 1, 0),  # both normalise to nothing
    ],
)
def test_variants_differ_from_best_subspan_em_where_they_say(
    prediction: str, gold: str, cut: float, uncut: float, words: float
) -> None:
    found = [
        score(prediction, [gold])
        for score in (metrics.best_subspan_em, metrics.best_subspan_em_uncut, metrics.best_subspan_em_words)
    ]
    assert found == [cut, uncut, words]


def test_kv_accuracy_reads_the_whole_answer() -> None:
    assert metrics.kv_accuracy('\n\n"0D7BA717-e034"', ["0d7ba717-e034"]) == 1.0
    assert metrics.kv_accuracy("0d7ba717 -e034", ["0d7ba717-e034"]) == 0.0


# --- MuSiQue ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "golds", "f1", "em"),
    [
        ("USA", ["United States of America", "USA"], 1, 1),
        ("the United States", ["United States of America", "USA"], 2 / 3, 0),  # 2 of 2 and of 4: 2(1/2)/(3/2)
        ("", ["Paris"], 0, 0),
        ("the", ["a"], 1, 1),
        # "the spouse of the green performer is miquette giraudy": 7 words without articles, 2 shared: 2(2/7)/(9/7)
        ("The spouse of the Green performer is Miquette Giraudy.", ["Miquette Giraudy"], 4 / 9, 0),
    ],
)
def test_musique_answers(prediction: str, golds: list[str], f1: float, em: float) -> None:
    assert metrics.musique_f1(prediction, golds) == pytest.approx(f1)
    assert metrics.musique_em(prediction, golds) == em


@pytest.mark.parametrize(
    ("predicted", "golds", "expected"),
    [
        ([0, 0, 1], [0, 1], 1),
        (["0", "2"], [0, 1], 1 / 2),
        ([], [0, 1], 0),
        ([], [], 1),
        ([3], [], 0),
        ([0, 1, 2], [0], 1 / 2),  # P 1/3, R 1: 2(1/3)/(4/3)
    ],
)
def test_musique_support_f1(predicted: list[Any], golds: list[int], expected: float) -> None:
    assert metrics.musique_support_f1(predicted, golds) == pytest.approx(expected)


def musique_pair(
    name: str = "a", answer: Any = "x", answerable: bool = True, called: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One prediction and its gold row: the answer is x, and of paragraphs 0 and 1 the first supports it."""
    paragraphs = [{"idx": 0, "is_supporting": True}, {"idx": 1, "is_supporting": False}]
    return (
        {"id": name, "predicted_answer": answer, "predicted_support_idxs": [0], "predicted_answerable": called},
        {"id": name, "answer": "x", "answer_aliases": [], "paragraphs": paragraphs, "answerable": answerable},
    )


def test_musique_scores_are_means_over_rows() -> None:
    predictions, golds = zip(musique_pair("a"), musique_pair("b", "y"), musique_pair("c", "x z"), strict=True)
    # F1: 1, 0 and 2(1/2)/(3/2) = 2/3; EM: 1, 0, 0
    scores = metrics.musique_scores(predictions, golds)
    assert scores == pytest.approx((5 / 9, 1 / 3, 1.0, None, None))


@pytest.mark.parametrize(("second_flag", "expected"), [(False, 2 / 3), (True, 0.0)])
def test_musique_full_counts_an_id_only_with_both_flags_right(second_flag: bool, expected: float) -> None:
    pairs = [musique_pair("a", "x z"), musique_pair("a", "junk", answerable=False, called=second_flag)]
    for order in (pairs, pairs[::-1]):
        scores = metrics.musique_scores(*zip(*order, strict=True))
        assert scores.answer_f1 == pytest.approx(2 / 3)
        assert scores.group_answer_sufficiency_f1 == pytest.approx(expected)
        assert scores.group_support_sufficiency_f1 == float(not second_flag)


def without(row: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != field}


def test_musique_scores_refuse_what_the_official_script_asserts() -> None:
    prediction, gold = musique_pair()
    other = musique_pair("b")
    with pytest.raises(DataError, match="one prediction for each gold row, found 2 for 1"):
        metrics.musique_scores([prediction, prediction], [gold])
    with pytest.raises(DataError, match="found 0 for 0"):
        metrics.musique_scores([], [])
    with pytest.raises(DataError, match="order of the gold rows: 'a' next, found 'b'"):
        metrics.musique_scores([other[0], prediction], [gold, other[1]])
    with pytest.raises(DataError, match="a: expected predicted_answer to be text, found None"):
        metrics.musique_scores(*([row] for row in musique_pair("a", None)))
    with pytest.raises(DataError, match="a: expected a field 'predicted_answerable'"):
        metrics.musique_scores([without(prediction, "predicted_answerable")], [gold])


@pytest.mark.parametrize("flags", [[False], [False, False], [True, False, False], [True, True, False]])
def test_musique_full_needs_one_row_of_each_kind(flags: list[bool]) -> None:
    predictions, golds = zip(*(musique_pair(answerable=flag) for flag in flags), strict=True)
    with pytest.raises(DataError, match="a: MuSiQue-Full needs one answerable and one unanswerable row"):
        metrics.musique_scores(predictions, golds)


# --- Citations and SummHay --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("[1][2][4]", {1, 2, 4}, {1, 2, 4}),
        ("x [1, 2,4].", {1, 2, 4}, {1, 2, 4}),
        ("[1,][ ]", {1}, {1}),
        ("[1][1][1]", {1}, {1}),
        ("[1; 2; 4]", set(), {1, 2, 4}),
        ("[Article 1][2]", {2}, {1, 2}),
        ("[1-4] and [6–7]", set(), {1, 2, 3, 4, 6, 7}),
        ("[Articles 1, 2 and 5] [doc #3]", set(), {1, 2, 3, 5}),
        ("as seen in Articles 30, 95, and 56.", set(), {30, 56, 95}),
        ("Article 5, 20 people died", set(), {5}),
        ("[Word count: 45] [45 words] [see 3]", set(), set()),
        ("[1-1000]", set(), set(range(1, 1001))),
        ("[1-1001] [4-1] [1-999999]", set(), set()),  # too long a range, backwards
        ("1, 2", set(), set()),
        ("no citation", set(), set()),
    ],
)
def test_citation_parsers(text: str, strict: set[int], lenient: set[int]) -> None:
    assert metrics.citations(text) == strict
    assert metrics.citations_lenient(text) == lenient


@pytest.mark.parametrize("bracket", ["[1 2]", f"[{'9' * 5000}]"])
def test_strict_parser_refuses_what_crashes_the_official_one(bracket: str) -> None:
    with pytest.raises(DataError, match="expected a citation that is a whole number"):
        metrics.citation_f1(bracket, ["1"])


def test_lenient_parser_reads_numbers_apart_by_blanks() -> None:
    assert metrics.citation_f1_lenient("[1 2]", ["1", "2"]) == 1.0
    assert metrics.citations_lenient(f"[{'9' * 5000}]") == frozenset()


@pytest.mark.parametrize(
    ("prediction", "precision", "recall", "f1"),  # golds 1, 2, 4
    [
        ("[1][2][4]", 1, 1, 1),
        ("[1; 2; 4]", 0, 0, 0),
        ("[Article 1][2]", 1, 1 / 3, 1 / 2),  # 2(1/3)/(4/3)
        ("[1][99]", 1 / 2, 1 / 3, 2 / 5),  # 2(1/6)/(5/6)
        ("[1][1][1]", 1, 1 / 3, 1 / 2),
        ("[2][4]", 1, 2 / 3, 4 / 5),  # 2(2/3)/(5/3)
        ("", 0, 0, 0),
    ],
)
@pytest.mark.parametrize("golds", [["1", "2", "4"], [1, 2, 4], ("4", 2, "1", "1")])
def test_citation_scores(prediction: str, precision: float, recall: float, f1: float, golds: Any) -> None:
    assert metrics.citation_scores(prediction, golds) == pytest.approx((precision, recall, f1))
    assert metrics.citation_f1(prediction, golds) == pytest.approx(f1)


def test_citation_f1_lenient_scores_what_the_strict_one_misses() -> None:
    assert metrics.citation_f1_lenient("[1; 2; 4]", ["1", "2", "4"]) == 1.0
    assert metrics.citation_f1_lenient("[1-4]", ["1", "2", "4"]) == pytest.approx(6 / 7)  # P 3/4, R 1


@pytest.mark.parametrize("golds", [[], "1", ["one"], [None], [True], [1.0], ["[1]"]])
def test_citation_golds_are_document_numbers(golds: Any) -> None:
    with pytest.raises(DataError, match="number"):
        metrics.citation_f1("[1]", golds)


def test_summhay_references_number_documents_from_one() -> None:
    held = [["i1", "i2"], ["i1"], ["i2"], ["i1", "i3"], []]
    assert metrics.summhay_references([{"insights_included": ids} for ids in held]) == REFERENCES
    with pytest.raises(DataError, match="insights_included"):
        metrics.summhay_references([{"insights": []}])


def judged(coverage: str, bullet_id: Any, insight: str = "i1") -> dict[str, Any]:
    return {"insight_id": insight, "coverage": coverage, "bullet_id": bullet_id}


MIXED = [judged("FULL_COVERAGE", 1), judged("PARTIAL_COVERAGE", 2, "i2"), judged("NO_COVERAGE", "NA", "i3")]


@pytest.mark.parametrize("read", [metrics.summhay_rows, metrics.summhay_rows_official])
def test_summhay_means(read: Any) -> None:
    # i1 [1][2] against {1, 2, 4}: P 1, R 2/3, F1 4/5; i2 [3] against {1, 3}: P 1, R 1/2, F1 2/3; i3 not covered
    scores = metrics.summhay_scores(read(["- x [1][2]", "- y [3]"], MIXED, REFERENCES))
    assert scores.coverage == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert scores.joint == pytest.approx((4 / 5 + 1 / 2 * 2 / 3 + 0) / 3)
    assert scores.citation == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert (scores.precision, scores.recall) == pytest.approx((1, 7 / 12))
    assert (scores.insights, scores.covered, scores.errors) == (3, 2, 0)


@pytest.mark.parametrize("read", [metrics.summhay_rows, metrics.summhay_rows_official])
def test_summhay_bullet_ids_as_text_and_shifted_citations(read: Any) -> None:
    bullets = ["- x [9]", "- y [0][1][3]"]
    (row,) = read(bullets, [judged("FULL_COVERAGE", "2")], REFERENCES, cite_offset=1)
    assert row == ("i1", 1.0, (1.0, 1.0, 1.0), None)


# bullets, judgement, coverage and citation F1 as the official scorer reads it, coverage as we do, what our error says
MISREAD = [
    (["- [9]", "- [1][2][4]", "- [8]"], judged("FULL_COVERAGE", "NA"), 1, 1, 1, "bullet id that is a whole number"),
    (["- [9]", "- [1][2][4]", "- [8]"], judged("FULL_COVERAGE", None), 1, 1, 1, "bullet id that is a whole number"),
    (["- [9]", "- [1][2][4]"], judged("FULL_COVERAGE", 0), 1, 1, 1, "bullet id 0 is not one of"),
    (["- [9]", "- [1][2][4]", "- [8]"], judged("PARTIAL_COVERAGE", -1), 0.5, 1, 0.5, "bullet id -1 is not one of"),
    (["- [1][2][4]"], judged("full_coverage", 1), 0, 0, 0, "coverage label 'full_coverage' is none of FULL_COVERAGE"),
]


@pytest.mark.parametrize(("bullets", "judgement", "official", "citation", "ours", "message"), MISREAD)
def test_summhay_misreadings_are_error_rows(
    bullets: list[str], judgement: dict[str, Any], official: float, citation: float, ours: float, message: str
) -> None:
    (misread,) = metrics.summhay_rows_official(bullets, [judgement], REFERENCES)
    assert (misread.coverage, misread.citation.f1, misread.error) == (official, citation, None)
    (row,) = metrics.summhay_rows(bullets, [judgement], REFERENCES)
    assert (row.coverage, row.citation, row.joint) == (ours, (0.0, 0.0, 0.0), 0.0)
    assert message in str(row.error)
    assert metrics.summhay_scores([row]).errors == 1


@pytest.mark.parametrize(
    ("bullets", "bullet_id", "message"),
    [(["- x [9]"], 2, "not one of the summary's bullets 1 to 1"), (["- x [1 2]"], 1, "found '1 2'")],
)
def test_summhay_crashes_are_error_rows(bullets: list[str], bullet_id: int, message: str) -> None:
    judgements = [judged("FULL_COVERAGE", bullet_id)]
    with pytest.raises(DataError):
        metrics.summhay_rows_official(bullets, judgements, REFERENCES)
    (row,) = metrics.summhay_rows(bullets, judgements, REFERENCES)
    assert (row.coverage, row.joint) == (1.0, 0.0)
    assert message in str(row.error)


@pytest.mark.parametrize("read", [metrics.summhay_rows, metrics.summhay_rows_official])
def test_summhay_insight_without_documents_is_a_broken_topic(read: Any) -> None:
    with pytest.raises(DataError, match="insight 'zz', found none in the topic"):
        read(["- x [1]"], [judged("FULL_COVERAGE", 1, "zz")], REFERENCES)


def test_summhay_citation_mean_over_nothing_is_none() -> None:
    rows = metrics.summhay_rows(["- x [1]"], [judged("NO_COVERAGE", "NA")], REFERENCES)
    scores = metrics.summhay_scores(rows)
    assert (scores.coverage, scores.joint, scores.citation, scores.precision, scores.recall) == (0, 0, None, None, None)
    assert metrics.summhay_scores(rows, none_covered=0.25)[2:5] == (0.25, 0.25, 0.25)
    with pytest.raises(DataError, match="at least one judged insight"):
        metrics.summhay_scores([])


@pytest.mark.parametrize("topic", ["news1", "news3"])
def test_summhay_readings_agree_on_real_judgements(topic: str) -> None:
    path = SUMMHAY / f"topic_{topic}.json.gz"
    if not path.is_file():
        pytest.skip("SummHay topics: no folder ../shared/data/summhay beside the repository")
    released = json.loads(gzip.decompress(path.read_bytes()))
    references = metrics.summhay_references(released["documents"])
    rows = []
    for subtopic in released["subtopics"]:
        for system, judgements in subtopic["eval_summaries"].items():
            safe = metrics.summhay_rows(subtopic["summaries"][system], judgements, references)
            assert safe == metrics.summhay_rows_official(subtopic["summaries"][system], judgements, references)
            rows += safe
    assert metrics.summhay_scores(rows).errors == 0
    assert len(rows) > 5000


# --- RULER ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "golds", "share", "any_of_them"),
    [
        ("8090293", ["8090293", "1", "22222", "7654321"], 1 / 4, 1),
        ("7210606", ["1", "9"], 1 / 2, 1),
        ("80902931", ["8090293"], 1, 1),
        ("8,090,293", ["8090293"], 0, 0),
        ("dusky-FINDING", ["Dusky-finding"], 1, 1),
        ("U.S.", ["US"], 0, 0),
        ("Beatles", ["The Beatles"], 0, 0),
        ("New\tYork", ["New York"], 0, 0),
        ("anything", [""], 1, 1),
        ("aaa", ["aaa", "aaa", "bbb"], 2 / 3, 1),
        ("STRASSE", ["straße"], 0, 0),
        ("  \n ", ["x"], 0, 0),
        ("\x00x\x01", ["\nx"], 0, 0),  # control characters at the ends are line breaks, and stripped
        ("x\ty", ["x\ny"], 1, 1),
        ("x", ["x", "y"], 1 / 2, 1),
    ],
)
def test_ruler(prediction: str, golds: list[str], share: float, any_of_them: float) -> None:
    assert metrics.ruler_all(prediction, golds) == pytest.approx(share)
    assert metrics.ruler_part(prediction, golds) == any_of_them


def test_ruler_picks_the_rule_of_the_task() -> None:
    assert {metrics.ruler("x", ["x", "y"], task=task) for task in ("qa_1", "qa_2")} == {1.0}
    assert {metrics.ruler("x", ["x", "y"], task=task) for task in ("niah_multikey_3", "vt", "cwe", "fwe")} == {0.5}
    with pytest.raises(ConfigError, match="unknown family of RULER task 'quality_1'.*known are cwe, fwe, niah, qa, vt"):
        metrics.ruler("x", ["x"], task="quality_1")


# --- LongBench --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "prediction", "golds", "expected"),
    [
        # "paris because it is capital": 5 words, 1 shared: 2(1/5)/(6/5)
        ("musique", "Paris\nBecause it is the capital", ["Paris"], 1 / 3),
        ("triviaqa", "Paris\nBecause it is the capital", ["Paris"], 1),
        ("triviaqa", "\n\nParis\nfoo", ["Paris"], 1),
        ("musique", "the", ["a"], 0),
        ("musique", "x", [], 0),
        ("musique", "Barack Obama", ["Obama", "Barack Hussein Obama"], 4 / 5),
        ("hotpotqa", "Yes, both are American.", ["yes"], 2 / 5),  # 1 of 4 and of 1: 2(1/4)/(5/4)
        ("2wikimqa", "Polish-Russian", ["Polish Russian War"], 0),
        ("musique", "1,000 people", ["1000"], 2 / 3),
        ("passage_retrieval_en", "Paragraph 3 (not Paragraph 30)", ["Paragraph 3"], 1 / 2),
        ("passage_retrieval_en", "three", ["Paragraph 3"], 0),
        ("passage_count", "three", ["3"], 0),
        ("passage_count", "3, or 4, no: 3", ["3"], 2 / 3),
    ],
)
def test_longbench(dataset: str, prediction: str, golds: list[str], expected: float) -> None:
    assert metrics.longbench(prediction, golds, dataset=dataset) == pytest.approx(expected)


def test_longbench_f1_cuts_only_where_the_dataset_says() -> None:
    answer = "\nParis\nBecause it is the capital"
    whole = [metrics.longbench_f1(answer, ["Paris"], dataset=name) for name in (None, "hotpotqa", "musique")]
    assert whole == pytest.approx([1 / 3] * 3)
    assert [metrics.longbench_f1(answer, ["Paris"], dataset=name) for name in metrics.LONGBENCH_FIRST_LINE] == [1.0] * 4


def test_longbench_names_are_checked() -> None:
    with pytest.raises(ConfigError, match="unknown LongBench F1 dataset: 'TriviaQA'; known are .*triviaqa"):
        metrics.longbench_f1("x", ["x"], dataset="TriviaQA")
    with pytest.raises(ConfigError, match="unknown LongBench dataset: 'gov_report'"):
        metrics.longbench("x", ["x"], dataset="gov_report")
    with pytest.raises(DataError, match="expected a gold that names its paragraph"):
        metrics.longbench_retrieval("Paragraph 3", ["3"])


# --- The border -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
@pytest.mark.parametrize("prediction", [None, 7, b"Paris", ["Paris"]])
def test_a_prediction_must_be_text(name: str, prediction: Any) -> None:
    with pytest.raises(DataError, match=f"expected a prediction that is text, found {type(prediction).__name__}"):
        getattr(metrics, name)(prediction, ["1"])


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
@pytest.mark.parametrize("golds", ["1", None, [None], ["1", 2.5]])
def test_golds_must_be_a_list_of_texts(name: str, golds: Any) -> None:
    with pytest.raises(DataError, match="expected"):
        getattr(metrics, name)("[1]", golds)


ZERO_WITHOUT_GOLDS = {"best_subspan_em", "best_subspan_em_uncut", "best_subspan_em_words"} | {
    "longbench_f1",
    "longbench_retrieval",
    "longbench_count",
}


@pytest.mark.parametrize("name", sorted(set(metrics.METRICS) - {"squad_v2_em", "squad_v2_f1"}))
def test_no_golds_is_an_error_except_where_the_official_score_is_zero(name: str) -> None:
    if name in ZERO_WITHOUT_GOLDS:
        assert metrics.METRICS[name]("[1]", []) == 0.0
    else:
        with pytest.raises(DataError, match="at least one"):
            metrics.METRICS[name]("[1]", [])


def test_metrics_are_named_as_their_functions() -> None:
    assert all(getattr(metrics, name) is metrics.METRICS[name] for name in metrics.METRICS)
    promised = {"squad_f1", "squad_em", "squad_v2_f1", "best_subspan_em", "musique_f1", "musique_em", "citation_f1"}
    assert promised | {"ruler_all", "ruler_part", "longbench_f1"} <= set(metrics.METRICS)


def test_an_unknown_metric_lists_the_known_names() -> None:
    with pytest.raises(ConfigError, match="no metric 'f1'; there are squad_em, squad_f1, "):
        metrics.METRICS["f1"]


def test_metrics_import_only_the_standard_library() -> None:
    files = sorted(Path(metrics.__file__).parent.glob("*.py"))
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    others = {name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in others if not name.startswith(PACKAGE)} == {"haymaker.errors", "haymaker.choices"}


# --- Laws -------------------------------------------------------------------------------------------------------------

laws = settings(max_examples=100, deadline=None, derandomize=True, database=None)

# Short texts that meet often: articles, punctuation, numbers, odd blanks, accents; and any text at all.
PIECES = ["a", "The", "an", "Paris", "new", "York", "U.S.", "12", "1.5", "-", "é", "“x”", "İ", "ΑΣ", "yes", "no"]
BLANKS = [" ", "", "\n", "\t", "\u00a0", "\u200b", "\u2028", "\r\n"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.sampled_from(BLANKS), max_size=9).map("".join) | st.text(max_size=20)
GOLDS = st.lists(TEXTS, min_size=1, max_size=4)
DOCUMENTS = st.lists(st.integers(1, 9), max_size=5)

# The citation metrics and this one need golds of a form of their own.
TEXT_METRICS = sorted(name for name in metrics.METRICS if not name.startswith(("citation", "longbench_retrieval")))
# Not maxima over golds: a share of them, and v2, which drops empty golds where there are others.
MAXIMA = sorted(set(TEXT_METRICS) - {"ruler_all", "mrcr", "squad_v2_em", "squad_v2_f1"})
WORD_F1 = ["squad_f1", "squad_v2_f1", "helmet_f1", "musique_f1", "longbench_f1"]


@laws
@given(TEXTS)
def test_normalise_is_idempotent(text: str) -> None:
    once = metrics.normalise(text)
    assert metrics.normalise(once) == once


@laws
@given(prediction=TEXTS, golds=GOLDS)
def test_scores_are_fractions(prediction: str, golds: list[str]) -> None:
    scores = {name: metrics.METRICS[name](prediction, golds) for name in TEXT_METRICS}
    assert {name: score for name, score in scores.items() if type(score) is not float or not 0 <= score <= 1} == {}


@laws
@given(prediction=TEXTS, golds=GOLDS, one_more=TEXTS)
def test_one_more_gold_never_lowers_a_maximum(prediction: str, golds: list[str], one_more: str) -> None:
    for score in map(metrics.METRICS.__getitem__, MAXIMA):
        parts = score(prediction, golds), score(prediction, [one_more])
        assert score(prediction, [*golds, one_more]) == max(parts), score.__name__


@laws
@given(left=TEXTS, right=TEXTS)
def test_word_f1_is_symmetric(left: str, right: str) -> None:
    for score in map(metrics.METRICS.__getitem__, WORD_F1):
        assert score(left, [right]) == score(right, [left]), score.__name__


@laws
@given(prediction=TEXTS, golds=GOLDS)
def test_scores_are_ordered(prediction: str, golds: list[str]) -> None:
    scores = {name: metrics.METRICS[name](prediction, golds) for name in TEXT_METRICS}
    assert scores["squad_em"] <= scores["musique_f1"]
    assert scores["helmet_f1"] <= scores["squad_f1"] <= scores["musique_f1"]
    assert scores["best_subspan_em_words"] <= scores["best_subspan_em"] <= scores["best_subspan_em_uncut"]
    assert scores["ruler_all"] <= scores["ruler_part"]


@laws
@given(cited=DOCUMENTS, golds=DOCUMENTS.filter(bool))
def test_citation_f1_is_twice_the_shared_over_the_sum(cited: list[int], golds: list[int]) -> None:
    text = " ".join(f"[{number}]" for number in cited)
    found, wanted = set(cited), set(golds)
    expected = 2 * len(found & wanted) / (len(found) + len(wanted))
    assert metrics.citation_f1(text, golds) == pytest.approx(expected)
    assert metrics.citation_f1_lenient(text, [str(number) for number in golds]) == pytest.approx(expected)


@laws
@given(st.text(alphabet="[]123,;- #articles", max_size=30))
def test_the_lenient_parser_reads_what_the_strict_one_does(text: str) -> None:
    lenient = metrics.citations_lenient(text)  # never raises
    assume(not re.search(r"\d{7}", text))  # longer numbers are none to the lenient parser
    with suppress(DataError):
        assert metrics.citations(text) <= lenient


@pytest.mark.parametrize(
    ("answer", "golds", "score"),
    [
        ("The correct answer is (B)", ["B"], 1.0),
        ("Well. **The correct answer is (B)**, not (A).", ["The correct answer is (B)"], 1.0),
        ("The correct answer is A or so; The correct answer is (B)", ["A"], 0.0),  # brackets are looked for first
        ("The correct answer is B", ["B"], 1.0),
        ("B", ["B"], 0.0),
        ("the correct answer is (B)", ["B"], 0.0),
    ],
)
def test_a_choice_is_the_letter_that_longbench_v2_reads(answer: str, golds: list[str], score: float) -> None:
    assert metrics.longbench_choice(answer, golds) == score


@pytest.mark.parametrize(
    ("answer", "golds", "score"),
    [
        ("x7abcd", ["x7abcd", "x7"], 1.0),
        ("x7ab", ["x7abcd", "x7"], 2 * 2 / 6),  # two letters of two and four are shared
        ("abcd", ["x7abcd", "x7"], 0.0),  # without the string before it
        ("x7", ["x7abcd", "x7"], 0.0),
        ("abcd", ["abcd"], 1.0),
    ],
)
def test_a_turn_said_again_is_as_good_as_it_is_like_it(answer: str, golds: list[str], score: float) -> None:
    assert metrics.mrcr(answer, golds) == pytest.approx(score)
