"""Characters to tokens, the only place. A span is aligned here once, from the tokenizer's offsets, and then only moved.

A prompt is rendered whole (chat template included) and tokenised whole, as generation will see it; a token belongs to a
span if it holds one of its characters. The answer follows as the tokens that continue the prompt, closed as the model
closes an answer. What comes from data (documents, questions, answers) is read as text: where it spells a control token,
its letters are tokenised, or, where a tokenizer cannot do that, the text is refused.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import numpy as np
from jaxtyping import Int
from transformers import PreTrainedTokenizerBase

from haymaker.errors import DataError, ModelError
from haymaker.records import Encoded, Example, Label, Span, digest

SENTINEL = "\ue000{}\ue001"  # private-use characters: no template changes them
EXCERPT_CHARACTERS = 40


def encode(example: Example, tokenizer: PreTrainedTokenizerBase, chat_template: bool | None = None) -> Encoded:
    """The example in tokens, with its target answer.

    Args:
        example: The example; its spans are moved to tokens here, and nowhere else.
        tokenizer: A fast tokenizer, which gives character offsets.
        chat_template: Whether the prompt is rendered by the tokenizer's template; None: where it has one.

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
    """`encode` for several examples with one call of the tokenizer."""
    aligner = Aligner(tokenizer, chat_template)
    prompts = [aligner.render(example) for example in examples]
    found = []
    for example, prompt, tokens in zip(examples, prompts, aligner.tokenise(prompts), strict=True):
        spans = align(rendered_spans(example, prompt), tokens.offsets, example.id)
        answer = aligner.answer(prompt.text, example.target, example.id)
        found.append(Encoded(example.id, (*tokens.ids.tolist(), *answer), len(tokens.ids), spans))
    return found


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model reads it. `contents` are the ranges of its characters that are data, one a message."""

    text: str
    contents: tuple[tuple[int, int], ...]
    name: str  # of its example, for messages


@dataclass(frozen=True)
class Tokens:
    """A prompt's tokens and the range of characters that each holds; special ones around it hold none."""

    ids: Int[np.ndarray, " token"]
    offsets: Int[np.ndarray, "token 2"]

    @classmethod
    def of(cls, encoding: Any) -> "Tokens":
        count = len(encoding)
        flat = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * count)
        return cls(np.fromiter(encoding.ids, np.int64, count), flat.reshape(count, 2))


class Aligner:
    """One tokenizer's way from text to tokens, with its chat template or without."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat_template: bool | None = None) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                f"{type(tokenizer).__name__} gives no character offsets, and spans need them; "
                "load a fast tokenizer (a folder with tokenizer.json)"
            )
        self.tokenizer = tokenizer
        self.backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
        self.use_template = bool(tokenizer.chat_template) if chat_template is None else chat_template
        self.control = control_tokens(tokenizer)
        self.spent = 0  # tokens tokenised so far

    # ---- rendering

    def render(self, example: Example) -> Prompt:
        return self.rendered([(message.role, message.text) for message in example.messages], example.id)

    def rendered(self, messages: Sequence[tuple[str, str]], name: str) -> Prompt:
        """The prompt of (role, content) messages. Raises DataError where the template drops or changes a content."""
        contents = [content for _, content in messages]
        if not self.use_template:
            bounds = list(accumulate(map(len, contents), initial=0))
            return Prompt("".join(contents), tuple(zip(bounds, bounds[1:], strict=False)), name)
        marked = self.apply_template([(role, SENTINEL.format(i)) for i, (role, _) in enumerate(messages)])
        text, places = "", []
        for i, (role, content) in enumerate(messages):
            before, mark, marked = marked.partition(SENTINEL.format(i))
            if not mark:
                raise DataError(f"{name}: the chat template drops message {i} ({role}); use another template")
            places.append((len(text) + len(before), len(text) + len(before) + len(content)))
            text += before + content
        text += marked
        if text != self.apply_template(messages):
            raise DataError(
                f"{name}: the chat template changes the text of a message (it strips or rewrites it), "
                "so spans would be off; encode with chat_template=False or mend the template"
            )
        return Prompt(text, tuple(places), name)

    def apply_template(self, messages: Sequence[tuple[str, str]]) -> str:
        said = [{"role": role, "content": content} for role, content in messages]
        return str(self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))

    # ---- prompts

    def tokenise(self, prompts: Sequence[Prompt]) -> list[Tokens]:
        """The prompts' tokens, each prompt tokenised whole."""
        if not prompts:
            return []
        texts = [prompt.text for prompt in prompts]
        encodings = self.encodings(texts, as_text=not self.use_template, special=not self.use_template)
        return [self.without_control(prompt, Tokens.of(one)) for prompt, one in zip(prompts, encodings, strict=True)]

    def encodings(self, texts: Sequence[str], as_text: bool, special: bool = False) -> list[Any]:
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
        places = np.flatnonzero(np.isin(tokens.ids, list(self.control)))
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

    def start_of(self, text: str, tokens: int) -> str:
        """The start of a text that takes about so many tokens; it may end within a word."""
        encoding = self.encodings([text], as_text=True)[0]
        if len(encoding) <= tokens:
            return text
        return text[: encoding.offsets[tokens - 1][1]] if tokens > 0 else ""

    def answer(self, prompt: str, answer: str, name: str) -> tuple[int, ...]:
        """The tokens that continue `prompt` with `answer`, closed by the end-of-text token where there is one.

        Only the prompt's last line is tokenised again: its tokens must be a prefix of those of line and answer, or the
        answer would be learned in tokens that generation cannot produce.
        """
        tail = prompt[prompt.rfind("\n") + 1 :][-200:] if not self.use_template else ""
        joined = answer if self.use_template or prompt[-1:].isspace() else f" {answer}"
        before, both, alone = self.encodings([tail, tail + joined, joined], as_text=True)
        ids = both.ids[len(before) :] if both.ids[: len(before)] == before.ids else alone.ids
        said = [self.control[i] for i in ids if i in self.control and i != self.tokenizer.unk_token_id]
        if said:
            raise DataError(f"{name}: the answer {answer!r} spells the control token {said[0]!r}; take it out")
        end: list[Any] = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        return (*ids, *end)


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Ids and spellings of what steers a model instead of being read.

    Special tokens, and added ones that the chat template writes or that are spelled <|like this|>. Other added tokens
    (runs of blanks, HTML tags) are text that is one token.
    """
    template = str(tokenizer.chat_template or "")
    added: dict[int, Any] = dict(tokenizer.added_tokens_decoder)  # type: ignore[attr-defined]
    found = {
        number: str(token.content)
        for number, token in added.items()
        if token.special
        or (str(token.content).strip() and str(token.content) in template)
        or (str(token.content).startswith("<|") and str(token.content).endswith("|>"))
    }
    special = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    return found | {number: str(token) for number, token in special}


@contextmanager
def plain(backend: Any, as_text: bool) -> Iterator[None]:
    """A tokenizer that neither pads nor truncates, and reads the spelling of a special token as text if told so."""
    before = backend.encode_special_tokens, backend.truncation, backend.padding
    backend.encode_special_tokens = as_text
    backend.no_truncation()
    backend.no_padding()
    try:
        yield
    finally:
        backend.encode_special_tokens = before[0]
        if before[1] is not None:
            backend.enable_truncation(**before[1])
        if before[2] is not None:
            backend.enable_padding(**before[2])


def rendered_spans(example: Example, prompt: Prompt) -> list[tuple[Label, Span]]:
    """The example's spans moved from its text to the rendered prompt. A span lies within one message."""
    bounds = list(accumulate((len(message.text) for message in example.messages), initial=0))
    moved = []
    for label, span in example.labelled_spans:
        message = int(np.searchsorted(bounds, span.start, side="right")) - 1
        if span.stop > bounds[message + 1]:
            raise DataError(f"{example.id}: {label} runs over the end of message {message}; label each message alone")
        moved.append((label, span.shifted(prompt.contents[message][0] - bounds[message])))
    return moved


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


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of all that decides how the tokenizer cuts and frames text: vocabulary, merges, normalisation, special
    tokens and chat template; the same in every process. How it pads and truncates does not count."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    cutting = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    cutting = {key: value for key, value in cutting.items() if key not in ("padding", "truncation")}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if name != "pad_token"}
    return digest({"cutting": cutting, "chat_template": tokenizer.chat_template, "special": special})
