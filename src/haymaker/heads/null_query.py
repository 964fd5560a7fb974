"""Calibration by a question without content (QRHead, Zhang et al. 2025): the same prompt, asked "N/A".

The prompt before the question is not run again: the cache of the first pass is cut back to it.
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from haymaker.attention.probing import probe
from haymaker.errors import DataError
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded, Example, Segment, Span
from haymaker.tokens import encode

NULL_QUESTION = "N/A"


def asked_rows(encoded: Encoded) -> list[int]:
    """Rows of the prompt from the question on. Raises DataError for a prompt without a question."""
    if "question" not in encoded.spans:
        raise DataError(
            f"{encoded.example_id}: expected a span of the question to calibrate with, "
            f"found {', '.join(sorted(encoded.spans)) or 'no spans'}"
        )
    return list(range(encoded.spans["question"][0].start, encoded.prompt_length))


def null_example(example: Example) -> Example:
    """The example with NULL_QUESTION in place of its question."""
    first = True
    messages = []
    for message in example.messages:
        segments: list[Segment] = []
        for segment in message.segments:
            if any(label.kind == "question" for label in segment.labels):
                segment = Segment(NULL_QUESTION if first else "", segment.labels)
                first = False
            segments.append(segment)
        messages.append(replace(message, segments=tuple(segments)))
    return replace(example, messages=tuple(messages))


def null_masses(
    lm: LanguageModel, example: Example, encoded: Encoded, spans: dict[str, Any], cache: DynamicCache
) -> dict[str, Float[Tensor, "layer head row"]]:
    """Mass on each span of the rows from the null question on. `cache` is that of the example alone, and is cut."""
    null = encode(null_example(example), lm.tokenizer)
    rows = asked_rows(null)
    shared = min(shared_start(encoded.prompt_ids, null.prompt_ids), rows[0])
    check_order(encoded, spans, shared)
    kept = cut_back(cache, shared)
    ids = torch.tensor([null.prompt_ids[kept:]], device=lm.device)
    past = cache if kept else DynamicCache(config=lm.base.config)
    places = torch.arange(kept, kept + ids.shape[1], device=lm.device)[None]
    with torch.no_grad(), probe(lm.model, rows=rows, spans=spans) as seen:
        lm.model(input_ids=ids, position_ids=places, past_key_values=past, use_cache=True, logits_to_keep=1)
    return {name: mass[:, 0] for name, mass in seen.mass.items()}


def shared_start(first: tuple[int, ...], second: tuple[int, ...]) -> int:
    """How many tokens two sequences share at their starts."""
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def check_order(encoded: Encoded, spans: dict[str, list[list[Span]]], shared: int) -> None:
    for parts in spans.values():
        if (stop := max(span.stop for span in parts[0])) > shared:
            raise DataError(
                f"{encoded.example_id}: expected the needle before the question, found it up to token {stop} and the "
                f"question at {shared}; mass_calibrated needs prompts that end with their question"
            )


def cut_back(cache: DynamicCache, length: int) -> int:
    """Cuts the cache to its first `length` tokens. 0, and nothing to be shared, where a layer cannot go back: a
    sliding window that has moved on, a state of linear attention."""
    try:
        cache.crop(length - cache.get_seq_length())
    except RuntimeError:
        return 0
    return length
