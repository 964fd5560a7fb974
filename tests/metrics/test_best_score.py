"""The best score that golds allow: worked by hand, and never exceeded by any answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haymaker import metrics
from haymaker.errors import ConfigError, DataError
from haymaker.metrics import METRICS, ceiling
from haymaker.metrics.best_score import unearned

TABLE = [  # metric, golds, the best that an answer can reach
    ("squad_f1", ["A"], 0.0),  # articles are taken out: no word is left to share
    ("squad_f1", ["The The"], 0.0),
    ("squad_f1", ["?!"], 0.0),
    ("squad_f1", ["The A", "the mill"], 1.0),
    ("squad_em", ["A"], 1.0),  # both sides are empty, and equal
    ("squad_v2_f1", ["A"], 1.0),
    ("musique_f1", ["A"], 1.0),
    ("best_subspan_em", ["A"], 1.0),  # the empty text is in every answer
    ("best_subspan_em_words", ["A"], 0.0),
    ("best_subspan_em", ["New\nYork"], 1.0),  # on one line
    ("kv_accuracy", ["4f-2a"], 1.0),
    ("ruler_all", ["12", "56"], 1.0),  # an answer may hold both
    ("ruler_all", ["1\t2", "56"], 0.5),  # RULER reads a tab in an answer as a line break
    ("ruler_part", ["1\t2"], 0.0),
    ("citation_f1", ["1", "3"], 1.0),
    ("citation_f1", ["-1"], 0.0),  # no bracket says so
    ("citation_f1_lenient", ["1", "3"], 1.0),
    ("longbench_retrieval", ["Paragraph 3 of 5"], 1.0),
    ("longbench_count", ["about 7"], 0.0),  # no number is spelt so
    ("longbench_f1", ["A"], 0.0),
]


@pytest.mark.parametrize(("metric", "golds", "best"), TABLE)
def test_the_best_score_worked_by_hand(metric: str, golds: list[str], best: float) -> None:
    assert ceiling(metric, golds) == best
    assert ceiling(METRICS[metric], golds) == best


@pytest.mark.parametrize(
    ("metric", "golds", "score"),
    [
        ("best_subspan_em", ["..."], 1.0),  # without punctuation it is the empty text, which is in every answer
        ("best_subspan_em_uncut", ["mill", "The"], 1.0),
        ("best_subspan_em", ["mill"], 0.0),
        ("best_subspan_em_words", ["..."], 0.0),
        ("squad_f1", ["..."], 0.0),
        ("kv_accuracy", ["mill", ""], 1.0),
        ("ruler_all", ["mill", ""], 0.5),
        ("citation_f1", ["1"], 0.0),  # a letter is no citation
    ],
)
def test_what_any_answer_scores(metric: str, golds: list[str], score: float) -> None:
    assert unearned(metric, golds) == score


def test_what_no_answer_can_be_compared_with_is_refused() -> None:
    with pytest.raises(DataError, match="gold document"):
        ceiling("citation_f1", ["rain"])
    with pytest.raises(DataError, match="list of texts"):
        ceiling("squad_f1", "Paris")
    with pytest.raises(ConfigError, match="no metric 'f1'"):
        ceiling("f1", ["Paris"])


PIECES = ["a", "The", "Paris", "new", "York", "U.S.", "12", "-", "é", "yes", "no", " ", "\n", "\t", "[1]", "[2, 1]"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
GOLDS = {"citation": st.sampled_from(["1", "2", "07"]), "longbench_retrieval": st.sampled_from(["Paragraph 1 or 2"])}


@pytest.mark.parametrize("name", sorted(METRICS))
def test_no_answer_scores_more(name: str) -> None:
    form = next((golds for start, golds in GOLDS.items() if name.startswith(start)), TEXTS)

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(prediction=TEXTS, golds=st.lists(form, min_size=1, max_size=3))
    def law(prediction: str, golds: list[str]) -> None:
        assert metrics.METRICS[name](prediction, golds) <= ceiling(name, golds)

    law()
