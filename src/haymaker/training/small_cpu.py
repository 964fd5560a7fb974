"""Two exact shortcuts for training small models on a CPU, where attention takes half of a step.

Attention goes in blocks of queries that skip the keys after them, and keeps its probabilities for the backward pass
instead of computing them twice. A projection with LoRA multiplies once, by W + s B A, instead of three times.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from peft import PeftModel
from peft.tuners.lora import Linear
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface

from haymaker.models.forward import other_forwards
from haymaker.models.handshake import base_of

NAME = "haymaker-blocks"
BLOCK = 64  # queries
MAX_SAVED_BYTES = 64 * 2**20  # of probabilities in a call; beyond that the model's own attention is the better one
MAX_MERGED_DIM = 512  # of a projection's input; for wider ones LoRA's thin products cost little


@contextmanager
def shortcuts(model: Any) -> Iterator[None]:
    """Inside the block a PeftModel on a CPU, in full precision, takes the shortcuts; any other is left alone."""
    base = base_of(model)
    usable = isinstance(model, PeftModel) and base.device.type == "cpu" and base.dtype in (torch.float32, torch.float64)
    if not usable or base.config._attn_implementation != "sdpa":
        yield
        return
    register()
    merged = [module for module in model.modules() if isinstance(module, Linear) and is_plain(module)]
    base.config._attn_implementation_internal = NAME
    try:
        with other_forwards({module: merged_forward(module) for module in merged}):
            yield
    finally:
        base.config._attn_implementation_internal = "sdpa"


# ---- projections


def is_plain(module: Any) -> bool:
    """Whether a LoRA projection is one adapter on a narrow layer, with nothing else in its forward."""
    dropout = all(isinstance(part, torch.nn.Identity) for part in module.lora_dropout.values())
    return dropout and len(module.active_adapters) == 1 and not module.merged and module.in_features <= MAX_MERGED_DIM


def merged_forward(module: Any) -> Callable[[Tensor], Tensor]:
    """x -> x (W + s B A)' + b, differentiable in A and B."""
    name, base = module.active_adapters[0], module.get_base_layer()
    down, up, scale = module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name]

    def forward(x: Tensor) -> Tensor:
        return functional.linear(x, torch.addmm(base.weight, up, down, alpha=scale), base.bias)

    return forward


# ---- attention


def register() -> None:
    """Our function under its name, with the mask that SDPA would be given (none for a causal prompt)."""
    if NAME not in AttentionInterface():
        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, AttentionMaskInterface()["sdpa"])


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, *, scaling: float | None = None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' attention function: in blocks where that is exact and pays, else SDPA."""
    batch, heads, tokens, dim = query.shape
    probabilities = batch * heads * tokens * (tokens + BLOCK) // 2
    if mask is not None or key.shape[2] != tokens or 4 * probabilities > MAX_SAVED_BYTES:
        return AttentionInterface()["sdpa"](module, query, key, value, mask, scaling=scaling, **options)
    output = CausalBlocks.apply(query, key, value, dim**-0.5 if scaling is None else scaling)
    return output.transpose(1, 2).contiguous(), None


class CausalBlocks(torch.autograd.Function):
    """Causal attention with grouped keys. The heads that share a KV head lie one under another in each product."""

    @staticmethod
    def forward(
        context: Any,
        query: Float[Tensor, "batch head token dim"],
        key: Float[Tensor, "batch kv_head token dim"],
        value: Float[Tensor, "batch kv_head token dim"],
        scaling: float,
    ) -> Float[Tensor, "batch head token dim"]:
        (batch_shape, heads), (_, kv_heads, tokens, dim) = (key.shape, query.shape[1]), key.shape
        grouped = (query * scaling).reshape(-1, heads // kv_heads, tokens, dim)
        key, value = key.reshape(-1, tokens, dim), value.reshape(-1, tokens, dim)
        output, saved = torch.empty_like(grouped), []
        for block in blocks(tokens):
            seen = slice(block.stop)
            scores = torch.bmm(stacked(grouped, block), key[:, seen].mT)
            hide_later(scores.unflatten(1, (heads // kv_heads, -1)), block)
            saved.append(torch.softmax(scores, dim=-1))
            output[:, :, block] = torch.bmm(saved[-1], value[:, seen]).unflatten(1, (heads // kv_heads, -1))
        context.save_for_backward(grouped, key, value, output, *saved)
        context.scaling, context.shapes = scaling, (query.shape, batch_shape)
        return output.view(query.shape)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        """With P = softmax(S) and O = P V: dS = P (dO V' - rowsum(dO O)), dV = P' dO, dQ = dS K, dK = dS' Q."""
        query, key, value, output, *saved = context.saved_tensors
        gradient = gradient.reshape(query.shape)
        row_sums = (gradient * output).sum(dim=-1, keepdim=True)
        d_query, d_key, d_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for probabilities, block in zip(saved, blocks(key.shape[1]), strict=True):
            seen, d_output = slice(block.stop), stacked(gradient, block)
            d_value[:, seen] += torch.bmm(probabilities.mT, d_output)
            d_scores = torch.bmm(d_output, value[:, seen].mT).sub_(stacked(row_sums, block)).mul_(probabilities)
            d_key[:, seen] += torch.bmm(d_scores.mT, stacked(query, block))
            d_query[:, :, block] = torch.bmm(d_scores, key[:, seen]).unflatten(1, (query.shape[1], -1))
        query_shape, key_shape = context.shapes
        d_query = d_query.mul_(context.scaling).view(query_shape)
        return d_query, d_key.view(key_shape), d_value.view(key_shape), None


def blocks(tokens: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, tokens)) for start in range(0, tokens, BLOCK)]


def stacked(values: Float[Tensor, "pair group token dim"], block: slice) -> Float[Tensor, "pair joined dim"]:
    """The block's rows of all heads of a group, one head under another."""
    return values[:, :, block].flatten(1, 2)


def hide_later(scores: Float[Tensor, "pair group query key"], block: slice) -> None:
    """-inf, in place, where a key comes after its query: only in the square on the diagonal."""
    size = block.stop - block.start
    later = torch.full((size, size), -math.inf, device=scores.device).triu_(1)
    scores[..., block.start :] += later
