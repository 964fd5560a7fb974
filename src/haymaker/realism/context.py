"""Context realism: varied passages, repeated padding, or dictionaries, as endless streams of documents."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from random import Random

from haymaker.drafts import Document
from haymaker.miniature.grammar import PADDING
from haymaker.miniature.world import FILLER, World
from haymaker.randomness import shuffle
from haymaker.realism.wording import Symbols
from haymaker.records import Segment

PASSAGES = 8_192  # distinct passages of one world; about 200,000 tokens
DICTIONARIES = {2 * size: "{" + ", ".join(["%s: %s"] * size) + "}" for size in range(1, 9)}
LISTS = {size: "{" + ", ".join(["%s"] * size) + "}" for size in range(1, 9)}
"""Templates by how many numbers they hold."""
PADDING_SENTENCES = (4, 5, 6, 3, 5, 4, 2, 5, 6, 1)  # of the documents in turn, so that sums reach any length


def filler_document(key: str, text: str, title: str = "") -> Document:
    return Document(key, (Segment(text, (FILLER,)),), "passage", title)


def filled(template: str, parts: tuple[str, ...]) -> Document:
    """A document of nothing but parts in a template, which is its kind."""
    text = template % parts
    return Document(text, (Segment(text, (FILLER,)),), kind=template)


@lru_cache(maxsize=8)
def stock(split: str, seed: int) -> tuple[Document, ...]:
    """The world's passages without facts, the same for every row, so that each is measured once."""
    world = World(split, seed)  # type: ignore[arg-type]
    rng = world.rng("passages")
    return tuple(filler_document(f"passage {number}", world.passage(rng)) for number in range(PASSAGES))


def passages(world: World, rng: Random) -> Iterator[Document]:
    """Passages without facts (high context diversity), in an order of the row's own, without end."""
    documents = stock(world.split, world.seed)
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


def dictionaries(symbols: Symbols, rng: Random, sizes: Sequence[int]) -> Iterator[Document]:
    """Dictionaries of numbers that no question asks for (the symbolic context), without end, of so many pairs."""
    return of_numbers(symbols, rng, [(2 * size, DICTIONARIES[2 * size]) for size in sizes])


def lists(symbols: Symbols, rng: Random, sizes: Sequence[int]) -> Iterator[Document]:
    """Lists of numbers that stand in one list each, without end, of so many numbers."""
    return of_numbers(symbols, rng, [(size, LISTS[size]) for size in sizes])


def of_numbers(symbols: Symbols, rng: Random, templates: Sequence[tuple[int, str]]) -> Iterator[Document]:
    """Documents of fresh numbers, each in any of the templates, without end."""
    random, kinds = rng.random, len(templates)
    while True:
        count, template = templates[int(random() * kinds)]
        yield filled(template, symbols.some(count))


def closing_dictionaries(symbols: Symbols) -> Iterator[Document]:
    """A few dictionaries of one to four pairs, to fill a length to the last."""
    return (dictionary(symbols, size) for size in (1, 2, 3, 4))


def fine_dictionaries(symbols: Symbols) -> Iterator[Document]:
    """A few dictionaries of one pair with more digits than others', and so a token or two more, to match twins."""
    for more in (*range(1, 8), *range(1, 8)):
        yield dictionary_of((symbols.longer(1), symbols.longer(more)))


def dictionary(symbols: Symbols, size: int) -> Document:
    return dictionary_of(symbols.some(2 * size))


def dictionary_of(numbers: tuple[str, ...]) -> Document:
    """A dictionary of keys and values in turn."""
    return filled(DICTIONARIES[len(numbers)], numbers)


def list_document(numbers: tuple[str, ...]) -> Document:
    return filled(LISTS[len(numbers)], numbers)
