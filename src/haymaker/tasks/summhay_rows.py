"""Rows of SummHay's topics: an insight, the documents that carry it, and others of the topic up to the length.

A row takes as many carriers as leave half of the length to other documents. Which sentence of a real carrier says the
insight is found once, when the row is written; in twins the insight is put into other documents, or is a number.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain
from random import Random

from haymaker.config import Recipe
from haymaker.drafts import Alternatives, Document, DocumentRole, Draft, Drafts, Style
from haymaker.metrics import normalise
from haymaker.miniature.world import FILLER
from haymaker.randomness import keyed, shuffle
from haymaker.realism.context import padding_document
from haymaker.realism.symbols import Symbols, closing_lists, digits_for, fine_sizes, list_document, lists
from haymaker.realism.wording import Draw
from haymaker.realism.written import Asked, Written
from haymaker.records import Label, Segment
from haymaker.tasks.summhay_files import Haystacks, Question, Topic, read, with_written

CHARACTERS_PER_TOKEN = 3.0  # low, so that carriers leave room; the fit itself counts tokens
MOST_CARRIERS = 8
EVIDENCE = Label("evidence", -1)  # of the document's own number
SENTENCE = re.compile(r"[^.!?。！？\n]+(?:[.!?]+(?=\s|$)|[。！？]+|\n|$)(?:[\"”’)」』]+)?")
FORMS = ("{} This was noted by several observers.", "According to reports, {}", "Much was made of one point: {}")
PADDING_SENTENCES = 12  # of a document of padding that carries an insight
SIZES = (2, 3, 4, 5)  # numbers in a list


def file_drafts(recipe: Recipe, style: Style) -> Drafts:
    """All questions of `recipe.source` in the recipe's setting."""
    found = with_written(recipe, read(recipe))

    def draft(number: int) -> Draft:
        return TopicRow(recipe, found, found.questions[number]).draft()

    return Drafts(draft, style, len(found.questions), found.inputs, found.rejected)


def asked(recipe: Recipe) -> list[Asked]:
    """What a writer is asked for to make twins of the source's rows: as many texts as the row has carriers."""
    found = read(recipe)
    rows = [TopicRow(recipe, found, question) for question in found.questions]
    return [row.asked() for row in rows]


class TopicRow:
    """One question of a topic and the carriers chosen for it: what a writer is asked, and the draft."""

    def __init__(self, recipe: Recipe, found: Haystacks, question: Question) -> None:
        self.recipe, self.found, self.question, self.topic = recipe, found, question, question.topic
        self.concept, self.context, _ = recipe.axes
        self.draw: Draw = partial(keyed, recipe.seed, question.key)
        self.written: Written | None = found.written.get(question.key)
        self.carriers = chosen_carriers(recipe, question, self.draw)
        if self.written is not None:
            self.carriers = self.carriers[: len(self.written.passages)]
        self.others = [key for key in self.topic.texts if key not in question.carriers]

    def asked(self) -> Asked:
        text = self.question.text
        return Asked(self.question.key, text, ((text, ""),), tuple(self.topic.texts[key] for key in self.carriers))

    def draft(self) -> Draft:
        source = {"dataset": "summhay", "topic": self.topic.key, "row_id": self.question.insight}
        base = Draft(
            question=self.question.text,
            answers=(),
            cites=True,
            gold=(),
            competitors=(),
            further=partial(self.documents, self.others),
            facts=[self.topic.key, self.question.insight],
            trim=True,
            concept=self.concept,
            context=self.context,
            source={**source, "carriers": len(self.carriers)},
        )
        make = {"real": self.real, "symbolic": self.symbolic}.get(self.concept, self.made)
        return make(base)

    def real(self, base: Draft) -> Draft:
        """The carriers as they are, each with the sentence that says the insight marked."""
        found = [real_carrier(self.topic, key, self.question.text) for key in self.carriers]
        record = {"kind": "evidence_found", "similarity": [round(score, 3) for _, score in found]}
        return replace(base, gold=tuple((document,) for document, _ in found), provenance=(record,))

    def documents(self, keys: Sequence[str]) -> Iterator[Document]:
        """Documents of the topic in the row's own order, then those beyond it."""
        texts = ((keys[i], self.topic.texts[keys[i]]) for i in shuffle(len(keys), self.draw("documents")))
        own = (Document(key, (Segment(text, (FILLER,)),), host=text) for key, text in texts)
        return chain(own, self.found.beyond.documents(self.question.key, self.topic.passages, [self.question.text]))

    # ---- twins in prose

    def made(self, base: Draft) -> Draft:
        """The insight put into other documents: in a writer's words (high) or as it stands (low).

        Rivals are other insights of the topic, put into documents likewise.
        """
        rng, carriers = self.draw("made"), len(self.carriers)
        rivals = self.rivals()
        hosts = rng.sample(self.others, min(carriers + len(rivals), len(self.others)))
        places = [hosts[i % len(hosts)] if hosts else "" for i in range(carriers)]
        gold = tuple(self.carrier(self.said(i, rng), i, host, rng, "gold") for i, host in enumerate(places))
        competitors = tuple(
            self.carrier(said, i, host, rng, "competitor")
            for i, (said, host) in enumerate(zip(rivals, hosts[carriers:], strict=False))
        )
        free = [key for key in self.others if key not in hosts]
        padded = self.context == "low"
        return replace(
            base,
            question=self.written.question if self.written else base.question,
            gold=gold,
            competitors=competitors,
            further=self.padding if padded else partial(self.documents, free),
            trim=not padded,
            provenance=(self.provenance(),),
        )

    def provenance(self) -> dict[str, object]:
        if self.written is not None:
            return {**self.written.provenance, "kind": "written"}
        return {"kind": "written", "by": "grammar" if self.concept == "high" else "template"}

    def said(self, which: int, rng: Random) -> str:
        """The insight in the words of carrier `which`."""
        return self.written.passages[which] if self.written else self.form(rng).format(self.question.text)

    def form(self, rng: Random) -> str:
        return rng.choice(FORMS) if self.concept == "high" else "{}"

    def rivals(self) -> list[str]:
        """Other insights of the topic as a document says them, as many as the recipe wants competitors."""
        count, rng, asked = self.recipe.rivals, self.draw("rivals"), self.question
        others = [Question(self.topic, key) for key in sorted(self.topic.insights) if key != asked.insight]
        apart = [
            one for one in others if one.text.strip() and one.text not in asked.text and asked.text not in one.text
        ]
        if self.written is not None:
            texts = (self.found.written.get(one.key) for one in rng.sample(apart, len(apart)))
            return [text.passages[0] for text in texts if text is not None][:count]
        return [self.form(rng).format(one.text) for one in rng.sample(apart, min(count, len(apart)))]

    def carrier(self, said: str, which: int, host: str, rng: Random, role: DocumentRole) -> Alternatives:
        """A host with a sentence put into it; the sentence alone where the length is tight."""
        padded = padding_document(which % 5, PADDING_SENTENCES).text
        text = padded if self.context == "low" else self.topic.texts.get(host, "")
        ends = sentence_ends(text)
        at = rng.choice(ends) if ends else 0
        before, after = text[:at].rstrip(), text[at:].strip()
        evidence = Segment(said, (EVIDENCE,) if role == "gold" else ())
        pieces = (
            Segment(before + " " * bool(before), (FILLER,)),
            evidence,
            Segment(" " * bool(after) + after, (FILLER,)),
        )
        key = f"{role} {which} in {host}: {said}"
        full = Document(key, tuple(piece for piece in pieces if piece.text), role, host=text, inserted=said)
        return full, Document(f"{key} alone", (evidence,), role)

    def padding(self) -> Iterator[Document]:
        rng = self.draw("padding")
        while True:
            yield padding_document(rng.randrange(5), rng.choice((24, 18, 12, 6, 3, 2, 1)))

    # ---- the symbolic twin

    def symbolic(self, base: Draft) -> Draft:
        """Lists of numbers, of which one is the insight's; rival numbers stand in as many lists as it does."""
        symbols, rng = Symbols(self.draw("symbols"), digits_for(self.recipe.longest)), self.draw("lists")
        number, carriers = symbols.of(self.question.text), len(self.carriers)
        gold = tuple(list_of(symbols, rng, number, f"list {i}", "gold") for i in range(carriers))
        rivals = [symbols.fresh() for _ in range(-(-self.recipe.competitors // carriers))]
        competitors = tuple(
            list_of(symbols, rng, rivals[i // carriers], f"rival list {i}", "competitor")
            for i in range(self.recipe.competitors)
        )
        record = {"kind": "symbol_map", "symbol_of": dict(symbols.number_of)}
        made = replace(base, question=number, gold=gold, competitors=competitors, trim=False, provenance=(record,))
        closers = tuple(closing_lists(symbols))
        further = lambda: lists(symbols.fork(self.draw("numbers")), self.draw("further lists"), SIZES)  # noqa: E731 - a stream
        fine = lambda: fine_sizes(symbols.fork(self.draw("fine")), list_document)  # noqa: E731 - a stream
        return replace(made, further=further, closers=lambda: iter(closers), fine=fine)


def chosen_carriers(recipe: Recipe, question: Question, draw: Draw) -> list[str]:
    """Carriers in the row's own order, as many as take half of the length at most, one at least."""
    carriers = question.carriers
    order = [carriers[i] for i in shuffle(len(carriers), draw("carriers"))]
    room = 0.5 * recipe.shortest * CHARACTERS_PER_TOKEN
    kept: list[str] = []
    for key in order[:MOST_CARRIERS]:
        room -= len(question.topic.texts[key])
        if kept and room < 0:
            break
        kept.append(key)
    return kept


def real_carrier(topic: Topic, key: str, insight: str) -> tuple[Document, float]:
    """A carrier with the sentence that says the insight marked, and how sure that is (0 to 1)."""
    text = topic.texts[key]
    start, stop, score = closest_sentence(text, insight, topic.rarity)
    pieces = (Segment(text[:start], (FILLER,)), Segment(text[start:stop], (EVIDENCE,)), Segment(text[stop:], (FILLER,)))
    return Document(key, tuple(piece for piece in pieces if piece.text), "gold", host=text), score


def closest_sentence(text: str, insight: str, rarity: Mapping[str, float]) -> tuple[int, int, float]:
    """The sentence that shares most of the insight's words, rare ones counting more; its share of them."""
    words = set(normalise(insight).split())
    whole = sum(rarity.get(word, 0.0) for word in words) or 1.0
    best = (0, len(text), -1.0)
    for start, stop, said in sentences(text):
        score = sum(rarity.get(word, 0.0) for word in sorted(words & said)) / whole
        best = max(best, (start, stop, score), key=lambda found: found[2])
    return best


@lru_cache(maxsize=1_024)
def sentences(text: str) -> tuple[tuple[int, int, frozenset[str]], ...]:
    """Where each sentence stands, and its words. A document carries several insights, so it is asked for many times."""
    found = []
    for match in SENTENCE.finditer(text):
        if sentence := match.group().strip():
            start = match.start() + match.group().index(sentence)
            found.append((start, start + len(sentence), frozenset(normalise(sentence).split())))
    return tuple(found)


@lru_cache(maxsize=1_024)
def sentence_ends(text: str) -> tuple[int, ...]:
    return tuple(match.end() for match in SENTENCE.finditer(text))


def list_of(symbols: Symbols, rng: Random, number: str, key: str, role: DocumentRole) -> Alternatives:
    """A list that holds the number at a chance place; the number alone where the length is tight."""
    others = [symbols.fresh() for _ in range(rng.choice(SIZES) - 1)]
    at = rng.randrange(len(others) + 1)
    start, stop = "".join(f"{other}, " for other in others[:at]), "".join(f", {other}" for other in others[at:])
    said = Segment(number, (EVIDENCE,) if role == "gold" else ())
    full = Document(key, (Segment("{" + start), said, Segment(stop + "}")), role)
    return full, Document(f"{key} alone", (Segment("{"), said, Segment("}")), role)
