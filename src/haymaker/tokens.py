"""Characters to tokens, the only place. A span is aligned here once, from the tokenizer's offsets, and then only moved.

A token belongs to a span if it holds one of its characters. The prompt is tokenised as generation will see it; the
answer follows as the tokens that continue it, closed as the model closes an answer.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from haymaker.errors import DataError, ModelError
from haymaker.records import Encoded, Example, Label, Span, digest

SENTINEL = "\ue000{}\ue001"  # private-use characters: no template changes them


def encode(example: Example, tokenizer: PreTrainedTokenizerBase, chat_template: bool | None = None) -> Encoded:
    """The example in tokens, with its target answer.

    `chat_template=None` uses the tokenizer's template where it has one. Raises ModelError for a tokenizer without
    offsets, DataError where the template changes the text or a span ends up without a token.
    """
    return encode_many([example], tokenizer, chat_template)[0]


def encode_many(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, chat_template: bool | None = None
) -> list[Encoded]:
    """`encode` for several examples with one call of the tokenizer."""
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            f"{type(tokenizer).__name__} gives no character offsets, and spans need them; "
            "load a fast tokenizer (a folder with tokenizer.json)"
        )
    if not examples:
        return []
    use_template = bool(tokenizer.chat_template) if chat_template is None else chat_template
    prompts = [render(example, tokenizer, use_template) for example in examples]
    tokens = tokenizer(
        [text for text, _ in prompts], add_special_tokens=not use_template, return_offsets_mapping=True, verbose=False
    )
    found = []
    for example, (text, starts), ids, offsets in zip(
        examples, prompts, tokens["input_ids"], tokens["offset_mapping"], strict=True
    ):
        spans = align(rendered_spans(example, starts), np.asarray(offsets), example.id)
        answer = answer_ids(text, example.target, tokenizer, use_template)
        found.append(Encoded(example.id, (*ids, *answer), len(ids), spans))
    return found


def count_tokens(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of each text alone, without special tokens."""
    return [len(ids) for ids in ids_of(texts, tokenizer)]


def ids_of(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The tokens of each text alone, without special tokens."""
    ids: Any = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return ids


def render(example: Example, tokenizer: PreTrainedTokenizerBase, use_template: bool) -> tuple[str, list[int]]:
    """The prompt as the model reads it, and where in it each message's content starts (characters)."""
    contents = [message.text for message in example.messages]
    if not use_template:
        return "".join(contents), list(accumulate(map(len, contents), initial=0))[:-1]
    roles = [message.role for message in example.messages]
    marked = apply_template(roles, [SENTINEL.format(i) for i in range(len(roles))], tokenizer)
    text, starts = "", []
    for i, content in enumerate(contents):
        before, mark, marked = marked.partition(SENTINEL.format(i))
        if not mark:
            raise DataError(f"{example.id}: the chat template drops message {i} ({roles[i]}); use another template")
        text += before
        starts.append(len(text))
        text += content
    text += marked
    if text != apply_template(roles, contents, tokenizer):
        raise DataError(
            f"{example.id}: the chat template changes the text of a message (it strips or rewrites it), "
            "so spans would be off; encode with chat_template=False or mend the template"
        )
    return text, starts


def apply_template(roles: Sequence[str], contents: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> str:
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def rendered_spans(example: Example, starts: Sequence[int]) -> list[tuple[Label, Span]]:
    """The example's spans moved from its text to the rendered prompt. A span lies within one message."""
    bounds = list(accumulate((len(message.text) for message in example.messages), initial=0))
    moved = []
    for label, span in example.labelled_spans:
        message = int(np.searchsorted(bounds, span.start, side="right")) - 1
        if span.stop > bounds[message + 1]:
            raise DataError(f"{example.id}: {label} runs over the end of message {message}; label each message alone")
        moved.append((label, span.shifted(starts[message] - bounds[message])))
    return moved


def align(labelled: Iterable[tuple[Label, Span]], offsets: np.ndarray, where: str) -> tuple[tuple[Label, Span], ...]:
    """Token spans of character spans. `offsets` is [token, 2]; tokens without characters belong to no span."""
    real = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
    starts, stops = offsets[real, 0], offsets[real, 1]
    aligned = []
    for label, span in labelled:
        first = int(np.searchsorted(stops, span.start, side="right"))
        last = int(np.searchsorted(starts, span.stop, side="left"))
        if first >= last:
            raise DataError(f"{where}: no token holds {label} at characters [{span.start}, {span.stop})")
        aligned.append((label, Span(int(real[first]), int(real[last - 1]) + 1)))
    return tuple(aligned)


def answer_ids(prompt: str, answer: str, tokenizer: PreTrainedTokenizerBase, use_template: bool) -> tuple[int, ...]:
    """The tokens that continue `prompt` with `answer`, closed by the end-of-text token where there is one.

    Only the prompt's last line is tokenised again: its tokens must be a prefix of those of line and answer, or the
    answer would be learned in tokens that generation cannot produce.
    """
    tail = prompt[prompt.rfind("\n") + 1 :][-200:] if not use_template else ""
    joined = answer if use_template or prompt[-1:].isspace() else f" {answer}"
    before, both = ids_of([tail, tail + joined], tokenizer)
    if both[: len(before)] != before:
        both = [*before, *ids_of([joined], tokenizer)[0]]
    end: list[Any] = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return (*both[len(before) :], *end)


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of all that decides how the tokenizer cuts and frames text: vocabulary, merges, normalisation, special
    tokens and chat template; the same in every process. How it pads and truncates does not count."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    cutting = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    cutting = {key: value for key, value in cutting.items() if key not in ("padding", "truncation")}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if name != "pad_token"}
    return digest({"cutting": cutting, "chat_template": tokenizer.chat_template, "special": special})
