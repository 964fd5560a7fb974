"""The form in which a metric reads an answer: a rule for each, and failing on it is counted beside the score."""

import pytest

from haymaker.choices import FORMATS, METRICS


@pytest.mark.parametrize(
    ("metric", "text", "golds", "has"),
    [
        ("squad_f1", "Ada", ["Ada Lovelace"], True),
        ("squad_f1", "", ["Ada"], False),
        ("squad_f1", "the", ["Ada"], False),  # nothing is left of it
        ("squad_f1", "Ada Lovelace, English mathematician of London", ["Ada"], False),  # 6 words, 5 allowed
        ("squad_f1", "The Ada Lovelace, an English mathematician", ["Ada"], True),  # 4 without the articles
        ("musique_f1", "a b c d e f g h i j", ["b c d e f"], True),  # 9 words, twice 5 allowed
        ("squad_v2_f1", "", [""], True),  # no answer is asked for
        ("squad_f1", "The author of the book is Ada Lovelace.", ["Ada Lovelace"], False),  # a sentence
        ("squad_f1", "北京", ["北京"], True),
        ("squad_f1", "根据文章的内容，这座磨坊是由阿达建立的。", ["阿达"], False),  # a sentence, without a blank in it
        ("squad_f1", "この水車小屋はアダが建てたものです。", ["アダ"], False),
        ("squad_f1", "中华人民共和国国家图书馆", ["国家图书馆"], True),
        ("squad_f1", "กรุงเทพมหานคร", ["กรุงเทพมหานคร"], True),
        ("squad_f1", "เมืองหลวงของประเทศไทยคือกรุงเทพ", ["กรุงเทพ"], False),
        ("citation_f1", "[1][3]", ["1"], True),
        ("citation_f1", "documents 1 and 3", ["1"], False),
        ("citation_f1", "[1 2]", ["1"], False),  # the official parser crashes
        ("citation_f1_lenient", "documents 1 and 3", ["1"], True),
        ("longbench_count", "three", ["3"], False),
        ("longbench_count", "3", ["3"], True),
    ],
)
def test_forms_by_hand(metric: str, text: str, golds: list[str], has: bool) -> None:
    assert FORMATS[metric](text, golds) is has


def test_every_form_is_of_a_metric() -> None:
    assert set(FORMATS.own) < set(METRICS)


@pytest.mark.parametrize("metric", FORMATS.own)
def test_the_best_answer_has_the_form(metric: str) -> None:
    golds = ["3"] if metric.startswith(("citation", "longbench_count")) else ["Ada Lovelace"]
    golds = ["Paragraph 3"] if metric == "longbench_retrieval" else golds
    golds = ["The correct answer is (A)"] if metric == "longbench_choice" else golds
    perfect = [text for text in (golds[0], "[3]") if METRICS[metric](text, golds) == 1]
    assert perfect
    assert all(FORMATS[metric](text, golds) for text in perfect)
