"""Pieces of dictionaries and lists of numbers, added up from what their numbers cost.

Every such document is new, its numbers are not: each is tokenised once, behind a brace or behind a blank as it stands
there. Where no token of the vocabulary holds a digit and a sign that parts numbers, no token can cross a number's ends,
so a document's tokens are its numbers' and those of what is around them. With other tokenizers documents are tokenised
whole.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from haymaker.building.pieces import BEFORE, Piece
from haymaker.tasks.base import Document

if TYPE_CHECKING:
    from haymaker.building.measure import Measure

# A blank may be spelt \u0120 or \u2581 in a vocabulary.
CROSSING = re.compile(r"[0-9][{:,} \u0120\u2581]|[{:,][0-9]|[:,][ \u0120\u2581]")
KEPT_NUMBERS = 200_000
NUMBERS_AT_ONCE = 256  # of one text to tokenise


class Numerals:
    """What numbers cost, and the pieces of documents that hold no more than them."""

    def __init__(self, measure: "Measure") -> None:
        self.measure = measure
        self.first: dict[str, int] = {}  # tokens behind a brace
        self.later: dict[str, int] = {}  # tokens behind a blank, blank included
        self.frames: dict[tuple[int, int], Piece] = {}  # by count of numbers and of colons, without theirs

    @cached_property
    def add_up(self) -> bool:
        """Whether documents of numbers are tokenised as their numbers are."""
        shown = not self.measure.style.around_text[1] and self.measure.dummy.closed
        return shown and not any(map(CROSSING.search, self.measure.tokenizer.get_vocab()))

    def pieces(self, documents: Sequence[Document]) -> list[Piece]:
        """Pieces of documents of numbers, as measuring them whole would give them."""
        if not self.add_up:
            return self.measure.measure(documents)
        if len(self.later) > KEPT_NUMBERS:
            self.first.clear()
            self.later.clear()
        learn(self.first, (document.numbers[0] for document in documents), "{", self.measure)
        learn(self.later, chain.from_iterable(document.numbers[1:] for document in documents), " ", self.measure)
        return [self.piece(document) for document in documents]

    def piece(self, document: Document) -> Piece:
        numbers = document.numbers
        cost = self.first[numbers[0]] + sum(map(self.later.__getitem__, numbers[1:]))
        shape = len(numbers), document.text.count(":")
        frame = self.frames.get(shape)
        if frame is None:
            whole = self.measure.measure([document])[0]
            frame = whole._replace(tokens=whole.tokens - cost, end=whole.end - cost, following=whole.following - cost)
            self.frames[shape] = frame
        end = frame.end + cost
        labels, size = document.segments[0].labels, len(document.text)
        marks = tuple([(label, 0, size, frame.body, end) for label in labels])
        return Piece(frame.tokens + cost, frame.body, end, frame.following + cost, marks, frame.closed)


def learn(known: dict[str, int], numbers: Iterable[str], sign: str, measure: "Measure") -> None:
    """Have the tokens of these numbers as they stand behind the sign; a blank is theirs, a brace is not."""
    missing = [number for number in dict.fromkeys(numbers) if number not in known]
    groups = [missing[i : i + NUMBERS_AT_ONCE] for i in range(0, len(missing), NUMBERS_AT_ONCE)]
    texts = [f"{BEFORE}{sign}{sign.join(group)}{sign}" for group in groups]
    for group, offsets in zip(groups, measure.offsets(texts), strict=True):
        sizes = np.fromiter(map(len, group), np.int64, len(group))
        stops = len(BEFORE) + (sizes + 1).cumsum()
        tokens = offsets.before(stops) - offsets.before(stops - sizes - (sign == " "))
        known.update(zip(group, tokens.tolist(), strict=True))
