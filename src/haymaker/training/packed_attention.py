"""Causal attention within rows that lie one after another: by a kernel of variable lengths on a GPU, else row by row.

Never by a mask, which would cost the fast kernel and the whole square.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from haymaker.training.backends import served
from haymaker.training.kernels import attend

try:  # torch 2.10 and later
    from torch.nn.attention.varlen import varlen_attn as varlen
except ImportError:
    varlen = None

Kernel = Callable[..., Tensor]
_CHOSEN: list[str] = []  # the last one counts, as in `backends`


def attend_packed(
    query: Float[Tensor, "1 head token dim"],
    key: Float[Tensor, "1 kv_head token dim"],
    value: Float[Tensor, "1 kv_head token dim"],
    lengths: Sequence[int],
    *,
    scaling: float,
    window: int | None = None,
) -> Float[Tensor, "1 head token dim"]:
    """Each row's own causal attention, within a window where there is one, by what `choose_packed` found fastest."""
    kernel = KERNELS[_CHOSEN[-1] if _CHOSEN else "rows"]
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
    """One call for all rows. RuntimeError where this torch has no such kernel, or not for this window."""
    if varlen is None:
        raise RuntimeError("this torch has no attention of variable lengths")
    known = inspect.signature(varlen).parameters
    if window is not None and window < max(lengths) and "window_size" not in known:
        raise RuntimeError("this torch's attention of variable lengths has no window")
    options: dict[str, Any] = {"window_size": (-1 if window is None else window - 1, 0)}
    if "window_size" not in known:
        options = {"is_causal": True}
    if query.shape[1] != key.shape[1]:
        if "enable_gqa" in known:
            options["enable_gqa"] = True
        else:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32).to(query.device)
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
    found: Any = varlen(q, k, v, bounds, bounds, max(lengths), max(lengths), scale=scaling, **options)
    return found.transpose(0, 1)[None]


KERNELS: dict[str, Kernel] = {"varlen": by_varlen, "rows": by_rows}


@contextmanager
def packed_by(name: str) -> Iterator[None]:
    """In the block packed rows are attended by one kernel, of `KERNELS`."""
    _CHOSEN.append(name)
    try:
        yield
    finally:
        _CHOSEN.pop()


def choose_packed(
    lengths: Sequence[int], shape: tuple[int, int, int], device: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    """Seconds of forward and backward by kernel, for rows of these lengths and (heads, kv heads, dim); the fastest is
    used from now on. Empty on a CPU, where rows are taken one by one. A kernel that cannot serve them is left out.
    """
    if device.type != "cuda":
        return {}
    heads, kv_heads, dim = shape
    tokens = sum(lengths)
    inputs = [
        torch.randn(1, tokens, count, dim, device=device, dtype=dtype).transpose(1, 2).requires_grad_()
        for count in (heads, kv_heads, kv_heads)
    ]

    def round_trip(kernel: Kernel) -> None:
        output = kernel(*inputs, lengths, scaling=dim**-0.5, window=None)
        torch.autograd.grad(output, inputs, torch.ones_like(output))

    timed = {name: served(lambda kernel=kernel: round_trip(kernel)) for name, kernel in KERNELS.items()}
    found = {name: seconds for name, seconds in timed.items() if seconds is not None}
    if found:
        _CHOSEN.append(min(found, key=found.__getitem__))
    return found
