"""Concept realism: the same facts as real text, a writer's text, a template, or pairs of numbers.

A wording turns a chain of facts (one fact, or several of which each one's object is the next one's subject) into
documents and one question about the last object.
"""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Protocol, runtime_checkable

from haymaker.miniature.world import ANSWER, EVIDENCE, Fact, Manner, World, question, statement
from haymaker.records import Label, Segment
from haymaker.tasks.base import Alternatives, Document, DocumentRole

MANNERS: dict[str, Manner] = {"real": "real", "high": "writer", "low": "template"}
WORDINGS = 8  # draws of a statement's wording, so that a tight length can take a shorter one
Draw = Callable[..., Random]  # randomness of one row for a purpose


@runtime_checkable
class Wording(Protocol):
    """How one row's facts become documents and a question."""

    def gold(self, chain: Sequence[Fact]) -> tuple[Alternatives, ...]: ...

    def rival(self, fact: Fact, place: int) -> Alternatives: ...

    def question(self, chain: Sequence[Fact]) -> tuple[str, str]: ...

    def provenance(self) -> tuple[dict[str, Any], ...]: ...


def world_draw(world: World, row: int) -> Draw:
    """Randomness of a row of the world: the same for a purpose in every setting, length and number of rows."""
    return lambda *purpose: world.rng("row", row, *purpose)


def fact_key(fact: Fact) -> str:
    return f"{fact.relation.name}: {fact.subject} > {fact.object}"


class Prose:
    """Facts in sentences: as the world says them, as a writer would, or by a template."""

    def __init__(self, concept: str, draw: Draw) -> None:
        self.manner: Manner = MANNERS[concept]
        self.draw = draw

    def gold(self, chain: Sequence[Fact]) -> tuple[Alternatives, ...]:
        last = len(chain) - 1
        return tuple(self.document(fact, hop, "gold", hop, hop == last) for hop, fact in enumerate(chain))

    def rival(self, fact: Fact, place: int) -> Alternatives:
        return self.document(fact, place, "competitor")

    def document(self, fact: Fact, place: int, role: DocumentRole, hop: int = 0, answers: bool = False) -> Alternatives:
        """The fact as a document, in several wordings; the first is what its manner would say."""
        rng, wordings = self.draw("wording", role, place), {}
        for _ in range(1 if self.manner == "template" else WORDINGS):
            segments = statement(fact, rng, self.manner, gold=role == "gold")
            segments = tuple(relabelled(piece, hop, answers) for piece in segments)
            document = Document(fact_key(fact), segments, role, title=fact.subject)
            wordings.setdefault(document.text, document)
        return tuple(wordings.values())

    def question(self, chain: Sequence[Fact]) -> tuple[str, str]:
        """The question for the last object, with the chain before it in its subject's place."""
        subject = chain[0].subject
        for fact in chain[:-1]:
            subject = f"the {fact.relation.name} of {subject}"
        last = Fact(chain[-1].relation, subject, chain[-1].object)
        return question(last, self.draw("question"), self.manner), last.object

    def provenance(self) -> tuple[dict[str, Any], ...]:
        return ()


def relabelled(piece: Segment, hop: int, answers: bool) -> Segment:
    """Evidence of its hop; only the last hop's object is the answer."""
    labels = tuple(Label("evidence", hop) if label == EVIDENCE else label for label in piece.labels)
    return Segment(piece.text, labels if answers else tuple(label for label in labels if label != ANSWER))


class Numbers:
    """Facts as pairs in dictionaries of numbers: the symbolic concept."""

    def __init__(self, length: int, draw: Draw) -> None:
        self.draw, self.symbols = draw, Symbols(draw("symbols"), digits_for(length))

    def gold(self, chain: Sequence[Fact]) -> tuple[Alternatives, ...]:
        last = len(chain) - 1
        return tuple(self.document(fact, hop, "gold", hop, hop == last) for hop, fact in enumerate(chain))

    def rival(self, fact: Fact, place: int) -> Alternatives:
        return self.document(fact, place, "competitor")

    def document(self, fact: Fact, place: int, role: DocumentRole, hop: int = 0, answers: bool = False) -> Alternatives:
        """The fact as a pair in a dictionary of two; alone in it where the length is tight."""
        rng = self.draw("pairs", role, place)
        pair, other = [self.symbols.of(fact.subject), self.symbols.of(fact.object)], self.symbols.pair()
        labels = ((Label("evidence", hop),), (Label("evidence", hop), *([ANSWER] if answers else []))) * (
            role == "gold"
        )
        before = rng.random() < 0.5
        full = pair_document(pair, [other] * before, [other] * (not before), labels, role)
        return full, pair_document(pair, [], [], labels, role)

    def question(self, chain: Sequence[Fact]) -> tuple[str, str]:
        steps = "the value of " * (len(chain) - 1)
        return f"What is the value of {steps}{self.symbols.of(chain[0].subject)}?", self.symbols.of(chain[-1].object)

    def provenance(self) -> tuple[dict[str, Any], ...]:
        return ({"kind": "symbol_map", "symbol_of": dict(self.symbols.number_of)},)


class Symbols:
    """Numbers for names, one to one, and fresh numbers: what is symbolic in one row."""

    def __init__(self, rng: Random, digits: int) -> None:
        self.rng, self.first, self.count = rng, 10 ** (digits - 1), 9 * 10 ** (digits - 1)
        self.used: set[str] = set()
        self.number_of: dict[str, str] = {}

    def fresh(self) -> str:
        """A number that this row has not used. Callers keep use under half of all."""
        while True:
            number = str(self.first + int(self.rng.random() * self.count))
            if number not in self.used:
                self.used.add(number)
                return number

    def pair(self) -> tuple[str, str]:
        return self.fresh(), self.fresh()

    def of(self, name: str) -> str:
        """The name's number, always the same in this row."""
        if name not in self.number_of:
            self.number_of[name] = self.fresh()
        return self.number_of[name]


def digits_for(length: int) -> int:
    """Digits enough that a row of `length` tokens uses less than half of the numbers: a pair takes 4 tokens or more."""
    digits = 3
    while length / 4 > 0.45 * 9 * 10 ** (digits - 1):
        digits += 1
    return digits


def pair_document(
    pair: Sequence[str],
    before: Iterable[tuple[str, str]],
    after: Iterable[tuple[str, str]],
    labels: Sequence[tuple[Label, ...]],
    role: DocumentRole,
) -> Document:
    """A dictionary with `pair` between others; `labels` are those of its key and of its value."""
    key, value = pair
    of_key, of_value = labels or ((), ())
    start = "{" + "".join(f"{a}: {b}, " for a, b in before)
    stop = "".join(f", {a}: {b}" for a, b in after) + "}"
    segments = (Segment(start), Segment(f"{key}: ", of_key), Segment(value, of_value), Segment(stop))
    return Document(f"{key} > {value}", segments, role)


def dictionary_text(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
