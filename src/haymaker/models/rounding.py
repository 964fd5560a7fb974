"""What rounding alone does to a model's outputs: in bfloat16 two right ways of computing them may be far apart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from haymaker.attention.threads import of_this_thread

STEP = 2.0**-8  # of bfloat16, relative
DRAWS = 4


def relative_norm(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what was expected."""
    found, expected = found.float(), expected.float()
    return float((found - expected).norm() / expected.norm())


def allowed_difference(difference: float, tolerance: float, model: nn.Module, outputs: Callable[[], Tensor]) -> float:
    """Of two ways of computing outputs below float32, as a share of their norm: `tolerance`, and twice what rounding
    does to these outputs, if that is more and `difference` asks for it."""
    return tolerance if difference <= tolerance else max(tolerance, 2 * rounding_difference(model, outputs))


@torch.no_grad()
def rounding_difference(model: nn.Module, outputs: Callable[[], Tensor]) -> float:
    """How far `outputs` of a model move where its embeddings move by a step of bfloat16: the most of four draws.

    Some prompts are places where a model amplifies that a hundredfold (docs/log.md, 2026-11-27).
    """
    plain, found = outputs(), []
    for seed in range(DRAWS):
        with shaken(model, seed):
            found.append(relative_norm(outputs(), plain))
    return max(found)


@contextmanager
def shaken(model: Any, seed: int) -> Iterator[None]:
    """Embeddings are off by up to a step of bfloat16, each its own."""
    generator = torch.Generator().manual_seed(seed)

    def shake(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        noise = 1 + STEP * (2 * torch.rand(output.shape, generator=generator) - 1)
        return (output.float() * noise.to(output.device)).to(output.dtype)

    hook = model.get_input_embeddings().register_forward_hook(of_this_thread(shake))
    try:
        yield
    finally:
        hook.remove()
