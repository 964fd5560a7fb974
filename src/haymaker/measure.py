"""Token counts and token places of pieces of a prompt, each piece tokenised once and in its place.

A piece is tokenised between what stands before and after it in a prompt. Where no token crosses its ends it is closed,
and the tokens of a prompt of closed pieces are those of its pieces, one after another: they add up exactly. A row with
a piece that is not closed has to be tokenised whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from haymaker.errors import DataError, ModelError
from haymaker.records import Label, Segment
from haymaker.tasks.base import Document, Style
from haymaker.tokens import answer_ids, apply_template

BEFORE = "a."  # stands before a run of pieces; its tokens are not counted
DUMMY = Document("dummy", (Segment("a"),), title="a")
RUN_CHARACTERS = 16_384  # a tokenizer's time may grow with the square of its text, so runs are short
KEPT_PIECES = 200_000
ENDING_CHARACTERS = 24
LABELS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Piece:
    """A document's tokens as number 1 of a prompt, with the separator before it. Places count from its first token."""

    tokens: int
    body: int  # where the body starts
    end: int  # where the document ends; a separator may share its last token
    marks: tuple[tuple[Label, int, int], ...]
    closed: bool


@dataclass(frozen=True, slots=True)
class Numbering:
    """What a document's number does to its tokens."""

    extra: int  # tokens beyond those of number 1
    lead: int  # tokens before the document's first one, of the separator
    number: tuple[int, int]  # where the number itself stands


@dataclass(frozen=True, slots=True)
class Opening:
    """What stands before the documents: special tokens, template, instruction."""

    tokens: int  # such that the first document's piece starts here, as if its separator were there
    first: int  # the first document's first token
    instruction: tuple[int, int]
    closed: bool


@dataclass(frozen=True, slots=True)
class Closing:
    """What stands after the documents: question, template, special tokens. Places count from the last piece's end."""

    tokens: int
    question: tuple[int, int]
    closed: bool


class Offsets:
    """Character ranges of a text's tokens."""

    def __init__(self, encoding) -> None:
        flat = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * len(encoding))
        self.starts, self.stops = flat[::2], flat[1::2]

    def holding(self, character: int) -> int:
        """The first token that ends behind the character's start: the one that holds it."""
        return int(self.stops.searchsorted(character, side="right"))

    def before(self, character: int) -> int:
        """How many tokens start before the character."""
        return int(self.starts.searchsorted(character, side="left"))

    def parted(self, character: int) -> bool:
        """Whether no token stands on both sides of this place."""
        return self.holding(character) == self.before(character)


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
        self.kept: dict[tuple[str, str, tuple[Any, ...]], Piece] = {}
        self.numbers: dict[int, Numbering] = {}
        self.closings: dict[str, Closing] = {}
        self.spent = 0  # tokens tokenised so far
        self.dummy = self.measure([DUMMY])[0]
        self.opening = self.measure_opening()

    # ---- the tokenizer

    def offsets(self, texts: Sequence[str]) -> list[Offsets]:
        encodings = self.tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)  # type: ignore[attr-defined]
        self.spent += sum(map(len, encodings))
        return [Offsets(encoding) for encoding in encodings]

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

    # ---- pieces

    def pieces(self, documents: Sequence[Document]) -> list[Piece]:
        """The documents' pieces; what was measured before is not measured again."""
        # A passage may be gold for several questions, with other marks each time.
        keys = [(d.key, d.text, d.marks if d.role == "gold" else ()) for d in documents]
        missing = {key: document for key, document in zip(keys, documents, strict=True) if key not in self.kept}
        if missing:
            if len(self.kept) > KEPT_PIECES:
                self.kept.clear()
                missing = dict(zip(keys, documents, strict=True))
            self.kept |= zip(missing, self.measure(list(missing.values())), strict=True)
        return [self.kept[key] for key in keys]

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
        measured = zip(runs, drawn, self.offsets([text for text, _ in drawn]), strict=True)
        return [
            self.piece(document, place, offsets)
            for run, (_, places), offsets in measured
            for document, place in zip(run, places, strict=True)
        ]

    def draw(self, documents: Sequence[Document], number: int = 1) -> tuple[str, list[tuple[int, int, int, int]]]:
        """The documents as neighbours in a prompt; of each, where its piece, its body, its text and its piece end."""
        left, right = self.style.separator
        parts, places, at = [BEFORE], [], len(BEFORE)
        for document in documents:
            before, after = self.style.around(document.title, number)
            body = at + len(right) + len(before)
            stop = body + len(document.text) + len(after)
            parts += [right, before, document.text, after, left]
            places.append((at, body, stop, stop + len(left)))
            at = stop + len(left)
        return "".join((*parts, right, self.style.around(DUMMY.title, 1)[0], DUMMY.text)), places

    def piece(self, document: Document, place: tuple[int, int, int, int], offsets: Offsets) -> Piece:
        start, body, stop, end = place
        first = offsets.before(start)
        marks = tuple(
            (label, offsets.holding(body + span.start) - first, offsets.before(body + span.stop) - first)
            for label, span in document.marks
        )
        return Piece(
            tokens=offsets.before(end) - first,
            body=offsets.holding(body) - first,
            end=offsets.before(stop) - first,
            marks=marks,
            closed=offsets.parted(start) and offsets.parted(end),
        )

    def numbering(self, number: int) -> Numbering:
        """What the number does to a document's tokens."""
        if number not in self.numbers:
            wanted = [n for n in range(number, number + LABELS_AT_ONCE) if n not in self.numbers]
            drawn = [self.draw([DUMMY], n) for n in wanted]
            for n, (_, places), offsets in zip(wanted, drawn, self.offsets([text for text, _ in drawn]), strict=True):
                self.numbers[n] = self.numbered(n, places[0], offsets)
        return self.numbers[number]

    def numbered(self, number: int, place: tuple[int, int, int, int], offsets: Offsets) -> Numbering:
        start, body, _, _ = place
        first, label = offsets.before(start), start + len(self.style.separator[1])
        at, length = self.style.number_place(number)
        stands = (offsets.holding(label + at) - first, offsets.before(label + at + length) - first)
        extra = offsets.holding(body) - first - self.dummy.body
        return Numbering(extra, offsets.holding(label) - first, stands if length else (0, 0))

    def first_words(self, document: Document, tokens: int) -> str:
        """The document's first words, about as many as its piece can hold within `tokens`."""
        text, places = self.draw([document])
        start, body, _, _ = places[0]
        offsets = self.offsets([text])[0]
        last = min(offsets.before(start) + tokens, len(offsets.starts)) - 1
        if last < 0 or offsets.stops[last] <= body:
            return ""
        return document.text[: int(offsets.stops[last]) - body].rpartition(" ")[0]

    def whole(self, text: str) -> np.ndarray:
        """Character ranges [token, 2] of a whole prompt, special tokens aside."""
        found = self.offsets([text])[0]
        return np.stack([found.starts, found.stops], axis=1)

    # ---- the ends of a prompt

    def measure_opening(self) -> Opening:
        """Special tokens, template and instruction, measured before a first document."""
        start = len(self.prefix) + len(self.style.head)
        before, after = self.style.around(DUMMY.title, 1)
        text = self.prefix + self.style.head + before + DUMMY.text + after
        offsets = self.offsets([text])[0]
        body = offsets.holding(start + len(before))
        head = (offsets.holding(len(self.prefix)), offsets.before(start)) if self.style.head else (0, 0)
        special = self.special_before
        return Opening(
            tokens=special + body - self.dummy.body,
            first=special + offsets.holding(start),
            instruction=(special + head[0], special + head[1]),
            closed=offsets.parted(start) and self.dummy.closed,
        )

    def closing(self, question: str) -> Closing:
        """Question, template and special tokens, measured after a last document."""
        if question not in self.closings:
            self.closings = {question: self.measure_closing(question)}
        return self.closings[question]

    def measure_closing(self, question: str) -> Closing:
        right = self.style.separator[1]
        before, after = self.style.around(DUMMY.title, 1)
        lead, tail = self.style.tail_around(question)
        text = BEFORE + right + before + DUMMY.text + after
        stop, asked = len(text), len(text) + len(lead)
        offsets = self.offsets([text + lead + question + tail + self.suffix])[0]
        first = offsets.before(len(BEFORE)) + self.dummy.tokens
        place = (offsets.holding(asked) - first, offsets.before(asked + len(question)) - first)
        tokens = len(offsets.starts) - first + self.special_after
        closed = offsets.parted(len(BEFORE)) and (offsets.parted(stop) or bool(self.style.separator[0]))
        return Closing(tokens, place, closed)

    def closes(self, last: Document, question: str) -> bool:
        """Whether no token joins this last document and what follows the documents."""
        if self.style.separator[0]:  # what follows takes the place of a shared separator; `closing` has measured that
            return True
        ending = (last.text + self.style.around(last.title, 1)[1])[-ENDING_CHARACTERS:]
        lead, _ = self.style.tail_around(question)
        return self.offsets([ending + lead + question[:ENDING_CHARACTERS]])[0].parted(len(ending))

    def answer(self, question: str, answer: str) -> int:
        """Tokens of the answer that follows the prompt, end token included."""
        lead, tail = self.style.tail_around(question)
        ids = answer_ids(lead + question + tail + self.suffix, answer, self.tokenizer, self.use_template)
        self.spent += 2 * len(ids)
        return len(ids)


def special_tokens(tokenizer: PreTrainedTokenizerBase, use_template: bool) -> tuple[int, int]:
    """How many special tokens the tokenizer puts before and after a prompt."""
    if use_template:
        return 0, 0
    bare, framed = (tokenizer("x", add_special_tokens=add, verbose=False)["input_ids"] for add in (False, True))
    for before in range(len(framed) - len(bare) + 1):
        if framed[before : before + len(bare)] == bare:
            return before, len(framed) - len(bare) - before
    raise ModelError(f"{type(tokenizer).__name__} changes a text's tokens when it adds special tokens")
