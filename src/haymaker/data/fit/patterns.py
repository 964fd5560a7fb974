"""Pieces of documents that follow a pattern, added up from what their parts cost.

Dictionaries, lists and records are new in every row, what they are made of is not. Each part is tokenised once, with as
much of the pattern before it as may share a token with it. Where no token of the vocabulary holds a part's last letter
and the sign behind it, no token can cross a part's end, so a document's tokens are those of its parts and a rest that
all documents of the pattern share. With other tokenizers such documents are tokenised whole.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from operator import getitem
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from haymaker.data.fit.pieces import BEFORE, Piece
from haymaker.drafts import Document, Pattern
from haymaker.records import Segment

if TYPE_CHECKING:
    from haymaker.data.fit.measure import Measure

BLANKS = " \u0120\u2581"  # as vocabularies spell one
KEPT_PARTS = 200_000
PARTS_AT_ONCE = 256  # of one text to tokenise


class First(NamedTuple):
    """What a document's first part brings to its piece."""

    tokens: int
    body: int  # tokens before the body, in which parts may differ
    closed: bool


class Patterns:
    """Adds up pieces of documents of any pattern."""

    def __init__(self, measure: "Measure") -> None:
        self.measure = measure
        self.first: dict[tuple[str, str], dict[str, First]] = defaultdict(dict)  # by what stands around the part
        self.later: dict[Lead, dict[str, int]] = defaultdict(dict)
        self.adders: dict[Pattern, Adder | None] = {}
        self.pairs: dict[tuple[str, str], bool] = {}

    @cached_property
    def vocabulary(self) -> str:
        return "\0".join(self.measure.tokenizer.get_vocab())

    def pieces(self, documents: Sequence[Document]) -> list[Piece]:
        """Pieces of documents with patterns, as measuring them whole would give them."""
        patterns = [document.pattern for document in documents if document.pattern]
        groups: dict[Pattern, list[Document]] = defaultdict(list)
        for pattern, document in zip(patterns, documents, strict=True):
            groups[pattern].append(document)
        found = {pattern: iter(self.of_one(pattern, some)) for pattern, some in groups.items()}
        return [next(found[pattern]) for pattern in patterns]

    def of_one(self, pattern: Pattern, documents: Sequence[Document]) -> list[Piece]:
        """Pieces of documents of one pattern."""
        if pattern not in self.adders:
            self.adders[pattern] = adder_of(pattern, self)
        adder = self.adders[pattern]
        if adder is None:
            return self.measure.measure(documents)
        known: list[dict] = [*self.first.values(), *self.later.values()]
        if sum(map(len, known)) > KEPT_PARTS:
            for some in known:
                some.clear()
        return adder.pieces(documents)

    def joined(self, left: str, right: str) -> bool:
        """Whether a token may hold a letter that is (or is of) the left one and then such a right one."""
        if (left, right) not in self.pairs:
            self.pairs[left, right] = re.search(spelt(left) + spelt(right), self.vocabulary) is not None
        return self.pairs[left, right]

    def count(self, lead: "Lead", parts: Sequence[str]) -> list[int]:
        """Tokens of each part behind the lead, with what of it counts with the part."""
        sign, counted = lead
        groups = [parts[i : i + PARTS_AT_ONCE] for i in range(0, len(parts), PARTS_AT_ONCE)]
        texts = [f"{BEFORE}{group[0][-1]}{sign}{sign.join(group)}{sign}" for group in groups]
        found: list[int] = []
        for group, offsets in zip(groups, self.measure.offsets(texts), strict=True):
            sizes = np.fromiter(map(len, group), np.int64, len(group))
            stops = len(BEFORE) + 1 + (sizes + len(sign)).cumsum()
            found += (offsets.before(stops) - offsets.before(stops - sizes - counted)).tolist()
        return found


class Lead(NamedTuple):
    """What stands before a part when it is tokenised: of the sign there, so much that the part's tokens are right."""

    context: str
    counted: int  # letters at its end that count with the part, as tokens may hold some of them and some of the part


class Adder:
    """Adds up pieces of documents of one pattern; `lead` is None where a first part needs all that stands before it."""

    def __init__(self, pattern: Pattern, lead: Lead | None, later: Sequence[Lead], patterns: Patterns) -> None:
        self.lead, self.patterns = lead, patterns
        self.before, *_, self.after = pattern.between
        self.first = patterns.first[self.before, self.after]
        self.later = [patterns.later[lead] for lead in later]
        self.places: dict[Lead, list[int]] = defaultdict(list)
        for place, lead in enumerate(later, 1):
            self.places[lead].append(place)
        self.rest: Piece | None = None  # a piece without its parts

    def pieces(self, documents: Sequence[Document]) -> list[Piece]:
        try:
            return list(map(self.piece, documents))  # mostly all of their parts are known
        except KeyError:
            self.learn(documents)
        return list(map(self.piece, documents))

    def learn(self, documents: Sequence[Document]) -> None:
        """Have the tokens of all these documents' parts."""
        missing = sorted({document.parts[0] for document in documents}.difference(self.first))
        if missing:
            self.first.update(zip(missing, self.firsts(missing), strict=True))
        for lead, places in self.places.items():
            known = self.patterns.later[lead]
            missing = sorted({document.parts[i] for i in places for document in documents}.difference(known))
            if missing:
                known.update(zip(missing, self.patterns.count(lead, missing), strict=True))

    def firsts(self, parts: Sequence[str]) -> list[First]:
        """What these bring as first parts."""
        if self.lead is not None:
            return [First(tokens, 0, True) for tokens in self.patterns.count(self.lead, parts)]
        alone = [Document(part, (Segment(f"{self.before}{part}{self.after}"),)) for part in parts]
        return [First(piece.tokens, piece.body, piece.closed) for piece in self.patterns.measure.measure(alone)]

    def piece(self, document: Document) -> Piece:
        start, *others = document.parts
        first = self.first[start]
        cost = first.tokens + sum(map(getitem, self.later, others))
        rest = self.rest
        if rest is None:
            rest = self.rest = without(self.patterns.measure.measure([document])[0], first, cost)
        body, end = rest.body + first.body, rest.end + cost
        size = len(document.text)
        marks = tuple([(label, 0, size, body, end) for label in document.segments[0].labels])
        return Piece(rest.tokens + cost, body, end, rest.following + cost, marks, rest.closed and first.closed)


def without(whole: Piece, first: First, cost: int) -> Piece:
    """The piece less what its parts cost."""
    return whole._replace(
        tokens=whole.tokens - cost, body=whole.body - first.body, end=whole.end - cost, following=whole.following - cost
    )


def adder_of(pattern: Pattern, patterns: Patterns) -> Adder | None:
    """How to add up documents of the pattern; None where tokens may cross the ends of parts."""
    before, *signs, after = pattern.between
    letters, joined = pattern.letters, patterns.joined
    if patterns.measure.style.around_text[1] or not patterns.measure.dummy.closed:
        return None
    if any(joined(letters, sign[0]) for sign in (*signs, after)):
        return None

    def lead(sign: str) -> Lead | None:
        """Cut from the sign where no token can hold letters of both sides; None if that is nowhere inside it."""
        cut = next((at for at in range(len(sign), 0, -1) if not joined(sign[at - 1], sign[at:][:1] or letters)), 0)
        context = sign[min(cut, len(sign) - 1) :]
        return Lead(sign if joined(letters, context[0]) else context, len(sign) - cut) if cut else None

    # A part's end is such a place too, so behind it the whole sign will do.
    return Adder(pattern, lead(before), [lead(sign) or Lead(sign, len(sign)) for sign in signs], patterns)


def spelt(letter: str) -> str:
    """A regular expression for a letter (or one of a class) as vocabularies spell it."""
    if len(letter) > 1:
        return letter
    return f"[{BLANKS}]" if letter == " " else re.escape(letter)
