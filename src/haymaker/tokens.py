"""Characters to tokens: this file is the only place. A span is aligned here once, from the tokenizer's offsets.

A row is rendered whole (`rendering.py`), with its answer and what closes it, and tokenised whole; a token belongs to a
span if it holds one of its characters. So what stands between prompt and answer, and behind it, is what
the template writes, and without one special tokens stand at the ends of the row alone. What comes from data (documents,
questions, answers) is read as text: where it spells a control token, its letters are tokenised, or, where a tokenizer
cannot do that, the text is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from haymaker.console import told
from haymaker.errors import DataError, ModelError
from haymaker.records import Encoded, Example, Label, Span
from haymaker.rendering import Prompt, Renderer, rendered_spans
from haymaker.vocabulary import control_tokens, plain

EXCERPT_CHARACTERS = 40
PART_CHARACTERS = 2**22  # of texts that are tokenised at once
MOST_CHARACTERS = 2**25  # of a prompt, at 200 bytes of a tokenizer's each: twice the longest row of English


def encode(example: Example, tokenizer: PreTrainedTokenizerBase, chat_template: bool | None = None) -> Encoded:
    """The example in tokens, with its target answer.

    Args:
        example: The example; its spans are moved to tokens here, and nowhere else.
        tokenizer: A fast tokenizer, which gives character offsets.
        chat_template: Whether the prompt is rendered by the tokenizer's template; None: as the example was built
            (`chat_template` of its source), else where there is one.

    Returns:
        Token ids of prompt and answer, and token spans by kind. A token belongs to a span if it holds one of its
        characters.

    Raises:
        ModelError: A tokenizer without offsets.
        DataError: The template changes the text, or a span ends up without a token.

    Examples:
        >>> encoded = hm.encode(rows[0], lm.tokenizer)
        >>> span = encoded.spans["answer"][0]
        >>> lm.tokenizer.decode(encoded.input_ids[span.slice]).strip() == rows[0].target
        True
    """
    return encode_many([example], tokenizer, chat_template)[0]


def encode_many(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, chat_template: bool | None = None
) -> list[Encoded]:
    """`encode` for several examples, some millions of characters at a time, for a tokenizer's own records are large."""
    found: dict[int, Encoded] = {}
    advance = told(None, "rows encoded", len(examples))
    built = [chat_template if chat_template is not None else row.source.get("chat_template") for row in examples]
    for use in dict.fromkeys(built):
        aligner, places = Aligner(tokenizer, use), [i for i, other in enumerate(built) if other == use]
        for some in parts_of(places, [len(examples[i].text) for i in places]):
            prompts = [aligner.render(examples[i]) for i in some]
            for i, prompt, tokens in zip(some, prompts, aligner.tokenise(prompts), strict=True):
                row = examples[i]
                spans = align(rendered_spans(row, prompt), tokens.offsets, row.id)
                found[i] = Encoded(row.id, tuple(tokens.ids.tolist()), tokens.prompt_length, spans, tokens.closing)
            advance(len(some))
    return [found[i] for i in range(len(examples))]


def parts_of(places: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """The places in order, cut where their texts have come to a part's characters."""
    part, characters = list[int](), 0
    for place, length in zip(places, lengths, strict=True):
        part.append(place)
        characters += length
        if characters >= PART_CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part


@dataclass(frozen=True)
class Tokens:
    """A row's tokens and the range of characters that each holds; special ones around it hold none."""

    ids: Int[np.ndarray, " token"]
    offsets: Int[np.ndarray, "token 2"]
    prompt_length: int = 0  # tokens before the answer
    closing: int = 0  # tokens behind it

    @classmethod
    def of(cls, encoding: Any) -> "Tokens":
        count = len(encoding)
        flat = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * count)
        return cls(np.fromiter(encoding.ids, np.int64, count), flat.reshape(count, 2))


class Aligner(Renderer):
    """One tokenizer's way from text to tokens, with its chat template or without."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat_template: bool | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"{type(tokenizer).__name__} gives no character offsets, and spans need them; "
                "load a fast tokenizer (a folder with tokenizer.json)"
            )
        super().__init__(tokenizer, chat_template)
        self.backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
        self.control = control_tokens(tokenizer)
        self.steers = np.zeros(max(self.control, default=-1) + 2, bool)  # by id; the last stands for all above
        self.steers[list(self.control)] = True
        self.piece_id: Callable[[str], int | None] = self.backend.token_to_id
        self.spent = 0  # tokens tokenised so far

    def tokenise(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        """The prompts' tokens, each prompt tokenised whole. Raises DataError for the first that cannot be read."""
        found = self.tokens_or_faults(prompts)
        for tokens in found:
            if isinstance(tokens, DataError):
                raise tokens
        return found  # type: ignore[return-value]

    def tokens_or_faults(self, prompts: Sequence[Prompt]) -> list[Tokens | DataError]:
        """As `tokenise`, with the error of a prompt that cannot be read in its place."""
        faults = [fault_of_length(prompt) or fault_of_letters(prompt) for prompt in prompts]
        texts = [prompt.text for prompt, fault in zip(prompts, faults, strict=True) if fault is None]
        encodings = iter(self.encodings(texts, as_text=not self.use_template, special=not self.use_template))
        return [fault or self.read(prompt, next(encodings)) for prompt, fault in zip(prompts, faults, strict=True)]

    def read(self, prompt: Prompt, encoding: Any) -> Tokens | DataError:
        """What the tokenizer found in a prompt, or why it cannot be read."""
        try:
            return self.closed(prompt, self.without_control(prompt, Tokens.of(encoding)))
        except DataError as error:
            return error.with_traceback(None)  # which would keep all that is at hand here

    def closed(self, prompt: Prompt, tokens: Tokens) -> Tokens:
        """The tokens up to what closes the answer, and where the answer begins.

        It is closed by the template's next control token, without a template by what the tokenizer puts at the end, and
        where there is none of these by the end-of-text token.
        """
        start, stop = prompt.answer
        (first, last), (begin, _) = token_ranges(
            np.array([[start, stop], [prompt.seam, stop]]), tokens.offsets
        ).tolist()
        if first >= last:
            raise DataError(f"{prompt.name}: no token holds the answer {prompt.text[start:stop]!r}; leave its row out")
        while begin and np.ptp(tokens.offsets[begin - 1]) == 0 and int(tokens.ids[begin - 1]) not in self.control:
            begin -= 1  # a blank that the tokenizer puts before a text is the answer's
        end = len(tokens.ids)
        if self.use_template:
            behind = self.control_places(prompt, tokens, data=False)
            end = next((place + 1 for place in behind.tolist() if place >= last), last)
        ids, offsets = tokens.ids[:end], tokens.offsets[:end]
        if end == last and self.tokenizer.eos_token_id is not None:
            ids, offsets, end = (
                np.append(ids, self.tokenizer.eos_token_id),
                np.append(offsets, [[stop] * 2], 0),
                end + 1,
            )
        return Tokens(ids, offsets, begin, end - last)

    def encodings(self, texts: Sequence[str], as_text: bool, special: bool = False) -> list[Any]:
        if not texts:
            return []
        with plain(self.backend, as_text):
            found = self.backend.encode_batch(list(texts), add_special_tokens=special)
        self.spent += sum(map(len, found))
        return found

    def spelled(self, prompt: Prompt, tokens: Tokens) -> list[int]:
        """Places of control tokens that data spells."""
        unknown = self.tokenizer.unk_token_id  # stands for any letters; it is spelled only where they are its own
        places = self.control_places(prompt, tokens, data=True)
        return [i for i in places.tolist() if tokens.ids[i] != unknown or self.said(prompt, tokens, i)]

    def control_places(self, prompt: Prompt, tokens: Tokens, data: bool) -> Int[np.ndarray, " place"]:
        """Places of control tokens that stand in data, or of those that stand in what is around it."""
        places = np.flatnonzero(self.steers[np.minimum(tokens.ids, len(self.steers) - 1)])
        starts, stops = tokens.offsets[places].T
        inside = np.zeros(len(places), bool)
        for start, stop in prompt.contents:
            inside |= (starts < stop) & (stops > start)
        return places[(inside == data) & (stops > starts)]

    def said(self, prompt: Prompt, tokens: Tokens, place: int) -> bool:
        start, stop = tokens.offsets[place].tolist()
        return prompt.text[start:stop].strip() == self.control[int(tokens.ids[place])]

    def without_control(self, prompt: Prompt, tokens: Tokens) -> Tokens:
        """The tokens, with data that spells control tokens read as text. Raises DataError where that cannot be."""
        spelled = self.spelled(prompt, tokens)
        if not spelled:
            return tokens
        ranges = tokens.offsets[spelled].tolist()
        again = self.as_text(prompt, tokens, ranges) if self.use_template else None
        if again is None or self.spelled(prompt, again):
            raise self.refused(prompt, *ranges[0])
        return again

    def as_text(self, prompt: Prompt, tokens: Tokens, ranges: Sequence[Sequence[int]]) -> Tokens | None:
        """The prompt with control tokens in its frame alone: what stands between them is tokenised as text.

        None where a prompt cut so is not tokenised as the whole one is, which one without the spelling shows.
        """
        places = self.control_places(prompt, tokens, data=False)
        frame = Tokens(tokens.ids[places], tokens.offsets[places])
        neutral = list(prompt.text)
        for start, stop in ranges:
            neutral[start:stop] = "x" * (stop - start)
        text = "".join(neutral)
        whole = Tokens.of(self.encodings([text], as_text=False)[0])
        cut = self.between(text, frame)
        same = np.array_equal(whole.ids, cut.ids) and np.array_equal(whole.offsets, cut.offsets)
        return self.between(prompt.text, frame) if same else None

    def between(self, text: str, frame: Tokens) -> Tokens:
        """The frame's control tokens, and what stands between them tokenised as text."""
        bounds = [0, *frame.offsets.ravel().tolist(), len(text)]
        pieces = [text[start:stop] for start, stop in zip(bounds[::2], bounds[1::2], strict=True)]
        ids: list[Any] = []
        offsets: list[Any] = []
        for i, encoding in enumerate(self.encodings(pieces, as_text=True)):
            found = Tokens.of(encoding)
            ids += [found.ids, frame.ids[i : i + 1]]
            offsets += [found.offsets + bounds[2 * i], frame.offsets[i : i + 1]]
        return Tokens(np.concatenate(ids), np.concatenate(offsets))

    def refused(self, prompt: Prompt, start: int, stop: int) -> DataError:
        excerpt, said = prompt.text[max(0, start - EXCERPT_CHARACTERS) : stop], prompt.text[start:stop].strip()
        return DataError(
            f"{prompt.name}: the passage with {excerpt!r} spells the control token {said!r}, and this tokenizer cannot "
            "read it as text; take it out of the passage"
        )

    # ---- texts alone

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text alone, without special tokens: to plan with, never to place a span."""
        return [len(encoding) for encoding in self.encodings(texts, as_text=True)]

    def blank(self) -> str:
        """How the vocabulary writes a blank before a word."""
        tokens = self.encodings([" a"], as_text=True)[0].tokens
        return tokens[-1].removesuffix("a") if tokens else ""

    @property
    def within_words(self) -> str:
        """How the vocabulary marks a piece that begins within a word."""
        return getattr(self.backend.model, "continuing_subword_prefix", None) or ""

    @property
    def merges(self) -> bool:
        """Whether tokens are made by merging pairs, in the order of their ids."""
        return type(self.backend.model).__name__ == "BPE"

    @cached_property
    def longest_piece(self) -> int:
        """Letters of the vocabulary's longest piece."""
        return max(map(len, self.backend.get_vocab()), default=0)

    def start_of(self, text: str, tokens: int) -> str:
        """The start of a text that takes about so many tokens; it may end within a word."""
        encoding = self.encodings([text], as_text=True)[0]
        if len(encoding) <= tokens:
            return text
        return text[: encoding.offsets[tokens - 1][1]] if tokens > 0 else ""

    def answer(self, prompt: str, answer: str, name: str) -> tuple[int, ...]:
        """The answer's tokens, with what closes it, behind a prompt of one message that ends so: to plan with."""
        tokens = self.tokenise([self.rendered([("user", f"a{prompt}")], answer, name)])[0]
        return tuple(tokens.ids[tokens.prompt_length :].tolist())


def closing_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """What closes an answer in rows of this tokenizer, so that one who writes it has ended."""
    if not getattr(tokenizer, "is_fast", False):
        return ()
    aligner = Aligner(tokenizer)
    tokens = aligner.tokenise([aligner.rendered([("user", "a")], "a", "a row")])[0]
    return tuple(tokens.ids[len(tokens.ids) - tokens.closing :].tolist())


def fault_of_length(prompt: Prompt) -> DataError | None:
    """Why a text is not tokenised that no memory holds; None of any that a model could read."""
    if len(prompt.text) <= MOST_CHARACTERS:
        return None
    return DataError(
        f"{prompt.name}: its prompt has {len(prompt.text):,} characters, and {MOST_CHARACTERS:,} are the most that are "
        "tokenised; leave its row out, or cut it"
    )


def fault_of_letters(prompt: Prompt) -> DataError | None:
    """What is wrong with a prompt that holds half of a surrogate pair: no tokenizer takes one."""
    try:
        prompt.text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(prompt.text[error.start]):04x}"
        return DataError(f"{prompt.name}: {half} alone is half of a letter (a surrogate); take it out")
    return None


def align(
    labelled: Sequence[tuple[Label, Span]], offsets: Int[np.ndarray, "token 2"], where: str
) -> tuple[tuple[Label, Span], ...]:
    """Token spans of character spans. Raises DataError, which names `where`, for a span that no token holds."""
    ranges = np.array([(span.start, span.stop) for _, span in labelled], np.int64).reshape(-1, 2)
    found = token_ranges(ranges, offsets)
    for (label, span), (first, last) in zip(labelled, found.tolist(), strict=True):
        if first >= last:
            raise DataError(f"{where}: no token holds {label} at characters [{span.start}, {span.stop})")
    return tuple((label, Span(*tokens)) for (label, _), tokens in zip(labelled, found.tolist(), strict=True))


def token_ranges(ranges: Int[np.ndarray, "span 2"], offsets: Int[np.ndarray, "token 2"]) -> Int[np.ndarray, "span 2"]:
    """Of each range of characters the tokens that hold one of them; no more than its start where there are none.

    Tokens without characters belong to no range.
    """
    real = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
    starts, stops = offsets[real].T
    first = stops.searchsorted(ranges[:, 0], side="right")
    last = starts.searchsorted(ranges[:, 1], side="left")
    held = first < last
    found = np.zeros_like(ranges)
    found[held, 0], found[held, 1] = real[first[held]], real[last[held] - 1] + 1
    return found
