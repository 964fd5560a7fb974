"""MuSiQue rows: hops, support and decomposition kept, padding that gives no hop away, bad rows, twins."""

import gzip
import json
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from real_rows import SHARED, musique_row, needs_real_rows, passage, write_jsonl
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import ConfigError, DataError
from haymaker.miniature.world import World
from haymaker.randomness import keyed
from haymaker.realism.answers import holds
from haymaker.realism.written import Written, save_written
from haymaker.tasks import task, to_write

REAL = SHARED / "musique" / "musique_ans_dev_200.jsonl.gz"


def recipe(source: Path | str, **changes: Any) -> hm.Recipe:
    values: dict[str, Any] = {
        "task": "musique",
        "length": 5_000,
        "rows": 6,
        "source": str(source),
        "padding_competitors": 4,
    }
    return hm.Recipe(**(values | changes))


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [musique_row(n, 2 + n % 3) for n in range(9)]


def documents_of(example: hm.Example) -> list[str]:
    return [example.text[span.slice] for span in example.spans["document"]]


def support_of(example: hm.Example) -> dict[int, str]:
    """Hop -> the document that holds its evidence."""
    found = {}
    for label, span in example.labelled_spans:
        if label.kind == "evidence":
            around = [d for d in example.spans["document"] if d.start <= span.start and span.stop <= d.stop]
            assert len(around) == 1
            found[label.index] = example.text[around[0].slice]
    return found


def check_support(example: hm.Example, row: dict[str, Any]) -> None:
    """Hop k's evidence is the paragraph that step k names, and no other paragraph is marked."""
    by_index = {paragraph["idx"]: paragraph for paragraph in row["paragraphs"]}
    steps = row["question_decomposition"]
    found = support_of(example)
    assert sorted(found) == list(range(len(steps)))
    for hop, step in enumerate(steps):
        paragraph = by_index[step["paragraph_support_idx"]]
        assert paragraph["is_supporting"]
        assert found[hop].endswith(f"(Title: {paragraph['title']}) {paragraph['paragraph_text']}")
    assert example.source["row_id"] == row["id"]
    assert example.source["decomposition"] == [[step["question"], step["answer"]] for step in steps]
    assert example.source["hops"] == len(steps)


def test_support_and_decomposition_are_kept_under_padding(
    rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    by_id = {row["id"]: row for row in rows}
    examples = list(hm.build(recipe(source, rows=9), tokenizer))
    assert {example.source["hops"] for example in examples} == {2, 3, 4}
    for example in examples:
        row = by_id[example.source["row_id"]]
        check_support(example, row)
        assert len(documents_of(example)) > len(row["paragraphs"])
        others = [p["paragraph_text"] for p in row["paragraphs"] if not p["is_supporting"]]
        shown = [next(i for i, text in enumerate(documents_of(example)) if text.endswith(other)) for other in others]
        assert shown == sorted(shown), "the file's order of paragraphs"


@needs_real_rows
def test_support_sets_of_real_rows(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        real = [json.loads(line) for line in islice(file, 12)]
    source = write_jsonl(tmp_path / "rows.jsonl", real)
    by_id = {row["id"]: row for row in real}
    for example in hm.build(recipe(source, rows=12, length=16_000), tokenizer):
        check_support(example, by_id[example.source["row_id"]])


def test_padding_holds_no_answer_alias_or_intermediate_answer(
    rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    # Row 1 has three hops, by way of Place 1b and Place 1c to Place 1d, whose alias is "the Old One".
    rows[1]["answer_aliases"] = ["The Old One!"]
    holding = ["It is (Place 1B).", "They saw place 1c", "so place 1D, too", "Old, one day"]
    pool = [{"title": f"Trap {i}", "text": f"{passage_of(i)} {text}"} for i, text in enumerate(holding)]
    free = [{"title": f"Free {i}", "text": passage_of(i)} for i in range(10, 30)]
    (tmp_path / "pool.json").write_text(json.dumps(pool + free))
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    chosen = recipe(source, rows=9, length=12_000, pool=str(tmp_path / "pool.json"))
    text_of = {example.source["row_id"]: example.text for example in hm.build(chosen, tokenizer)}
    assert not any(f"Trap {i}" in text_of["3hop__1"] for i in range(4))
    assert all(f"Trap {i}" in text_of["4hop__2"] for i in range(4)), "the traps are padding for other rows"
    assert "Free 10" in text_of["3hop__1"]


def passage_of(number: int) -> str:
    return passage(Random(1_000 + number))


def test_the_numbers_of_hops_can_be_asked_for(
    rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    dataset = hm.build(recipe(source, rows=3, hops=(4,)), tokenizer)
    assert {example.source["hops"] for example in dataset} == {4}
    assert dataset.manifest["rejected"] == {"another number of hops was asked for": 6}
    with pytest.raises(ConfigError, match="2 to 4"):
        hm.build(recipe(source, hops=(5,)), tokenizer)


@pytest.mark.parametrize("setting", ["low-low", "symbolic", "high-high"])
def test_twins_have_as_many_hops_and_every_hop_in_another_document(
    setting: str, rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    for example in hm.build(recipe(source, rows=3, setting=setting, length=1_500), tokenizer):
        support = support_of(example)
        assert len(support) == example.source["hops"]
        assert len(set(support.values())) == len(support)


def test_rivals_of_a_chain_are_linked_too(
    rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """The only number that is both a value and a key would otherwise show the chain without the question."""
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    for example in hm.build(
        recipe(source, setting="symbolic", hops=(2,), length=1_500, rows=3, competitors=4), tokenizer
    ):
        pairs = [pair.split(": ") for text in documents_of(example) for pair in text.split("{")[1][:-1].split(", ")]
        keys, values = {key for key, _ in pairs}, [value for _, value in pairs]
        assert sum(value in keys for value in values) == 3  # the chain's link, and one of each pair of rivals


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answerable": False}, "the question is marked unanswerable"),
        ({"answer": " "}, "the question or the answer is empty"),
        ({"question": ""}, "the question or the answer is empty"),
        ({"answer": "Nowhere", "answer_aliases": []}, "the last paragraph does not hold an answer"),
        ({"question_decomposition": musique_row(0)["question_decomposition"][:1]}, "steps and the supporting"),
    ],
)
def test_rows_of_no_use_are_counted_by_reason(
    change: dict[str, Any], reason: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [musique_row(0) | change, musique_row(1), musique_row(2)])
    rejected = hm.build(recipe(source, rows=2, length=2_000), tokenizer).manifest["rejected"]
    assert [reason in found for found in rejected] == [True]
    assert list(rejected.values()) == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paragraphs": None}, "'paragraphs' should be list, found NoneType"),
        ({"paragraphs": [{"idx": 0, "title": "T", "paragraph_text": "x"}]}, "no 'is_supporting' here"),
        ({"paragraphs": [{"idx": 0, "title": "T", "is_supporting": True}]}, r"paragraphs\[0\]: no 'text' here"),
        ({"question_decomposition": ["who"]}, "question_decomposition to hold objects, found str"),
        ({"question_decomposition": []}, "the steps name paragraphs nowhere"),
        ({"question_decomposition": [{"question": "q", "answer": "a", "paragraph_support_idx": 99}]}, r"\[99\]"),
        ({"question_decomposition": [{"question": "q", "answer": "a", "paragraph_support_idx": None}]}, "be int"),
        ({"answer_aliases": "alias"}, "'answer_aliases' should be list"),
        ({"id": 5}, "'id' should be str"),
    ],
)
def test_rows_of_another_schema_are_named_by_line(
    change: dict[str, Any], message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [musique_row(0), musique_row(1) | change])
    with pytest.raises(DataError, match=f"rows.jsonl, line 2.*{message}"):
        hm.build(recipe(source, rows=1), tokenizer)


def test_a_writers_chain_keeps_its_bridges(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    rows = [musique_row(n, 2) for n in range(4)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    texts = {}
    for i, asked in enumerate(to_write(recipe(source))):
        passages = (f"The mill of Kor {i} belongs to Ude Vin {i}.", f"Ude Vin {i} lives in Port Sel {i}.")
        question = f"Where does the owner of the mill of Kor {i} live?"
        texts[asked.key] = Written(passages[: 1 if i == 3 else 2], question, f"Port Sel {i}", {}, (f"Ude Vin {i}",))
    chosen = recipe(source, setting="high-high", rows=3, written=str(save_written(tmp_path / "w.jsonl", texts)))
    dataset = hm.build(chosen, tokenizer)
    assert list(dataset.manifest["rejected"]) == ["the writer gave not one passage an answer"]
    for example in dataset:
        number = example.target.split()[-1]
        evidence = [example.text[span.slice] for span in example.spans["evidence"]]
        assert sorted(evidence) == sorted(texts_of(number))
        assert [example.text[span.slice] for span in example.spans["answer"]] == [example.target]
        gold = set(support_of(example).values())
        others = [text for text in documents_of(example) if text not in gold]
        assert not any(holds(text, [example.target, f"Ude Vin {number}"]) for text in others)


def texts_of(number: str) -> list[str]:
    return [f"The mill of Kor {number} belongs to Ude Vin {number}.", f"Ude Vin {number} lives in Port Sel {number}."]


def test_names_of_a_grammars_chain_are_apart(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    """A name inside another would be right under a metric that looks for substrings, and leave no rival apart."""
    source = write_jsonl(tmp_path / "rows.jsonl", [row for row in rows if row["id"] == "4hop__2"])
    seed = next(seed for seed in range(10_000) if not apart(names_drawn_first(seed, "4hop__2")))
    draft = task("musique").drafts(recipe(source, setting="high-low", seed=seed)).draft(0)
    titles = [alternatives[0].title for alternatives in (*draft.gold, *draft.competitors)]
    assert apart([*titles, draft.answers[0]])


def names_drawn_first(seed: int, key: str) -> list[str]:
    chain = World("train", seed).chain(keyed(seed, key, "facts", 0), 4)
    return [chain[0].subject, *(fact.object for fact in chain)]


def apart(entities: list[str]) -> bool:
    names = [entity.split()[-1].lower() for entity in entities]
    return not any(i != j and one in other for i, one in enumerate(names) for j, other in enumerate(names))
