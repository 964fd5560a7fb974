"""Where an answer stands in a text, in scripts with blanks between words and without, and whether it can be scored."""

import pytest
from real_rows import mdqa_row, musique_row

from haymaker.data.checks import best_scores
from haymaker.realism.answers import occurrences, scorable
from haymaker.tasks import mdqa_files, musique_files
from haymaker.tasks.file_rows import UNSCORABLE, FileRow


@pytest.mark.parametrize(
    ("text", "gold", "places"),
    [
        ("The capital is Paris.", "Paris", [(15, 20)]),
        ("A Parisian.", "Paris", []),
        ("中国的首都是北京。", "北京", [(6, 8)]),
        ("東京タワーは1958年に建てられた。", "1958年", [(6, 11)]),
        ("เมืองหลวงคือกรุงเทพมหานคร", "กรุงเทพ", [(12, 19)]),
        ("作家Murakami的書", "Murakami", [(2, 10)]),  # Chinese around a word of another script parts it
        ("作家Murakamis的書", "Murakami", []),
        ("서울은 수도이다", "서울", []),  # Korean has blanks, and this one runs on
    ],
)
def test_words_end_where_their_script_ends_them(text: str, gold: str, places: list[tuple[int, int]]) -> None:
    assert occurrences(text, gold) == places


def test_golds_of_which_nothing_is_left_are_counted_under_that_reason() -> None:
    assert [scorable(gold) for gold in ("A", "The The", "!?", "a b", "北京")] == [False, False, False, True, True]
    row = mdqa_row(1)
    row["ctxs"][0]["text"] += " A."
    assert mdqa_files.parse_row({**row, "answers": ["A", "The The"]}, "here") == UNSCORABLE
    kept = mdqa_files.parse_row({**row, "answers": ["A", *row["answers"]]}, "here")
    assert isinstance(kept, FileRow)
    assert "A" not in kept.answers
    chain = {**musique_row(1), "answer": "The", "answer_aliases": ["An"]}
    assert musique_files.parse_row(chain, "here") == UNSCORABLE


def test_rows_in_chinese_are_read() -> None:
    row = mdqa_row(1)
    row["ctxs"][0]["text"] = "中国的首都是北京，人口很多。"
    found = mdqa_files.parse_row({**row, "answers": ["北京"]}, "here")
    assert isinstance(found, FileRow)
    assert found.answers == ("北京",)


def test_a_metric_that_cannot_give_1_says_what_it_can() -> None:
    assert best_scores(["The The"], "The The", ["squad_f1", "squad_em"]) == {"squad_f1": 0.0}
    assert best_scores(["The", "Ada"], "The", ["squad_f1", "squad_em"]) == {}
