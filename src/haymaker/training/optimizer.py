"""AdamW on the adapter's float32 matrices, its rate over the steps, and the norm that a step is held to."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from haymaker.config import TrainConfig
from haymaker.errors import ModelError


def new_optimizer(weights: Iterable[nn.Parameter], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); the fused one on a GPU."""
    weights = list(weights)
    fused = weights[0].device.type == "cuda"
    return torch.optim.AdamW(weights, lr=config.rate, weight_decay=config.weight_decay, fused=fused or None)


def rate_share(step: int, steps: int, warmup_share: float, schedule: str = "linear") -> float:
    """Share of the full rate at 0-based `step`: a linear rise, then down to 0 at `steps`, or constant."""
    warmup = round(steps * warmup_share)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = (steps - step) / (steps - warmup)
    return {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[schedule]


def clip(weights: Sequence[nn.Parameter], largest: float, step: int) -> float:
    """The norm of the gradient, which is cut to `largest`. Raises ModelError where it is 0 or not finite."""
    norm = torch.nn.utils.clip_grad_norm_(weights, largest).item()
    if not 0 < norm < math.inf:
        raise ModelError(
            f"step {step}: the norm of the gradient is {norm}, so nothing can be learned from it; "
            "lower the rate, or look at the rows of this step"
        )
    return norm


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def apply_masks(masks: Iterable[tuple[nn.Parameter, Tensor]]) -> None:
    """Take from the gradients what belongs to heads that shall not learn."""
    for weight, mask in masks:
        if weight.grad is not None:
            weight.grad.mul_(mask)
