"""Benchmarks read from the user's files: what is asked, what counts as right, and what it rests on."""

import json
from pathlib import Path
from typing import Any

import pytest
from real_rows import write_jsonl

import haymaker as hm
from haymaker.choices import METRICS
from haymaker.data.exports import exported
from haymaker.errors import DataError
from haymaker.metrics import ruler
from haymaker.tasks import metrics_of_rows
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


# RULER's thirteen tasks as its generators write them (niah.py, variable_tracking.py, common_words_extraction.py,
# freq_words_extraction.py, qa.py and synthetic.yaml at c3f5e3b), in few words: input, outputs, evidence.
NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
ESSAY = "I went to the office. He wrote a book about it, in 1871. Nobody came."
KEYS = ("4b6a2a3e-0d4f-4c8a-9a53-b1e1f8f6b4c2", "9c6a2a3e-0d4f-4c8a-9a53-b1e1f8f6b4aa")
VALUES = ("1a6a2a3e-0d4f-4c8a-9a53-b1e1f8f6b4bb", "777a2a3e-0d4f-4c8a-9a53-b1e1f8f6b4bb")
EXAMPLE = f"{NOISE}\nVAR QWE = 84021\n{NOISE}\nVAR RTY = VAR QWE\nFind all assigned 84021: QWE RTY\n\n"
CHAIN = ["VAR AAAAB = 12346", "VAR CCCCD = VAR AAAAB", "VAR EEEEF = VAR CCCCD"]
WORDS = [f"word{letter}" for letter in "abcdefghij"]


def needle(key: str, value: str, kind: str = "numbers") -> str:
    return f"One of the special magic {kind} for {key} is: {value}."


def asked(*documents: str) -> str:
    order = (
        "Answer the question based on the given documents. Only give me the answer and do not output any other words."
    )
    listed = "\n\n".join(f"Document {i}:\n{text}" for i, text in enumerate(documents, 1))
    return f"{order}\n\nThe following are given documents.\n\n{listed}\n\n{order}\n\nQuestion: What of it?"


ONE, TWO, UUID = needle("rare-tin", "4711000"), needle("sad-cup", "4711001"), needle("rare-tin", VALUES[0], "uuids")
SEVERAL = [needle("rare-tin", str(number)) for number in (1111, 2222, 3333, 4444)]
KEYED = [needle(key, value, "uuids") for key, value in zip(KEYS, VALUES, strict=True)]
RULER_TASKS: dict[str, tuple[str, list[str], list[str]]] = {
    "niah_single_1": ("\n".join([NOISE, ONE, NOISE]), ["4711000"], [ONE]),
    "niah_single_2": (f"{ESSAY} {ONE} {ESSAY}", ["4711000"], [ONE]),
    "niah_single_3": (f"{ESSAY} {UUID} {ESSAY}", [VALUES[0]], [UUID]),
    "niah_multikey_1": (f"{ESSAY} {ONE} {ESSAY} {TWO}", ["4711001"], [TWO]),
    "niah_multikey_2": ("\n".join([ONE, TWO, *SEVERAL]), ["4711001"], [TWO]),
    "niah_multikey_3": ("\n".join(KEYED), [VALUES[1]], [KEYED[1]]),
    "niah_multivalue": (f" {ESSAY} ".join(SEVERAL), ["1111", "2222", "3333", "4444"], SEVERAL),
    "niah_multiquery": (f"{ESSAY} {ONE} {ESSAY} {TWO}", ["4711000", "4711001"], [ONE, TWO]),
    "vt": (EXAMPLE + f" \n{NOISE}\n".join(["", *CHAIN, ""]), ["AAAAB", "CCCCD", "EEEEF"], CHAIN),
    "cwe": ("\n" + " ".join(f"{i}. {word}" for i, word in enumerate([*WORDS * 3, "other", WORDS[0]], 1)), WORDS, []),
    "fwe": ("... ... abcdef ... abcdef ghijkl abcdef ghijkl mnopqr", ["abcdef", "ghijkl", "mnopqr"], []),
    "qa_1": (asked("A bridge.", "Normandy lies in France. It is green."), ["France", "in France", "Gaul"],
             ["Normandy lies in France."]),
    "qa_2": (asked("Ada\nAda Reyes was a miller. She was of Mill.", "Ines\nInes Vale built it."), ["yes"], []),
}  # fmt: skip


@pytest.mark.parametrize("task", RULER_TASKS)
def test_rulers_tasks_have_their_evidence_and_rule_and_come_back(task: str) -> None:
    """All outputs are evidence together or none is: of a chain its assignments, of counted words nothing."""
    said, outputs, evidence = RULER_TASKS[task]
    row = {
        "index": 0,
        "input": said,
        "outputs": outputs,
        "length": 90,
        "length_w_model_temp": 99,
        "answer_prefix": " Is:",
    }
    data = hm.read_examples([row])
    assert (data[0].text, data[0].answers) == (f"{said} Is:", tuple(outputs))
    assert [data[0].text[span.slice] for span in data[0].spans.get("evidence", [])] == evidence
    rule = "ruler_part" if task.startswith("qa") else "ruler_all"
    assert metrics_of_rows(data) == (rule,)
    for answer in ("none", outputs[0].upper(), " ".join(outputs)):
        assert METRICS[rule](answer, outputs) == ruler(answer, outputs, task=task)
    again = hm.read_examples(list(exported(data, "ruler")))
    assert [(one.text, one.answers, one.spans) for one in again] == [(one.text, one.answers, one.spans) for one in data]
    assert metrics_of_rows(again) == (rule,)


CHOICES = {
    "_id": "66f", "domain": "QA", "sub_domain": "Academic", "difficulty": "easy", "length": "short",
    "question": "Which number?", "choice_A": "4711", "choice_B": "12", "choice_C": "1", "choice_D": "none",
    "answer": "C", "context": f"{TEXT} Vitamin C.",
}  # fmt: skip


def test_choices_are_asked_for_as_longbench_v2_asks() -> None:
    (example,) = hm.read_examples([CHOICES | {"answer": "(c)"}])
    assert "(A) 4711\n(B) 12\n(C) 1\n(D) none\n\nFormat your response as follows" in example.text
    assert (example.answers, "evidence" in example.spans) == (("The correct answer is (C)",), False)


BARE = {key: value for key, value in CHOICES.items() if not key.startswith("choice")}
ODD: dict[str, tuple[dict[str, Any], str]] = {  # what is told of rows that are almost of a layout
    "a choice is null": (CHOICES | {"choice_D": None}, "1: one of its four choices is empty"),
    "no choices": (BARE, "1: the answer is the letter of a choice, and no columns choice_A"),
    "choices in a list": (BARE | {"choices": ["4711", "12"]}, "1: the answer is the letter of a choice"),
    "an answer that is no letter": (CHOICES | {"answer": "4711"}, "'answer' should be the letter of a choice"),
    "two letters": (CHOICES | {"answer": "AB"}, "'answer' should be the letter of a choice"),
    "no letter": (CHOICES | {"answer": "()"}, "1: the answer is empty"),
    "mrcr without its string": (MRCR | {"answer": "Roses."}, "'answer' should begin with 'x7', found 'Roses.'"),
    "nolima asks for more": (
        NOLIMA | {"tests": {"T1": {"input_args": "Opera"}}},
        r"'Who has been to \{2\}\?' asks for \{2\}, found 1 input_args"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_rows_that_are_almost_of_a_layout_are_told(name: str) -> None:
    row, message = ODD[name]
    with pytest.raises(DataError, match=message):
        hm.read_examples([row])


def test_what_a_table_adds_to_rows_changes_nothing() -> None:
    """Nulls for what a row has not, whole numbers as fractions, and a text where a list may be."""
    tests = {**NOLIMA["tests"], "T3": None}
    for row, odd in (
        (NOLIMA, NOLIMA | {"distractors": None, "tests": tests, "system_prompt": None}),
        (MRCR, MRCR | {"desired_msg_index": 3.0}),
        (ROWS["longbench"][0], ROWS["longbench"][0] | {"answers": "4711"}),
        (ROWS["babilong"][0], ROWS["babilong"][0] | {"target": ["4711"], "task": "qa1"}),
        (ROWS["ruler"][0], ROWS["ruler"][0] | {"outputs": "4711", "task": "niah"}),
    ):
        assert list(hm.read_examples([odd])) == list(hm.read_examples([row]))


@pytest.mark.parametrize(
    ("dataset", "input", "ending", "metric"),
    [
        ("hotpotqa", "Who?", "\n\nQuestion: Who?\nAnswer:", "longbench_f1"),
        ("qasper_e", "Who?", "\n\nQuestion: Who?\nAnswer:", "longbench_f1"),
        ("trec", "Question: Who?\nType:", "blue.\n\nQuestion: Who?\nType:", "squad_f1"),
        ("passage_retrieval_en", "Ada.", "\n\nThe answer is: ", "longbench_retrieval"),
    ],
)
def test_longbench_asks_and_judges_by_dataset(dataset: str, input: str, ending: str, metric: str) -> None:
    row = {"input": input, "context": TEXT, "answers": ["Paragraph 3"], "dataset": dataset}
    (example,) = hm.read_examples([row])
    assert example.text.endswith(ending)
    assert metrics_of_rows([example])[0] == metric


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
