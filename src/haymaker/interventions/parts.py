"""What differs inside a head that two models share: the effect of patching it, split into its parts.

A head's output is made of its queries, keys and values, and each of these of the layer's input and the head's own
projections. With a donor D and a recipient R, q_D stands for the donor's queries and so on; W_R(x_D) for those that the
recipient's projections make of the donor's input to the layer. The recipient answers with one of these outputs in place
of its own:

    whole      attention of q_D, k_D, v_D          what cross-model patching writes
    query      of q_D, k_R, v_R                    only where the donor looks from
    key        of q_R, k_D, v_R                    only how the context is found
    value      of q_R, k_R, v_D                    only what is carried over
    weights    of W_D(x_R)                         the head itself, on what reaches the recipient's
    upstream   of W_R(x_D)                         the recipient's head, on what reaches the donor's

Parts need not add up to the whole: what is missing works only together. A gate behind attention (Qwen3-Next, Afmoe) is
part of the output: it is that of the model and of the layer's input whose projections are named, the recipient's own in
`query`, `key` and `value`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from haymaker.attention.calls import Call, Tool
from haymaker.attention.canary import check_architecture
from haymaker.attention.chance import check_ready
from haymaker.attention.edits import Patch
from haymaker.attention.hook import apart, attach, decoder_of
from haymaker.attention.recording import Recording, record
from haymaker.attention.rows import scores, softmax_with_sinks, visible_keys, weighted
from haymaker.attention.targets import HeadLike, as_heads
from haymaker.attention.threads import of_this_thread
from haymaker.console import OnProgress, told
from haymaker.errors import ProbeError
from haymaker.interventions.branch_answers import ADVICE
from haymaker.interventions.branches import Branch
from haymaker.interventions.causal import DEFAULT_SCOPE, answer_totals
from haymaker.interventions.pairs import check_pair, tell_pair
from haymaker.kept import Codec
from haymaker.models.batching import refuse_long_rows
from haymaker.models.load import LanguageModel
from haymaker.models.memory import PACKED_ROWS, memory_of
from haymaker.provenance import donor_of, kept_rows, tell_other_tokenizer
from haymaker.records import Encoded, Example, Head, examples_of
from haymaker.stats import bootstrap_mean
from haymaker.tokens import encode_many

PARTS = ("whole", "query", "key", "value", "weights", "upstream")
Layers = Mapping[int, Any]  # by layer
Sets = Mapping[str, Iterable[HeadLike]]


def patching_parts(
    donor: LanguageModel,
    recipient: LanguageModel,
    examples: Iterable[Example],
    sets: Sets,
    *,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> list[dict[str, Any]]:
    """What the gold answer's log-probability gains where a part of a head set's outputs is the donor's.

    Args:
        donor: The model whose heads are lent.
        recipient: Another one of the same shape and vocabulary, as two adapters of one base.
        examples: A Dataset, or any Examples.
        sets: Heads by the name of their set; all heads of a set are patched at once, at the rows that predict the
            answer. Their parts come from plain runs of both models on the same tokens.
        on_progress: Called with the number of examples finished since its last call.
        keep: As in `patch`.

    Returns:
        A row per set and part: `effect` in nats (summed over the answer's tokens) with 95 % bounds over examples,
        `share` of the whole's, how many heads, n.

    Raises:
        LengthError: An example longer than the model's context.
        ModelError: Models of two shapes or vocabularies, or in train mode.
        ProbeError: A head that the models lack, or heads that something mixes before the projection (BitNet's norm).
        OutOfMemory: An example that does not fit the machine; none is ever skipped.

    Source:
        Zhao et al. 2025 (arXiv 2410.22316) leave open what differs inside a shared head. Patching of queries, keys and
        values apart: Prakash et al. 2024 (arXiv 2402.14811).
    """
    chosen = {name: as_heads(heads) for name, heads in sets.items()}
    check_ready(donor, recipient)
    check_pair(donor, recipient)
    tell_pair(donor, recipient)
    tell_other_tokenizer(examples, recipient)
    encoded = encode_many(examples_of(examples), recipient.tokenizer)
    refuse_long_rows(encoded, recipient.context)
    effects: list[list[list[float]]] = []
    advance = told(on_progress, "examples", len(encoded))
    named = {name: list(map(str, heads)) for name, heads in chosen.items()}
    lent = None if keep is None else donor_of(donor)
    with kept_rows(keep, recipient, encoded, Codec(list, list), donor=lent, sets=named, parts=PARTS) as kept:
        for i, item in enumerate(encoded):
            effects += kept.row((i,), partial(effects_in, donor, recipient, item, list(chosen.values())))
            advance(1)
    return rows_of(chosen, np.array(effects).reshape(len(encoded), len(chosen), len(PARTS)))


def rows_of(
    chosen: Mapping[str, Sequence[Head]], effects: Float[np.ndarray, "example set part"]
) -> list[dict[str, Any]]:
    """A row per set and part."""
    found = []
    for s, (name, heads) in enumerate(chosen.items()):
        whole = float(effects[:, s, 0].mean())
        for p, part in enumerate(PARTS):
            effect = bootstrap_mean(effects[:, s, p])
            bounds = {"effect": effect.mean, "effect_low": effect.low, "effect_high": effect.high}
            share = effect.mean / whole if whole else float("nan")
            about = {"heads": name, "k": len(heads), "part": part, "n": len(effects)}
            found.append(about | bounds | {"share": share, "head_list": " ".join(map(str, heads))})
    return found


# ---- one example


def effects_in(
    donor: LanguageModel, recipient: LanguageModel, item: Encoded, sets: Sequence[tuple[Head, ...]]
) -> list[list[list[float]]]:
    """Of one example the effect of every set and part."""
    with memory_of([item.example_id], ADVICE):
        sources = sources_of(donor, recipient, item)
        every = sorted({head for heads in sets for head in heads})
        written = {part: source.written(item, every) for part, source in sources.items()} if every else {}
        branches: list[Branch] = [[]]
        for heads in sets:
            branches += [[Patch(heads, written[part])] if heads else [] for part in PARTS]
        room = max(PACKED_ROWS, len(item.answer_ids))
        total = answer_totals(recipient, item, branches, DEFAULT_SCOPE, room)
        gained = (total[1:] - total[0]).view(len(sets), len(PARTS))
    return [gained.tolist()]


@dataclass(frozen=True, eq=False)
class Source:
    """Whose attention modules write a part, what reaches them, and the queries, keys and values of their attention."""

    lm: LanguageModel
    inputs: Layers
    calls: Mapping[int, Call]

    def written(self, item: Encoded, heads: Sequence[Head]) -> Recording:
        """What heads write from the row that predicts the answer on, where edits of the model act."""
        plain = outputs_of(self.calls, heads, item)
        if check_architecture(self.lm.model).between == "nothing":
            return plain
        with (
            attach(Writer(decoder_of(self.lm.model), plain)),
            record(self.lm.model, heads, rows_of_answer(item)) as found,
        ):
            read(self.lm, item, self.inputs)
        return found


class Writer(Tool):
    """Lets attention give what was recorded."""

    def __init__(self, decoder: Any, outputs: Recording) -> None:
        super().__init__(decoder)
        self.outputs = outputs

    def rewrite_output(self, call: Call, output: Tensor) -> Tensor:
        if call.layer in self.outputs.columns:
            output = output.clone()
            rows, heads = self.outputs.positions[0], torch.tensor(self.outputs.columns[call.layer])
            output[:, rows[:, None], heads] = self.outputs.layer(call.layer).to(output)
        return output


def sources_of(donor: LanguageModel, recipient: LanguageModel, item: Encoded) -> dict[str, Source]:
    """Where each part comes from."""
    if check_architecture(recipient.model).between == "mixing":
        raise ProbeError(
            f"{recipient.name}: expected head outputs to enter the output projection apart from each other, found that "
            "they are mixed before it; parts of a patch cannot be told there, the whole can (hm.patch, hm.causal_map)"
        )
    lent, lent_inputs = read(donor, item)
    own, own_inputs = read(recipient, item)
    mixed = {
        part: {layer: replace(call, **{part: getattr(lent[layer], part)}) for layer, call in own.items()}
        for part in ("query", "key", "value")
    }
    weights, _ = read(donor, item, own_inputs)
    upstream, _ = read(recipient, item, lent_inputs)
    return {
        "whole": Source(donor, lent_inputs, lent),
        **{part: Source(recipient, own_inputs, calls) for part, calls in mixed.items()},
        "weights": Source(donor, own_inputs, weights),
        "upstream": Source(recipient, lent_inputs, upstream),
    }


def read(lm: LanguageModel, item: Encoded, inputs: Layers | None = None) -> tuple[dict[int, Call], dict[int, Tensor]]:
    """The attention calls of every layer over an example, and what reached them; `inputs` reach them instead."""
    keeper, reached = Keeper(decoder_of(lm.model)), {}
    ids = torch.tensor([item.input_ids], device=lm.device)
    with torch.no_grad(), attach(keeper), entering(attention_modules(lm), inputs, reached):
        lm.model(input_ids=ids, use_cache=False, logits_to_keep=1)
    return keeper.calls, reached


class Keeper(Tool):
    """Keeps every layer's attention call."""

    def __init__(self, decoder: Any) -> None:
        super().__init__(decoder)
        self.calls: dict[int, Call] = {}

    def observe(self, call: Call, output: Tensor) -> None:
        self.calls[call.layer] = call


def attention_modules(lm: LanguageModel) -> dict[int, nn.Module]:
    """The module of each layer that calls the attention function."""
    keeper = Keeper(decoder_of(lm.model))
    with torch.no_grad(), apart(), attach(keeper):
        lm.model(input_ids=torch.tensor([[0, 1]], device=lm.device), use_cache=False, logits_to_keep=1)
    return {layer: call.module for layer, call in keeper.calls.items()}


@contextmanager
def entering(modules: Mapping[int, nn.Module], inputs: Layers | None, reached: dict[int, Tensor]) -> Iterator[None]:
    """Inside, what reaches each attention module is kept, and replaced where there are inputs."""

    def hook(layer: int) -> Callable[..., Any]:
        def enter(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
            given = args[0] if args else kwargs.get("hidden_states")
            if not isinstance(given, Tensor):
                raise ProbeError(f"{type(module).__name__}: expected hidden_states as its first argument, found none")
            reached[layer] = given
            if inputs is None:
                return args, kwargs
            new = inputs[layer].to(given)
            return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

        return enter

    with ExitStack() as hooks:
        for layer, module in modules.items():
            enter = of_this_thread(hook(layer))
            hooks.callback(module.register_forward_pre_hook(enter, with_kwargs=True).remove)
        yield


def outputs_of(calls: Mapping[int, Call], heads: Sequence[Head], item: Encoded) -> Recording:
    """What the heads write from the row that predicts the answer on, by the queries, keys and values of calls."""
    slots = rows_of_answer(item)
    found = Recording(tuple(heads), "attention")
    for layer, columns in found.columns.items():
        if layer not in calls:
            raise ProbeError(f"expected heads of layers with attention, {sorted(calls)}; found layer {layer}")
        call = calls[layer]
        if max(columns) >= call.query.shape[1]:
            raise ProbeError(f"expected heads 0 to {call.query.shape[1] - 1} of layer {layer}, found {max(columns)}")
        visible = visible_keys(call, slots[None])
        chances, _ = softmax_with_sinks(scores(call, slots[None], visible), call.sinks)
        written = weighted(chances.nan_to_num(0.0), call.value[:, :, : visible.stop])  # batch, head, row, dim
        found.add(layer, slots, written[:, columns].transpose(1, 2).to(call.value.dtype))
    return found


def rows_of_answer(item: Encoded) -> Int[Tensor, " row"]:
    """From the row that predicts the answer on; the last predicts nothing, but a whole forward has it."""
    return torch.arange(item.prompt_length - 1, len(item))
