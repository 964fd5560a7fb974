"""Token counts and token places of pieces of a prompt, each piece tokenised once and in its place.

A prompt is cut into pieces at the same place between any two documents: where, the tokenizer decides (one that joins a
full stop with the line break behind it is cut behind the break, one that joins the break with what follows before it).
Where no token crosses a piece's ends it is closed, and the tokens of a prompt of closed pieces are those of its pieces,
one after another: they add up exactly. A row with a piece that is not closed has to be tokenised whole.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from haymaker.data.fit.ends import Ends
from haymaker.data.fit.hosts import Hosts
from haymaker.data.fit.patterns import Patterns
from haymaker.data.fit.pieces import BEFORE, DUMMY, Numbering, Offsets, Piece, Places, pieces_of
from haymaker.drafts import Document, Style
from haymaker.errors import DataError, ModelError
from haymaker.records import Segment
from haymaker.tokens import answer_ids, apply_template

ENDINGS = ("a.", "a", "a)", "a.\u201d", 'a"', "a?", "1", "a: ", "a\n", "}")  # how documents end, to find a cut
RUN_CHARACTERS = 2_048  # a byte-level BPE is twice as fast on short texts as on long ones
KEPT_PIECES = 60_000  # of the younger half; documents that come again stay, others leave after a while
MORE_CHARACTERS = 96  # than a number of words seems to need
LABELS_AT_ONCE = 32
NO_NUMBER = Numbering(0, (0, 0))


class Measure:
    """Measures the pieces of prompts in one style for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, style: Style, chat_template: bool | None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"{type(tokenizer).__name__} gives no character offsets, and spans need them; "
                "load a fast tokenizer (a folder with tokenizer.json)"
            )
        self.tokenizer, self.style = tokenizer, style
        self.use_template = bool(tokenizer.chat_template) if chat_template is None else chat_template
        self.special_before, self.special_after = special_tokens(tokenizer, self.use_template)
        self.prefix, self.suffix = self.frame()
        self.young: dict[Any, Piece] = {}
        self.old: dict[Any, Piece] = {}
        self.numbers: list[Numbering] = []
        self.number_sums = [0]
        self.answers: dict[tuple[str, str], int] = {}
        self.spent = 0  # tokens tokenised so far
        self.adds_up = True  # whether counts may be trusted; else rows are tokenised whole
        self.usual_cost = 0  # tokens of a document of the streams read last; how much to read at once, no more
        self.cut = self.best_cut()
        self.dummy = self.measure([DUMMY])[0]
        self.patterns, self.hosts = Patterns(self), Hosts(self)
        self.ends = Ends(self)

    # ---- the tokenizer

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        encodings = self.tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)  # type: ignore[attr-defined]
        self.spent += sum(map(len, encodings))
        return [Offsets.of(encoding) for encoding in encodings]

    def frame(self) -> tuple[str, str]:
        """What the chat template writes before and after a user's message."""
        if not self.use_template:
            return "", ""
        mark = "\ue000content\ue001"
        before, found, after = apply_template(["user"], [mark], self.tokenizer).partition(mark)
        if not found:
            raise DataError("the chat template drops a user's message; use another template or chat_template=False")
        return before, after

    def rendered(self, content: str) -> str:
        """The prompt as the model reads it. Raises DataError where the template changes the content."""
        text = f"{self.prefix}{content}{self.suffix}"
        if self.use_template and text != apply_template(["user"], [content], self.tokenizer):
            raise DataError(
                "the chat template changes the text of a message (it strips or rewrites it), so spans would be off; "
                "build with chat_template=False or mend the template"
            )
        return text

    def best_cut(self) -> int:
        """Characters of what stands between two documents that belong to the first one's piece.

        Of all places between a document's end and its neighbour's number or title, the one that no token crosses after
        most endings; the first of them where several do as well.
        """
        last = len(self.style.joiner) + len(self.style.document.partition("{")[0])
        documents = [Document(ending, (Segment(ending),), title="a") for ending in ENDINGS]
        text, places = self.draw(documents, cut=0)
        offsets = self.offsets([text])[0]
        ends = np.array([stop for _, _, stop, _ in places])
        return max(range(last + 1), key=lambda cut: (offsets.parted(ends + cut).sum(), -cut))

    # ---- pieces

    def pieces(self, documents: Sequence[Document]) -> list[Piece]:
        """The documents' pieces; what was measured before is not measured again."""
        # A passage may be gold for several questions, with other marks each time.
        keys = [(d.key, d.text, d.marks) if d.role == "gold" else (d.key, d.text) for d in documents]
        known = self.young
        missing: dict[Any, Document] = {}
        for key, document in zip(keys, documents, strict=True):
            if key not in known:
                piece = self.old.get(key)
                if piece is None:
                    missing[key] = document
                else:
                    known[key] = piece
        if missing:
            known.update(self.measured(missing))
        found = [known[key] for key in keys]
        if len(known) > KEPT_PIECES:
            self.young, self.old = {}, known
        return found

    def costs(self, documents: Sequence[Document]) -> list[int]:
        """Tokens of the documents as number 1."""
        return [piece.tokens for piece in self.pieces(documents)]

    def measured(self, missing: dict[Any, Document]) -> Iterator[tuple[Any, Piece]]:
        """Pieces that were not measured yet, each in the way that tokenises least."""
        ways: dict[Callable[[list[Document]], list[Piece]], dict[Any, Document]] = defaultdict(dict)
        for key, document in missing.items():
            way = self.patterns.pieces if document.pattern else self.hosts.pieces if document.host else self.measure
            ways[way][key] = document
        for way, some in ways.items():
            yield from zip(some, way(list(some.values())), strict=True)

    def measure(self, documents: Sequence[Document]) -> list[Piece]:
        """Pieces of documents that were not measured yet, tokenised in runs."""
        runs: list[list[Document]] = [[]]
        size = 0
        for document in documents:
            if size > RUN_CHARACTERS:
                runs.append([])
                size = 0
            runs[-1].append(document)
            size += len(document.text)
        drawn = [self.draw(run) for run in runs]
        joiner = len(self.style.joiner)
        found: list[Piece] = []
        for run, (_, places), offsets in zip(runs, drawn, self.offsets([text for text, _ in drawn]), strict=True):
            found += pieces_of(run, places, joiner, offsets)
        return found

    def draw(self, documents: Sequence[Document], number: int = 1, cut: int | None = None) -> tuple[str, Places]:
        """The documents as neighbours in a prompt; of each, where its piece, its body, its text and its piece end."""
        joiner, cut = self.style.joiner, self.cut if cut is None else cut
        parts, places, at = [BEFORE], [], len(BEFORE)
        for document in documents:
            before, after = self.style.around(document.title, number)
            body = at + len(joiner) + len(before)
            stop = body + len(document.text) + len(after)
            parts += [joiner, before, document.text, after]
            places.append((at + cut, body, stop, stop + cut))
            at = stop
        return "".join((*parts, joiner, self.style.around(DUMMY.title, 1)[0], DUMMY.text)), places

    def first_words(self, document: Document, tokens: int) -> str:
        """The document's first words, about as many as its piece can hold within `tokens`."""
        share = tokens / max(1, self.pieces([document])[0].tokens)
        start = document.text[: max(0, int(1.25 * share * len(document.text))) + MORE_CHARACTERS]
        text, places = self.draw([replace(document, segments=(Segment(start),))])
        start, body, _, _ = places[0]
        offsets = self.offsets([text])[0]
        last = min(offsets.before(start) + tokens, len(offsets)) - 1
        if last < 0 or offsets.stops[last] <= body:
            return ""
        return document.text[: int(offsets.stops[last]) - body].rpartition(" ")[0]

    def whole(self, text: str) -> np.ndarray:
        """Character ranges [token, 2] of a whole prompt, special tokens aside."""
        found = self.offsets([text])[0]
        return np.stack([found.starts, found.stops], axis=1)

    # ---- numbers

    def numbering(self, number: int) -> Numbering:
        """What the number does to a document's tokens."""
        if not self.style.shows_numbers:
            return NO_NUMBER
        while number >= len(self.numbers):
            wanted = range(len(self.numbers), len(self.numbers) + LABELS_AT_ONCE)
            drawn = [self.draw([DUMMY], n) for n in wanted]
            for n, (_, places), offsets in zip(wanted, drawn, self.offsets([text for text, _ in drawn]), strict=True):
                self.numbers.append(self.numbered(n, places[0], offsets))
                self.number_sums.append(self.number_sums[-1] + self.numbers[-1].extra * (n > 0))
        return self.numbers[number]

    def numbers_cost(self, count: int, first: int = 1) -> int:
        """Tokens that the numbers of `count` documents take beyond those of as many documents number 1."""
        if not self.style.shows_numbers:
            return 0
        self.numbering(first + count)
        return self.number_sums[first + count] - self.number_sums[first]

    def numbered(self, number: int, place: tuple[int, int, int, int], offsets: Offsets) -> Numbering:
        start, body, _, _ = place
        first, label = int(offsets.before(start)), start - self.cut + len(self.style.joiner)
        at, length = self.style.number_place(number)
        stands = (int(offsets.holding(label + at)) - first, int(offsets.before(label + at + length)) - first)
        return Numbering(int(offsets.holding(body)) - first - self.dummy.body, stands if length else (0, 0))

    # ---- the answer

    def answer(self, question: str, answer: str) -> int:
        """Tokens of the answer that follows the prompt, end token included."""
        if (question, answer) not in self.answers:
            lead, tail = self.style.tail_around(question)
            ids = answer_ids(lead + question + tail + self.suffix, answer, self.tokenizer, self.use_template)
            self.spent += 2 * len(ids)
            if len(self.answers) > LABELS_AT_ONCE:
                self.answers.clear()
            self.answers[question, answer] = len(ids)
        return self.answers[question, answer]


def special_tokens(tokenizer: PreTrainedTokenizerBase, use_template: bool) -> tuple[int, int]:
    """How many special tokens the tokenizer puts before and after a prompt."""
    if use_template:
        return 0, 0
    bare, framed = (tokenizer("x", add_special_tokens=add, verbose=False)["input_ids"] for add in (False, True))
    for before in range(len(framed) - len(bare) + 1):
        if framed[before : before + len(bare)] == bare:
            return before, len(framed) - len(bare) - before
    raise ModelError(f"{type(tokenizer).__name__} changes a text's tokens when it adds special tokens")
