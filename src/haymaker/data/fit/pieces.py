"""What is known of the pieces of a prompt: how many tokens they take, and where in them everything stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from haymaker.drafts import Document
from haymaker.records import Label, Segment

DUMMY = Document("dummy", (Segment("a"),), title="a")  # stands where any document does
BEFORE = "a."  # stands before what is tokenised alone; its tokens are not counted

Places = list[tuple[int, int, int, int]]
"""Of each document of a run, in characters: where its piece, its body, its text and its piece end."""

Marks = tuple[tuple[Label, int, int, int, int], ...]
"""Labels of a document's text: where each starts and stops, in characters of the text and in tokens of its piece."""


class Piece(NamedTuple):
    """A document's tokens as number 1 of a prompt, from cut to cut. Places count from its first token."""

    tokens: int
    body: int  # where the body starts
    end: int  # where the document ends; what joins it to the next may share its last token
    following: int  # where the next document starts; in the next piece if that is not less than `tokens`
    marks: Marks
    closed: bool


@dataclass(frozen=True, slots=True)
class Numbering:
    """What a document's number does to its tokens."""

    extra: int  # tokens beyond those of number 1
    number: tuple[int, int]  # where the number itself stands


@dataclass(frozen=True, slots=True)
class Opening:
    """What stands before the documents: special tokens, template, instruction."""

    tokens: int  # such that the first document's piece starts here, as if another came before it
    first: int  # the first document's first token
    unsure: int  # characters of its text whose tokens are others than in its piece; its first one stands where it says
    instruction: tuple[int, int]
    closed: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """What stands after the last document: question, template, special tokens. Places count from that piece's end."""

    tokens: int  # beyond those of the pieces; it takes the place of what would join another document
    end: int  # by how many tokens the last document ends later than its piece says
    unsure: int  # characters before its end whose tokens are others than in its piece
    question: tuple[int, int]
    closed: bool


class Offsets:
    """Character ranges of a text's tokens. Places may be numbers or arrays of them."""

    def __init__(self, starts: np.ndarray, stops: np.ndarray) -> None:
        self.starts, self.stops = starts, stops

    @classmethod
    def of(cls, encoding: Any) -> "Offsets":
        flat = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * len(encoding))
        return cls(flat[::2].copy(), flat[1::2].copy())

    def __len__(self) -> int:
        return len(self.starts)

    def moved(self, characters: int) -> "Offsets":
        return Offsets(self.starts + characters, self.stops + characters)

    def holding(self, character: Any) -> Any:
        """The first token that ends behind the character's start: the one that holds it."""
        return self.stops.searchsorted(character, side="right")

    def before(self, character: Any) -> Any:
        """How many tokens start before the character."""
        return self.starts.searchsorted(character, side="left")

    def parted(self, character: Any) -> Any:
        """Whether no token stands on both sides of this place."""
        return self.holding(character) == self.before(character)


def pieces_of(run: Sequence[Document], places: Places, joiner: int, offsets: Offsets) -> list[Piece]:
    """Pieces of documents that were tokenised as neighbours; `joiner` is the length of what stands between two."""
    starts, bodies, stops, ends = np.array(places).T
    first = offsets.before(starts)
    closed = (offsets.parted(starts) & offsets.parted(ends)).tolist()
    columns = (offsets.before(ends), offsets.holding(bodies), offsets.before(stops), offsets.holding(stops + joiner))
    counts = np.stack(columns, axis=1) - first[:, None]
    marks = marks_of(run, bodies, first, offsets)
    rows = zip(*counts.T.tolist(), marks, closed, strict=True)
    return [Piece(*row) for row in rows]


def marks_of(run: Sequence[Document], bodies: np.ndarray, first: np.ndarray, offsets: Offsets) -> list[Marks]:
    """The documents' labels and where they stand: characters of the text, tokens from each piece's first one on."""
    labels = [document.marks for document in run]
    counts = [len(found) for found in labels]
    places = np.array([place[1:] for found in labels for place in found], np.int64).reshape(-1, 2)
    origin, shift = np.repeat(bodies, counts), np.repeat(first, counts)
    begins = (offsets.holding(origin + places[:, 0]) - shift).tolist()
    ends = (offsets.before(origin + places[:, 1]) - shift).tolist()
    flat = iter(zip(begins, ends, strict=True))
    return [tuple((*place, *next(flat)) for place in found) for found in labels]
