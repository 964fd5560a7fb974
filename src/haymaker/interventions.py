"""Interventions: what a model answers without some of its heads, or with another model's heads in their place."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from haymaker.edits import Patch, Zero, edit
from haymaker.errors import ConfigError, ModelError
from haymaker.models.handshake import base_of
from haymaker.models.load import LanguageModel
from haymaker.predictions import HEADLINE, Evaluation, Progress, answer_and_judge
from haymaker.randomness import keyed
from haymaker.recording import record
from haymaker.records import Example, Head
from haymaker.scores import HeadScores
from haymaker.targets import HeadLike, as_heads


def ablate(
    lm: LanguageModel,
    examples: Iterable[Example],
    heads: Iterable[HeadLike],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluation with the outputs of `heads` set to zero at every position, prompt and answer alike.

    No heads is the plain model. Raises ProbeError for a head that the model lacks.
    """
    chosen = as_heads(heads)
    with edit(lm.model, *([Zero(chosen)] if chosen else [])):
        return answer_and_judge(lm, examples, new_tokens, metrics, progress=progress)


def patch(
    donor: LanguageModel,
    recipient: LanguageModel,
    examples: Iterable[Example],
    heads: Iterable[HeadLike],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluation of `recipient` with the donor's outputs of `heads` in place of its own (cross-model activation
    patching, Prakash et al. 2024).

    The donor runs in lockstep on the recipient's own tokens, those it has just generated included, and its outputs
    are written at every position. Patching a model into itself changes nothing. Raises ModelError for models of two
    shapes or vocabularies, ProbeError for a head that they lack.
    """
    check_pair(donor, recipient)
    chosen = as_heads(heads)
    patched = replace(recipient, model=Lockstep(donor.model, recipient.model, chosen)) if chosen else recipient
    return answer_and_judge(patched, examples, new_tokens, metrics, progress=progress)


class Lockstep(nn.Module):
    """A recipient that calls its donor first, on the same tokens, and takes over the outputs of some heads."""

    def __init__(self, donor: Any, recipient: Any, heads: Sequence[Head]) -> None:
        super().__init__()
        self.donor, self.recipient, self.heads = donor, recipient, heads
        self.config = recipient.config
        self._cache: DynamicCache | None = None

    def get_base_model(self) -> PreTrainedModel:
        """The model that answers, as a PeftModel tells it."""
        return base_of(self.recipient)

    @torch.no_grad()
    def forward(self, input_ids: torch.Tensor, past_key_values: Any = None, **options: Any) -> Any:
        if past_key_values is None or past_key_values.get_seq_length() == 0:
            self._cache = DynamicCache(config=self.donor.config)
        with record(self.donor, self.heads) as recording:
            self.donor(input_ids=input_ids, past_key_values=self._cache, **options)
        with edit(self.recipient, Patch(self.heads, recording)):
            return self.recipient(input_ids=input_ids, past_key_values=past_key_values, **options)


def check_pair(donor: LanguageModel, recipient: LanguageModel) -> None:
    """Raise ModelError where the heads of one model have no counterpart in the other."""
    shapes = [
        (model.num_hidden_layers, model.num_attention_heads, model.vocab_size)
        for model in (donor.base.config, recipient.base.config)
    ]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"patching needs two models of one shape (layers, heads, vocabulary): donor {shapes[0]}, "
            f"recipient {shapes[1]}; use two adapters of one base model"
        )


# ---- head sets


def random_heads(like: Sequence[Head], heads_per_layer: int, exclude: Iterable[Head], *key: str | int) -> list[Head]:
    """As many heads as `like` in the same layers, outside `exclude`, drawn by key.

    Where a layer has too few left, the rest come from any layer. Raises ConfigError where no heads are left.
    """
    rng, closed = keyed(0, "random heads", *key), set(exclude)
    chosen: list[Head] = []
    for head in like:
        layer = [Head(head.layer, i) for i in range(heads_per_layer)]
        if free := [other for other in layer if other not in closed and other not in chosen]:
            chosen.append(rng.choice(free))
    layers = range(max(head.layer for head in like) + 1) if like else range(0)
    free = [Head(i, j) for i in layers for j in range(heads_per_layer) if Head(i, j) not in closed | set(chosen)]
    missing = len(like) - len(chosen)
    if missing > len(free):
        raise ConfigError(
            f"{len(like)} random heads outside {len(closed)} excluded ones: only {len(chosen) + len(free)} are left; "
            "ask for fewer"
        )
    return chosen + rng.sample(free, missing)


@dataclass(frozen=True)
class HeadSet:
    """Heads to intervene on: which kind of set, how many were asked for, which draw (0 unless random)."""

    kind: str
    k: int
    draw: int
    heads: tuple[Head, ...]


def ablation_sets(scores: HeadScores, counts: Sequence[int], draws: int, seed: int = 0) -> Iterator[HeadSet]:
    """The top k heads for every k, each with random controls of the same layers outside the top of the largest k."""
    width, detected = scores.mean.shape[1], scores.top(max(counts))
    yield HeadSet("none", 0, 0, ())
    for k in counts:
        top = scores.top(k)
        yield HeadSet("retrieval", k, 0, tuple(top))
        for draw in range(draws):
            yield HeadSet("random", k, draw, tuple(random_heads(top, width, detected, seed, k, draw)))


def patching_sets(
    donor: HeadScores, recipient: HeadScores, k: int, threshold: float, draws: int, seed: int = 0
) -> Iterator[HeadSet]:
    """Sets of one size by the donor's ranking: heads active in both (intersection), in the donor alone (complement),
    and random heads active in neither; the size is the smallest of k and of the two sets that are not empty."""
    active = donor.active(threshold), recipient.active(threshold)
    ranked = [head for head in donor.ranked() if head in active[0]]
    sets = {
        "intersection": [head for head in ranked if head in active[1]],
        "complement": [head for head in ranked if head not in active[1]],
    }
    size = min([k, *(len(heads) for heads in sets.values() if heads)])
    yield HeadSet("none", 0, 0, ())
    for kind, heads in sets.items():
        if heads:
            yield HeadSet(kind, size, 0, tuple(heads[:size]))
    for draw in range(draws if ranked else 0):
        drawn = random_heads(ranked[:size], donor.mean.shape[1], active[0] | active[1], seed, "patch", draw)
        yield HeadSet("random", size, draw, tuple(drawn))


def identity_sets(scores: HeadScores) -> Iterator[HeadSet]:
    """Nothing, and every head: a model patched into itself must answer alike."""
    every = scores.ranked()
    yield HeadSet("none", 0, 0, ())
    yield HeadSet("identity", len(every), 0, tuple(every))
