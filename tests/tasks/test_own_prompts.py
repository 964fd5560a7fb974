"""A prompt of one's own: what its segments say, and one sentence for each way of saying it wrongly."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import DataError
from haymaker.models.load import LanguageModel

TEXT = "The bridge is of stone. Ada Reyes founded the mill. Ada Reyes left it in 1871."
NEEDLE = "Ada Reyes founded the mill."
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TEXT}]


def mill(**changes: Any) -> hm.Example:
    values = {"text": TEXT, "needle": NEEDLE, "question": "Who founded the mill?", "answer": "Ada Reyes"} | changes
    return hm.example(values.pop("text"), **values)


def said(example: hm.Example, kind: str) -> list[str]:
    return [example.text[span.slice] for span in example.spans.get(kind, [])]


@pytest.mark.parametrize(
    ("needle", "evidence"),
    [
        (NEEDLE, [NEEDLE]),
        (hm.Span(24, 51), [NEEDLE]),
        ((24, 51), [NEEDLE]),
        ([24, 51], [NEEDLE]),
        ([NEEDLE, "1871"], [NEEDLE, "1871"]),
        (["1871", (24, 51)], [NEEDLE, "1871"]),  # in the order of the text
        ([hm.Span(0, 23)], ["The bridge is of stone."]),
        (None, []),
        (TEXT, [TEXT]),
        (np.array([24, 51]), [NEEDLE]),
        ([NEEDLE, (24, 51)], [NEEDLE]),  # told twice
        ("[24, 51]", [NEEDLE]),  # as a shell can say it, and as the refusal of one that stands twice does
        (["1871", " [24,51] "], [NEEDLE, "1871"]),
    ],
)
def test_needles_by_text_or_by_characters(needle: Any, evidence: list[str]) -> None:
    example = mill(needle=needle)
    assert said(example, "evidence") == evidence
    # the answer is marked wherever evidence says it, and nowhere else
    assert said(example, "answer") == ["Ada Reyes"] * sum(text.count("Ada Reyes") for text in evidence)
    assert said(example, "question") == ["Who founded the mill?"]


@pytest.mark.parametrize(
    ("text", "question", "expected"),
    [
        (TEXT, "Who?", f"{TEXT}\n\nQuestion: Who?\nAnswer:"),
        (f"{TEXT}\nQ: Who?\nA:", "Who?", f"{TEXT}\nQ: Who?\nA:"),  # ends with it already
        (f"Who? is a title. {TEXT}", "Who?", f"Who? is a title. {TEXT}\n\nQuestion: Who?\nAnswer:"),
        (f"{TEXT} Who?", "", f"{TEXT} Who?"),
        (CHAT, "Who?", f"Be brief.{TEXT}\n\nWho?"),
        ([*CHAT, {"role": "assistant", "content": "Yes."}], "Who?", f"Be brief.{TEXT}Yes.Who?"),
        ([hm.Message("user", (hm.Segment(TEXT),))], "", TEXT),
    ],
)
def test_the_question_stands_behind_the_text_once(text: Any, question: str, expected: str) -> None:
    example = mill(text=text, question=question)
    assert example.text == expected
    assert said(example, "question") == ([question] if question else [])
    assert said(example, "evidence") == [NEEDLE]


@pytest.mark.parametrize(
    ("needle", "evidence"),
    [("🎉", "🎉"), ("首都です。", "首都です。"), ((2, 8), "Zürich"), ("東京は日本", "東京は日本")],
)
def test_needles_of_several_bytes_stand_at_either_end(needle: Any, evidence: str, lm: LanguageModel) -> None:
    example = hm.example("🎉 Zürich liegt am See. 東京は日本の首都です。", needle, "首都は?", "東京")
    assert said(example, "evidence") == [evidence]
    encoded = hm.encode(example, lm.tokenizer)
    assert evidence in lm.tokenizer.decode(encoded.input_ids[encoded.spans["evidence"][0].slice])


def test_a_chat_may_be_as_rows_of_files_have_it() -> None:
    chat = [
        {"role": "developer", "content": "The code is 17."},
        {"role": "human", "content": [{"type": "text", "text": "What "}, {"type": "text", "text": "is it?"}]},
    ]
    example = hm.example((message for message in chat), "The code is 17", "What is it?", "17")
    assert [(message.role, message.text) for message in example.messages] == [
        ("system", "The code is 17."), ("user", "What is it?"),
    ]  # fmt: skip
    assert said(example, "answer") == ["17"]


ASKED = [{"role": "user", "content": f"{TEXT} Who founded the mill?"}]


def answered(turns: list[dict[str, Any]], said: str) -> list[dict[str, Any]]:
    return [*turns, {"role": "assistant", "content": said}]


@pytest.mark.parametrize(
    ("turns", "changes"),
    [
        (ASKED, {"answer": ""}),
        (ASKED, {}),
        (ASKED, {"question": ""}),
        (CHAT, {}),  # its text is the answer, so it answers what is asked
        (ASKED, {"answer": ["A. Reyes", "Ada Reyes"]}),
    ],
)
@pytest.mark.parametrize("said", ["Ada Reyes", " Ada Reyes\n"])
def test_a_last_turn_of_the_assistant_is_the_answer_and_no_part_of_the_prompt(
    turns: list[dict[str, Any]], changes: dict[str, Any], said: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    needle = {"needle": NEEDLE}
    found = mill(text=answered(turns, said), **needle, **changes)
    assert found == mill(text=turns, **needle, **{**changes, "answer": changes.get("answer") or "Ada Reyes"})
    asked = str(tokenizer.decode(list(hm.encode(found, tokenizer).prompt_ids)))
    assert asked.count("Ada Reyes") == TEXT.count("Ada Reyes")


def test_an_empty_turn_that_asks_for_the_answer_is_left_out() -> None:
    assert mill(text=answered(ASKED, "")) == mill(text=ASKED)


def test_a_turn_before_a_further_question_stays_and_another_answer_is_refused() -> None:
    assert mill(text=answered(CHAT, "Yes.")).messages[-2].text == "Yes."
    with pytest.raises(DataError, match=r"'Ada Reyes' is given, and the chat's last turn.*says 'Vera Holt'"):
        mill(text=answered(ASKED, "Vera Holt"))
    with pytest.raises(DataError, match="answer: expected the answer"):
        mill(text=answered(ASKED, " "), answer="")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ""),
        ({"needle": None, "answer": "Vera Holt"}, ""),  # nothing is said to rest on anything
        ({"answer": ["Ada Reyes", "A. Reyes"]}, ""),
        ({"answer": "Vera Holt"}, "'Vera Holt' does not stand in the needle; heads are read on the needle as a whole"),
        ({"answer": ["Vera Holt", "Ada Reyes"]}, "heads are read on its other answers there"),
        ({"answer": "ada reyes"}, "'ada reyes' stands in the needle as 'Ada Reyes'"),
        ({"answer": "1871"}, "'1871' does not stand in the needle"),
        ({"needle": "Reyes founded"}, "'Ada Reyes' is cut by an end of the needle"),
        ({"needle": "Reyes founded", "answer": "Reyes"}, ""),
        ({"needle": (24, 30), "answer": "Reyes"}, "is cut by an end of"),
    ],
)
def test_an_answer_that_does_not_stand_in_the_needle_is_told(
    changes: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example = mill(**changes)
    said = capsys.readouterr().err
    assert said == "" if not told else (example.id in said and told in " ".join(said.split()))


def test_rows_whose_answer_does_not_stand_in_the_evidence_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"question": "Who?", "context": TEXT, "evidence": [NEEDLE]}
    answers = ["Ada Reyes", "Vera Holt", "ada reyes", "1871"]
    hm.read_examples([{**row, "answers": [answer], "id": answer} for answer in answers])
    said = " ".join(capsys.readouterr().err.split())
    assert "2: the answer stands in the evidence nowhere; heads are read there on the evidence as a whole (row " in said
    assert "1: the answer stands in the evidence in another spelling" in said


SPELLINGS = {  # of "Ada Reyes founded the mill", and why it stands nowhere
    "its case": ["ada reyes founded the mill", "ADA REYES FOUNDED THE MILL"],
    "the blanks or line breaks at its ends": ["Ada Reyes founded the mill\n", "\tAda Reyes founded the mill"],
    "blanks or line breaks in it": ["Ada Reyes\nfounded the mill", "Ada Reyes  founded\u00a0the mill\n"],
    "other forms of its characters": ["\uff21da Reyes founded the mill", "Ada Rey\u00e9s founded the  MILL "],
}


@pytest.mark.parametrize("why", SPELLINGS)
@pytest.mark.parametrize("before", ["", "The bridge. ", "Ⅷ ﬁne ÅÅ \t\n“Élan” ", "🎉"])
def test_a_needle_in_another_spelling_is_told_where_it_stands(why: str, before: str) -> None:
    stands = "Ada Reyes founded the mill"
    for needle in SPELLINGS[why]:
        with pytest.raises(DataError, match=f"stands nowhere in the text, but for {why} it does at") as found:
            mill(text=f"{before}{stands} in 1871.", needle=needle)
        place = re.findall(r"\[\d+, \d+\]", str(found.value))[0]
        assert said(mill(text=f"{before}{stands} in 1871.", needle=place), "evidence") == [stands]
    typed = mill(text=f"{before}{stands}: “it’s”", needle=stands)
    with pytest.raises(DataError, match=r"other forms of its characters it does at \[4, 9\]"):  # the accent is the e's
        mill(text="The Cafe\u0301 is open.", needle="CAF\u00c9")
    with pytest.raises(DataError, match="other forms of its characters"):
        mill(text=typed.messages[0].text, needle='"it\'s"')


def test_the_name_of_a_file_is_no_prompt(tmp_path: Path) -> None:
    (tmp_path / "mill.txt").write_text(TEXT)
    with pytest.raises(DataError, match="is a file; give what it holds"):
        mill(text=str(tmp_path / "mill.txt"))


def test_messages_keep_their_roles_and_spans_their_message() -> None:
    example = mill(text=CHAT)
    assert [message.role for message in example.messages] == ["system", "user"]
    assert example.messages[0].text == "Be brief."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"needle": "Ada Reyes"}, r"needle: 'Ada Reyes' stands in the text more than once \(at characters 24 and 52\)"),
        ({"text": "aaa", "needle": "aa"}, "more than once"),  # overlaps count
        ({"needle": "the dam"}, "needle: 'the dam' stands nowhere"),
        ({"needle": ""}, "stands nowhere"),
        ({"needle": ["1871", " "]}, "stands nowhere"),
        ({"needle": (70, 100)}, r"expected characters within a text of 78, found \[70, 100\)"),
        ({"needle": (5, 5)}, "expected characters within"),
        ({"needle": [(0, 30), NEEDLE]}, "overlap"),
        ({"needle": [(0, 3, 5)]}, "expected a text, or a start and a stop"),
        ({"text": CHAT, "needle": (5, 15)}, "runs over the end of a message"),
        ({"text": " "}, "expected a prompt, found none"),
        ({"text": []}, "expected a prompt, found none"),
        ({"text": [{"role": "tool", "content": "x"}]}, "message 0: expected a turn of user"),
        ({"text": [{"role": "user"}]}, "message 0: expected a text, found NoneType"),
        ({"text": [{"from": "human", "value": "x"}]}, "message 0: no 'role' here; found from, value"),
        ({"text": f"{TEXT} \ud800"}, "half of a letter"),
        ({"answer": []}, "answer: expected the answer"),
        ({"needle": (False, True)}, "needle: expected a text, or a start and a stop"),
        ({"needle": (-3, 5)}, "expected characters within"),
        ({"needle": (9, 5)}, "expected characters within"),
        ({"answer": ""}, "answer: expected the answer"),
        ({"answer": [" "]}, "answer: expected the answer"),
    ],
)
def test_what_is_said_wrongly_is_told_in_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as found:
        mill(**changes)
    assert "\n" not in str(found.value)


def test_names_tell_prompts_apart() -> None:
    assert mill(name="mine").id == "mine"
    assert mill().id == mill().id
    assert len({mill().id, mill(needle="1871").id, mill(answer="Ada").id, mill(question="Whose?").id}) == 4


TAKERS: dict[str, Callable[[LanguageModel, hm.Example, Any], Any]] = {
    "detect_heads": lambda lm, rows, out: hm.detect_heads(lm, rows).values,
    "evaluate": lambda lm, rows, out: hm.evaluate(lm, rows, new_tokens=8).predictions,
    "ablate": lambda lm, rows, out: hm.ablate(lm, rows, ["0-1"], new_tokens=8).predictions,
    "causal_map": lambda lm, rows, out: hm.causal_map(lm, rows).values,
    "attribute": lambda lm, rows, out: hm.attribute(lm, rows).values,
    "patch": lambda lm, rows, out: hm.patch(lm, lm, rows, ["0-1"], new_tokens=8).predictions,
    "train": lambda lm, rows, out: [hm.train(lm, rows, hm.TrainConfig(steps=1), out / "adapter")],
}


@pytest.mark.parametrize("taker", TAKERS)
def test_an_example_alone_goes_where_a_dataset_goes(taker: str, lm: LanguageModel, tmp_path: Any) -> None:
    assert len(TAKERS[taker](lm, mill(), tmp_path)) == 1
    assert list(mill()) == [mill()]


GIVEN = {"int 1 as number 0": [1], "int 5": 5, "str 'data'": "data", "NoneType None": None, "str 'd' as": ["d"]}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("taker", [*TAKERS, "set_effects"])
def test_what_is_no_example_is_refused_in_one_sentence(taker: str, lm: LanguageModel, tmp_path: Path) -> None:
    takers = TAKERS | {"set_effects": lambda lm, rows, out: hm.set_effects(lm, rows, [["0-1"]])}
    for found, given in GIVEN.items():
        with pytest.raises(DataError, match=rf"expected Examples.*found {re.escape(found)}"):
            takers[taker](lm, given, tmp_path)


PLACE = "needle: expected a text, or a start and a stop in characters"
WRONG_KINDS: list[tuple[dict[str, Any], str]] = [
    ({"text": 3}, "text: expected a text, or a list of messages of role and content, found int 3"),
    ({"text": None}, "messages of role and content, found none"),
    ({"text": CHAT[0]}, "messages of role and content, found dict"),
    ({"text": ["a", "b"]}, "message 0: expected an object of role and content, found 'a'"),
    ({"question": None}, "question: expected a text, found none"),
    ({"question": 3}, "question: expected a text, found int 3"),
    ({"answer": None}, "answer: expected a text, found none"),
    ({"answer": 1871}, "answer: expected a text, found int 1871"),
    ({"answer": ["Ada", 1871]}, "answer: expected a text, found int 1871"),
    *(({"needle": one}, PLACE) for one in (5, {"start": 0, "stop": 5}, b"Ada", (0.0, 5.0), (False, True), [5])),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("changes", "message"), WRONG_KINDS)
def test_wrong_kinds_of_arguments_are_told_in_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as found:
        mill(**changes)
    assert "\n" not in str(found.value)


def test_tokens_of_the_needle_spell_it(tokenizer: PreTrainedTokenizerBase) -> None:
    for text in (TEXT, CHAT):
        encoded = hm.encode(mill(text=text), tokenizer)
        assert tokenizer.decode(list(encoded.input_ids[encoded.spans["evidence"][0].slice])).strip() == NEEDLE
