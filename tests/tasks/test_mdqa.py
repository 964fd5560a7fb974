"""MDQA rows of files: the official prompt, any gold position, further distractors, bad rows, written twins."""

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from real_rows import SHARED, mdqa_row, needs_real_rows, write_jsonl
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import ConfigError, DataError, LengthError
from haymaker.realism.answers import holds
from haymaker.realism.written import Written, save_written
from haymaker.tasks import to_write

REAL = SHARED / "mdqa" / "nq-open-20_total_documents_gold_at_0.341.jsonl.gz"
INSTRUCTION = (
    "Write a high-quality answer for the given question using only the provided search results "
    "(some of which might be irrelevant)."
)


def official_prompt(row: dict[str, Any], documents: int, position: int) -> str:
    """The prompt of lost-in-the-middle for a row with gold first: gold moved to `position` among the first ranks."""
    gold, *ranked = row["ctxs"]
    chosen = ranked[: documents - 1]
    chosen.insert(position, gold)
    lines = [f"Document [{i + 1}](Title: {c['title']}) {c['text']}" for i, c in enumerate(chosen)]
    return "\n".join([INSTRUCTION, "", *lines, "", f"Question: {row['question']}", "Answer:"])


def recipe(source: Path | str, **changes: Any) -> hm.Recipe:
    values: dict[str, Any] = {
        "task": "mdqa",
        "length": 32_000,
        "rows": 6,
        "source": str(source),
        "chat_template": False,
    }
    return hm.Recipe(**(values | changes))


def by_question(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["question"]: row for row in rows}


@pytest.fixture(scope="module")
def some_real_rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, dict[str, Any]]]:
    """A file of the first dozen real rows, and the rows by question."""
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, 12)]
    return write_jsonl(tmp_path_factory.mktemp("real") / "rows.jsonl", rows), by_question(rows)


@needs_real_rows
@pytest.mark.parametrize(("documents", "position"), [(20, 0), (20, 4), (20, 9), (20, 19), (10, 0), (10, 9), (1, 0)])
def test_real_rows_give_the_official_prompt(
    documents: int, position: int, tokenizer: PreTrainedTokenizerBase, some_real_rows: tuple[str, dict[str, Any]]
) -> None:
    source, rows = some_real_rows
    for example in hm.build(recipe(source, documents=documents, gold_position=position), tokenizer):
        assert example.text == official_prompt(rows[example.question], documents, position)
        label = [label for label, span in example.labelled_spans if label.kind == "document"]
        assert len(label) == documents
        number = f"Document [{position + 1}]("
        evidence = example.spans["evidence"][0]
        assert example.text.rindex("\nDocument [", 0, evidence.start) == example.text.index(f"\n{number}")


@pytest.mark.parametrize(("documents", "position"), [(7, 0), (7, 3), (7, 6), (3, 1)])
def test_the_official_prompt_of_made_up_rows(
    documents: int, position: int, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [mdqa_row(n) for n in range(6)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    for example in hm.build(recipe(source, documents=documents, gold_position=position), tokenizer):
        assert example.text == official_prompt(by_question(rows)[example.question], documents, position)


def test_distractors_keep_their_rank_and_then_come_other_questions_passages(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    rows = [mdqa_row(n) for n in range(10)]
    rows[3]["ctxs"][2]["text"] += " It was Person Q7 again."  # holds the answer of row 7, so never among its passages
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    for example in hm.build(recipe(source, rows=10, length=5_000), tokenizer):
        row = by_question(rows)[example.question]
        shown = [example.text[span.slice] for span in example.spans["document"]]
        own = [f"(Title: {c['title']}) {c['text']}" for c in row["ctxs"][1:]]
        places = [next(i for i, text in enumerate(shown) if text.endswith(passage)) for passage in own]
        assert places == sorted(places)
        assert len(shown) > len(row["ctxs"])
        gold = next(i for i, text in enumerate(shown) if text.endswith(row["ctxs"][0]["text"]))
        assert not any(holds(text, row["answers"]) for i, text in enumerate(shown) if i != gold)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"documents": 9}, "documents: 9 were asked for.* 1 of evidence and the source gives 6 others"),
        ({"gold_position": 6, "length": 400}, "gold_position: 6 documents were to stand before.* 3 others"),
    ],
)
def test_what_a_row_cannot_have_is_refused(
    asked: dict[str, int], message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(0)])  # seven passages, and no other question's
    with pytest.raises(LengthError, match=message):
        hm.build(recipe(source, rows=1, **asked), tokenizer)


def test_no_row_shows_another_splits_evidence(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    rows = [mdqa_row(n) for n in range(16)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    shares = {"train": 0.5, "test": 0.5}
    train, test = (
        hm.build(recipe(source, rows=3, length=6_000, split=split, split_shares=shares), tokenizer) for split in shares
    )
    evidence = [example.text[example.spans["evidence"][0].slice] for example in test]
    assert not any(text in example.text for text in evidence for example in train)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answers": []}, "the question or all answers are empty"),
        ({"answers": ["", " "]}, "the question or all answers are empty"),
        ({"question": " "}, "the question or all answers are empty"),
        ({"answers": ["Nobody"]}, "the gold passage does not hold an answer"),
        ({"ctxs": mdqa_row(0)["ctxs"][1:]}, "no passage is marked gold"),
        ({"ctxs": mdqa_row(0)["ctxs"][:1] * 2}, "several passages are marked gold"),
        ({"question": mdqa_row(1)["question"]}, "the question stands in the file already"),
    ],
)
def test_rows_of_no_use_are_counted_by_reason(
    change: dict[str, Any], reason: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(0) | change, *(mdqa_row(n) for n in range(1, 5))])
    dataset = hm.build(recipe(source, rows=4, length=2_000), tokenizer)
    assert dataset.manifest["rejected"] == {reason: 1}
    with pytest.raises(ConfigError, match=f"asks for 5.*gives 4.*{reason}"):
        hm.build(recipe(source, rows=5, length=2_000), tokenizer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ctxs": None}, "'ctxs' should be list, found NoneType"),
        ({"ctxs": ["text"]}, r"ctxs\[0\]: expected an object with title and text, found str"),
        ({"ctxs": [{"title": "T"}]}, r"ctxs\[0\]: no 'text' here"),
        ({"ctxs": [{"title": "T", "text": 3}]}, r"ctxs\[0\]: 'text' should be str, found int"),
        ({"ctxs": [{"title": "T", "text": "x", "isgold": "yes"}]}, "'isgold' should be bool or int, found str"),
        ({"answers": "Paris"}, "'answers' should be list, found str"),
        ({"answers": ["Paris", 3]}, "'answers' should be a list of texts, found int"),
        ({"question": 3}, "'question' should be str, found int"),
    ],
)
def test_rows_of_another_schema_are_named_by_line(
    change: dict[str, Any], message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(0), mdqa_row(1) | change])
    with pytest.raises(DataError, match=f"rows.jsonl, line 2.*{message}"):
        hm.build(recipe(source, rows=1), tokenizer)


# ---- a writer's twins


@pytest.fixture
def written(tmp_path: Path) -> tuple[str, str]:
    """A source of six rows and a writer's file: four whole rows, one without its answer, one missing."""
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(n) for n in range(6)])
    texts = {}
    for i, asked in enumerate(to_write(recipe(source))[:5]):
        answer = f"Ovan {i}"
        passage = f"In the town of Kor {i} lived a potter. The medal was won by {answer if i else 'nobody'}."
        texts[asked.key] = Written((passage,), f"Who won the medal of Kor {i}?", answer, {"model": "m"}, (), (f"K{i}",))
    return source, str(save_written(tmp_path / "written.jsonl", texts))


@pytest.mark.parametrize("setting", ["high-high", "high-low"])
def test_written_texts_stand_in_for_the_grammar(
    setting: str, written: tuple[str, str], tokenizer: PreTrainedTokenizerBase
) -> None:
    source, texts = written
    chosen = recipe(source, setting=setting, written=texts, rows=4, length=1_500, padding_competitors=2, competitors=2)
    dataset = hm.build(chosen, tokenizer)
    assert dataset.manifest["rejected"] == {
        "a written passage does not hold its answer": 1, "the writer gave no text for it": 1
    }  # fmt: skip
    assert sorted(Path(name).name for name in dataset.manifest["inputs"]) == ["rows.jsonl", "written.jsonl"]
    pairs = {row.pair_id for row in hm.build(recipe(source, length=1_500), tokenizer)}
    for example in dataset:
        assert example.pair_id in pairs
        evidence, answer = (example.text[example.spans[kind][0].slice] for kind in ("evidence", "answer"))
        assert answer == example.target
        assert evidence.endswith(f"The medal was won by {example.target}.")
        assert example.question.startswith("Who won the medal of Kor")
        assert example.provenance[0] == {"kind": "written", "model": "m"}
        others = [other for other in dataset if other.target != example.target]
        assert sum(other.target in example.text for other in others) == 2  # rivals: two other rows' passages


def test_a_writer_is_asked_for_the_rows_that_the_recipe_takes(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(n) for n in range(6)])
    asked = to_write(recipe(source))
    assert {one.question for one in asked} == {mdqa_row(n)["question"] for n in range(6)}
    row = by_question([mdqa_row(n) for n in range(6)])[asked[0].question]
    assert asked[0].steps == ((row["question"], row["answers"][0]),)
    assert asked[0].passages == (row["ctxs"][0]["text"],)
    halves = [
        to_write(recipe(source, split=split, split_shares={"train": 0.5, "test": 0.5})) for split in ("train", "test")
    ]
    assert {one.key for half in halves for one in half} == {one.key for one in asked}
    with pytest.raises(ConfigError, match="a writer writes twins of real rows"):
        to_write(hm.Recipe(task="mdqa", length=100, rows=1))


def test_what_goes_with_a_source_is_refused_without_one(tokenizer: PreTrainedTokenizerBase) -> None:
    for name in ("pool", "written"):
        with pytest.raises(ConfigError, match=f"{name}: it goes with real rows"):
            hm.build(hm.Recipe(**{"task": "mdqa", "length": 256, "rows": 1, name: "x.jsonl"}), tokenizer)
