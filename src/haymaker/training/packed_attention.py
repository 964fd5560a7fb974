"""Causal attention within rows that lie one after another: by a kernel of variable lengths on a GPU, else row by row.

Never by a mask, which would cost the fast kernel and the whole square.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

from haymaker.training.backends import served
from haymaker.training.kernels import attend

GROUPED = "enable_gqa" in inspect.signature(varlen_attn).parameters  # torch 2.11 has no grouped keys here


def attend_packed(
    query: Float[Tensor, "1 head token dim"],
    key: Float[Tensor, "1 kv_head token dim"],
    value: Float[Tensor, "1 kv_head token dim"],
    lengths: Sequence[int],
    *,
    scaling: float,
    window: int | None = None,
) -> Float[Tensor, "1 head token dim"]:
    """Each row's own causal attention, within a window where there is one."""
    kernel = by_varlen if query.device.type == "cuda" else by_rows
    return kernel(query, key, value, lengths, scaling=scaling, window=window)


def by_rows(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], *, scaling: float, window: int | None
) -> Tensor:
    """One call of the usual kernel for each row."""
    parts = zip(*(part.split(list(lengths), dim=2) for part in (query, key, value)), strict=True)
    return torch.cat([attend(q, k, v, scaling, window, keeps_probabilities=False) for q, k, v in parts], dim=2)


def by_varlen(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], *, scaling: float, window: int | None
) -> Tensor:
    """One call for all rows. RuntimeError where the device has no such kernel."""
    options: dict[str, Any] = {"window_size": (-1 if window is None else window - 1, 0)}
    if query.shape[1] != key.shape[1]:
        if GROUPED:
            options["enable_gqa"] = True
        else:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32).to(query.device)
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    found: Any = varlen_attn(q, k, v, bounds, bounds, max(lengths), max(lengths), scale=scaling, **options)
    return found.transpose(0, 1)[None]


def packed_seconds(
    lengths: Sequence[int], shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype
) -> float | None:
    """Seconds of forward and backward of rows of these lengths in line, for (heads, kv heads, dim).

    None where the device's kernel does not serve them, or makes what is not finite: rows are taken alone then. A GPU's
    is never the usual one for each row: on an H100 that had gradients that were not finite in rows of odd lengths, of
    which each had finite ones alone (docs/log.md, 2026-11-27).
    """
    heads, kv_heads, dim = shape
    inputs = [
        torch.randn(1, sum(lengths), count, dim, device=device, dtype=dtype).transpose(1, 2).requires_grad_()
        for count in (heads, kv_heads, kv_heads)
    ]
    query, key, value = inputs
    return served(lambda: attend_packed(query, key, value, lengths, scaling=dim**-0.5), inputs)
