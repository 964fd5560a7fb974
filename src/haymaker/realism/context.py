"""Context realism: varied passages or repeated padding, as endless streams of documents (numbers: symbols.py)."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from random import Random

from haymaker.drafts import Document
from haymaker.miniature.grammar import PADDING
from haymaker.miniature.world import FILLER, World
from haymaker.randomness import shuffle
from haymaker.records import Segment

PASSAGES = 8_192  # distinct passages of one world; about 200,000 tokens
PADDING_SENTENCES = (4, 5, 6, 3, 5, 4, 2, 5, 6, 1)  # of the documents in turn, so that sums reach any length


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
