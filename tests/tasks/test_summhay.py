"""SummHay rows: who carries an insight, haystacks cut to a length, evidence sentences, bad topics, twins."""

import json
from pathlib import Path
from typing import Any

import pytest
from real_rows import SHARED, needs_real_rows, topic
from task_solvers import judged
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import DataError, LengthError
from haymaker.file_reading import read_json
from haymaker.metrics import citations
from haymaker.realism.written import Written, save_written
from haymaker.tasks import metrics_of, to_write
from haymaker.tasks.summhay_files import read_topic
from haymaker.tasks.summhay_rows import closest_sentence

REAL = SHARED / "summhay" / "topic_news1.json.gz"


def recipe(source: Path | str, **changes: Any) -> hm.Recipe:
    values: dict[str, Any] = {
        "task": "summhay",
        "length": 3_000,
        "rows": 3,
        "source": str(source),
        "padding_competitors": 2,
    }
    return hm.Recipe(**(values | changes))


def saved(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def documents_of(example: hm.Example) -> dict[int, str]:
    return {label.index: example.text[s.slice] for label, s in example.labelled_spans if label.kind == "document"}


@pytest.mark.parametrize("length", [2_000, 4_000])
def test_the_answer_is_every_document_shown_that_carries_the_insight(
    length: int, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = topic()
    for example in hm.build(recipe(saved(tmp_path / "topic.json", source), length=length), tokenizer):
        shown = documents_of(example)
        assert len(shown) < len(source["documents"]), "a haystack cut to the length"
        key = example.source["row_id"]
        carriers = [d["document_text"] for d in source["documents"] if key in d["insights_included"]]
        carrying = {number for number, text in shown.items() if any(text.endswith(whole) for whole in carriers)}
        assert carrying == citations(example.target)
        for label, span in example.labelled_spans:
            if label.kind == "evidence":
                assert label.index in carrying
                assert example.text[span.slice] == example.question  # it stands word for word in these documents
        numbers = [example.text[span.slice] for span in example.spans["citation"]]
        assert "".join(f"[{number}]" for number in numbers) == example.target


@needs_real_rows
def test_evidence_of_a_real_topic_is_a_sentence_of_its_carrier(tokenizer: PreTrainedTokenizerBase) -> None:
    for example in hm.build(recipe(REAL, length=16_000, rows=2), tokenizer):
        assert len(example.spans["evidence"]) == example.source["carriers"] == len(citations(example.target))
        assert len(next(p for p in example.provenance if p["kind"] == "evidence_found")["similarity"]) > 0


@needs_real_rows
def test_sentences_close_to_an_insight_stand_in_its_carriers() -> None:
    found = read_topic(read_json(REAL), str(REAL))
    scores: dict[bool, list[float]] = {True: [], False: []}
    for insight, text in list(found.insights.items())[:4]:
        for key, whole in list(found.texts.items())[::2]:
            scores[key in found.carriers[insight]].append(closest_sentence(whole, text, found.rarity)[2])
    carrying, others = (sum(kept) / len(kept) for kept in (scores[True], scores[False]))
    assert carrying > 3 * others


def test_the_closest_sentence_shares_most_words_and_rare_ones_count_more() -> None:
    text = 'It was a day. The price of wheat fell by nine coins! "The day of the wheat," they said.'
    rarity = dict.fromkeys("price wheat fell nine coins".split(), 1.0) | {"day": 0.1, "it": 0.0, "was": 0.0}
    # "the" is no word after normalising. Of price, wheat, fell, by, nine, coins all but "by" weigh 1: all five shared.
    start, stop, score = closest_sentence(text, "The price of wheat fell by nine coins.", rarity)
    assert text[start:stop] == "The price of wheat fell by nine coins!"
    assert score == 1.0


def test_a_topic_that_is_used_up_goes_on_in_the_folders_other_topics(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    folder = tmp_path / "topics"
    folder.mkdir()
    saved(folder / "a.json", topic(documents=8))
    with pytest.raises(LengthError, match="further documents leave"):
        hm.build(recipe(folder / "a.json", length=4_000, rows=1), tokenizer)
    other = topic(documents=20, seed=1)
    saved(folder / "b.json", other)
    texts = {document["document_text"] for document in other["documents"]}
    dataset = hm.build(recipe(folder, length=4_000, rows=6), tokenizer)
    assert len(dataset.manifest["inputs"]) == 2
    for example in dataset:
        if example.source["topic"] == "t0":
            assert any(text in example.text for text in texts)
    assert {example.source["topic"] for example in dataset} == {"t0", "t1"}


def test_answers_are_judged_strictly_and_leniently(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    assert metrics_of("summhay") == ("citation_f1", "citation_f1_lenient")
    example = hm.build(recipe(saved(tmp_path / "topic.json", topic()), rows=1), tokenizer)[0]
    numbers = sorted(citations(example.target))
    assert len(numbers) > 1
    semicolons = "[" + "; ".join(map(str, numbers)) + "]"
    assert judged(semicolons, example) == {"citation_f1": 0.0, "citation_f1_lenient": 1.0}


# ---- bad topics


def changed(**changes: Any) -> dict[str, Any]:
    return topic() | changes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "expected an object, found list"),
        (changed(subtopics=None), "'subtopics' should be list"),
        (changed(subtopics=["one"]), r"subtopics\[0\]: expected an object, found str"),
        (changed(subtopics=[{"insights": [{"insight": "x"}]}]), r"insights\[0\]: no 'insight_id' here"),
        (
            changed(documents=[{"document_id": "a", "document_text": 1}]),
            r"documents\[0\]: 'document_text' should be str",
        ),
        (changed(documents=topic()["documents"][:1] * 2), r"documents\[1\]: document_id 'd0' stands in the topic"),
        (changed(subtopics=[]), "documents carry insights that no subtopic has: i0"),
    ],
)
def test_broken_topics_are_named_by_file_and_place(
    value: Any, message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = saved(tmp_path / "topic.json", value)
    with pytest.raises(DataError, match=f"topic.json.*{message}"):
        hm.build(recipe(source, rows=1), tokenizer)


def test_insights_of_no_use_are_counted(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    value = topic()
    value["subtopics"][0]["insights"] += [
        {"insight_id": "lonely", "insight": "Nobody says this."},
        {"insight_id": "empty", "insight": " "},
    ]
    source = saved(tmp_path / "topic.json", value)
    rejected = hm.build(recipe(source, rows=4), tokenizer).manifest["rejected"]
    assert rejected == {"no document carries the insight": 1, "the insight is empty": 1}
    value["subtopics"][0]["insights"][0]["insight"] = "Nothing that counts."
    limited = hm.build(recipe(saved(tmp_path / "other.json", value), setting="real-limited"), tokenizer)
    assert limited.manifest["rejected"]["it asks for a relation other than the limited ones"] == 1
    assert all(any(letter.isdigit() for letter in example.question) for example in limited)


def test_an_empty_folder_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no topic files"):
        to_write(recipe(tmp_path))


# ---- twins


@pytest.mark.parametrize("setting", ["high-high", "high-low", "low-high", "low-low"])
def test_twins_say_the_insight_in_as_many_documents_and_rivals_say_others(
    setting: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    value = topic(documents=30)
    source = saved(tmp_path / "topic.json", value)
    real = {example.pair_id: example for example in hm.build(recipe(source, length=4_000), tokenizer)}
    insights = [insight["insight"] for insight in value["subtopics"][0]["insights"]]
    for example in hm.build(recipe(source, length=4_000, setting=setting, competitors=2), tokenizer):
        assert len(citations(example.target)) == real[example.pair_id].source["carriers"]
        evidence = [example.text[span.slice] for span in example.spans["evidence"]]
        assert all(example.question in said for said in evidence)
        assert (evidence == [example.question] * len(evidence)) == setting.startswith("low")
        others = [text for number, text in documents_of(example).items() if number not in citations(example.target)]
        assert not any(example.question in text for text in others)
        rivals = [text for text in others if any(insight in text for insight in insights)]
        assert len(rivals) >= 2


def test_written_carriers_and_rivals(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    source = saved(tmp_path / "topic.json", topic(documents=30))
    texts = {}
    for asked in to_write(recipe(source, length=4_000)):
        assert asked.steps == ((asked.question, ""),)
        carriers = tuple(f"Somebody told us ({i}): {asked.question.lower()}" for i in range(len(asked.passages)))
        texts[asked.key] = Written(carriers, f"Who says that {asked.question}", "")
    path = str(save_written(tmp_path / "written.jsonl", texts))
    chosen = recipe(source, length=4_000, setting="high-low", written=path, padding_competitors=3)
    for example in hm.build(chosen, tokenizer):
        assert example.question.startswith("Who says that")
        evidence = {example.text[span.slice] for span in example.spans["evidence"]}
        assert len(evidence) == example.source["carriers"] > 1
        assert all(said.startswith("Somebody told us") for said in evidence)
        assert example.text.count("Somebody told us") == len(evidence) + 3


@pytest.mark.parametrize("source", ["world", "file"])
def test_long_lists_run_out_of_no_numbers(source: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    # 9,000 tokens hold more numbers than there are of three digits, which is what so short a row begins with.
    place = saved(tmp_path / "topic.json", topic()) if source == "file" else None
    chosen = hm.Recipe(task="summhay", setting="symbolic", length=9_000, rows=1, source=place)
    text = hm.build(chosen, tokenizer)[0].text
    numbers = [number for line in text.split("{")[1:] for number in line.split("}")[0].split(", ")]
    repeated = len(numbers) - len(set(numbers))
    assert len(set(numbers)) > 900
    assert repeated < 20


def test_carriers_are_read_once_each() -> None:
    value = topic()
    value["documents"][0]["insights_included"] *= 2
    found = read_topic(value, "here")
    assert all(len(set(keys)) == len(keys) for keys in found.carriers.values())
