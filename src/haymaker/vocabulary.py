"""What a tokenizer is made of: its control tokens, its settings while a text is read, and its digest."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from transformers import PreTrainedTokenizerBase

from haymaker.records import digest

TALKS = (("user", "assistant"), ("system", "user", "assistant"))
NOTHING = "\ue000"  # a private letter, in no token


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Ids and spellings of what steers a model instead of being read.

    Special tokens, and added ones that the chat template writes, or whose counterpart (</think> of <think>),
    or that are spelled <|like this|>. Other added tokens (runs of blanks, HTML tags) are text that is one token.
    """
    frame = written_by_template(tokenizer)
    added: dict[int, Any] = dict(tokenizer.added_tokens_decoder)  # type: ignore[attr-defined]
    names = {number: str(token.content) for number, token in added.items()}
    written = {name.replace("/", "") for name in names.values() if name.strip() and name in frame}
    found = {
        number: name
        for number, name in names.items()
        if added[number].special or name.replace("/", "") in written or (name.startswith("<|") and name.endswith("|>"))
    }
    special = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    return found | {number: str(token) for number, token in special if number is not None}  # None: an empty text is one


def written_by_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template, and what it writes around messages, for it may put a token together from pieces."""
    if not tokenizer.chat_template:
        return ""
    written = [str(tokenizer.chat_template)]
    for roles in TALKS:
        said = [{"role": role, "content": NOTHING} for role in roles]
        with suppress(Exception):  # a template is a program, and refuses as it likes; who renders with it says so
            written.append(str(tokenizer.apply_chat_template(said, tokenize=False)))
            written.append(str(tokenizer.apply_chat_template(said[:-1], tokenize=False, add_generation_prompt=True)))
    return NOTHING.join(written)


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


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of all that decides how the tokenizer cuts and frames text: vocabulary, merges, normalisation, special
    tokens and chat template; the same in every process. How it pads and truncates does not count."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    cutting = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    cutting = {key: value for key, value in cutting.items() if key not in ("padding", "truncation")}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if name != "pad_token"}
    return digest({"cutting": cutting, "chat_template": tokenizer.chat_template, "special": special})
