"""Cross-entropy of answer tokens, a few rows at a time: logits of all rows never stand in memory together."""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from haymaker.training.budget import LOGIT_BYTES


class SummedLoss(torch.autograd.Function):
    """The sum of the rows' losses in nats. As the head is frozen, the gradient is made along with the loss, and kept
    in place of the logits."""

    @staticmethod
    def forward(context: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        wants_gradient = context.needs_input_grad[0]
        total = torch.zeros((), dtype=loss_dtype(hidden), device=hidden.device)
        d_hidden = torch.empty_like(hidden) if wants_gradient else None
        size = max(1, LOGIT_BYTES // (4 * len(weight)))
        for start in range(0, len(hidden), size):
            piece = slice(start, start + size)
            logits = functional.linear(hidden[piece], weight, bias).to(total.dtype)
            total += functional.cross_entropy(logits, targets[piece], reduction="sum")
            if d_hidden is not None:
                shares = torch.softmax(logits, dim=-1)
                shares[torch.arange(len(shares), device=shares.device), targets[piece]] -= 1
                d_hidden[piece] = shares.to(hidden.dtype) @ weight
        context.d_hidden = d_hidden
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        return context.d_hidden * gradient.to(context.d_hidden.dtype), None, None, None


def loss_dtype(hidden: Tensor) -> torch.dtype:
    """float32 whatever the model, float64 for one of float64."""
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def summed_loss(hidden: Float[Tensor, "row dim"], head: Any, targets: Int64[Tensor, "row"]) -> Float[Tensor, ""]:
    """Cross-entropy in nats, summed over rows, of a frozen head on the rows' hidden states."""
    return SummedLoss.apply(hidden, head.weight, head.bias, targets)
