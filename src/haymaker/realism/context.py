"""Context realism: what stands around facts, as endless streams of documents (those of numbers: symbols.py)."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import count
from random import Random
from typing import NamedTuple

from haymaker.drafts import Document
from haymaker.miniature.grammar import PADDING
from haymaker.miniature.world import FILLER, World
from haymaker.randomness import shuffle
from haymaker.realism.symbols import closing_dictionaries, dictionaries, dictionary, fine_sizes
from haymaker.realism.wording import Draw, Numbers, Wording
from haymaker.records import Segment

PASSAGES = 8_192  # distinct passages of one world; about 200,000 tokens
PADDING_SENTENCES = (4, 5, 6, 3, 5, 4, 2, 5, 6, 1)  # of the documents in turn, so that sums reach any length
Documents = Callable[[], Iterator[Document]]


class Row(NamedTuple):
    """What a context may draw on: the row's randomness, varied documents of its source, its facts' wording."""

    draw: Draw
    diverse: Documents
    wording: Wording


class Around(NamedTuple):
    """What stands around a row's facts: documents without end, those to close with, a few in finer sizes."""

    further: Documents
    closers: Documents | None = None
    fine: Documents | None = None


def varied(row: Row) -> Around:
    """Passages of the source or the world."""
    return Around(row.diverse)


def padded(row: Row) -> Around:
    """The same few sentences over and over."""
    return Around(padding)


def numbers(row: Row) -> Around:
    """Dictionaries of numbers that no question asks for."""
    assert isinstance(row.wording, Numbers)
    symbols, draw = row.wording.symbols, row.draw
    further = partial(dictionaries, symbols, draw("dictionaries"), row.wording.other_sizes)
    fine = lambda: fine_sizes(symbols.fork(draw("fine")), dictionary)  # noqa: E731 - a stream to be opened anew
    return Around(further, partial(closing_dictionaries, symbols), fine)


def filler_document(key: str, text: str, title: str = "") -> Document:
    return Document(key, (Segment(text, (FILLER,)),), "passage", title)


@lru_cache(maxsize=8)
def world_passages(split: str, seed: int) -> tuple[Document, ...]:
    """The world's passages without facts, the same for every row, so that each is measured once."""
    world = World(split, seed)  # type: ignore[arg-type]
    rng = world.rng("passages")
    return tuple(filler_document(f"passage {number}", world.passage(rng)) for number in range(PASSAGES))


def passages(world: World, rng: Random) -> Iterator[Document]:
    """Passages without facts (high context diversity), in an order of the row's own, without end."""
    documents = world_passages(world.split, world.seed)
    while True:
        for i in shuffle(len(documents), rng):
            yield documents[i]


@lru_cache(maxsize=64)
def padding_document(first: int, size: int) -> Document:
    text = " ".join(PADDING[(first + i) % len(PADDING)] for i in range(size))
    return filler_document(f"padding {first} {size}", text, title="Notes")


def padding() -> Iterator[Document]:
    """The same few sentences over and over (low context diversity), without end."""
    at = 0
    for number in count():
        size = PADDING_SENTENCES[number % len(PADDING_SENTENCES)]
        yield padding_document(at % len(PADDING), size)
        at += size
