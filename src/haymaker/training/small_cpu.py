"""Attention for training small models on a CPU, where it takes half of a step.

It goes in blocks of queries that skip the keys after them, and keeps its probabilities for the backward pass instead of
computing them twice. Exact.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from haymaker.training.budget import BLOCK, MAX_SAVED_BYTES


def blocks_pay(query: Float[Tensor, "batch head token dim"]) -> bool:
    """Whether attention in blocks is the better one: on a CPU, in full precision, of few tokens."""
    batch, heads, tokens, _ = query.shape
    probabilities = batch * heads * tokens * (tokens + BLOCK) // 2
    full = query.dtype in (torch.float32, torch.float64)
    return query.device.type == "cpu" and full and 4 * probabilities <= MAX_SAVED_BYTES


def causal_blocks(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Causal attention [batch, head, token, dim] in blocks."""
    return CausalBlocks.apply(query, key, value, scaling)


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
