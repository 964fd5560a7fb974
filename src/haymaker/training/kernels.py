"""What stands between the projections of a decoder layer: norms, RoPE, gates and causal attention, each kept lean.

No function here is ever given a mask of all queries by all keys: that costs the fast kernel and the square in memory.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right

from haymaker.training.backends import causal_on_gpu
from haymaker.training.small_cpu import blocks_pay, causal_blocks

MAX_MASK_BYTES = 256 * 2**20
MASKED_QUERIES = 512  # at once, on a CPU, where they are not a row's first


def norm_of(module: Any) -> Callable[[Tensor], Tensor]:
    """A layer's RMSNorm as a function; on a GPU the fused one, which makes no float32 copy of its input."""
    eps = getattr(module, "variance_epsilon", None)
    if module.weight.device.type != "cuda" or eps is None:
        return module
    return lambda x: functional.rms_norm(x, (x.shape[-1],), module.weight, eps)


# ---- RoPE


class Rotate(torch.autograd.Function):
    """RoPE, whose backward pass is the turn the other way: nothing is kept of its input."""

    @staticmethod
    def forward(context: Any, values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        context.save_for_backward(cos, sin)
        return turned(values, cos, sin)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        cos, sin = context.saved_tensors
        return turned(gradient, cos, -sin), None, None


def rotate(
    values: Float[Tensor, "batch head token dim"],
    cos: Float[Tensor, "#batch token rotated"],
    sin: Float[Tensor, "#batch token rotated"],
) -> Float[Tensor, "batch head token dim"]:
    """RoPE on the first `rotated` dimensions, whose i-th pair is (i, i + rotated/2)."""
    return Rotate.apply(values, cos, sin)


def turned(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    rotated = cos.shape[-1]
    half = rotated // 2
    cos, sin = cos[:, None, :, :half], sin[:, None, :, :half]
    first, second = values[..., :half], values[..., half:rotated]
    output = torch.empty_like(values)
    torch.mul(first, cos, out=output[..., :half]).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=output[..., half:rotated]).addcmul_(first, sin)
    output[..., rotated:] = values[..., rotated:]
    return output


# ---- gates


class Gated(torch.autograd.Function):
    """silu(gate) * up, of which only gate and up are kept."""

    @staticmethod
    def forward(context: Any, gate: Tensor, up: Tensor) -> Tensor:
        context.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        gate, up = context.saved_tensors
        d_up = functional.silu(gate).mul_(gradient)
        return torch.ops.aten.silu_backward(gradient * up, gate), d_up


def gated(activation: Any, gate: Tensor, up: Tensor) -> Tensor:
    """activation(gate) * up."""
    if isinstance(activation, torch.nn.SiLU) or type(activation).__name__ == "SiLUActivation":
        return Gated.apply(gate, up)
    return activation(gate) * up


# ---- attention


def attend(
    query: Float[Tensor, "batch head token dim"],
    key: Float[Tensor, "batch kv_head token dim"],
    value: Float[Tensor, "batch kv_head token dim"],
    scaling: float,
    window: int | None = None,
    *,
    keeps_probabilities: bool = True,
) -> Float[Tensor, "batch head token dim"]:
    """Causal attention with grouped keys, within a window where there is one."""
    if window is not None and window < query.shape[2]:
        return attend_window(query, key, value, scaling, window)
    if query.device.type == "cuda":
        return causal_on_gpu(query, key, value, scaling)
    if keeps_probabilities and blocks_pay(query):
        return causal_blocks(query, key, value, scaling)
    return functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)


def attend_window(query: Tensor, key: Tensor, value: Tensor, scaling: float, window: int) -> Tensor:
    """Attention within a window, a block of queries at a time: each sees its own keys and the window before them."""
    return attend_blocks(query, key, value, scaling, window=window, size=max(window, 64))


def attend_blocks(
    query: Tensor, key: Tensor, value: Tensor, scaling: float, *, size: int, first: int = 0, window: int | None = None
) -> Tensor:
    """Causal attention of queries from position `first` on, `size` of them at a time: no mask is of all of them."""
    outputs = []
    for start in range(first, first + query.shape[2], size):
        stop = min(start + size, first + query.shape[2])
        oldest = 0 if window is None else max(0, start - window + 1)
        rows = torch.arange(start, stop, device=query.device)[:, None]
        keys = torch.arange(oldest, stop, device=query.device)
        seen = keys <= rows if window is None else (keys <= rows) & (keys > rows - window)
        outputs.append(
            functional.scaled_dot_product_attention(
                query[:, :, start - first : stop - first], key[:, :, oldest:stop], value[:, :, oldest:stop],
                attn_mask=seen, scale=scaling, enable_gqa=True,
            )
        )  # fmt: skip
    return torch.cat(outputs, dim=2)


def attend_later(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch kv_head token dim"],
    value: Float[Tensor, "batch kv_head token dim"],
    first: int,
    *,
    scaling: float,
    window: int | None = None,
) -> Float[Tensor, "batch head query dim"]:
    """Causal attention of queries at positions `first`, `first` + 1, ... to keys at 0, 1, ...; later keys are left."""
    stop = first + query.shape[2]
    key, value = key[:, :, :stop], value[:, :, :stop]
    if window is not None and window < stop:
        return attend_blocks(query, key, value, scaling, size=max(window, 64), first=first, window=window)
    if first == 0:
        return attend(query, key, value, scaling, keeps_probabilities=False)
    if query.device.type == "cuda":  # the fast kernels count from the last key
        last = causal_lower_right(query.shape[2], stop)
        return functional.scaled_dot_product_attention(query, key, value, last, scale=scaling, enable_gqa=True)
    return attend_blocks(query, key, value, scaling, size=MASKED_QUERIES, first=first)


def take_rows(
    values: Float[Tensor, "batch token dim"], rows: Int64[Tensor, "batch row"]
) -> Float[Tensor, "batch row dim"]:
    """Each batch element's own rows."""
    return values[torch.arange(len(rows), device=rows.device)[:, None], rows]


def few(rows: Int64[Tensor, "batch row"], tokens: int, groups: int) -> bool:
    """Whether attention of the rows alone, which takes a mask, is cheaper than causal attention of all tokens."""
    return 2 * rows.shape[1] < tokens and rows.numel() * groups * tokens <= MAX_MASK_BYTES


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
) -> Float[Tensor, "batch head row dim"]:
    """Attention of few rows; the heads that share a KV head are laid one under another, so keys are never copied."""
    batch, heads, rows, dim = query.shape
    groups = heads // key.shape[1]
    stacked = query.reshape(batch, key.shape[1], groups * rows, dim)
    mask = seen[:, None].repeat(1, 1, groups, 1)
    output = functional.scaled_dot_product_attention(stacked, key, value, attn_mask=mask, scale=scaling)
    return output.reshape(batch, heads, rows, dim)
