"""Benchmarks read from the user's files: what is asked, what counts as right, and what it rests on."""

import json
from pathlib import Path
from typing import Any

import pytest
from layout_rows import BENCHMARKS, CHOICES, MRCR, NOLIMA, OTHER_NOLIMA, TEXT, TURNS
from real_rows import write_jsonl

import haymaker as hm
from haymaker.choices import METRICS
from haymaker.data.exports import exported
from haymaker.errors import DataError
from haymaker.metrics import ruler
from haymaker.tasks import metrics_of_rows
from haymaker.tasks.pool import paragraphs

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
        (BENCHMARKS["longbench"][0], BENCHMARKS["longbench"][0] | {"answers": "4711"}),
        (BENCHMARKS["babilong"][0], BENCHMARKS["babilong"][0] | {"target": ["4711"], "task": "qa1"}),
        (BENCHMARKS["ruler"][0], BENCHMARKS["ruler"][0] | {"outputs": "4711", "task": "niah"}),
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


@pytest.mark.parametrize("name", BENCHMARKS)
def test_rows_say_what_counts_and_what_it_rests_on(name: str, tmp_path: Path) -> None:
    row, answers, evidence = BENCHMARKS[name]
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


def test_a_question_of_blanks_or_without_an_answer_is_counted() -> None:
    tests = OTHER_NOLIMA["tests"]
    for broken in (
        {**OTHER_NOLIMA, "questions": {"onehop": " "}},
        {
            **OTHER_NOLIMA,
            "tests": {**tests, "T01": {**tests["T01"], "gold_answers": []}, "T02": tests["T01"] | {"gold_answers": []}},
        },
    ):
        with pytest.raises(DataError, match="the question or all answers are empty"):
            hm.read_examples([broken])


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
