"""Benchmarks read from the user's files: what is asked, what counts as right, and what it rests on."""

import json
from pathlib import Path
from typing import Any

import pytest
from real_rows import write_jsonl

import haymaker as hm
from haymaker.errors import DataError
from haymaker.tasks.pool import paragraphs

NEEDLE = "One of the special magic numbers for mill is: 4711."
TEXT = f"The grass is green. {NEEDLE} The sky is blue."
TURNS = [
    {"role": "user", "content": "Write a poem."},
    {"role": "assistant", "content": "Roses."},
    {"role": "user", "content": "Write a poem."},
    {"role": "assistant", "content": "Roses."},
    {"role": "user", "content": "Prepend x7 to the 2nd poem."},
]
MRCR = {
    "prompt": json.dumps(TURNS), "answer": "x7Roses.", "random_string_to_prepend": "x7", "n_needles": 2,
    "desired_msg_index": 3,
}  # fmt: skip
NOLIMA = {
    "id": "0401", "reasoning_type": "commonsense", "needle": "Actually, {CHAR} lives next to the {1}.",
    "questions": {"onehop": "Who has been to {2}?", "twohop": "Who has been to {3}?"},
    "character_set": ["Yuki", "Stuart"],
    "tests": {"T1": {"input_args": ["Opera", "Dresden", "Saxony"]}, "T2": {"input_args": ["Dom", "Cologne", "X"]}},
}  # fmt: skip
# All fields that the benchmarks' own pages and code name, as read on 2026-11-27: LongBench's README (input, context,
# answers, length, dataset, language, all_classes, _id), OpenAI-MRCR's graders (prompt, answer, n_needles,
# random_string_to_prepend, desired_msg_index, total_messages, n_chars), HELMET's data.py (id, question, answers, s_pop,
# ctxs of title, text, has_answer), RULER's generators (niah.py, qa.py, variable_tracking.py), NoLiMa's run_tests.py and
# async_evaluate.py, OpenCompass's reader of BABILong (input, question, target).
ROWS: dict[str, tuple[dict[str, Any], tuple[str, ...], list[str]]] = {
    "ruler": ({"index": 3, "input": TEXT, "outputs": ["4711"], "answer_prefix": " Answer:"}, ("4711",), [NEEDLE]),
    "ruler, as niah.py writes it": (
        {"index": 0, "input": TEXT, "outputs": ["4711"], "length": 40, "length_w_model_temp": 58,
         "answer_prefix": " The special magic number is", "token_position_answer": 17},
        ("4711",), [NEEDLE],
    ),
    "ruler, as variable_tracking.py writes its own examples": (
        {"index": 0, "input": TEXT, "outputs": ["4711"], "length": 40}, ("4711",), [NEEDLE]
    ),
    "ruler, several": (
        {"input": f"{TEXT} Another is: 12.", "outputs": ["4711", "12"]}, ("4711", "12"), [NEEDLE, "Another is: 12."]
    ),
    "ruler, nowhere": ({"input": TEXT, "outputs": ["is", "99"]}, ("is", "99"), []),
    "longbench": ({"input": "Which number?", "context": TEXT, "answers": ["4711"]}, ("4711",), [NEEDLE]),
    "babilong": ({"input": TEXT, "question": "Which number?", "target": "4711"}, ("4711",), [NEEDLE]),
    "mrcr": (MRCR, ("x7Roses.",), ["Roses."]),
    "longbench, every field": (
        {"input": "Which number?", "context": TEXT, "answers": ["4711"], "length": 14, "dataset": "multifieldqa_en",
         "language": "en", "all_classes": None, "_id": "0f"},
        ("4711",), [NEEDLE],
    ),
    "longbench, classes": (
        {"input": "Question: What of?\nType:", "context": TEXT, "answers": ["Number"], "length": 14, "dataset": "trec",
         "language": "en", "all_classes": ["Number", "City"], "_id": "1f"},
        ("Number",), [],
    ),
    "mrcr, every field": ({**MRCR, "total_messages": 5, "n_chars": 90}, ("x7Roses.",), ["Roses."]),
    "helmet, as its code reads it": (
        {"id": "7", "question": "Which number?", "answers": ["4711"], "s_pop": 12,
         "ctxs": [{"title": "", "text": "No", "has_answer": False}, {"title": "", "text": NEEDLE, "has_answer": True}]},
        ("4711",), [NEEDLE],
    ),
    "helmet": (
        {"question": "Which number?", "answers": ["4711"],
         "ctxs": [{"text": "No.", "hasanswer": False}, {"text": NEEDLE, "hasanswer": True}]},
        ("4711",), [NEEDLE],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_say_what_counts_and_what_it_rests_on(name: str, tmp_path: Path) -> None:
    row, answers, evidence = ROWS[name]
    (example,) = hm.read_examples(write_jsonl(tmp_path / "rows.jsonl", [row]))
    assert example.answers == answers
    assert [example.text[span.slice] for span in example.spans.get("evidence", [])] == evidence


def test_mrcr_rests_on_the_turn_that_is_meant(tmp_path: Path) -> None:
    """The index is of the user's message that it answers (0, 2); of the answer itself it is understood as well."""
    first, second = len("Write a poem."), 2 * len("Write a poem.") + len("Roses.")
    for index, at in ((0, first), (2, second), (1, first), (3, second), (None, first)):
        path = write_jsonl(tmp_path / f"{index}.jsonl", [{**MRCR, "desired_msg_index": index}])
        (example,) = hm.read_examples(path)
        assert example.spans["evidence"][0].start == at
        assert [message.role for message in example.messages] == [turn["role"] for turn in TURNS]


def test_nolima_gives_a_row_for_each_test_and_question_among_a_pool(tmp_path: Path, tokenizer) -> None:
    source = write_jsonl(tmp_path / "needles.jsonl", [NOLIMA])
    found = hm.read_examples(source)
    assert [example.question for example in found] == [
        f"Who has been to {place}?" for place in ("Dresden", "Saxony", "Cologne", "X")
    ]
    assert [example.target for example in found] == ["Yuki", "Yuki", "Stuart", "Stuart"]
    assert "Actually, Stuart lives next to the Dom." in found[2].text
    pool = write_jsonl(tmp_path / "pool.jsonl", [{"text": f"Item {i} is plain."} for i in range(60)])
    built = hm.build(hm.Recipe(task="qa", length=200, rows=4, source=source, pool=pool), tokenizer)
    assert len({example.pair_id for example in built}) == 4
    assert all("lives next to the" in example.text for example in built)


OTHER_NOLIMA = {
    "id": "0402", "system_prompt": "", "task_template": "{haystack}\n{question}", "reasoning_type": "world_knowledge",
    "needle": "The {1} of Mill lies beside the {2}.", "questions": {"onehop": "What lies there, of {1}s?"},
    "distractors": {"onehop": "No {1} is near."},
    "tests": {"T01": {"input_args": ["bridge", "sea"], "gold_answers": ["Mill", "the Mill"]},
              "T02": {"input_args": ["road", "hill"], "gold_answers": "Mill"}},
}  # fmt: skip


def test_nolima_without_people_has_gold_answers_and_distractors(tmp_path: Path) -> None:
    source = tmp_path / "needle_set.json"
    source.write_text(json.dumps([OTHER_NOLIMA]))
    first, second = hm.read_examples(source)
    assert (first.answers, second.answers) == (("Mill", "the Mill"), ("Mill",))
    assert [first.source["row_id"], second.source["row_id"]] == ["0402_T01_onehop", "0402_T02_onehop"]
    assert "The bridge of Mill lies beside the sea." in first.text
    assert "No road is near." in second.text
    (span,) = second.spans["evidence"]
    assert second.text[span.slice] == "The road of Mill lies beside the hill."


def test_nolima_that_asks_for_people_it_does_not_name_is_told(tmp_path: Path) -> None:
    broken = {**NOLIMA, "character_set": []}
    with pytest.raises(DataError, match=r"tests\[T1\]: the needle asks for a \{CHAR\}"):
        hm.read_examples(write_jsonl(tmp_path / "rows.jsonl", [broken]))


def test_a_book_without_blank_lines_is_a_passage_a_line(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("One line.\nAnother.\n")
    (tmp_path / "parted.txt").write_text("One\nline.\n\nAnother.\n")
    found = {name: [row["text"] for _, row in paragraphs(str(tmp_path / name))] for name in ("book.txt", "parted.txt")}
    assert found == {"book.txt": ["One line.", "Another."], "parted.txt": ["One\nline.", "Another."]}


def test_broken_messages_are_told_by_their_place(tmp_path: Path) -> None:
    for prompt, message in (
        ("no json", "should be messages in JSON"),
        ('{"a": 1}', "list of messages in JSON, found dict"),
    ):
        with pytest.raises(DataError, match=f"line 1: 'prompt'.*{message}"):
            hm.read_examples(write_jsonl(tmp_path / "rows.jsonl", [{**MRCR, "prompt": prompt}]))
