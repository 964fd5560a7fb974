"""What documents take of a row, to plan it by: counted or judged, and cached. They place no span and end no row.

A document is counted behind the end of one like itself, as it will stand in a prompt. Where tokens run over the ends of
documents the sum of counts is a little off; the finished row is tokenised whole, and its plan is repaired by the
difference (plan.py). Counting costs as much as tokenising the row, so documents of rows that are long enough for it
(`counted` says which) are judged: by their words (judge.py), or by their length where that tells as much of a kind.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

from haymaker.config import Recipe
from haymaker.data.fit import Amount
from haymaker.data.fit.judge import Judge
from haymaker.drafts import Document, Style
from haymaker.realism.answers import without_last_word
from haymaker.records import Segment
from haymaker.tokens import Aligner, token_ranges

KEPT = 60_000  # counts of the younger half; documents that come again stay, others leave after a while
LEAST_JUDGED = 2_048  # tokens of a row
LEAST_SAMPLE, MOST_SAMPLE = 2_560, 16_384  # tokens of a stream whose counts stand for all: a quarter of a row between
SAMPLED = 512  # documents of a stream at most, which tell of their kind
MOST_OFF = 1 / 400  # of a row, by which it may be off by chance where its documents are judged by their length
NUMBERS_AT_ONCE = 32
MORE_CHARACTERS = 96  # than a number of words seems to need
END_CHARACTERS = 2  # of a document, before what joins it to the next
DUMMY = Document("dummy", (Segment("a."),), title="a")


Key = TypeVar("Key")
Value = TypeVar("Value", int, Amount)


def counted(recipe: Recipe) -> bool:
    """Whether the recipe's documents are counted to the token: in short rows and in twins that match.

    Judged ones are off by a thousandth or two of a row of many, but a row of few may lack no more than one of them.
    """
    return recipe.matched or recipe.shortest < LEAST_JUDGED


class Remembered(Generic[Key, Value]):
    """What a function says of keys, asked once. Keys that come again stay, others leave after a while."""

    def __init__(self, measure: Callable[[list[Key]], Sequence[Value]]) -> None:
        self.measure = measure
        self.young: dict[Key, Value] = {}
        self.old: dict[Key, Value] = {}

    def of(self, keys: Sequence[Key]) -> list[Value]:
        known = self.young
        missing = [key for key in dict.fromkeys(keys) if key not in known and not self.found_again(key)]
        if missing:
            known.update(zip(missing, self.measure(missing), strict=True))
        found = [known[key] for key in keys]
        if len(known) > KEPT:
            self.young, self.old = {}, known
        return found

    def found_again(self, key: Key) -> bool:
        """Whether an older value is known; it is young then."""
        if key in self.old:
            self.young[key] = self.old[key]
        return key in self.young


class Costs:
    """What documents take in one style for one tokenizer."""

    def __init__(self, aligner: Aligner, style: Style) -> None:
        self.aligner, self.style = aligner, style
        self.counts: Remembered[tuple[str, str], int] = Remembered(self.measured)
        self.judged: Remembered[tuple[str, str], Amount] = Remembered(self.judged_all)
        self.ends: dict[str, int] = {}  # tokens of documents' ends
        self.rates: dict[str, float] = {}  # tokens a character of documents of a kind
        self.judge: Judge | None = None  # where documents are judged
        self.number_sums: list[Amount] = [0, 0]
        self.usual = 0  # tokens of a document of the streams read last; how much to read at once, no more
        self.dummy = self.count([DUMMY])[0]

    def of(self, documents: Sequence[Document]) -> list[Amount]:
        """Tokens of the documents as number 1: judged where that was learnt, else counted."""
        if self.judge is None:
            return list(self.count(documents))
        rates = self.rates
        rest = iter(self.judged_by(self.judge, [document for document in documents if document.kind not in rates]))
        return [
            rates[document.kind] * len(document.text) if document.kind in rates else next(rest)
            for document in documents
        ]

    def closely(self, documents: Sequence[Document]) -> list[int]:
        """As `of`, those of a kind no worse than others: the last documents of a row are chosen by it."""
        return [round(size) for size in self.judged_by(self.judge, documents)] if self.judge else self.count(documents)

    def sample(self, documents: Iterable[Document], length: int) -> None:
        """Learn from the first documents of a stream what those like them take in rows of `length` tokens.

        They are judged from now on: by their words, or by their length where that tells as much of a kind.
        """
        judge, left = Judge(self.aligner), max(LEAST_SAMPLE, min(MOST_SAMPLE, length // 4))
        some: list[Document] = []
        kinds: dict[str, list[Document]] = defaultdict(list)
        for document in islice(documents, SAMPLED):
            if left > 0:
                some.append(document)
                left -= judge.pieces(self.drawn(document.title, document.text))
            elif not document.kind:
                break
            kinds[document.kind].append(document)
        if some:
            judge.learn([self.drawn(document.title, document.text) for document in some], sum(self.count(some)))
            self.judge = judge
        for kind, those in kinds.items():
            if kind:
                self.learn_rate(kind, [len(document.text) for document in those], self.judged_by(judge, those), length)

    def learn_rate(self, kind: str, characters: Sequence[int], sizes: Sequence[Amount], length: int) -> None:
        """Learn the tokens a character of a kind, unless a row of `length` tokens would be off by too much.

        Documents that are off by chance add up to the root of their number times what one of them is.
        """
        rate = sum(sizes) / sum(characters)
        square = sum((size - rate * letters) ** 2 for size, letters in zip(sizes, characters, strict=True)) / len(sizes)
        if square * length * len(sizes) / sum(sizes) <= (MOST_OFF * length) ** 2:
            self.rates[kind] = rate

    def count(self, documents: Sequence[Document]) -> list[int]:
        """Tokens of the documents as number 1; what was counted before is not counted again."""
        found = self.counts.of([(document.title, document.host or document.text) for document in documents])
        if any(document.inserted for document in documents):
            more = self.aligner.counts([document.inserted for document in documents])
            found = [count + further for count, further in zip(found, more, strict=True)]
        return found

    def judged_by(self, judge: Judge, documents: Sequence[Document]) -> list[Amount]:
        """As `count`, judged."""
        found = self.judged.of([(document.title, document.host or document.text) for document in documents])
        if any(document.inserted for document in documents):
            more = judge.sizes([document.inserted for document in documents])
            found = [size + further for size, further in zip(found, more, strict=True)]
        return found

    def judged_all(self, keys: Sequence[tuple[str, str]]) -> list[float]:
        assert self.judge is not None
        return self.judge.sizes([self.drawn(title, text) for title, text in keys])

    def measured(self, keys: Sequence[tuple[str, str]]) -> list[int]:
        """Tokens that (title, text) adds to a prompt as number 1."""
        joiner, after = self.style.joiner, self.style.around_text[1]
        ends = [text[-END_CHARACTERS:] + after for _, text in keys]
        new = [end for end in dict.fromkeys(ends) if end not in self.ends]
        drawn = [end + joiner + self.drawn(title, text) for end, (title, text) in zip(ends, keys, strict=True)]
        counts = self.aligner.counts([*new, *drawn])
        self.ends.update(zip(new, counts, strict=False))
        return [count - self.ends[end] for count, end in zip(counts[len(new) :], ends, strict=True)]

    def drawn(self, title: str, text: str, number: int = 1) -> str:
        before, after = self.style.around(title, number)
        return f"{before}{text}{after}"

    def first_words(self, document: Document, tokens: int) -> str:
        """The document's first words, about as many as it can hold within `tokens`."""
        bare = self.closely([Document("", (Segment(""),), title=document.title)])[0]
        share = tokens / max(1, self.closely([document])[0])
        start = document.text[: max(0, int(1.25 * share * len(document.text))) + MORE_CHARACTERS]
        found = self.aligner.start_of(start, tokens - bare)
        return found if found == document.text else without_last_word(found)

    # ---- numbers

    def numbers(self, count: int, first: int = 1) -> int:
        """Tokens that the numbers of `count` documents take beyond those of as many documents number 1."""
        if not self.style.shows_numbers:
            return 0
        while first + count >= len(self.number_sums):
            start = len(self.number_sums) - 1
            wanted = range(start, start + NUMBERS_AT_ONCE)
            sizes = self.judge.sizes if self.judge else self.aligner.counts
            one, *counts = sizes([self.drawn("a", "a.", number) for number in (1, *wanted)])
            for found in counts:
                self.number_sums.append(self.number_sums[-1] + found - one)
        return round(self.number_sums[first + count] - self.number_sums[first])

    # ---- what stands around the documents

    def around(self, question: str) -> tuple[int, int]:
        """Tokens before the first document and behind the last one: special ones, template, instruction, question."""
        head, document, (lead, tail) = self.style.head, self.drawn("a", "a."), self.style.tail_around(question)
        prompt = self.aligner.rendered([("user", f"{head}{document}{lead}{question}{tail}")], "a", "a prompt")
        tokens = self.aligner.tokenise([prompt])[0]
        at = prompt.contents[0][0] + len(head)
        first = int(token_ranges(np.array([[at, at + len(document)]]), tokens.offsets)[0, 0])
        return first, tokens.prompt_length - first - self.dummy
