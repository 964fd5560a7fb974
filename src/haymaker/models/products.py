"""Products of float32 with frozen matrices, by the library that is fastest on this processor.

MKL, which torch multiplies with, keeps to AVX2 on processors of AMD. Where they have AVX-512, oneDNN, which comes with
torch as well, takes less than half the time for all but the smallest products (docs/log.md, 2026-11-27).
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from haymaker.processes import processor_says

LEAST = 2**20  # multiplications of a product below which calling oneDNN costs more than it saves
FEW_TOKENS = 32  # up to so many a forward is bound by reading the weights, whoever multiplies


@cache
def by_onednn() -> bool:
    """Whether oneDNN is the faster one here: its kernels are for AVX-512, and MKL's are not used."""
    there = bool(torch.backends.mkldnn.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"  # less where somebody asks torch for less
    return there and wide and processor_says("vendor_id") == "AuthenticAMD"


def product(
    x: Float[Tensor, "token dim"], weight: Float[Tensor, "out dim"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "token out"]:
    """x W' + bias. No gradient flows through it."""
    if served(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return functional.linear(x, weight, bias)


def product_onto(
    onto: Float[Tensor, "token out"], x: Float[Tensor, "token dim"], weight: Float[Tensor, "out dim"]
) -> Float[Tensor, "token out"]:
    """x W' added to what is there, which is left as it was."""
    if served(x, weight):
        return torch.ops.mkldnn._linear_pointwise.binary(x, onto, weight, None, "add")
    return torch.addmm(onto, x, weight.T)


def served(x: Tensor, weight: Tensor) -> bool:
    """Whether a product is one for oneDNN."""
    full = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return full and x.device.type == "cpu" and x.numel() * len(weight) >= LEAST and by_onednn()


def fast_products(tokens: int) -> AbstractContextManager[Any]:
    """Around a forward of so many tokens: this thread's linear layers multiply by `product` where that is faster and no
    gradient is wanted."""
    return FastProducts() if tokens > FEW_TOKENS and by_onednn() else nullcontext()


class FastProducts(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        return linear(*args, **named) if func is functional.linear else func(*args, **named)


def linear(
    input: Float[Tensor, "*rest dim"], weight: Float[Tensor, "out dim"], bias: Float[Tensor, " out"] | None = None
) -> Float[Tensor, "*rest out"]:
    """What torch's function of this name gives; its arguments have the names that they have there."""
    if torch.is_grad_enabled() or type(weight) not in (Tensor, nn.Parameter) or not served(input, weight):
        return functional.linear(input, weight, bias)  # torchao's quantised weights are of other types
    return product(input.reshape(-1, input.shape[-1]), weight, bias).view(*input.shape[:-1], len(weight))
