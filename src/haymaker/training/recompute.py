"""What a layer keeps for its backward pass, and what it computes again: five rungs, all with the same gradient.

none       keeps everything
mlp        computes the MLP again
attention  keeps its input and the attention's output (and normaliser); computes all projections again
full       keeps its input alone
offload    keeps its input alone, in the memory of the CPU
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from haymaker.config import Rung
from haymaker.training.budget import PIECE
from haymaker.training.layer import Hidden, Layer

ATTENTION_OPERATIONS = (
    "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_flash_attention_for_cpu",
)  # fmt: skip

Run = Callable[[Float[Tensor, "token dim"], bool], Float[Tensor, "token dim"]]


def through(layer: Layer, hidden: Hidden, rung: Rung) -> Hidden:
    """The layer's output, with what `rung` says kept for the backward pass."""
    if rung == "none":
        return layer.mlp(layer.attention(hidden))
    if rung == "mlp":
        return mlp_again(layer, layer.attention(hidden))
    return WholeLayer.apply(layer, rung, hidden, *layer.attention_weights, *layer.mlp_weights)


def mlp_again(layer: Layer, hidden: Float[Tensor, "*rest dim"]) -> Float[Tensor, "*rest dim"]:
    """The layer's second half, of which only the input is kept."""
    return Again.apply(layer.mlp, hidden, *layer.mlp_weights)


class Again(torch.autograd.Function):
    """A function of each token alone, in pieces of tokens; its inside is computed again for the gradient."""

    @staticmethod
    def forward(context: Any, run: Run, hidden: Tensor, *weights: nn.Parameter) -> Tensor:
        context.save_for_backward(hidden)
        context.run, context.weights = run, weights
        return in_pieces(run, hidden)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        (hidden,) = context.saved_tensors
        d_hidden, d_weights = gradients_in_pieces(context.run, hidden, gradient, context.weights)
        return None, d_hidden, *d_weights


class WholeLayer(torch.autograd.Function):
    """A layer of which only the input is kept, on the rung "attention" with the attention's output."""

    @staticmethod
    def forward(context: Any, layer: Layer, rung: Rung, hidden: Tensor, *weights: nn.Parameter) -> Tensor:
        first, context.again = attention_contexts() if rung == "attention" else (nullcontext(), nullcontext())
        # some kernels leave the normaliser, which the backward pass needs, only where a gradient is wanted
        with first, torch.set_grad_enabled(rung == "attention"):
            middle = layer.attention(hidden.detach()).detach()
        context.layer, context.place = layer, hidden.device
        context.save_for_backward(on_cpu(hidden) if rung == "offload" else hidden)
        return in_pieces(layer.mlp, middle)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Any, ...]:  # type: ignore[override]
        layer: Layer = context.layer
        wants_input = context.needs_input_grad[2]
        (kept,) = context.saved_tensors
        hidden = kept.to(context.place, non_blocking=True).detach().requires_grad_(wants_input)
        with torch.enable_grad(), context.again:
            middle = layer.attention(hidden)
        d_middle, d_mlp = gradients_in_pieces(layer.mlp, middle.detach(), gradient, layer.mlp_weights)
        wanted = [*([hidden] if wants_input else []), *layer.attention_weights]
        found = torch.autograd.grad(middle, wanted, d_middle)
        d_hidden, d_attention = (found[0], found[1:]) if wants_input else (None, found)
        return None, None, d_hidden, *d_attention, *d_mlp


def in_pieces(run: Run, hidden: Float[Tensor, "*rest dim"]) -> Float[Tensor, "*rest dim"]:
    """The function's values, a piece of tokens at a time where there are many."""
    flat = hidden.reshape(-1, hidden.shape[-1])
    if len(flat) <= PIECE:
        return run(hidden, True)
    output = torch.empty_like(hidden, memory_format=torch.contiguous_format)
    pieces = output.view(flat.shape)
    for start in range(0, len(flat), PIECE):
        pieces[start : start + PIECE] = run(flat[start : start + PIECE], True)
    return output


def gradients_in_pieces(
    run: Run, hidden: Tensor, gradient: Tensor, weights: Iterable[nn.Parameter]
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of the input and, summed over the pieces, of the weights."""
    flat, outer = hidden.reshape(-1, hidden.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    weights = list(weights)
    d_flat, totals = torch.empty_like(flat), [torch.zeros_like(weight) for weight in weights]
    for start in range(0, len(flat), PIECE):
        piece = slice(start, start + PIECE)
        leaf = flat[piece].detach().requires_grad_()
        with torch.enable_grad():
            output = run(leaf, False)
        d_flat[piece], *found = torch.autograd.grad(output, [leaf, *weights], outer[piece])
        for total, one in zip(totals, found, strict=True):
            total += one
    return d_flat.view(hidden.shape), totals


def attention_contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Around a first and a second forward: the second takes the attention's results from the first."""
    kept = {getattr(torch.ops.aten, name).default for name in ATTENTION_OPERATIONS if hasattr(torch.ops.aten, name)}

    def policy(_: Any, operation: Any, *__: Any, **___: Any) -> CheckpointPolicy:
        return CheckpointPolicy.MUST_SAVE if operation in kept else CheckpointPolicy.PREFER_RECOMPUTE

    first, again = create_selective_checkpoint_contexts(policy)
    return first, again


def on_cpu(values: Tensor) -> Tensor:
    """A copy in the CPU's memory, pinned where that lets a GPU fetch it at full speed."""
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
    return copy.copy_(values, non_blocking=True)
