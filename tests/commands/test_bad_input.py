"""Bad input: every kind is an error that says where, or a rejection counted under its reason; never a wrong row."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_rows import mdqa_row, musique_row, topic, write_jsonl
from tiny_tokenizers import STRIPPING, TEMPLATE, tiny_tokenizer
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase

import haymaker as hm
from haymaker.config import Recipe
from haymaker.data.builder import Builder
from haymaker.errors import ConfigError, DataError, LengthError, ModelError

Change = Callable[[dict[str, Any]], Any]


def recipe(source: Path | str, **changes: Any) -> Recipe:
    return Recipe(**({"task": "mdqa", "length": 2048, "rows": 1, "source": str(source)} | changes))


def fails(message: str, source: Path | str, tokenizer: PreTrainedTokenizerBase, **changes: Any) -> None:
    with pytest.raises(DataError, match=message):
        hm.build(recipe(source, **changes), tokenizer)


# ---- files


def test_a_truncated_gz_names_the_line(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    text = "".join(json.dumps(mdqa_row(n)) + "\n" for n in range(40)).encode()
    whole = gzip.compress(text, mtime=0)
    path.write_bytes(whole[: len(whole) // 2])
    fails(r"rows\.jsonl\.gz: the gzip stream breaks off after line \d+; fetch the file again", path, tokenizer)


def test_a_gz_with_a_broken_byte(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    whole = bytearray(gzip.compress("".join(json.dumps(mdqa_row(n)) + "\n" for n in range(40)).encode(), mtime=0))
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(bytes(whole))
    fails(r"rows\.jsonl\.gz", path, tokenizer)


def test_an_empty_file(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    fails("the file is empty; expected one JSON object a line", tmp_path / "rows.jsonl", tokenizer)
    (tmp_path / "blank.jsonl").write_text("\n \n")
    with pytest.raises((DataError, ConfigError), match=r"blank\.jsonl"):
        hm.build(recipe(tmp_path / "blank.jsonl"), tokenizer)


def test_text_that_is_not_utf8_names_the_line(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    first = json.dumps(mdqa_row(0)).encode() + b"\n"
    (tmp_path / "rows.jsonl").write_bytes(first + '{"question": "caf\u00e9"}'.encode("latin-1") + b"\n")
    fails(r"rows\.jsonl: cannot be decoded after line \d+", tmp_path / "rows.jsonl", tokenizer)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1, 2]", "line 2: expected a JSON object, found list"),
        ('"text"', "line 2: expected a JSON object, found str"),
        ("null", "line 2: expected a JSON object, found NoneType"),
        ('{"question": "half', "line 2: not JSON"),
        ("{}", "line 2: no 'question' here; found nothing"),
    ],
)
def test_a_line_that_is_not_a_row(line: str, message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(mdqa_row(0)) + "\n" + line + "\n")
    fails(message, tmp_path / "rows.jsonl", tokenizer)


# ---- schemas


def without(*keys: str) -> Change:
    return lambda row: [row.pop(key) for key in keys]


def put(**values: Any) -> Change:
    return lambda row: row.update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("ctxs"), "line 2: no 'ctxs' here; found answers, question"),
        (put(question=7), "line 2: 'question' should be str, found int"),
        (put(answers="Person"), "line 2: 'answers' should be list, found str"),
        (put(answers=["Person", 7]), "line 2: 'answers' should be a list of texts, found int"),
        (put(ctxs=["text"]), r"line 2, ctxs\[0\]: expected an object with title and text, found str"),
        (put(ctxs=[{"title": "a"}]), r"line 2, ctxs\[0\]: no 'text' here"),
    ],
)
def test_an_mdqa_row_of_another_schema(
    change: Change, message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [mdqa_row(0), mdqa_row(1)]
    change(rows[1])
    fails(message, write_jsonl(tmp_path / "rows.jsonl", rows), tokenizer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("paragraphs"), "line 2: no 'paragraphs' here"),
        (put(question_decomposition=[]), "line 2: the steps name paragraphs nowhere"),
        (put(question_decomposition=["hop"]), "line 2: expected question_decomposition to hold objects, found str"),
        (lambda row: row["question_decomposition"][0].update(paragraph_support_idx=99), r"name paragraphs \[99\]"),
        (lambda row: row["paragraphs"][0].pop("is_supporting"), "line 2: no 'is_supporting' here"),
    ],
)
def test_a_musique_row_of_another_schema(
    change: Change, message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [musique_row(0), musique_row(1)]
    change(rows[1])
    fails(message, write_jsonl(tmp_path / "rows.jsonl", rows), tokenizer, task="musique")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("subtopics"), "no 'subtopics' here"),
        (lambda value: value["documents"][3].pop("document_text"), r"documents\[3\]: no 'document_text' here"),
        (lambda value: value["documents"][0].update(insights_included=["i9"]), "insights that no subtopic has: i9"),
    ],
)
def test_a_topic_of_another_schema(
    change: Change, message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    value = topic()
    change(value)
    (tmp_path / "topic.json").write_text(json.dumps(value))
    fails(message, tmp_path / "topic.json", tokenizer, task="summhay")
    (tmp_path / "list.json").write_text("[]")
    fails("expected .*, found list", tmp_path / "list.json", tokenizer, task="summhay")


# ---- rows that are whole but of no use


def gold_of(row: dict[str, Any]) -> dict[str, Any]:
    return row["ctxs"][0]


MDQA_REJECTIONS: dict[str, Change] = {
    "the gold passage does not hold an answer": lambda row: gold_of(row).update(text="The prize went to nobody."),
    "the question or all answers are empty": put(answers=[]),
    "no passage is marked gold": lambda row: gold_of(row).update(isgold=False),
    "several passages are marked gold": lambda row: row["ctxs"][1].update(isgold=True),
}


@pytest.mark.parametrize("reason", MDQA_REJECTIONS)
def test_an_mdqa_row_of_no_use_is_counted_under_its_reason(
    reason: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [mdqa_row(n) for n in range(4)]
    MDQA_REJECTIONS[reason](rows[2])
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    made = hm.build(recipe(source, rows=3), tokenizer)
    assert made.manifest["rejected"] == {reason: 1}
    assert rows[2]["question"] not in {example.question for example in made}
    with pytest.raises(ConfigError, match=rf"asks for 4, .*rows\.jsonl gives 3 .*{reason}"):
        hm.build(recipe(source, rows=4), tokenizer)


MUSIQUE_REJECTIONS: dict[str, Change] = {
    "the question is marked unanswerable": put(answerable=False),
    "the question or the answer is empty": put(answer=" "),
    "the steps and the supporting paragraphs disagree": lambda row: row["paragraphs"][0].update(is_supporting=True),
    "the last paragraph does not hold an answer": put(answer="nobody", answer_aliases=[]),
}


@pytest.mark.parametrize("reason", MUSIQUE_REJECTIONS)
def test_a_musique_row_of_no_use_is_counted_under_its_reason(
    reason: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [musique_row(n) for n in range(3)]
    MUSIQUE_REJECTIONS[reason](rows[1])
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    made = hm.build(recipe(source, task="musique", rows=2), tokenizer)
    assert made.manifest["rejected"] == {reason: 1}


def test_a_question_that_stands_twice_is_counted(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(0), mdqa_row(1), mdqa_row(0)])
    assert hm.build(recipe(source, rows=2), tokenizer).manifest["rejected"] == {
        "the question stands in the file already": 1
    }


# ---- tokenizers and templates


def test_a_tokenizer_without_offsets(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ByT5Tokenizer gives no character offsets.*load a fast tokenizer"):
        hm.build(Recipe(task="mdqa", length=256, rows=1), ByT5Tokenizer())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in messages %}<|user|>{% endfor %}", "the chat template drops message 0"),
        (TEMPLATE.replace("message.content", "message.content | upper"), "changes the text of a message"),
        (TEMPLATE.replace("message.content", "message.content[:200]"), "changes the text of a message"),
        (TEMPLATE.replace("message.content", "message.content | replace('Question', 'Q')"), "changes the text"),
    ],
    ids=["drops", "rewrites", "cuts", "replaces"],
)
def test_a_template_that_drops_or_changes_text(template: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        hm.build(Recipe(task="mdqa", length=600, rows=1), tiny_tokenizer("bytes", template))


def test_a_template_that_strips_blanks_takes_prompts_without_any() -> None:
    data = hm.build(Recipe(task="mdqa", length=600, rows=2), tiny_tokenizer("bytes", STRIPPING))
    assert len(data) == 2


# ---- lengths


@pytest.mark.parametrize(("task", "make"), [("mdqa", mdqa_row), ("musique", musique_row)])
def test_a_length_too_short_for_the_evidence(
    task: str, make: Callable[[int], dict[str, Any]], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [make(n) for n in range(3)])
    with pytest.raises(LengthError, match=r"64 tokens are too few .* the row takes \d+; raise the length") as error:
        hm.build(recipe(source, task=task, length=64), tokenizer)
    first = Builder(recipe(source, task=task), tokenizer).drafts.draft(0).question
    assert first in str(error.value)


def test_a_pool_too_small_for_the_length(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(0)])
    with pytest.raises(LengthError, match="give more rows, a pool of passages, or a smaller length"):
        hm.build(recipe(source, length=8192), tokenizer)
