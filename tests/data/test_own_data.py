"""Rows of one's own as a dataset: every layout, where evidence stands, what is counted and what is an error."""

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from layout_rows import ANSWER, ASKED, BRIDGE, CHAT, HOTPOT, LAYOUTS, MILL, NOLIMA, WHOLE, document
from real_rows import SHARED, mdqa_row, musique_row, needs_real_rows, write_jsonl
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.data.compare import stats
from haymaker.data.dataset import Folder
from haymaker.data.own_data import load_data, open_data
from haymaker.errors import ConfigError, DataError
from haymaker.tasks import metrics_of_row
from haymaker.tasks.own_layouts import NO_VALUE, TOOLS
from haymaker.tasks.own_long_context import L_EVAL
from haymaker.tasks.own_rows import NO_GOLD, NO_QUESTION, NOWHERE, TWICE


def read(tmp_path: Path, *rows: Any, **options: Any) -> hm.Dataset:
    return hm.read_examples(write_jsonl(tmp_path / "mine.jsonl", list(rows)), **options)


STEP = {"question": "Who?", "answer": "Ada", "paragraph_support_idx": 99}


def said(example: hm.Example, kind: str) -> list[str]:
    return [example.text[span.slice] for span in example.spans.get(kind, [])]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_says_where_evidence_and_answers_stand(
    name: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    row, evidence, answers = LAYOUTS[name]
    (example,) = read(tmp_path, row)
    assert (said(example, "evidence"), said(example, "answer")) == (evidence, answers)
    assert example.target == "Ada Reyes"
    assert example.task == "qa"
    assert hm.load_dataset(read(tmp_path, row).save(tmp_path / "saved"))[0] == example
    spans = hm.encode(example, tokenizer).spans
    assert len(spans.get("evidence", [])) == len(evidence)


def test_prompts_show_documents_in_their_order(tmp_path: Path) -> None:
    (plain,) = read(tmp_path, LAYOUTS["documents"][0])
    assert f"Document [1] {BRIDGE}\nDocument [2] {MILL}\n\nQuestion: Who founded the mill?\nAnswer:" in plain.text
    (titled,) = read(tmp_path, LAYOUTS["titles"][0])
    assert f"Document [1](Title: Mill) {MILL}" in titled.text
    (text,) = read(tmp_path, LAYOUTS["context"][0])
    assert text.text == f"{WHOLE}\n\nQuestion: Who founded the mill?\nAnswer:"
    (chat,) = read(tmp_path, LAYOUTS["messages"][0])
    assert [(turn.role, turn.text) for turn in chat.messages] == [(one["role"], one["content"]) for one in CHAT]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**ASKED, "documents": [document(MILL)]}, NO_GOLD),
        ({**ASKED, "documents": [document(BRIDGE, gold=True), document(MILL)]}, NOWHERE),
        ({**ASKED, "context": f"{MILL} {MILL}"}, TWICE),
        ({**ASKED, "context": BRIDGE}, NOWHERE),
        ({"question": " ", "answers": ["Ada"], "context": MILL}, NO_QUESTION),
        ({"question": "Who?", "answers": [" "], "context": MILL}, NO_QUESTION),
        ({"messages": CHAT}, "the last turn is not the assistant's"),
        ({"messages": []}, "the last turn is not the assistant's"),
        ({"messages": [ANSWER]}, "there is no turn before the answer"),
        ({"messages": [{"role": "user", "content": " "}, ANSWER]}, "the prompt is empty"),
        ({"input": "", "outputs": ["4711"]}, "the prompt is empty"),
        ({**HOTPOT, "supporting_facts": [["The mill", -1]]}, "a supporting fact names a sentence that there is not"),
        ({"messages": [*CHAT, {"role": "assistant", "content": " "}]}, "the answer is empty"),
        ({**HOTPOT, "supporting_facts": [["The mill", 3]]}, "a supporting fact names a sentence that there is not"),
        ({**ASKED, "answers": None, "context": MILL}, NO_QUESTION),
        ({**ASKED, "answers": [], "documents": [document(MILL, gold=True)]}, NO_QUESTION),
        ({**ASKED, "context": None}, NO_VALUE),
        ({"instruction": None, "output": "Ada"}, NO_VALUE),
        ({"messages": [*CHAT, {"role": "tool", "content": "x"}, ANSWER]}, TOOLS),
        ({"messages": [*CHAT, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, ANSWER]}, TOOLS),
        ({"conversations": [{"from": "observation", "value": "x"}, {"from": "gpt", "value": "Ada"}]}, TOOLS),
        ({"input": " ", "context": MILL, "answers": ["A summary."]}, NO_QUESTION),
        (
            {**ASKED, "context": MILL, "answers": {"text": [], "answer_start": []}},
            "the question is marked unanswerable",
        ),
        ({**HOTPOT, "supporting_facts": [["The dam", 0]]}, "a supporting fact names a document that there is not"),
        ({"instructions": ["Who?", "When?"], "input": MILL, "outputs": ["Ada Reyes", "1871"]}, L_EVAL),
    ],
)
def test_rows_of_no_use_are_counted_by_their_reason_and_told(
    row: dict[str, Any], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = LAYOUTS["documents"][0]
    found = read(tmp_path, good, row, row)
    assert (len(found), found.manifest["rejected"]) == (1, {reason: 2})
    assert found.manifest["rejected_rows"] == {reason: ["line 2", "line 3"]}
    assert f"2 rows are of no use and left out: 2: {reason} (line 2, line 3)\n" in capsys.readouterr().err
    with pytest.raises(DataError, match="none of its rows is of use"):
        read(tmp_path, row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": MILL}, "line 2: no layout has the keys text; expected question and documents .documents. or"),
        ({**ASKED, "documents": MILL}, "'documents' should be list, found str"),
        ({**ASKED, "documents": [{"title": "Mill"}]}, r"documents\[0\]: no 'text' here"),
        ({**ASKED, "documents": [document(MILL, gold="yes")]}, "'gold' should be true or false, found 'yes'"),
        ({**ASKED, "answers": [1], "context": MILL}, "'answers' should be a list of texts"),
        (
            {"question": "Who?", "answer": 7, "context": MILL},
            "should be a list of texts, or one text, found 7",
        ),
        (
            {**ASKED, "context": MILL, "evidence": [[30, 90]]},
            r"line 2, evidence: expected characters within a text of 35",
        ),
        ({**ASKED, "context": MILL, "evidence": ["a dam"]}, "line 2, evidence: 'a dam' stands nowhere"),
        ({**ASKED, "context": f"{MILL} {MILL}", "evidence": [MILL]}, "stands in the text more than once"),
        ({**ASKED, "context": MILL, "evidence": [[0, 9], [5, 12]]}, "overlap"),
        ({"messages": [{"role": "judge", "content": "x"}, ANSWER]}, "turn 0: expected a turn of user, human"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, ANSWER]}, "expected a text, found list"),
        ({"messages": [{"role": "user"}, ANSWER]}, "expected a text, found NoneType"),
        ({"messages": [*CHAT, ANSWER], "evidence": [[5, 15]]}, "runs over the end of a message"),
        ({"instruction": "Who?", "output": 3}, "'output' should be str, found int"),
        (
            {**ASKED, "documents": [document(MILL), document(MILL)], "evidence": [MILL]},
            "evidence: 'Ada Reyes founded .* stands in 2 documents",
        ),
        (
            {**ASKED, "documents": [document(MILL)], "evidence": [[0, 3]]},
            "evidence: expected texts of documents, found .0",
        ),
        (
            {**ASKED, "context": MILL, "answers": {"text": ["Ada Reyes"], "answer_start": [4]}},
            "answer_start: expected 'Ada Reyes' at 4, found 'Reyes fou'",
        ),
        (
            {**ASKED, "context": MILL, "answers": {"text": ["Ada"], "answer_start": [None]}},
            "answer_start: expected a text",
        ),
        ({"Question": "Who?", "Answer": "Ada", "Context": MILL}, "with --map question=Question --map context=Context"),
        ({"input": "Who?", "answer": "Ada", "passage": MILL}, "nearest is .*--map [a-z]*=COLUMN"),
        ({**ASKED, "context": MILL, "metrics": ["sqaud_f1"]}, "line 2, metrics: no metric 'sqaud_f1'"),
        ({**ASKED, "context": MILL, "metrics": "f1"}, "line 2, metrics: no metric 'f1'"),
        ({**HOTPOT, "context": [["The mill"]]}, r"context\[0\]: expected \[title, content\]"),
        ({**HOTPOT, "context": [[None, [MILL]]]}, r"context\[0\]: expected \[title, sentences\]"),
        ({**HOTPOT, "context": [["The mill", [None]]]}, r"context\[0\]: expected \[title, sentences\]"),
        ({**HOTPOT, "context": {"title": ["A", "B"], "sentences": [[MILL]]}}, "context: 2 of title and 1 of sentences"),
        ({**HOTPOT, "context": True}, "'context' should be list, found bool"),
        ({**HOTPOT, "supporting_facts": [["The mill"]]}, r"supporting_facts\[0\]: expected \[title, sent_id\]"),
        ({**HOTPOT, "supporting_facts": [["The mill", "1"]]}, r"supporting_facts\[0\]: expected a title and a number"),
        ({**HOTPOT, "evidences": [["a", None, "b"]]}, "evidences: expected subject, relation and object"),
        ({**ASKED, "ctxs": [None]}, r"ctxs\[0\]: expected an object, found NoneType"),
        ({**ASKED, "ctxs": [document(MILL, title=3)]}, "'title' should be str, found int"),
        ({**musique_row(1), "question_decomposition": [{"question": "Who?"}]}, r"decomposition\[0\]: no 'answer' here"),
        ({**musique_row(1), "question_decomposition": [STEP]}, r"decomposition\[0\]: paragraph 99 is none of the row"),
        ({**ASKED, "documents": [document(MILL)], "evidence": 1}, "evidence: expected texts of documents, found 1"),
        ({"questions": [{**ASKED, "gold": 1}], "documents": [document(MILL)]}, "'gold' should be list, found int"),
        ({"instruction": "Who?", "output": "Ada", "history": 3}, "'history' should be list, found int"),
        ({**NOLIMA, "tests": {"T1": True}}, r"tests\[T1\]: expected an object, found bool"),
        ({**NOLIMA, "questions": {"onehop": True}}, "'onehop' should be str, found bool"),
    ],
)
def test_a_row_that_is_not_what_it_says_is_told_by_its_place(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as found:
        read(tmp_path, LAYOUTS["documents"][0], row)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("row", "odd"),
    [
        ({**ASKED, "documents": [document(MILL, gold=True)]}, {"documents": json.dumps([document(MILL, gold=True)])}),
        ({**ASKED, "documents": [document(MILL, gold=True)]}, {"documents": {"text": [MILL], "gold": [True]}}),
        ({**ASKED, "documents": [document(MILL, gold=True)]}, {"answers": json.dumps(ASKED["answers"])}),
        ({"messages": [*CHAT, ANSWER]}, {"messages": json.dumps([*CHAT, ANSWER])}),
        (
            {"messages": [*CHAT, ANSWER]},
            {"messages": [one | {"role": one["role"].title()} for one in [*CHAT, ANSWER]]},
        ),
    ],
)
def test_lists_that_tables_keep_otherwise_are_the_same_rows(row: dict[str, Any], odd: dict[str, Any]) -> None:
    """JSON in a text (its brackets became a part of the answer), objects as columns, roles in capitals."""
    assert list(hm.read_examples([row | odd])) == list(hm.read_examples([row]))


def test_columns_of_other_names_are_told(tmp_path: Path) -> None:
    row = {"prompt": "Who founded the mill?", "gold_answers": ["Ada Reyes"], "passage": MILL, "question": "ignored"}
    columns = {"question": "prompt", "answers": "gold_answers", "context": "passage"}
    (example,) = read(tmp_path, row, columns=columns)
    assert example.question == "Who founded the mill?"
    with pytest.raises(DataError, match="no column passages here; found gold_answers, passage"):
        read(tmp_path, row, columns={**columns, "context": "passages"})
    for wrong in ("question", "context"):  # alone, too, where nothing else tells a layout
        with pytest.raises(DataError, match="no column asked here; found gold_answers, passage"):
            hm.read_examples([row, row], columns={wrong: "asked"})
    with pytest.raises(ConfigError, match="no reader 'openai'; there are documents"):
        read(tmp_path, row, reader="openai")
    with pytest.raises(DataError, match="nearest is [a-z]* .*, and a value here is of another type"):
        read(tmp_path, {**ASKED, "context": [MILL]})


FLAT = {
    "ticket": 7,
    "ask": "Who?",
    "gold": ["Ada Reyes"],
    "passages": [{"body": MILL, "of use": True}, {"body": BRIDGE}],
}
NAMES = {"id": "ticket", "question": "ask", "answers": "gold", "documents": "passages"}
INSIDE = {"documents.text": "body", "documents.gold": "of use"}


@pytest.mark.parametrize(
    "form", [list, json.dumps, lambda items: {key: [one.get(key) for one in items] for key in items[0]}]
)
def test_columns_of_objects_in_a_list_are_told_too(form: Any) -> None:
    row = FLAT | {"passages": form(FLAT["passages"])}
    (found,) = hm.read_examples([row], columns=NAMES | INSIDE)
    assert (said(found, "evidence"), found.source["row_id"]) == ([MILL], "7")
    with pytest.raises(DataError, match="no 'text' here; found body, of use; .*--map documents.text=COLUMN"):
        hm.read_examples([row], columns=NAMES)
    with pytest.raises(DataError, match="no column corpus here; found .*no other row has it"):
        hm.read_examples([row, row], columns=NAMES | INSIDE | {"documents.title": "corpus"})


@pytest.mark.parametrize("name", ["documents", "context", "alpaca", "prompt-completion", "hotpotqa", "mdqa", "squad"])
def test_a_column_that_some_rows_lack_is_counted_and_one_that_all_lack_is_an_error(name: str) -> None:
    whole = LAYOUTS[name][0]
    for key in [key for key in whole if key not in ("evidence", "input", "_id")]:
        called = {one: one.upper() for one in whole}  # under other names, as theirs are told
        rows = [{called[one]: value for one, value in row.items()} for row in (whole, {**whole, key: None})]
        del rows[1][called[key]]
        found = hm.read_examples(rows, columns={one: called[one] for one in whole})
        assert found.manifest["rejected_rows"] == {f"it lacks {called[key]}, which other rows have": ["row 1"]}
        with pytest.raises(DataError, match=f"no column {called[key]} here"):
            hm.read_examples(rows[1:] * 2, columns={one: called[one] for one in whole})
        bare = {one: value for one, value in whole.items() if one != key}
        with pytest.raises(DataError, match="row 0: no "):
            hm.read_examples([bare, bare])


KEPT: dict[str, tuple[dict[str, Any], str]] = {  # what is odd about a row of use, and how it is told
    "another answer": (
        {"question": "Who?", "answers": ["Reyes", "Ada Reyes"], "documents": [document(f"{MILL} Reyes!", gold=True)]},
        "another answer than",
    ),
    "an override": ({**ASKED, "context": f"{MILL} \u202e."}, "(U+202E)"),
    "no width, and NUL": ({"messages": [{"role": "user", "content": "Wh\u200bo\u0000?"}, ANSWER]}, "(U+0000, U+200B)"),
    "choices": ({**ASKED, "context": MILL, "options": ["Ada", "Ines"]}, "no part of its prompt (options)"),
    "instructions": (
        {**ASKED, "documents": [document(MILL, gold=True)], "system": "Be short.", "Examples": ["Q"], "choices": []},
        "no part of its prompt (Examples, system)",
    ),
    "a mark of direction in an answer": (
        {"question": "Who?", "answers": ["Ada Reyes\u200f"], "context": MILL.replace(" founded", "\u200f founded")},
        "(U+200F)",
    ),
    "an empty document": ({**ASKED, "documents": [document(MILL, gold=True), document(" ")]}, "a document is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_is_odd_about_a_row_that_is_kept_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    row, part = KEPT[name]
    found = hm.read_examples([LAYOUTS["documents"][0], LAYOUTS["titles"][0], row | {"id": "T-3"}])
    assert len(found) == 3
    ((said, rows),) = found.manifest["remarks"].items()
    assert part in said
    assert rows == ["row 2 (T-3)"]
    assert "row 2 (T-3)" in capsys.readouterr().err
    plain = hm.read_examples([LAYOUTS["documents"][0], {**ASKED, "context": "a\tb\nc \u200d\u00ad Ada Reyes"}])
    assert "remarks" not in plain.manifest


def test_further_parts_of_a_row_are_read_where_its_layout_has_a_place_for_them() -> None:
    rows = [
        {"messages": [*CHAT[1:], ANSWER], "system": "Be brief."},
        {"messages": [*CHAT, ANSWER], "system": "Be long.", "id": 1},  # it has a system turn of its own
        {"prompt": CHAT[1]["content"], "completion": "Ada Reyes", "system": "Be brief.", "id": 2},
        {"instruction": "Who did?", "context": MILL, "output": "Ada Reyes"},  # Dolly
        {"question": "Who?", "answer": "Ada Reyes", "answer_aliases": ["A. R.", "Ada Reyes"], "context": MILL},
        {**ASKED, "context": MILL, "metrics": "ruler_part"},
        {"question": "Who did it?", "answers": ["Ada Reyes"], "context": MILL, "metrics": {"bleu": 0.1}},
    ]
    found = hm.read_examples(rows)
    turns = [[(one.role, one.text) for one in row.messages] for row in found]
    assert turns[:3] == [[(one["role"], one["content"]) for one in CHAT]] * 2 + [turns[0]]
    assert turns[3] == [("user", f"Who did?\n\n{MILL}")]
    assert found[4].answers == ("Ada Reyes", "A. R.")
    assert [metrics_of_row(row)[0] for row in found][-3:] == ["squad_f1", "ruler_part", "squad_f1"]
    assert "remarks" not in found.manifest


@pytest.mark.parametrize("times", [1, 2, 5])
def test_every_place_of_an_answer_counts_read_or_built(
    times: int, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """One file by its two ways: as it stands, and built to a length."""
    rows = [mdqa_row(number) for number in range(4)]
    for row in rows:
        row["ctxs"][0]["text"] += f" So said {row['answers'][0]}." * (times - 1)
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    read = hm.read_examples(source)
    built = hm.build(hm.Recipe(task="mdqa", length=512, rows=4, source=source), tokenizer)
    for found in (read, built):
        assert len(found) == 4
        assert {len(example.spans["answer"]) for example in found} == {times}
    assert {one.question: one.answers[0] for one in read} == {one.question: one.answers[0] for one in built}


def test_an_own_id_of_several_rows_is_told() -> None:
    rows = [{**ASKED, "id": "T-1", "context": f"{BRIDGE * n} {MILL}"} for n in range(3)]
    assert list(hm.read_examples(rows).manifest["remarks"].values()) == [["T-1"]]


@pytest.mark.parametrize("text", [BRIDGE, f"{BRIDGE} No mill."])
def test_answers_need_no_evidence(text: str) -> None:
    row, known = {**ASKED, "documents": [document(text, gold=True)]}, LAYOUTS["documents"][0]
    assert len(hm.read_examples([known, row])) == 1
    first, second = hm.read_examples([known, row], evidence=False)
    assert (first, second.answers) == (hm.read_examples([known])[0], tuple(ASKED["answers"]))
    assert "evidence" not in second.spans


def test_several_questions_of_a_row_are_rows(tmp_path: Path) -> None:
    questions = [
        {"question": "Who founded the mill?", "answers": ["Ada Reyes"], "gold": [0]},
        {"question": "Of what is the bridge?", "answers": ["stone"], "gold": [1]},
        {"question": "When did it burn?", "answers": ["1900"], "gold": [1]},
    ]
    found = read(tmp_path, {"documents": [MILL, BRIDGE], "questions": questions})
    assert [said(example, "evidence") for example in found] == [[MILL], [BRIDGE]]
    assert found.manifest["rejected"] == {NOWHERE: 1}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("told", ["NFC", "NFD"])
def test_accents_may_be_part_of_letters_or_on_their_own(form: Any, told: Any, tmp_path: Path) -> None:
    text, answer, needle = "Um 1871. André baute sie in Zürich.", "André", "André baute"
    row = {"question": "Wer?", "answers": [normalize(told, answer)], "context": normalize(form, text)}
    (found,) = read(tmp_path, row)
    assert said(found, "answer") == [normalize(form, answer)] == [found.target]
    (found,) = read(tmp_path, {**row, "evidence": [normalize(told, needle)]})
    assert said(found, "evidence") == [normalize(form, needle)]
    mine = hm.example(normalize(form, text), normalize(told, needle), "Wer?", normalize(told, answer))
    assert (said(mine, "evidence"), mine.target) == ([normalize(form, needle)], normalize(form, answer))


def test_a_row_twice_is_one(tmp_path: Path) -> None:
    row = LAYOUTS["documents"][0]
    found = read(tmp_path, row, {**row, "question": "By whom?"}, row)
    assert (len(found), found.manifest["rejected"]) == (2, {"the same row stands in the file already": 1})


def test_tokens_are_counted_where_a_tokenizer_is_given(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = [LAYOUTS[name][0] for name in ("documents", "messages")]
    found = read(tmp_path, *rows, tokenizer=tokenizer)
    lengths = [len(hm.encode(example, tokenizer)) for example in found]
    assert found.manifest["checks"]["tokens"] == sum(lengths)
    assert found.recipe.length == max(lengths)
    assert read(tmp_path, *rows).manifest["checks"]["tokens"] == 0  # not counted
    assert json.loads(next(found.rows)["checks"])["answer_in_gold"]


def test_rows_in_which_something_is_found_are_named(tokenizer: PreTrainedTokenizerBase) -> None:
    leak = {**ASKED, "id": "T-1", "documents": [document(MILL, gold=True), document(f"No, {MILL}")]}
    rows = [leak, {**LAYOUTS["messages alone"][0], "id": "T-2"}, LAYOUTS["context"][0]]
    data = hm.read_examples(rows, tokenizer)
    lengths = {example.id: len(hm.encode(example, tokenizer)) for example in data}
    for length in (min(lengths.values()) - 1, sorted(lengths.values())[1], max(lengths.values())):
        found = stats(data, length)
        which = found["rows_found"]
        beyond = [name.partition(" ")[0] for name in which.get("rows_beyond_length", [])]
        assert beyond == [name for name, tokens in lengths.items() if tokens > length]
        assert all(found[name] == len(named) for name, named in which.items())
        counted = [found[f"rows_{name}"] for name in ("with_leaks", "without_evidence", "with_answer_in_prompt")]
        assert counted == [1, 1, 3]
        assert found["rows_with_answer_in_question"] == 0
    assert which["rows_with_leaks"] == [f"{data[0].id} (T-1)"]
    assert which["rows_without_evidence"] == [f"{data[1].id} (T-2)"]  # whose question is not its whole prompt


def test_commands_take_a_file_of_rows_where_they_take_a_dataset(tmp_path: Path) -> None:
    path = Path(write_jsonl(tmp_path / "mine.jsonl", [LAYOUTS["messages"][0]]))
    assert load_data(path)[0] == list(open_data(path))[0]
    folder = load_data(path).save(tmp_path / "saved")
    assert isinstance(open_data(folder), Folder)
    assert load_data(folder)[0] == load_data(path)[0]
    with pytest.raises(DataError, match=r"no dataset here \(manifest.json is missing\)"):
        load_data(tmp_path / "nowhere")


@pytest.mark.parametrize("task", ["mdqa", "musique"])
@pytest.mark.parametrize("name", ["messages", "documents", "alpaca", "context"])
def test_a_task_of_official_rows_says_what_reads_others(task: str, name: str, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "mine.jsonl", [LAYOUTS[name][0]])
    recipe = hm.Recipe(task=task, length=256, rows=1, source=source)
    with pytest.raises(DataError, match=rf"line 1: no .*; it is a row as {name} has them: build with --task qa"):
        hm.choices.TASKS[task].drafts(recipe)


# ---- built to a length


def built(tmp_path: Path, mine: list[dict[str, Any]], tokenizer: Any, **changes: Any) -> hm.Dataset:
    pool = write_jsonl(tmp_path / "pool.jsonl", [{"title": f"T{i}", "text": f"Item {i} is plain."} for i in range(60)])
    source = write_jsonl(tmp_path / "mine.jsonl", mine)
    values = {"task": "qa", "length": 256, "rows": 1, "source": source, "pool": pool} | changes
    return hm.build(hm.Recipe(**values), tokenizer)


@pytest.mark.parametrize("name", ["documents", "evidence in a document", "context", "hotpotqa", "mdqa", "several gold"])
def test_rows_are_built_to_a_length_with_their_evidence(
    name: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    row, evidence, answers = LAYOUTS[name]
    (example,) = built(tmp_path, [row], tokenizer)
    assert 230 <= len(hm.encode(example, tokenizer)) <= 256
    assert sorted(said(example, "evidence")) == sorted(evidence)
    assert said(example, "answer") == answers


def test_a_conversation_is_not_built_and_says_so(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match="a conversation keeps its own prompt: give the file itself as data"):
        built(tmp_path, [LAYOUTS["messages"][0]], tokenizer)


def test_twins_need_to_know_which_document_gives_what(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    one, several = LAYOUTS["documents"][0], {**LAYOUTS["several gold"][0], "question": "Who, again?"}
    twin = built(tmp_path, [one, several], tokenizer, setting="low-low")
    assert list(twin.manifest["rejected"].values()) == [1]
    assert "no twin in another concept" in next(iter(twin.manifest["rejected"]))
    real = built(tmp_path, [one, several], tokenizer, rows=2)
    assert twin[0].pair_id in {example.pair_id for example in real}


def test_triples_of_2wikimultihopqa_are_hops(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    row = {
        "_id": "w1", "question": "Where was the founder of the mill born?", "answer": "Lund",
        "context": [["Ada Reyes", ["Ada Reyes was born in Lund."]], ["Dam", ["A dam."]], ["Mill", [MILL]]],
        "supporting_facts": [["Ada Reyes", 0], ["Mill", 0]],
        "evidences": [["Mill", "founder", "Ada Reyes"], ["Ada Reyes", "place of birth", "Lund"]],
    }  # fmt: skip
    (real,) = built(tmp_path, [row], tokenizer)
    assert real.source["decomposition"] == [["Mill >> founder", "Ada Reyes"], ["#1 >> place of birth", "Lund"]]
    (twin,) = built(tmp_path, [row], tokenizer, setting="low-low")
    assert twin.question.startswith("What is the place of birth of the founder of Item")
    assert len(twin.spans["evidence"]) == 2


@needs_real_rows
@pytest.mark.parametrize(
    ("name", "rows", "rejected"),
    [
        ("hotpotqa/hotpot_train_100.json.gz", 100, 0),
        ("musique/musique_ans_dev_200.jsonl.gz", 60, 0),
        (
            "mdqa/nq-open-20_total_documents_gold_at_0.341.jsonl.gz",
            60,
            0,
        ),  # of 12 the answer stands twice in the gold one
    ],
)
def test_the_first_real_rows_are_read_by_the_same_door(name: str, rows: int, rejected: int, tmp_path: Path) -> None:
    """Of a file of lines the first 60: none of all 200 of MuSiQue is rejected, and none of all 341 of MDQA."""
    source = SHARED / name
    if ".jsonl" in source.suffixes:
        with gzip.open(source, "rt", encoding="utf-8") as file:
            lines = list(islice(file, 60))
        source = tmp_path / "rows.jsonl"
        source.write_text("".join(lines), encoding="utf-8")
    found = hm.read_examples(source)
    assert (len(found), sum(found.manifest["rejected"].values())) == (rows, rejected)
