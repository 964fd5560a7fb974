"""The miniature world: an endless, seeded generator of small English-like documents about invented entities.

Every row is a pure function of (seed, split, key); the four splits never share a name.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Literal

from haymaker.miniature import grammar
from haymaker.miniature.grammar import RELATIONS, SYLLABLES, Relation
from haymaker.randomness import keyed
from haymaker.records import Label, Segment

Split = Literal["pretrain", "train", "dev", "test"]
Manner = Literal["real", "writer", "template"]
SPLIT_SHARES: dict[str, float] = {"pretrain": 0.6, "train": 0.2, "dev": 0.05, "test": 0.15}
DETAIL_SHARE = 0.35
BY_NAME = {relation.name: relation for relation in RELATIONS}
EVIDENCE, ANSWER, FILLER = Label("evidence"), Label("answer"), Label("filler")


@dataclass(frozen=True)
class Fact:
    """One statement: `subject` stands in `relation` to `object`."""

    relation: Relation
    subject: str
    object: str


@dataclass(frozen=True)
class Insight:
    """Something several documents may report about one place, each in its own words."""

    topic: str
    statement: str
    paraphrase: str


def split_of(name: str) -> str:
    """The split a name belongs to, by hash: stable, and no name stands in two splits."""
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    for split, size in SPLIT_SHARES.items():
        if share < size:
            return split
        share -= size
    return "test"


class World:
    """The documents of one split."""

    def __init__(self, split: Split = "train", seed: int = 0) -> None:
        self.split, self.seed = split, seed

    def rng(self, *key: str | int) -> Random:
        return keyed(self.seed, "world", self.split, *key)

    def name(self, rng: Random, taken: Collection[str] = ()) -> str:
        """A name of two or three syllables that belongs to this split and is not taken."""
        while True:
            name = "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 3)))).capitalize()
            if split_of(name) == self.split and not any(name in other for other in taken):
                return name

    def entity(self, kind: str, rng: Random, taken: Collection[str] = ()) -> str:
        name = self.name(rng, taken)
        return rng.choice(grammar.PLACE_FORMS).format(name) if kind == "place" else name

    def fact(self, rng: Random, relation: Relation | None = None, taken: Collection[str] = ()) -> Fact:
        """A fact about entities that are not in `taken`."""
        relation = relation or rng.choice(RELATIONS)
        subject = self.entity(relation.subject, rng, taken)
        return Fact(relation, subject, self.entity(relation.object, rng, (*taken, subject)))

    def facts(self, rng: Random, count: int, relation: Relation | None = None) -> list[Fact]:
        """`count` facts with no entity in common, of one relation where one is given."""
        found: list[Fact] = []
        for _ in range(count):
            found.append(self.fact(rng, relation, [name for fact in found for name in (fact.subject, fact.object)]))
        return found

    def chain(self, rng: Random, hops: int) -> list[Fact]:
        """Facts in which each object is the next one's subject: the ground of a question of several hops."""
        chain = [self.fact(rng)]
        while len(chain) < hops:
            subject, kind = chain[-1].object, chain[-1].relation.object
            relation = rng.choice([r for r in RELATIONS if r.subject == kind])
            taken = [name for fact in chain for name in (fact.subject, fact.object)]
            chain.append(Fact(relation, subject, self.entity(relation.object, rng, taken)))
        return chain

    def insight(self, rng: Random) -> Insight:
        """One insight; `statement` is the query's wording, `paraphrase` a document's."""
        topic, statement, paraphrase = rng.choice(grammar.INSIGHTS)
        values = dict(words(rng), x=self.entity("place", rng), n=str(rng.randint(2, 99)))
        return Insight(topic, statement.format(**values), paraphrase.format(**values))

    def passage(self, rng: Random, manner: Manner = "real") -> str:
        """A passage that states no fact about anyone (high context diversity)."""
        return " ".join(filler(rng) for _ in range(rng.randint(1, 3)))


def words(rng: Random) -> dict[str, str]:
    """A draw of every word class, for the placeholders of details and insights."""
    return {
        "trade": rng.choice(grammar.TRADES),
        "manner": rng.choice(grammar.MANNERS),
        "loved": rng.choice(grammar.LOVED),
        "adjective": rng.choice(grammar.ADJECTIVES),
        "noun": rng.choice(grammar.NOUNS),
    }


def filler(rng: Random) -> str:
    """One sentence without a name."""
    shape = rng.choice(grammar.FILLERS)
    time = rng.choice(grammar.TIMES)
    shape = shape.replace("{place}", rng.choice(grammar.PLACES)).replace("{verb}", rng.choice(grammar.VERBS))
    shape = shape.replace("{time}", time).replace("{Time}", time.capitalize())
    for kind, choices in (("{adjective}", grammar.ADJECTIVES), ("{noun}", grammar.NOUNS)):
        while kind in shape:
            shape = shape.replace(kind, rng.choice(choices), 1)
    return shape


def detail(kind: str, rng: Random) -> str:
    """A clause about an entity that states no fact of the world; often empty."""
    return rng.choice(grammar.DETAILS[kind]).format(**words(rng)) if rng.random() < DETAIL_SHARE else ""


def statement(fact: Fact, rng: Random, manner: Manner = "real", gold: bool = False) -> tuple[Segment, ...]:
    """The fact in words. With `gold`, the sentence is labelled evidence and the object inside it the answer."""
    relation = fact.relation
    if manner == "template":
        phrasing, clause = relation.template, ""
    else:
        phrasing = rng.choice(relation.real if manner == "real" else relation.writer)
        clause = detail(relation.subject, rng)
    before, after = phrasing.replace("{x}", fact.subject).replace("{d}", clause).split("{y}")
    if not gold:
        return (Segment(before + fact.object + after),)
    labels = ((EVIDENCE,), (EVIDENCE, ANSWER), (EVIDENCE,))
    pieces = zip((before, fact.object, after), labels, strict=True)
    return tuple(Segment(text, kinds) for text, kinds in pieces if text)


def question(fact: Fact, rng: Random, manner: Manner = "real") -> str:
    relation = fact.relation
    if manner == "template":
        return f"What is the {relation.name} of {fact.subject}?"
    return rng.choice(relation.questions if manner == "real" else relation.writer_questions).format(x=fact.subject)


def dictionary(rng: Random, pairs: int, taken: Collection[str] = ()) -> dict[str, str]:
    """Numbers of three digits looked up by numbers of three digits: the symbolic form of a document."""
    numbers = rng.sample([str(n) for n in range(100, 1000) if str(n) not in taken], 2 * pairs)
    return dict(zip(numbers[:pairs], numbers[pairs:], strict=True))
