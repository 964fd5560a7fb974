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

from haymaker.building.pieces import Piece
from haymaker.tasks.base import Document

if TYPE_CHECKING:
    from haymaker.building.measure import Measure

CROSSING = re.compile(r"[0-9][:,}]|[{:,][0-9]|[:,][ \u0120\u2581]")  # a blank may be spelt Ġ or ▁ in a vocabulary
KEPT_NUMBERS = 400_000
NUMBERS_AT_ONCE = 256  # of one text to tokenise


class Numerals:
    """What numbers cost, and the pieces of documents that hold no more than them."""

    def __init__(self, measure: "Measure") -> None:
        self.measure = measure
        self.first: dict[str, int] = {}  # tokens behind a brace
        self.later: dict[str, int] = {}  # tokens behind a blank, blank included
        self.frames: dict[int, Piece] = {}  # by how many numbers: a document's piece with those of its numbers left out

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
        learn(self.first, (document.numbers[0] for document in documents), "{", ":", self.measure)
        learn(self.later, chain.from_iterable(document.numbers[1:] for document in documents), ": ", "", self.measure)
        return [self.piece(document) for document in documents]

    def piece(self, document: Document) -> Piece:
        numbers = document.numbers
        cost = self.first[numbers[0]] + sum(map(self.later.__getitem__, numbers[1:]))
        frame = self.frames.get(len(numbers))
        if frame is None:
            whole = self.measure.measure([document])[0]
            frame = whole._replace(tokens=whole.tokens - cost, end=whole.end - cost, following=whole.following - cost)
            self.frames[len(numbers)] = frame
        end = frame.end + cost
        marks = tuple((label, start, stop, frame.body, end) for label, start, stop in document.marks)
        return Piece(frame.tokens + cost, frame.body, end, frame.following + cost, marks, frame.closed)


def learn(known: dict[str, int], numbers: Iterable[str], before: str, after: str, measure: "Measure") -> None:
    """Have the tokens of these numbers as they stand between `before` and `after`; a blank before them is theirs."""
    missing = [number for number in dict.fromkeys(numbers) if number not in known]
    groups = [missing[i : i + NUMBERS_AT_ONCE] for i in range(0, len(missing), NUMBERS_AT_ONCE)]
    texts = ["".join(f"{before}{number}{after}" for number in group) + ":" for group in groups]
    lead, around = len(before.rstrip()), len(before) + len(after)
    for group, offsets in zip(groups, measure.offsets(texts), strict=True):
        sizes = np.fromiter(map(len, group), np.int64, len(group))
        stops = (sizes + around).cumsum() - len(after)
        starts = stops - sizes - (len(before) - lead)
        known.update(zip(group, (offsets.before(stops) - offsets.before(starts)).tolist(), strict=True))
