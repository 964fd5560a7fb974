"""Causal maps: what every head, or every set of heads, does for the gold answer, measured by taking it away.

With a scope of "last" and "decode" rows all edits of an example are branches of one prefill (branches.py); that is the
default here, where a model has hundreds of heads. With any other scope an edit changes the prompt's own keys, and a
layer of linear attention has none to share: then each runs by itself, from the first layer it touches on (relayed.py):
exact, and slower.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from haymaker.attention.canary import check_architecture
from haymaker.attention.chance import check_ready
from haymaker.attention.edits import Patch, Zero
from haymaker.attention.recording import record
from haymaker.attention.targets import HeadLike, as_heads
from haymaker.console import OnProgress, told
from haymaker.errors import ModelError
from haymaker.heads.scores import HeadScores
from haymaker.interventions.branch_answers import ADVICE
from haymaker.interventions.branches import Branch, Trunk, can_branch
from haymaker.interventions.pairs import check_pair, tell_pair
from haymaker.interventions.relayed import Relay
from haymaker.kept import Codec, Kept, read_array, written_array
from haymaker.models.batching import refuse_long_rows
from haymaker.models.finite import at_fault
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of, packed_rows_that_fit
from haymaker.provenance import donor_of, halved_of, kept_rows, lender_of, provenance_of, tell_other_tokenizer
from haymaker.records import Encoded, Example, Head, examples_of
from haymaker.tokens import encode_many

DEFAULT_SCOPE = "last+decode"


def causal_map(
    lm: LanguageModel,
    examples: Iterable[Example],
    donor: LanguageModel | None = None,
    scope: str = DEFAULT_SCOPE,
    tokens_at_once: int | None = None,
    *,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> HeadScores:
    """The effect of every single head on the log-probability of the gold answer (nats, summed over its tokens).

    Args:
        lm: The model.
        examples: A Dataset, or any Examples.
        donor: None: a head's output is set to zero, and its effect is what the answer loses: log p of the plain model
            minus log p without the head, positive where the head helps. Another model of the same shape, on the same
            tokens: its output is replaced by the donor's, and the effect is what the answer gains.
        scope: The positions that are edited. "last" is the row that predicts the first answer token, "decode" the rows
            after it; "last+decode" and both alone share one prefill among all heads. "prompt", "all" and their sums run
            every head by itself, reusing the layers below it; so does every scope where a layer has no keys to share
            (linear attention).
        tokens_at_once: Most rows of a forward; None: as many as the free memory holds, at most 1,024.
        batch: Most heads of a forward; None: no bound but its rows.
        on_progress: Called with the number of examples finished since its last call.
        keep: A file in which rows are kept as they are done: after a stop the same call goes on, and gives the same.
            It is left when the call ends well, for the caller to remove.

    Returns:
        Values [example, layer, head] in nats; NaN in layers without attention.

    Raises:
        LengthError: An example longer than the model's context.
        ModelError: A donor of another shape or vocabulary, a model in train mode, or numbers that are not finite.
        ProbeError: An unknown scope, or an architecture that cannot be read.
        OutOfMemory: An example that does not fit the machine, in halves of its batch either; none is ever skipped.

    Examples:
        >>> hm.causal_map(lm, rows).values.shape
        (2, 4, 8)
    """
    branched = all(can_branch(each.model, scope) for each in (lm, donor) if each is not None)
    effects = branched_effects if branched else relayed_effects

    def one(item: Encoded, room: int, parts: int) -> Float[np.ndarray, "layer head"]:
        alone = len(item.answer_ids) if branched else len(item)  # rows that one head takes
        most = tokens_at_once or max(room, alone)
        at_once = min(most, (batch or most) * alone)
        return effects(lm, item, donor, scope, at_once if parts == 1 else max(alone, at_once // parts))

    about = {"metric": "causal", "scope": scope, "advice": ADVICE, "divisible": True}
    keeping = partial(kept_effects, keep, tokens_at_once=tokens_at_once, batch=batch)
    return effects_of_examples(lm, donor, examples, one, **about, on_progress=on_progress, keeping=keeping)


def kept_effects(
    keep: str | Path | None,
    lm: LanguageModel,
    donor: LanguageModel | None,
    encoded: Sequence[Encoded],
    **options: Any,
) -> AbstractContextManager[Kept[np.ndarray]]:
    """Effects of every head, kept in a file example by example."""
    codec = Codec(written_array, read_array)
    lent = None if keep is None else donor_of(donor)
    return kept_rows(keep, lm, encoded, codec, donor=lent, **options)


def effects_of_examples(
    lm: LanguageModel,
    donor: LanguageModel | None,
    examples: Iterable[Example],
    effects: Callable[[Encoded, int, int], Float[np.ndarray, "layer head"]],
    *,
    metric: str,
    scope: str,
    advice: str,
    divisible: bool,
    on_progress: OnProgress | None,
    keeping: Callable[..., AbstractContextManager[Kept[np.ndarray]]],
) -> HeadScores:
    """What `effects` finds of every head in each example, with so many packed rows at once, in so many parts; and where
    it came from. divisible: whether it may be halved where memory runs out."""
    check_ready(*([lm] if donor is None else [lm, donor]))
    if donor is not None:
        check_pair(donor, lm)
        tell_pair(donor, lm)
    tell_other_tokenizer(examples, lm)
    encoded = encode_many(examples_of(examples), lm.tokenizer)
    refuse_long_rows(encoded, lm.context)

    def effects_in(item: Encoded, parts: int) -> list[np.ndarray]:
        with memory_of([item.example_id], advice):
            table = effects(item, kept.room, parts)
        refuse_no_numbers(lm, item, torch.tensor([table[head] for head in check_architecture(lm.model).heads]))
        return [table]

    found, advance = [], told(on_progress, "examples", len(encoded))
    room = packed_rows_that_fit(lm.model, max(map(len, encoded), default=1), 1 if donor is None else 2)
    with keeping(lm, donor, encoded, metric=metric, scope=scope, room=room) as kept:
        for i, item in enumerate(encoded):
            found += kept.batch([(i,)], partial(effects_in, item), divisible)
            advance(1)
    ids = tuple(item.example_id for item in encoded)
    about = provenance_of(lm, encoded) | {"answer": "gold", "scope": scope, "unit": "nats"} | halved_of(ids, kept)
    provenance = about if donor is None else about | {"donor": lender_of(donor)}
    return HeadScores(np.stack(found), ids, f"{metric}_{'zero' if donor is None else 'patch'}", provenance)


def set_effects(
    lm: LanguageModel,
    examples: Iterable[Example],
    sets: Sequence[Iterable[HeadLike]],
    scope: str = DEFAULT_SCOPE,
    tokens_at_once: int | None = None,
) -> Float[np.ndarray, "example set"]:
    """What the gold answer's log-probability (nats) loses without each set of heads.

    Args:
        lm: The model.
        examples: A Dataset, or any Examples.
        sets: Sets of heads.
        scope: As in `causal_map`.
        tokens_at_once: As in `causal_map`.

    Returns:
        Losses [example, set] in nats, summed over the answer's tokens.

    Raises:
        LengthError: An example longer than the model's context.
        ModelError: A model in train mode, or numbers that are not finite.
        ProbeError: A head that the model lacks, or an unknown scope.
        OutOfMemory: An example that does not fit the machine; none is ever skipped.

    Examples:
        >>> found = hm.set_effects(lm, rows, [[(3, 4)], ["2-1", "3-4"], []])
        >>> found.shape, bool((abs(found[:, 2]) < 1e-4).all())
        ((2, 3), True)
    """
    check_ready(lm)
    tell_other_tokenizer(examples, lm)
    encoded = encode_many(examples_of(examples), lm.tokenizer)
    refuse_long_rows(encoded, lm.context)
    branches: list[Branch] = [[], *([Zero(heads)] for heads in map(as_heads, sets))]
    longest, answer = (max(map(len, some), default=1) for some in (encoded, [item.answer_ids for item in encoded]))
    room = tokens_at_once or max(answer, packed_rows_that_fit(lm.model, longest))
    kept: Kept[np.ndarray] = Kept()

    def losses(item: Encoded, parts: int) -> list[np.ndarray]:
        with memory_of([item.example_id], ADVICE):
            return [set_losses(lm, item, branches, scope, room if parts == 1 else max(answer, room // parts))]

    return np.stack([kept.batch([(i,)], partial(losses, item))[0] for i, item in enumerate(encoded)])


# ---- one example


def set_losses(
    lm: LanguageModel, item: Encoded, branches: Sequence[Branch], scope: str, rows_at_once: int
) -> Float[np.ndarray, " set"]:
    """What the answer's log-probability loses in every branch but the first."""
    total = answer_totals(lm, item, branches, scope, rows_at_once)
    return (total[0] - total[1:]).cpu().numpy()


def answer_totals(
    lm: LanguageModel, item: Encoded, branches: Sequence[Branch], scope: str, rows_at_once: int
) -> Float[Tensor, " branch"]:
    """log p of the gold answer (nats) in every branch, from one prefill where the model has branches."""
    if can_branch(lm.model, scope):
        trunk = Trunk(lm.model, item.prompt_ids, rows_at_once)
        total = trunk.log_probabilities(branches, item.answer_ids, scope).sum(-1)
    else:
        total = Relay(lm.model, item, rows_at_once).log_probabilities(branches, scope)
    refuse_no_numbers(lm, item, total)
    return total


def refuse_no_numbers(lm: LanguageModel, item: Encoded, found: Tensor) -> None:
    """A token whose hidden states overflow (float16) would leave maps of NaN, which says no attention there."""
    if not found.isfinite().all():
        raise ModelError(f"{item.example_id}: the answer's log-probability is not finite, {at_fault(lm.model)}")


def branched_effects(
    lm: LanguageModel, item: Encoded, donor: LanguageModel | None, scope: str, tokens_at_once: int
) -> Float[np.ndarray, "layer head"]:
    """Effects of all heads from one prefill (two with a donor)."""
    trunk = Trunk(lm.model, item.prompt_ids, tokens_at_once)
    heads = trunk.architecture.heads
    if donor is None:
        branches: list[Branch] = [[], *([Zero([head])] for head in heads)]
        total = trunk.log_probabilities(branches, item.answer_ids, scope).sum(-1)
        return grid(heads, total[0] - total[1:], trunk.layers)
    other = Trunk(donor.model, item.prompt_ids, tokens_at_once)
    with record(donor.model, heads) as outputs:
        other.log_probabilities([[]], item.answer_ids, scope)
    branches = [[], *([Patch([head], outputs)] for head in heads)]
    total = trunk.log_probabilities(branches, item.answer_ids, scope).sum(-1)
    return grid(heads, total[1:] - total[0], trunk.layers)


def relayed_effects(
    lm: LanguageModel, item: Encoded, donor: LanguageModel | None, scope: str, tokens_at_once: int
) -> Float[np.ndarray, "layer head"]:
    """Effects of all heads, each in a forward of its own from its layer on."""
    architecture = check_architecture(lm.model)
    relay = Relay(lm.model, item, tokens_at_once)
    found: dict[Head, Tensor] = {}
    plain = relay.plain()
    for layer in relay.upwards():
        heads = [head for head in architecture.heads if head.layer == layer]
        edits: list[Branch] = [[Zero([head])] for head in heads]
        if donor is not None and heads:
            outputs = recorded(donor, item, heads)
            edits = [[Patch([head], outputs)] for head in heads]
        changed = relay.log_probabilities(edits, scope) if heads else plain.new_zeros(0)
        found |= zip(heads, changed - plain if donor is not None else plain - changed, strict=True)
    return grid(list(found), torch.stack(list(found.values())), relay.depth)


def recorded(donor: LanguageModel, item: Encoded, heads: Sequence[Head]) -> Any:
    """What some heads of the donor write over a whole example."""
    ids = torch.tensor([item.input_ids], device=donor.device)
    with torch.no_grad(), record(donor.model, heads) as outputs:
        donor.model(input_ids=ids, use_cache=False, logits_to_keep=1)
    return outputs


def grid(heads: Sequence[Head], values: Tensor, layers: int) -> Float[np.ndarray, "layer head"]:
    """A value per head as a table; NaN where there is no such head."""
    table = np.full((layers, max(head.head for head in heads) + 1), np.nan)
    for head, value in zip(heads, values.tolist(), strict=True):
        table[head] = value
    return table
