"""Where an answer stands in a text, in scripts with blanks between words and without, and whether it can be scored."""

import re
from pathlib import Path

import pytest
from real_rows import mdqa_row, musique_row, write_jsonl
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.data.checks import best_scores
from haymaker.errors import DataError
from haymaker.realism.answers import holds, occurrences, scorable
from haymaker.tasks import mdqa_files, musique_files
from haymaker.tasks.file_rows import UNSCORABLE, FileRow
from haymaker.tasks.own_rows import NOWHERE


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
        ("서울은 수도이다", "서울", [(0, 2)]),  # a particle behind the word
        ("대서울은 수도이다", "서울", []),
        ("그것은 1998년이고 NASA는", "1998", [(4, 8)]),
        ("그것은 1998년이고 NASA는", "NASA", [(12, 16)]),
        ("रामायण में राम ने कहा", "राम", [(11, 14)]),  # vowel signs are parts of words
        ("Jose\u0301 and Jose", "Jose", [(10, 14)]),
        ("e\u0301Ada, Ada", "Ada", [(7, 10)]),
        ("می\u200cروم می", "می", [(7, 9)]),
        ("\U0001f469\u200d\U0001f680 \U0001f469", "\U0001f469", [(4, 5)]),  # an astronaut, a woman
        ("\U0001f44d\U0001f3fd \U0001f44d", "\U0001f44d", [(3, 4)]),
        ("I \u2764\ufe0f it", "\u2764", [(2, 3)]),
        ("1.5 km, 5 bridges", "5", [(8, 9)]),
        ("It cost 5,000.", "5", []),
        ("It cost 5,000.", "5,000", [(8, 13)]),
        ("born 12.05.1984", "1984", [(11, 15)]),  # a day's parts are numbers of their own
        ("pages 3,4,5", "4", [(8, 9)]),
        ("In 1990, 5 came.", "1990", [(3, 7)]),
    ],
)
def test_words_end_where_their_script_ends_them(text: str, gold: str, places: list[tuple[int, int]]) -> None:
    assert occurrences(text, gold) == places


@pytest.mark.parametrize(
    ("text", "gold", "how"),
    [
        ("הוא גר בירושלים.", "ירושלים", ", but within a longer word or number"),
        ("It is 1.5 km.", "5", ", but within a longer word or number"),
        ("It was O’Brien.", "O'Brien", ", but in other characters (quotes, accents, widths, what is not seen)"),
        ("It was A\u200bda.", "Ada", ", but in other characters (quotes, accents, widths, what is not seen)"),
        ("It was １２ of them.", "12", ", but in other characters (quotes, accents, widths, what is not seen)"),
        ("It was \ufb01nal.", "final", ", but in other characters (quotes, accents, widths, what is not seen)"),
        ("कि", "का", ""),
        ("It was nobody.", "Ada", ""),
    ],
)
def test_a_row_without_its_answer_says_how_it_is_there_all_the_same(text: str, gold: str, how: str) -> None:
    asked = {"question": "Who?", "documents": [{"text": text, "gold": True}], "answers": [gold]}
    with pytest.raises(DataError, match=re.escape(f"{NOWHERE}{how} (")):
        hm.read_examples([asked])
    row = mdqa_row(1)
    row["ctxs"][0]["text"] = text
    said = mdqa_files.parse_row({**row, "answers": [gold]}, "here")
    assert said == f"the gold passage does not hold an answer{how}"


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
    assert best_scores(["[1][3]"], "[1][3]", ["citation_f1"]) == {}  # golds that cite are read as their numbers


@pytest.mark.parametrize(
    ("text", "gold", "held"),
    [
        ("He got an A in art.", "A", True),
        ("He got a mark in Art.", "A", False),
        ("He saw The The in town.", "The The", True),
        ("Then the theatre closed.", "The", False),
        ("What?! he said.", "?!", True),
        ("What? he said!", "?!", False),
        ("It cost 5 %.", "%", True),
        ("Anything at all.", " ", False),
        ("It was Kobal.", "koba", True),  # what a metric reads: a part of a word counts
    ],
)
def test_a_text_gives_away_golds_of_which_a_metric_leaves_nothing_too(text: str, gold: str, held: bool) -> None:
    assert holds(text, [gold]) is held
    assert holds(text, [" ", gold]) is held
    assert holds(text, ["nowhere", gold]) is (held and scorable(gold))  # which a metric can tell


def test_no_other_document_gives_such_an_answer_away(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    rows = [
        {
            "question": f"Which mark has {name}?",
            "answers": [mark],
            "documents": [{"text": f"{name} got the mark {mark} from {place}.", "gold": True}],
        }
        for name, mark, place in (
            ("Ada", "A", "Sudrin"),
            ("Kobal", "A", "Vufa"),
            ("Dito", "B", "Kalo"),
            ("Rema", "C", "Puno"),
        )
    ]
    path = write_jsonl(tmp_path / "marks.jsonl", rows)
    built = hm.build(hm.Recipe(task="qa", length=300, rows=4, source=str(path), split="test"), tokenizer)
    assert [row.text.count("the mark A") for row in built if row.answers[0] == "A"] == [1, 1]
    checks = built.manifest["checks"]
    assert (checks["rows_with_leaks"], checks["rows_without_answer_in_gold"]) == (0, 0)
