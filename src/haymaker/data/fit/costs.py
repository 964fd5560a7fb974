"""What documents take of a row: cached counts of tokens, to plan a row by. They place no span and end no row.

A document is counted behind the end of one like itself, as it will stand in a prompt. Where tokens run over the ends of
documents the sum of counts is a little off; the finished row is tokenised whole, and its plan is repaired by the
difference (plan.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from haymaker.data.fit import Amount
from haymaker.drafts import Document, Style
from haymaker.realism.answers import without_last_word
from haymaker.records import Segment
from haymaker.tokens import Aligner, token_ranges

KEPT = 60_000  # counts of the younger half; documents that come again stay, others leave after a while
SAMPLED = 512  # documents of a stream whose counts stand for all of their kind
NUMBERS_AT_ONCE = 32
MORE_CHARACTERS = 96  # than a number of words seems to need
END_CHARACTERS = 2  # of a document, before what joins it to the next
DUMMY = Document("dummy", (Segment("a."),), title="a")


class Costs:
    """Counts documents in one style for one tokenizer."""

    def __init__(self, aligner: Aligner, style: Style) -> None:
        self.aligner, self.style = aligner, style
        self.young: dict[tuple[str, str], int] = {}
        self.old: dict[tuple[str, str], int] = {}
        self.ends: dict[str, int] = {}  # tokens of documents' ends
        self.rates: dict[str, float] = {}  # tokens a character of documents of a kind
        self.number_sums = [0, 0]
        self.usual = 0  # tokens of a document of the streams read last; how much to read at once, no more
        self.dummy = self.count([DUMMY])[0]

    def of(self, documents: Sequence[Document]) -> list[Amount]:
        """Tokens of the documents as number 1: counted, or judged by their kind where that is known."""
        counted = iter(self.count([document for document in documents if document.kind not in self.rates]))
        rates = self.rates
        return [
            rates[document.kind] * len(document.text) if document.kind in rates else next(counted)
            for document in documents
        ]

    def sample(self, documents: Iterable[Document]) -> None:
        """Learn what documents of a kind take from the first ones of a stream; later ones of it are not counted."""
        found: dict[str, list[Document]] = defaultdict(list)
        for document in islice(documents, SAMPLED):
            if not document.kind:
                return
            found[document.kind].append(document)
        for kind, some in found.items():
            self.rates[kind] = sum(self.count(some)) / sum(len(document.text) for document in some)

    def count(self, documents: Sequence[Document]) -> list[int]:
        """Tokens of the documents as number 1; what was counted before is not counted again."""
        known = self.young
        keys = [(document.title, document.host or document.text) for document in documents]
        missing = [key for key in dict.fromkeys(keys) if key not in known and not self.remembered(key)]
        if missing:
            known.update(zip(missing, self.measured(missing), strict=True))
        found = [known[key] for key in keys]
        if any(document.inserted for document in documents):
            more = self.aligner.counts([document.inserted for document in documents])
            found = [count + further for count, further in zip(found, more, strict=True)]
        if len(known) > KEPT:
            self.young, self.old = {}, known
        return found

    def remembered(self, key: tuple[str, str]) -> bool:
        """Whether an older count is known; it is young then."""
        if key in self.old:
            self.young[key] = self.old[key]
        return key in self.young

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
        share = tokens / max(1, self.count([document])[0])
        start = document.text[: max(0, int(1.25 * share * len(document.text))) + MORE_CHARACTERS]
        bare = self.count([Document("", (Segment(""),), title=document.title)])[0]
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
            one, *counts = self.aligner.counts([self.drawn("a", "a.", number) for number in (1, *wanted)])
            for found in counts:
                self.number_sums.append(self.number_sums[-1] + found - one)
        return self.number_sums[first + count] - self.number_sums[first]

    # ---- what stands around the documents

    def around(self, question: str) -> tuple[int, int]:
        """Tokens before the first document and behind the last one: special ones, template, instruction, question."""
        head, document, (lead, tail) = self.style.head, self.drawn("a", "a."), self.style.tail_around(question)
        prompt = self.aligner.rendered([("user", f"{head}{document}{lead}{question}{tail}")], "a", "a prompt")
        tokens = self.aligner.tokenise([prompt])[0]
        at = prompt.contents[0][0] + len(head)
        first = int(token_ranges(np.array([[at, at + len(document)]]), tokens.offsets)[0, 0])
        return first, tokens.prompt_length - first - self.dummy
