"""Detectors: which heads retrieve. One forward pass per example, a few rows of attention read by the probe.

Every detector maps what the probe saw of one example to a score per head, 0 to 1. The answer is teacher-forced: the
rows are those that produce its tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from haymaker.errors import ConfigError, DataError, LengthError
from haymaker.models.load import LanguageModel
from haymaker.probe import Seen, probe
from haymaker.records import Encoded, Example, Span
from haymaker.scores import HeadScores
from haymaker.tokens import encode_many


@dataclass(frozen=True)
class Sight:
    """One example as a detector sees it: its tokens, its needle, and the probe's rows of it."""

    encoded: Encoded
    needle: list[Span]
    top_position: Int[Tensor, "layer head row"]
    mass: Float[Tensor, "layer head row"]

    @property
    def produced(self) -> Int[Tensor, "row"]:
        """The token that each row produces."""
        return torch.tensor(self.encoded.answer_ids[: self.top_position.shape[-1]])


Detector = Callable[[Sight], Float[Tensor, "layer head"]]


def copy(sight: Sight) -> Float[Tensor, "layer head"]:
    """The retrieval score |g ∩ k| / |k| (Wu et al. 2024, eq. 1; Zhao et al. 2025).

    k is the set of the needle's tokens; g holds a token if at a step that produces it the head's top attention lands
    inside the needle on that very token. A set: copying a token twice counts once, so the score is at most 1.
    """
    ids = torch.tensor(sight.encoded.input_ids)
    inside = torch.zeros(len(ids), dtype=torch.bool)
    for span in sight.needle:
        inside[span.slice] = True
    return copied_share(sight, inside, set(ids[inside].tolist()))


def copy_anywhere(sight: Sight) -> Float[Tensor, "layer head"]:
    """As `copy`, but the attended token may stand anywhere in the prompt; k is the set of the answer's tokens."""
    inside = torch.zeros(len(sight.encoded), dtype=torch.bool)
    inside[: sight.encoded.prompt_length] = True
    return copied_share(sight, inside, set(sight.produced.tolist()))


def copied_share(sight: Sight, inside: Tensor, wanted: set[int]) -> Float[Tensor, "layer head"]:
    """Share of the wanted tokens that each head copies from positions where `inside`."""
    ids = torch.tensor(sight.encoded.input_ids)
    hits = inside[sight.top_position] & (ids[sight.top_position] == sight.produced)
    copied = torch.zeros(hits.shape[:2])
    for token in wanted & set(sight.produced.tolist()):
        copied += hits[..., sight.produced == token].any(dim=-1)
    return copied / len(wanted)


def mass(sight: Sight) -> Float[Tensor, "layer head"]:
    """Attention probability on the needle, averaged over the rows that produce the answer."""
    return torch.nan_to_num(sight.mass).mean(dim=-1)


DETECTORS: dict[str, Detector] = {"copy": copy, "copy_anywhere": copy_anywhere, "mass": mass}


def detect_heads(
    lm: LanguageModel,
    examples: Iterable[Example],
    metric: str = "copy",
    needle: Sequence[str] = ("answer", "evidence"),
    batch: int = 8,
    on_progress: Callable[[int], Any] | None = None,
) -> HeadScores:
    """Scores every head on every example with one teacher-forced forward pass each.

    needle: kinds of spans to look for, in order; the first that an example has is its needle (for the paper's tasks
    the answer inside the evidence). Raises ConfigError for an unknown metric, DataError for an example without a
    needle, LengthError for one longer than the model's context.
    """
    if metric not in DETECTORS:
        raise ConfigError(f"unknown head metric {metric!r}; known: {', '.join(sorted(DETECTORS))}")
    encoded = encode_many(list(examples), lm.tokenizer)
    check_lengths(encoded, lm.context)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    rows: dict[int, np.ndarray] = {}
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        sights = look(lm, [encoded[i] for i in chosen], needle)
        rows |= {i: DETECTORS[metric](sight).numpy() for i, sight in zip(chosen, sights, strict=True)}
        if on_progress:
            on_progress(len(chosen))
    values = np.stack([rows[i] for i in range(len(encoded))])
    return HeadScores(values, tuple(item.example_id for item in encoded), metric, {"model": lm.name, "answer": "gold"})


def check_lengths(encoded: Sequence[Encoded], context: int) -> None:
    """Raise LengthError for the first row longer than the model's context."""
    for item in encoded:
        if len(item) > context:
            raise LengthError(
                f"{item.example_id}: {len(item)} tokens, but the model's context is {context}; "
                "extend the model or build shorter rows"
            )


def look(lm: LanguageModel, encoded: Sequence[Encoded], kinds: Sequence[str]) -> list[Sight]:
    """One forward of a batch, padded on the right, where causal attention never sees the padding."""
    needles = [needle_of(item, kinds) for item in encoded]
    produced = [answer_tokens(item, lm.tokenizer) for item in encoded]
    most, width = max(produced), max(map(len, encoded))
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    rows = torch.empty(len(encoded), most, dtype=torch.long)
    for i, item in enumerate(encoded):
        ids[i, : len(item)] = torch.tensor(item.input_ids)
        # Rows of a shorter answer repeat its last one; they are cut off again below.
        rows[i] = torch.arange(most).clamp(max=produced[i] - 1) + item.prompt_length - 1
    with torch.no_grad(), probe(lm.model, rows=rows, spans={"needle": needles}) as seen:
        lm.model(input_ids=ids.to(lm.model.device), use_cache=False, logits_to_keep=1)
    return [sight_of(seen, i, encoded[i], needles[i], produced[i]) for i in range(len(encoded))]


def sight_of(seen: Seen, i: int, encoded: Encoded, needle: list[Span], rows: int) -> Sight:
    return Sight(encoded, needle, seen.top_position[:, i, :, :rows, 0], seen.mass["needle"][:, i, :, :rows])


def needle_of(encoded: Encoded, kinds: Sequence[str]) -> list[Span]:
    """Spans of the first of `kinds` that the example has."""
    for kind in kinds:
        if kind in encoded.spans:
            return encoded.spans[kind]
    raise DataError(
        f"{encoded.example_id}: expected a span of {' or '.join(kinds)} to look for, "
        f"found {', '.join(sorted(encoded.spans)) or 'no spans'}"
    )


def answer_tokens(encoded: Encoded, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens of the answer there are without the closing end-of-text token."""
    return len(encoded.answer_ids) - (encoded.answer_ids[-1] == tokenizer.eos_token_id)
