"""SummHay's topic json: documents (document_id, document_text, insights_included), subtopics with insights.

Every insight that documents carry is a question. A topic that is broken is a DataError naming file and place.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from pathlib import Path
from typing import Any

from haymaker.config import Recipe
from haymaker.drafts import Rejected
from haymaker.errors import DataError
from haymaker.file_digests import file_digest
from haymaker.file_reading import read_json, required, texts_of
from haymaker.metrics import normalise
from haymaker.realism.placeholders import QUANTITY
from haymaker.realism.written import Written, with_texts
from haymaker.records import digest
from haymaker.tasks.file_rows import LIMITED_OUT
from haymaker.tasks.pool import Passage, Pool, read_pool, taken_apart
from haymaker.tasks.sources import HubRows, hub_name, in_split


@dataclass(frozen=True)
class Topic:
    """One haystack."""

    key: str
    texts: Mapping[str, str]  # document id -> text
    insights: Mapping[str, str]  # insight id -> its wording
    carriers: Mapping[str, tuple[str, ...]]  # insight id -> ids of the documents that carry it

    @cached_property
    def passages(self) -> tuple[Passage, ...]:
        return tuple(Passage("", text) for text in self.texts.values())

    @cached_property
    def rarity(self) -> dict[str, float]:
        """Of every word, the log of documents over documents that hold it."""
        held = Counter(word for text in self.texts.values() for word in set(normalise(text).split()))
        return {word: log((1 + len(self.texts)) / count) for word, count in held.items()}


@dataclass(frozen=True)
class Question:
    """One insight of a topic, to be cited."""

    topic: Topic
    insight: str

    @property
    def text(self) -> str:
        return self.topic.insights[self.insight]

    @property
    def carriers(self) -> tuple[str, ...]:
        return self.topic.carriers.get(self.insight, ())

    @property
    def key(self) -> str:
        return digest([self.topic.key, self.insight])


@dataclass(frozen=True)
class Haystacks:
    """A source's questions that a recipe asks, and documents beyond a topic's own: other topics', then the pool's."""

    questions: list[Question]
    beyond: Pool
    inputs: dict[str, str]
    rejected: Rejected
    written: dict[str, Written]  # a writer's texts by question key


def read(recipe: Recipe) -> Haystacks:
    """All insights of `recipe.source` (a topic's json, a folder of them, a dataset of the hub) that documents carry,
    in an order that the files' order does not change."""
    assert recipe.source is not None
    values, inputs = topic_values(recipe.source, recipe.split)
    topics = [read_topic(value, place) for place, value in values]
    further, pool_inputs = read_pool(recipe.pool, recipe.split)
    own = (passage for topic in topics for passage in topic.passages) if len(topics) > 1 else ()
    rejected = Rejected()
    questions = list(questions_of(recipe, topics, rejected))
    questions.sort(key=lambda question: question.key)
    return Haystacks(
        questions,
        Pool(taken_apart([*own, *further], recipe.shortest), recipe.seed),
        {**inputs, **pool_inputs},
        rejected,
        {},
    )


def questions_of(recipe: Recipe, topics: list[Topic], rejected: Rejected) -> Iterator[Question]:
    """The topics' insights that the recipe asks for; those that are of no use are counted."""
    for topic in topics:
        for insight, text in topic.insights.items():
            question = Question(topic, insight)
            if not text.strip():
                rejected.add("the insight is empty", insight)
            elif not question.carriers:
                rejected.add("no document carries the insight", insight)
            elif not in_split(text, recipe.split, recipe.split_shares):
                continue
            elif recipe.setting == "real-limited" and not QUANTITY.search(text):
                rejected.add(LIMITED_OUT, insight)
            else:
                yield question


def with_written(recipe: Recipe, found: Haystacks) -> Haystacks:
    """The questions that the recipe's writer gave usable texts for, where the setting takes a writer's."""
    if recipe.written is None or recipe.axes.concept != "high":
        return found
    path = recipe.written
    questions, texts, faults = with_texts(path, found.questions, lambda _, text: text.fault)
    inputs = {**found.inputs, path: file_digest(path)}
    return replace(
        found, questions=questions, inputs=inputs, rejected=found.rejected.with_others(faults), written=texts
    )


def topic_values(source: str, split: str) -> tuple[list[tuple[str, Any]], dict[str, str]]:
    """(place, topic) of everything a source holds, and its digests."""
    name = hub_name(source, split)
    if name is not None:
        rows = HubRows(name)
        return list(rows), rows.inputs
    paths = topic_files(Path(source))
    return [(str(path), read_json(path)) for path in paths], {str(path): file_digest(path) for path in paths}


def topic_files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    found = sorted(path for pattern in ("*.json", "*.json.gz") for path in source.glob(pattern))
    if not found:
        raise DataError(f"{source}: no topic files (*.json, *.json.gz) in this folder")
    return found


def read_topic(value: Any, place: str) -> Topic:
    """A topic, checked."""
    insights: dict[str, str] = {}
    for i, subtopic in enumerate(required(value, "subtopics", list, place)):
        for j, insight in enumerate(required(subtopic, "insights", list, f"{place}, subtopics[{i}]")):
            where = f"{place}, subtopics[{i}].insights[{j}]"
            insights[required(insight, "insight_id", str, where)] = required(insight, "insight", str, where)
    texts: dict[str, str] = {}
    carriers: dict[str, list[str]] = {}
    for i, document in enumerate(required(value, "documents", list, place)):
        where = f"{place}, documents[{i}]"
        key = required(document, "document_id", str, where)
        if key in texts:
            raise DataError(f"{where}: document_id {key!r} stands in the topic already; expected one document each")
        texts[key] = required(document, "document_text", str, where).strip()
        for insight in dict.fromkeys(texts_of(document, "insights_included", where)):
            carriers.setdefault(insight, []).append(key)
    unknown = sorted(set(carriers) - set(insights))
    if unknown:
        raise DataError(f"{place}: documents carry insights that no subtopic has: {', '.join(unknown[:3])}")
    key = str(value.get("topic_id") or digest(sorted(texts)))
    return Topic(key, dict(sorted(texts.items())), insights, {i: tuple(sorted(found)) for i, found in carriers.items()})
