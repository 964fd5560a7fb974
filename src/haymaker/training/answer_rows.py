"""Forward passes that compute only what the answer's loss needs: exact, and much cheaper on long prompts.

Only answer rows reach the language-model head. In the last layer, moreover, only they are queries: keys and values are
needed of every row, but attention, output projection, MLP and final norm of the others feed nothing.
"""

import inspect
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from haymaker.models.extend import layer_types
from haymaker.models.forward import other_forwards
from haymaker.models.handshake import base_of
from haymaker.training.small_cpu import shortcuts

Method = Literal["last_layer", "head", "all_rows"]
PRUNABLE = ("llama", "mistral", "qwen2", "qwen3", "phi3")  # whose layer `rows_of_layer` knows


def best_method(model: Any) -> Method:
    """The cheapest exact way: prune the last layer, only the head, or, where a model allows neither, nothing."""
    base = base_of(model)
    if base.config.model_type in PRUNABLE:
        return "last_layer"
    return "head" if "logits_to_keep" in inspect.signature(type(base).forward).parameters else "all_rows"


def answer_logits(
    model: Any, ids: Int64[Tensor, "batch token"], rows: Int64[Tensor, "batch row"], method: Method
) -> Float[Tensor, "batch row vocabulary"]:
    """Logits of chosen rows of right-padded prompts. No mask is passed: causality alone keeps the padding out."""
    if method == "last_layer":
        with pruned_last_layer(base_of(model), rows), shortcuts(model):
            return model(input_ids=ids, use_cache=False).logits
    if method == "all_rows":
        return take_rows(model(input_ids=ids, use_cache=False).logits, rows)
    wanted, place = torch.unique(rows, return_inverse=True)
    return take_rows(model(input_ids=ids, use_cache=False, logits_to_keep=wanted).logits, place)


def take_rows(
    values: Float[Tensor, "batch token dim"], rows: Int64[Tensor, "batch row"]
) -> Float[Tensor, "batch row dim"]:
    """Each batch element's own rows."""
    return values[torch.arange(len(rows), device=rows.device)[:, None], rows]


def pruned_last_layer(model: PreTrainedModel, rows: Int64[Tensor, "batch row"]) -> AbstractContextManager[None]:
    """Inside the block, the decoder's last layer returns only `rows`, so the head sees only them."""
    layer: Any = model.get_decoder().layers[-1]  # type: ignore[index,union-attr]
    window = model.config.sliding_window if layer_types(model)[-1] == "sliding_attention" else None

    def forward(hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], **_: Any) -> Tensor:
        return rows_of_layer(layer, hidden_states, position_embeddings, rows, window)

    return other_forwards({layer: forward})


def rows_of_layer(
    layer: Any,
    hidden: Float[Tensor, "batch token dim"],
    angles: tuple[Tensor, Tensor],
    rows: Int64[Tensor, "batch row"],
    window: int | None,
) -> Float[Tensor, "batch row dim"]:
    """A pre-norm decoder layer for some rows: they query the keys and values of all."""
    attention = layer.self_attn
    query, key, value = project(attention, layer.input_layernorm(hidden), rows)
    cos, sin = (angle.expand(len(rows), -1, -1) for angle in angles)
    query = rotate(query, take_rows(cos, rows), take_rows(sin, rows))
    key = rotate(key, cos, sin)
    heads = attend_rows(query, key, value, visible(rows, hidden.shape[1], window), attention.scaling)
    hidden = take_rows(hidden, rows) + attention.o_proj(heads)
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))


def project(attention: Any, normed: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """query [batch, head, row, dim]; key and value [batch, kv_head, token, dim], before RoPE."""
    dim = attention.head_dim
    if hasattr(attention, "qkv_proj"):  # Phi-3
        kv_size = attention.num_key_value_heads * dim
        joined = attention.qkv_proj(normed)
        flat_query, key, value = joined.split([joined.shape[-1] - 2 * kv_size, kv_size, kv_size], dim=-1)
        query = take_rows(flat_query, rows)
    else:
        query = attention.q_proj(take_rows(normed, rows))
        key, value = attention.k_proj(normed), attention.v_proj(normed)
    parts = [part.unflatten(-1, (-1, dim)) for part in (query, key, value)]
    if hasattr(attention, "q_norm"):  # Qwen3 normalises each head
        parts[:2] = [attention.q_norm(parts[0]), attention.k_norm(parts[1])]
    query, key, value = (part.transpose(1, 2) for part in parts)
    return query, key, value


def rotate(
    values: Float[Tensor, "batch head token dim"],
    cos: Float[Tensor, "batch token rotated"],
    sin: Float[Tensor, "batch token rotated"],
) -> Float[Tensor, "batch head token dim"]:
    """RoPE on the first `rotated` dimensions, whose i-th pair is (i, i + rotated/2)."""
    turned, kept = values.split([cos.shape[-1], values.shape[-1] - cos.shape[-1]], dim=-1)
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]
    return torch.cat([turned, kept], dim=-1) if kept.shape[-1] else turned


def visible(rows: Int64[Tensor, "batch row"], tokens: int, window: int | None) -> Bool[Tensor, "batch row token"]:
    """Which keys each row reads: those up to itself, within the window where there is one."""
    keys = torch.arange(tokens, device=rows.device)
    seen = keys <= rows[..., None]
    return seen if window is None else seen & (keys > rows[..., None] - window)


def attend_rows(
    query: Float[Tensor, "batch head row dim"],
    key: Float[Tensor, "batch kv_head token dim"],
    value: Float[Tensor, "batch kv_head token dim"],
    seen: Bool[Tensor, "batch row token"],
    scaling: float,
) -> Float[Tensor, "batch row joined"]:
    """Attention of few rows; the heads that share a KV head are laid one under another, so keys are never copied."""
    batch, heads, rows, dim = query.shape
    groups = heads // key.shape[1]
    stacked = query.reshape(batch, key.shape[1], groups * rows, dim)
    mask = seen[:, None].repeat(1, 1, groups, 1)
    output = functional.scaled_dot_product_attention(stacked, key, value, attn_mask=mask, scale=scaling)
    return output.reshape(batch, heads, rows, dim).transpose(1, 2).flatten(2)


def largest_difference(model: Any, ids: Tensor, rows: Tensor, method: Method) -> float:
    """How far a method's logits are from the plain forward's, over the largest of them."""
    with torch.no_grad():
        plain = answer_logits(model, ids, rows, "all_rows")
        return float((answer_logits(model, ids, rows, method) - plain).abs().max() / plain.abs().max())
