"""The passes that detectors read: one forward over prompt and gold answer, or one greedy generation, per example."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedTokenizerBase

from haymaker.heads.detectors import Ending
from haymaker.heads.observations import PassProbes, Reading, Subject, Wants
from haymaker.models.generation import AnswerEnd, Decoder, end_of, greedy, prove_decoding
from haymaker.models.load import LanguageModel
from haymaker.models.products import fast_products
from haymaker.records import Encoded

SCRIPT_TOKENS = 50  # the published script's limit
SCRIPT_END_TOKEN, SCRIPT_END_ID = "<0x0A>", 144  # what it stops at, whatever the tokenizer
Over = Callable[[Sequence[int]], Any]  # whether an answer of these tokens is over


def read_gold(lm: LanguageModel, subjects: Sequence[Subject], wants: Wants) -> list[Reading]:
    """One forward of a batch with its gold answers, padded on the right, where causal attention never sees padding."""
    encoded = [subject.encoded for subject in subjects]
    counts = [answer_tokens(item, lm.tokenizer) for item in encoded]
    ids = torch.zeros(len(encoded), max(map(len, encoded)), dtype=torch.long)
    rows = torch.empty(len(encoded), max(counts), dtype=torch.long)
    for i, item in enumerate(encoded):
        ids[i, : len(item)] = torch.tensor(item.input_ids)
        # Rows of a shorter answer repeat its last one; they are cut off again below.
        rows[i] = torch.arange(max(counts)).clamp(max=counts[i] - 1) + item.prompt_length - 1
    probes = PassProbes(lm, subjects, wants, rows, [0] * len(subjects))
    if wants.null:  # the null question is read over the cache
        prove_decoding(lm.model, padded=False)
    cache = DynamicCache(config=lm.base.config) if wants.null else None
    with probes.open(), fast_products(ids.numel()):
        lm.model(input_ids=ids.to(lm.device), past_key_values=cache, use_cache=wants.null, logits_to_keep=1)
    kept: list[dict[Ending, int]] = [{"answer": count} for count in counts]
    return probes.readings(encoded, kept, cache)


def read_own(lm: LanguageModel, subjects: Sequence[Subject], wants: Wants) -> list[Reading]:
    """One greedy generation of a batch, padded on the left, read as it is decoded."""
    prompts = [subject.encoded.prompt_ids for subject in subjects]
    longest = max(map(len, prompts))
    ends = [end_of(lm, subject.encoded, wants.new_tokens, wants.stop) for subject in subjects]
    endings = [endings_of(lm, end, wants) for end in ends]
    most = max(SCRIPT_TOKENS if ending == "script" else wants.new_tokens for ending in wants.endings)
    shifts = [longest - len(prompt) for prompt in prompts]
    probes = PassProbes(lm, subjects, wants, torch.arange(longest - 1, longest - 1 + most)[None], shifts)
    with probes.open():
        decoder = Decoder(lm.model, prompts)
        written, lengths = greedy(decoder.prefill(), decoder.go_on, endings, lm.model)
    encoded = [
        replace(subject.encoded, input_ids=(*subject.encoded.prompt_ids, *ids))
        for subject, ids in zip(subjects, written, strict=True)
    ]
    counts: list[dict[Ending, int]] = [
        {name: text_tokens(end, ids[:length]) if name == "answer" else length for name, length in found.items()}
        for end, ids, found in zip(ends, written, lengths, strict=True)
    ]
    return probes.readings(encoded, counts, decoder.cache)


def answer_tokens(encoded: Encoded, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens of the answer there are without those that close it."""
    return len(encoded.answer_ids) - (encoded.closing or encoded.answer_ids[-1] == tokenizer.eos_token_id)


def text_tokens(end: AnswerEnd, ids: Sequence[int]) -> int:
    """How many tokens of a finished answer carry its text: all, or all before those that ended it (a stop may take
    several); none of an empty one."""
    count = len(ids)
    if end(ids) == "stop":
        text = end.text(ids)
        while count and end.text(ids[: count - 1]).startswith(text):
            count -= 1
    return count


def endings_of(lm: LanguageModel, end: AnswerEnd, wants: Wants) -> dict[Ending, Over]:
    """The rules that say whether an answer is over; the script's holds beyond the end token and the context too."""
    rules: dict[Ending, Over] = {
        "answer": end,
        "script": partial(script_ends, lm.tokenizer),
    }
    return {name: rules[name] for name in wants.endings}


def script_ends(tokenizer: PreTrainedTokenizerBase, written: Sequence[int]) -> bool:
    """The published script's rule: 50 tokens, Llama 2's byte token for a newline, or id 144."""
    last = written[-1]
    return (
        len(written) >= SCRIPT_TOKENS
        or last == SCRIPT_END_ID
        or tokenizer.convert_ids_to_tokens(last) == SCRIPT_END_TOKEN
    )
