"""What is symbolic in a row: numbers for names, and documents of nothing but numbers, dictionaries and lists."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from random import Random

from haymaker.drafts import Document
from haymaker.miniature.world import FILLER
from haymaker.records import Segment

MOST_USED = 0.9  # share of the numbers of one size that a row uses, about
NUMBERS_AT_ONCE = 64
DICTIONARIES = {2 * size: "{" + ", ".join(["%s: %s"] * size) + "}" for size in range(1, 9)}
LISTS = {size: "{" + ", ".join(["%s"] * size) + "}" for size in range(1, 9)}
"""Templates by how many numbers they hold."""


class Symbols:
    """Numbers for names, one to one, and fresh numbers: what is symbolic in one row."""

    def __init__(self, rng: Random, digits: int) -> None:
        self.rng, self.first, self.count = rng, 10 ** (digits - 1), 9 * 10 ** (digits - 1)
        self.used: set[str] = set()
        self.outgrown = 0  # numbers used of fewer digits
        self.number_of: dict[str, str] = {}
        self.numbers = self.endless()

    def endless(self) -> Iterator[str]:
        """Numbers that this row has not used; of one more digit where most are used up."""
        used, random = self.used, self.rng.random
        while True:
            if len(used) > self.outgrown + MOST_USED * self.count:
                self.outgrown, self.first, self.count = len(used), 10 * self.first, 10 * self.count
            first, size = self.first, self.count
            for number in [str(first + int(random() * size)) for _ in range(NUMBERS_AT_ONCE)]:
                if number not in used:
                    used.add(number)
                    yield number

    def fresh(self) -> str:
        """A number that this row has not used."""
        return next(self.numbers)

    def some(self, count: int) -> tuple[str, ...]:
        """So many fresh numbers, one after another."""
        return tuple(islice(self.numbers, count))

    def longer(self, digits: int) -> str:
        """A fresh number of so many digits more than the row's others, with no name's number in it."""
        while True:
            number = self.fresh() + str(self.rng.randrange(10 ** (digits - 1), 10**digits))
            if number not in self.used and not any(named in number for named in self.number_of.values()):
                self.used.add(number)
                return number

    def fork(self, rng: Random) -> "Symbols":
        """Symbols that go on from here with randomness of their own, and leave these as they are."""
        other = Symbols(rng, 1)
        other.first, other.count, other.outgrown = self.first, self.count, self.outgrown
        other.used, other.number_of = set(self.used), dict(self.number_of)
        return other

    def pair(self) -> tuple[str, str]:
        key, value = self.some(2)
        return key, value

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


# ---- documents of numbers


def filled(template: str, parts: tuple[str, ...]) -> Document:
    """A document of nothing but parts in a template, which is its kind."""
    text = template % parts
    return Document(text, (Segment(text, (FILLER,)),), kind=template)


def dictionary(numbers: tuple[str, ...]) -> Document:
    """A dictionary of keys and values in turn."""
    return filled(DICTIONARIES[len(numbers)], numbers)


def list_document(numbers: tuple[str, ...]) -> Document:
    return filled(LISTS[len(numbers)], numbers)


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
    return (dictionary(symbols.some(2 * size)) for size in (1, 2, 3, 4))


def closing_lists(symbols: Symbols) -> Iterator[Document]:
    """A few lists of one to five numbers, to fill a length to the last."""
    return (list_document(symbols.some(size)) for size in (1, 2, 3, 4, 5))


def fine_sizes(symbols: Symbols, document: Callable[[tuple[str, ...]], Document]) -> Iterator[Document]:
    """A few dictionaries of one pair, or lists of two, with more digits than others', to match twins to the token."""
    for more in (*range(1, 8), *range(1, 8)):
        yield document((symbols.longer(1), symbols.longer(more)))
