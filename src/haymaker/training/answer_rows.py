"""Forward passes that compute only what the answer's loss needs: exact, and much cheaper on long prompts.

Only answer rows reach the language-model head. In the last layer, moreover, only they are queries: keys and values are
needed of every row, but attention, output projection, MLP and final norm of the others feed nothing.
"""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from haymaker.config import Rung
from haymaker.models.handshake import base_of
from haymaker.models.rounding import relative_norm
from haymaker.training.batches import MicroBatch
from haymaker.training.kernels import norm_of, take_rows
from haymaker.training.layer import Layer, angles, is_known, windows
from haymaker.training.layout import PADDED, Layout
from haymaker.training.loss import loss_dtype, summed_loss
from haymaker.training.recompute import mlp_again, through
from haymaker.training.sharding import inside
from haymaker.training.whole_layers import recomputed_layers

Method = Literal["last_layer", "head", "all_rows"]
Rungs = Sequence[Rung]  # one for every layer; none given: everything is kept
VERIFIED_TOKENS = 1_024


def best_method(model: Any) -> Method:
    """The cheapest exact way: prune the last layer, only the head, or, where a model allows neither, nothing."""
    base = base_of(model)
    if is_known(base):
        return "last_layer"
    return "head" if "logits_to_keep" in inspect.signature(type(base).forward).parameters else "all_rows"


def answer_loss(model: Any, batch: MicroBatch, method: Method, rungs: Rungs = ()) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over the answer tokens, computed in float32."""
    if method == "last_layer":
        return inside(base_of(model), partial(known_loss, model), batch, rungs)
    targets = batch.targets[batch.counted]
    logits = answer_logits(model, batch.ids, batch.rows, method, rungs)[batch.counted]
    return functional.cross_entropy(logits.to(loss_dtype(logits)), targets, reduction="sum")


def known_loss(model: Any, batch: MicroBatch, rungs: Rungs) -> Float[Tensor, ""]:
    hidden = answer_states(model, batch.ids, batch.rows, rungs, batch.layout)[batch.counted]
    return summed_loss(hidden, base_of(model).get_output_embeddings(), batch.targets[batch.counted])


def answer_logits(
    model: Any, ids: Int64[Tensor, "batch token"], rows: Int64[Tensor, "batch row"], method: Method, rungs: Rungs = ()
) -> Float[Tensor, "batch row vocabulary"]:
    """Logits of chosen rows of right-padded prompts. No mask is passed: causality alone keeps the padding out."""
    if method == "last_layer":
        head: Any = base_of(model).get_output_embeddings()
        return inside(base_of(model), lambda ids, rows: head(answer_states(model, ids, rows, rungs)), ids, rows)
    with recomputed_layers(base_of(model), rungs):
        if method == "all_rows":
            return take_rows(model(input_ids=ids, use_cache=False).logits, rows)
        wanted, place = torch.unique(rows, return_inverse=True)
        return take_rows(model(input_ids=ids, use_cache=False, logits_to_keep=wanted).logits, place)


def answer_states(
    model: Any,
    ids: Int64[Tensor, "batch token"],
    rows: Int64[Tensor, "batch row"],
    rungs: Rungs = (),
    layout: Layout = PADDED,
) -> Float[Tensor, "batch row dim"]:
    """What a known model's head reads, of chosen rows alone."""
    base = base_of(model)
    decoder: Any = base.get_decoder()
    hidden = decoder.embed_tokens(ids)
    cos, sin = angles(decoder, hidden, layout)
    chosen = list(rungs) or ["none"] * len(decoder.layers)
    layers = [
        Layer(module, cos, sin, window, keeps_probabilities=rung == "none", layout=layout)
        for module, window, rung in zip(decoder.layers, windows(base), chosen, strict=True)
    ]
    for layer, rung in zip(layers[:-1], chosen, strict=False):
        hidden = inside(layer.module, partial(through, layer, rung=rung), hidden)
    last = partial(through_last, layers[-1], rows=rows, again=chosen[-1] != "none")
    return norm_of(decoder.norm)(inside(layers[-1].module, last, hidden))


def through_last(
    layer: Layer, hidden: Float[Tensor, "batch token dim"], rows: Int64[Tensor, "batch row"], again: bool
) -> Float[Tensor, "batch row dim"]:
    """The last layer's output for the rows that feed the loss."""
    middle = layer.attention_of_rows(hidden, rows)
    return mlp_again(layer, middle) if again else layer.mlp(middle)


@torch.no_grad()
def first_logits(model: Any, ids: Tensor, rows: Tensor, method: Method) -> Tensor:
    """A method's logits on a prompt's first tokens: of a longer one at as many places as the answer has."""
    if ids.shape[1] > VERIFIED_TOKENS:
        ids = ids[:, :VERIFIED_TOKENS]
        rows = torch.linspace(0, VERIFIED_TOKENS - 1, rows.shape[1], device=rows.device).long().expand_as(rows)
    return answer_logits(model, ids, rows, method)


def relative_difference(model: Any, ids: Tensor, rows: Tensor, method: Method) -> float:
    """The norm of a method's logits less the plain forward's, over the norm of these, on a prompt's first tokens.

    Of all logits, not of the one that is furthest off: among ten million roundings of bfloat16 some are large.
    """
    return relative_norm(first_logits(model, ids, rows, method), first_logits(model, ids, rows, plain_of(method)))


def plain_of(method: Method) -> Method:
    """The method that is the model's own forward, as far as a better one is none."""
    return "head" if method == "last_layer" else "all_rows"
