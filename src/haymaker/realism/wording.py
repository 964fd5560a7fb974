"""Concept realism: the same facts as real text, a grammar's or a writer's text, a template, or pairs of numbers.

A wording turns a chain of facts (one fact, or several of which each one's object is the next one's subject) into
documents and one question about the last object.
"""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, Protocol, runtime_checkable

from haymaker.choices import CONCEPTS
from haymaker.config import Recipe
from haymaker.drafts import Alternatives, Document, DocumentRole
from haymaker.miniature.world import ANSWER, EVIDENCE, Fact, Manner, World, question, statement
from haymaker.realism.answers import marked
from haymaker.realism.symbols import Symbols, digits_for
from haymaker.realism.written import Written
from haymaker.records import Label, Segment

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


def wording_of(recipe: Recipe, draw: Draw) -> Wording:
    """How one row's facts are worded: by the concept of the recipe's setting."""
    return CONCEPTS[recipe.axes.concept](recipe.longest, draw)


class Prose:
    """Facts in sentences, in a manner of the world's. `length` is the row's, in tokens."""

    manner: Manner

    def __init__(self, length: int, draw: Draw) -> None:
        self.length, self.draw = length, draw

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


class RealProse(Prose):
    """As the world says it."""

    manner = "real"


class WriterProse(Prose):
    """As a writer would say it, in the grammar's other wordings."""

    manner = "writer"


class TemplateProse(Prose):
    """One sentence for each relation."""

    manner = "template"


def relabelled(piece: Segment, hop: int, answers: bool) -> Segment:
    """Evidence of its hop; only the last hop's object is the answer."""
    labels = tuple(Label("evidence", hop) if label == EVIDENCE else label for label in piece.labels)
    return Segment(piece.text, labels if answers else tuple(label for label in labels if label != ANSWER))


class WriterText:
    """Facts in the text of a language model: a passage each, its answers where that text holds them."""

    def __init__(self, written: Written) -> None:
        self.written = written

    def gold(self, chain: Sequence[Fact]) -> tuple[Alternatives, ...]:
        last = len(self.written.passages) - 1
        return tuple((self.document(hop, hop == last),) for hop in range(last + 1))

    def document(self, hop: int, answers: bool) -> Document:
        text, evidence = self.written.passages[hop], Label("evidence", hop)
        segments = marked(text, self.written.ranges[hop] if answers else (), ANSWER, (evidence,))
        return Document(f"written: {text}", segments, "gold", self.written.title(hop))

    def rival(self, fact: Fact, place: int) -> Alternatives:
        raise NotImplementedError("a writer's rivals are other rows' passages")

    def question(self, chain: Sequence[Fact]) -> tuple[str, str]:
        return self.written.question, self.written.answer

    def provenance(self) -> tuple[dict[str, Any], ...]:
        return ({**self.written.provenance, "kind": "written"},)


class Numbers:
    """Facts as pairs in dictionaries of numbers: the symbolic concept.

    `sizes` are pairs in a dictionary that holds a fact, `other_sizes` in one that holds none, to draw from.
    """

    def __init__(
        self, length: int, draw: Draw, sizes: Sequence[int] = (2,), other_sizes: Sequence[int] = (2, 2, 2, 1, 3)
    ) -> None:
        self.draw, self.symbols = draw, Symbols(draw("symbols"), digits_for(length))
        self.sizes, self.other_sizes = sizes, other_sizes

    def gold(self, chain: Sequence[Fact]) -> tuple[Alternatives, ...]:
        last = len(chain) - 1
        return tuple(self.document(fact, hop, "gold", hop, hop == last) for hop, fact in enumerate(chain))

    def rival(self, fact: Fact, place: int) -> Alternatives:
        return self.document(fact, place, "competitor")

    def document(self, fact: Fact, place: int, role: DocumentRole, hop: int = 0, answers: bool = False) -> Alternatives:
        """The fact as a pair at a chance place in a dictionary; alone in it where the length is tight."""
        rng = self.draw("pairs", role, place)
        pair = [self.symbols.of(fact.subject), self.symbols.of(fact.object)]
        share, size = rng.random(), rng.choice(self.sizes)
        others = [self.symbols.pair() for _ in range(size - 1)]
        at = size - 1 - int(share * size)
        labels = ((Label("evidence", hop),), (Label("evidence", hop), *([ANSWER] if answers else []))) * (
            role == "gold"
        )
        full = pair_document(pair, others[:at], others[at:], labels, role)
        return full, pair_document(pair, [], [], labels, role)

    def question(self, chain: Sequence[Fact]) -> tuple[str, str]:
        steps = "the value of " * (len(chain) - 1)
        return f"What is the value of {steps}{self.symbols.of(chain[0].subject)}?", self.symbols.of(chain[-1].object)

    def provenance(self) -> tuple[dict[str, Any], ...]:
        return ({"kind": "symbol_map", "symbol_of": dict(self.symbols.number_of)},)


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
