"""What a tokenizer is made of: its control tokens, its settings while a text is read, and its digest."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedTokenizerBase

from haymaker.records import digest


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


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of all that decides how the tokenizer cuts and frames text: vocabulary, merges, normalisation, special
    tokens and chat template; the same in every process. How it pads and truncates does not count."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    cutting = json.loads(backend.to_str()) if backend is not None else {"vocabulary": tokenizer.get_vocab()}
    cutting = {key: value for key, value in cutting.items() if key not in ("padding", "truncation")}
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if name != "pad_token"}
    return digest({"cutting": cutting, "chat_template": tokenizer.chat_template, "special": special})
