"""Which of torch's attention kernels a GPU runs a causal prompt with: the one that was fastest when measured there."""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
COPIED = "+copied keys"  # a kernel that does not know grouped keys gets a copy of each for every head
_CHOSEN: list[str] = []  # the last one counts. Not a context variable: a backward pass runs in threads of its own


def causal_on_gpu(
    query: Float[Tensor, "batch head token dim"],
    key: Float[Tensor, "batch kv_head token dim"],
    value: Float[Tensor, "batch kv_head token dim"],
    scaling: float,
) -> Float[Tensor, "batch head token dim"]:
    """Causal attention by the kernel that `choose_backend` chose, else by torch's own choice."""
    if not _CHOSEN:
        return causal(query, key, value, scaling)
    return by_backend(_CHOSEN[-1], query, key, value, scaling)


def by_backend(name: str, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Causal attention by one kernel. RuntimeError where it cannot serve this call."""
    kind, copied, _ = name.partition(COPIED)
    if copied:
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    with sdpa_kernel(BACKENDS[kind]):
        return causal(query, key, value, scaling)


def causal(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    return functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )


def choose_backend(shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Seconds of forward and backward by kernel, for (heads, kv heads, tokens, dim); the fastest is used from now on.

    Empty on a CPU, where there is nothing to choose. A kernel that does not serve the shape is left out.
    """
    if device.type != "cuda":
        return {}
    heads, kv_heads, tokens, dim = shape
    sizes = [(1, tokens, heads, dim), (1, tokens, kv_heads, dim), (1, tokens, kv_heads, dim)]
    inputs = [torch.randn(size, device=device, dtype=dtype).transpose(1, 2).requires_grad_() for size in sizes]
    found: dict[str, float] = {}
    for name in BACKENDS:
        for variant in (name, name + COPIED)[: 1 if heads == kv_heads else 2]:
            attended = partial(by_backend, variant, *inputs, scaling=dim**-0.5)
            if (seconds := served(attended, inputs)) is not None:
                found[variant] = seconds
                break
    if found:
        _CHOSEN.append(min(found, key=found.__getitem__))
    return found


def chosen_backend() -> str | None:
    """The kernel in use; None: torch's own choice."""
    return _CHOSEN[-1] if _CHOSEN else None


def served(attended: Callable[[], Tensor], inputs: Sequence[Tensor]) -> float | None:
    """Seconds of forward and backward the second time.

    None where the kernel refuses, and where its output or a gradient is not finite though memory holds what is not:
    past the end of rows of odd lengths some kernels read what they have not written.
    """
    try:
        with warnings.catch_warnings():  # a kernel that refuses says at length why
            warnings.simplefilter("ignore")
            leave_nan(inputs)
            made = round_trip(attended, inputs)
            finite = all(bool(part.isfinite().all()) for part in made)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        return None
    del made
    started = time.perf_counter()
    round_trip(attended, inputs)
    wait_for(inputs)
    return time.perf_counter() - started if finite else None


def round_trip(attended: Callable[[], Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The output and the gradients of the inputs."""
    output = attended()
    return output.detach(), *torch.autograd.grad(output, inputs, torch.ones_like(output))


def leave_nan(inputs: Sequence[Tensor]) -> None:
    """Fill as much memory with NaN as output and gradients will take, and give it back to torch's allocator."""
    for _ in [torch.full_like(part, torch.nan) for part in (inputs[0], *inputs)]:
        pass
    wait_for(inputs)


def wait_for(inputs: Sequence[Tensor]) -> None:
    if inputs[0].is_cuda:
        torch.cuda.synchronize(inputs[0].device)
