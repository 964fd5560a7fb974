"""SummHay's topic json: documents (document_id, document_text, insights_included), subtopics with insights.

Every insight that documents carry is a question. A row takes as many of its carriers as leave half of the length to
other documents of the topic; which sentence of a carrier says it is found once, when the row is written.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import log
from pathlib import Path
from typing import Any

from haymaker.config import Recipe
from haymaker.dataset import file_digest
from haymaker.errors import DataError
from haymaker.metrics import normalise
from haymaker.miniature.world import FILLER
from haymaker.randomness import keyed, shuffle
from haymaker.realism import AXES
from haymaker.realism.concept import Draw, Symbols, digits_for
from haymaker.realism.context import filler_document, padding_document
from haymaker.records import Label, Segment, digest
from haymaker.tasks.base import Document, Draft, Drafts, Style
from haymaker.tasks.files import in_split, read_json, required

CHARACTERS_PER_TOKEN = 3.0  # low, so that carriers leave room; the fit itself counts tokens
MOST_CARRIERS = 8
EVIDENCE = Label("evidence", -1)
SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+(?=\s|$)|\n|$)(?:[\"”’)]+)?")
QUANTITY = re.compile(r"\d")  # real-limited: insights that state a quantity or a date
FORMS = ("{} This was noted by several observers.", "According to reports, {}", "Much was made of one point: {}")


@dataclass(frozen=True)
class Topic:
    """One haystack."""

    key: str
    texts: Mapping[str, str]  # document id -> text
    insights: Mapping[str, str]  # insight id -> its wording
    carriers: Mapping[str, tuple[str, ...]]  # insight id -> ids of the documents that carry it
    rarity: Mapping[str, float]  # word -> log of documents over documents that hold it


@dataclass(frozen=True)
class Question:
    topic: Topic
    insight: str

    @property
    def text(self) -> str:
        return self.topic.insights[self.insight]

    @property
    def key(self) -> str:
        return digest([self.topic.key, self.insight])


def file_drafts(recipe: Recipe, style: Style) -> Drafts:
    """All insights of `recipe.source` (a topic's json, or a folder of them) that documents carry."""
    assert recipe.source is not None
    paths = topic_files(Path(recipe.source))
    questions: list[Question] = []
    rejected: Counter[str] = Counter()
    for path in paths:
        topic = read_topic(path)
        questions += [Question(topic, insight) for insight in topic.insights if topic.carriers.get(insight)]
        rejected["no document carries the insight"] += sum(not topic.carriers.get(i) for i in topic.insights)
    chosen = [q for q in questions if in_split(q.text, recipe.split, recipe.split_shares)]
    if recipe.setting == "real-limited":
        chosen = [question for question in chosen if QUANTITY.search(question.text)]
    chosen.sort(key=lambda question: question.key)
    inputs = {str(path): file_digest(path) for path in paths}
    return Drafts(lambda k: draft(recipe, chosen[k]), style, len(chosen), inputs, dict(+rejected))


def topic_files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    found = sorted(path for pattern in ("*.json", "*.json.gz") for path in source.glob(pattern))
    if not found:
        raise DataError(f"{source}: no topic files (*.json, *.json.gz) in this folder")
    return found


def read_topic(path: Path) -> Topic:
    """A topic's file, checked."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a topic (an object), found {type(value).__name__}")
    insights = {}
    for i, subtopic in enumerate(required(value, "subtopics", list, str(path))):
        for j, insight in enumerate(required(subtopic, "insights", list, f"{path}, subtopics[{i}]")):
            place = f"{path}, subtopics[{i}].insights[{j}]"
            insights[required(insight, "insight_id", str, place)] = required(insight, "insight", str, place)
    texts: dict[str, str] = {}
    carriers: dict[str, list[str]] = {}
    for i, document in enumerate(required(value, "documents", list, str(path))):
        place = f"{path}, documents[{i}]"
        key = required(document, "document_id", str, place)
        texts[key] = required(document, "document_text", str, place).strip()
        for insight in required(document, "insights_included", list, place):
            carriers.setdefault(insight, []).append(key)
    unknown = sorted(set(carriers) - set(insights))
    if unknown:
        raise DataError(f"{path}: documents carry insights that no subtopic has: {', '.join(unknown[:3])}")
    key = str(value.get("topic_id") or digest(sorted(texts)))
    return Topic(key, texts, insights, {i: tuple(sorted(found)) for i, found in carriers.items()}, rarity_of(texts))


def rarity_of(texts: Mapping[str, str]) -> dict[str, float]:
    held = Counter(word for text in texts.values() for word in set(normalise(text).split()))
    return {word: log((1 + len(texts)) / count) for word, count in held.items()}


def draft(recipe: Recipe, question: Question) -> Draft:
    """One insight's row in the recipe's setting."""
    draw: Draw = partial(keyed, recipe.seed, question.key)
    topic, (concept, context) = question.topic, AXES[recipe.setting]
    carriers = chosen_carriers(recipe, question, draw)
    others = [key for key in topic.texts if key not in topic.carriers[question.insight]]
    base = Draft(
        question=question.text,
        answers=(),
        cites=True,
        gold=(),
        competitors=(),
        further=partial(documents_of, topic, others, draw),
        facts=[topic.key, question.insight],
        trim=True,
        concept=concept,
        context=context,
        source={"dataset": "summhay", "topic": topic.key, "row_id": question.insight, "carriers": len(carriers)},
    )
    if concept == "real":
        found = [real_carrier(topic, key, question.text) for key in carriers]
        similarity = [round(score, 3) for _, score in found]
        provenance = ({"kind": "evidence_found", "similarity": similarity},)
        return replace(base, gold=tuple((document,) for document, _ in found), provenance=provenance)
    if concept == "symbolic":
        return symbolic(recipe, base, len(carriers), draw)
    return made(base, topic, others, len(carriers), draw)


def chosen_carriers(recipe: Recipe, question: Question, draw: Draw) -> list[str]:
    """Carriers in the row's own order, as many as take half of the length at most, one at least."""
    carriers = question.topic.carriers[question.insight]
    order = [carriers[i] for i in shuffle(len(carriers), draw("carriers"))]
    room = 0.5 * recipe.length * CHARACTERS_PER_TOKEN
    kept: list[str] = []
    for key in order[:MOST_CARRIERS]:
        room -= len(question.topic.texts[key])
        if kept and room < 0:
            break
        kept.append(key)
    return kept


def documents_of(topic: Topic, keys: Sequence[str], draw: Draw) -> Iterator[Document]:
    """Documents of the topic that do not carry the insight, in the row's own order."""
    for i in shuffle(len(keys), draw("documents")):
        yield filler_document(keys[i], topic.texts[keys[i]])


def real_carrier(topic: Topic, key: str, insight: str) -> tuple[Document, float]:
    """A carrier with the sentence that says the insight marked, and how sure that is (0 to 1)."""
    text = topic.texts[key]
    start, stop, score = closest_sentence(text, insight, topic.rarity)
    pieces = (Segment(text[:start], (FILLER,)), Segment(text[start:stop], (EVIDENCE,)), Segment(text[stop:], (FILLER,)))
    return Document(key, tuple(piece for piece in pieces if piece.text), "gold"), score


def closest_sentence(text: str, insight: str, rarity: Mapping[str, float]) -> tuple[int, int, float]:
    """The sentence that shares most of the insight's words, rare ones counting more; its share of them."""
    words = set(normalise(insight).split())
    whole = sum(rarity.get(word, 0.0) for word in words) or 1.0
    best = (0, len(text), -1.0)
    for match in SENTENCE.finditer(text):
        sentence = match.group().strip()
        if sentence:
            shared = words & set(normalise(sentence).split())
            score = sum(rarity.get(word, 0.0) for word in sorted(shared)) / whole
            start = match.start() + match.group().index(sentence)
            best = max(best, (start, start + len(sentence), score), key=lambda found: found[2])
    return best


def made(base: Draft, topic: Topic, others: Sequence[str], carriers: int, draw: Draw) -> Draft:
    """The insight put into other documents as one sentence: in a writer's form (high) or as it is (low)."""
    rng = draw("made")
    hosts = rng.sample(list(others), min(carriers, len(others)))
    hosts += [hosts[i % len(hosts)] if hosts else "" for i in range(carriers - len(hosts))]
    gold = []
    for i, host in enumerate(hosts):
        form = rng.choice(FORMS) if base.concept == "high" else "{}"
        text = padding_document(i % 5, 12).text if base.context == "low" else topic.texts.get(host, "")
        ends = [match.end() for match in SENTENCE.finditer(text)]
        at = rng.choice(ends) if ends else 0
        said = form.format(base.question)
        pieces = (Segment(text[:at].rstrip() + " ", (FILLER,)), Segment(said, (EVIDENCE,)))
        after = text[at:].strip()
        tail = (Segment(f" {after}", (FILLER,)),) if after else ()
        gold.append((Document(f"made {i} in {host}", (*pieces, *tail), "gold"),))
    free = [key for key in others if key not in hosts]
    further = partial(long_padding, draw) if base.context == "low" else partial(documents_of, topic, free, draw)
    provenance = ({"kind": "written", "by": "grammar" if base.concept == "high" else "template"},)
    return replace(base, gold=tuple(gold), further=further, trim=base.context != "low", provenance=provenance)


def long_padding(draw: Draw) -> Iterator[Document]:
    rng = draw("padding")
    while True:
        yield padding_document(rng.randrange(5), rng.choice((24, 18, 12, 6, 3, 2, 1)))


def symbolic(recipe: Recipe, base: Draft, carriers: int, draw: Draw) -> Draft:
    """Lists of numbers; the insight is one of them."""
    symbols, rng = Symbols(draw("symbols"), digits_for(recipe.length)), draw("lists")
    number = symbols.of(base.question)
    gold = []
    for i in range(carriers):
        start, stop = Segment(f"{{{symbols.fresh()}, "), Segment(f", {symbols.fresh()}}}")
        gold.append((Document(f"list {i}", (start, Segment(number, (EVIDENCE,)), stop), "gold"),))
    provenance = ({"kind": "symbol_map", "symbol_of": dict(symbols.number_of)},)
    further = partial(lists_of, symbols, rng)
    return replace(base, question=number, gold=tuple(gold), further=further, trim=False, provenance=provenance)


def lists_of(symbols: Symbols, rng: Any) -> Iterator[Document]:
    while True:
        text = f"{{{', '.join(symbols.fresh() for _ in range(rng.choice((3, 4, 2, 5))))}}}"
        yield filler_document(text, text)
