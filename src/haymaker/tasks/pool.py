"""Passages of a source that are nobody's evidence: what fills a context up."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any

from haymaker.drafts import Document
from haymaker.errors import DataError
from haymaker.file_reading import MOST_AT_ONCE, read_text, required
from haymaker.miniature.world import FILLER
from haymaker.randomness import keyed, shuffle
from haymaker.realism.answers import holds
from haymaker.records import Segment, digest
from haymaker.tasks.nearest import Nearness
from haymaker.tasks.row_files import ending_of
from haymaker.tasks.sources import open_rows

SENTENCE_END = re.compile(r"[.!?…]+[\"”’)]*\s+|[。！？]+|\n+")
CLOSERS = 128  # passages of the pool that may close a row
MOST_CHARACTERS = 1_200  # of a piece; in short rows as many as a quarter of the row's tokens
MOST_A_TOKEN = 4  # characters, about: a passage of more than so many a token of the row leaves no room for others


@dataclass(frozen=True)
class Passage:
    """A titled passage of a source."""

    title: str
    text: str

    @cached_property
    def key(self) -> str:
        return digest([self.title, self.text])[:16]

    @cached_property
    def letters(self) -> str:
        """A digest of the text without its blanks, by which copies are known under any title."""
        return digest("".join(self.text.split()))[:16]

    def gives_away(self, answers: Iterable[str]) -> bool:
        """Whether title and text hold one of the answers under the scoring metric."""
        return holds(f"{self.title} {self.text}", answers)


@lru_cache(maxsize=200_000)
def document_of(passage: Passage) -> Document:
    return Document(passage.key, (Segment(passage.text, (FILLER,)),), "passage", passage.title)


class Pool:
    """Distinct passages in an order that the files' order does not change."""

    def __init__(self, passages: Iterable[Passage], seed: int) -> None:
        titled_last = sorted(passages, key=lambda passage: (bool(passage.title), passage.key))
        distinct = {passage.letters: passage for passage in titled_last}  # of copies one with a title
        self.passages = sorted(distinct.values(), key=lambda passage: passage.key)
        self.seed = seed

    def documents(self, row: str, own: Iterable[Passage], refused: Sequence[str]) -> Iterator[Document]:
        """Passages but the row's own and those that hold a refused text under the scoring metric, in the row's order.

        Where the pool is used up it comes again in another order; the row's checks count such repeats.
        """
        return allowed(self.passages, {passage.letters for passage in own}, refused, self.seed, row)

    def nearest(self, row: str, own: Iterable[Passage], refused: Sequence[str], question: str) -> Iterator[Document]:
        """The same passages, the nearest to the question first; used up, they come again in the row's order."""
        taken = {passage.letters for passage in own}
        for i in self.nearness.order(question):
            passage = self.passages[i]
            if passage.letters not in taken and not passage.gives_away(refused):
                yield document_of(passage)
        yield from allowed(self.passages, taken, refused, self.seed, row)

    @cached_property
    def nearness(self) -> Nearness:
        return Nearness([f"{passage.title} {passage.text}" for passage in self.passages])

    def closers(self, row: str, own: Iterable[Passage], refused: Sequence[str]) -> Iterator[Document]:
        """Passages to choose a row's last ones from: of a part of the pool, so that few of them are measured for it."""
        part = [self.passages[i] for i in islice(shuffle(len(self.passages), keyed(self.seed, "closers")), CLOSERS)]
        found = allowed(part, {passage.letters for passage in own}, refused, self.seed, f"{row} closers")
        return islice(found, len(part))


def allowed(
    passages: Sequence[Passage], own: set[str], refused: Sequence[str], seed: int, row: str
) -> Iterator[Document]:
    for turn in count():
        given = 0
        for i in shuffle(len(passages), keyed(seed, row, turn)):
            passage = passages[i]
            if passage.letters not in own and not passage.gives_away(refused):
                given += 1
                yield document_of(passage)
        if not given:
            return


def most_characters(length: int) -> int:
    """Of a piece, for rows of `length` tokens."""
    return min(MOST_CHARACTERS, length // 4)


def taken_apart(passages: Iterable[Passage], length: int) -> Iterator[Passage]:
    """The passages, those that would take the whole of a row of `length` tokens in pieces."""
    for passage in passages:
        whole = len(passage.text) <= MOST_A_TOKEN * length
        yield from [passage] if whole else in_pieces([passage], most_characters(length))


def in_pieces(passages: Iterable[Passage], most: int) -> Iterator[Passage]:
    """The passages, those of more than `most` characters in pieces: cut behind a sentence, else behind a word."""
    for passage in passages:
        start, text = 0, passage.text
        while len(text) - start > most:
            window = text[start : start + most]
            ends = [match.end() for match in SENTENCE_END.finditer(window)]
            stop = ends[-1] if ends else window.rfind(" ") + 1 or most
            if window[:stop].strip():
                yield Passage(passage.title, window[:stop].strip())
            start += stop
        yield passage if start == 0 else Passage(passage.title, text[start:].strip())


def read_pool(path: str | None, split: str) -> tuple[list[Passage], dict[str, str]]:
    """Passages of a pool and its digest: rows of title and text, of a file of any form or a dataset of the hub; or a
    text (.txt) with blank lines between passages. Raises DataError where there is none."""
    if path is None:
        return [], {}
    rows = open_rows(path, split)
    items = paragraphs(path) if ending_of(Path(path)) == ".txt" else rows
    found = [passage_of(value, place) for place, value in items]
    if not any(passage.text.strip() for passage in found):
        raise DataError(f"{path}: no passage in it; expected rows of title and text, or a .txt of paragraphs")
    return found, rows.inputs


def paragraphs(path: str) -> Iterable[tuple[str, Any]]:
    """(place, object) of every passage of a text: of one without a blank line (NoLiMa's books) of every line."""
    text = "".join(read_text(path, MOST_AT_ONCE)).strip()
    blocks = text.split("\n\n") if "\n\n" in text else text.split("\n")
    return [(path, {"text": block.strip()}) for block in blocks if block.strip()]


def passage_of(value: Any, place: str) -> Passage:
    """A passage from an object with title and text (MuSiQue's files say paragraph_text)."""
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected an object with title and text, found {type(value).__name__}")
    text = "text" if "text" in value or "paragraph_text" not in value else "paragraph_text"
    title = required(value, "title", str, place) if value.get("title") is not None else ""  # a table has a cell
    return Passage(title, required(value, text, str, place))
