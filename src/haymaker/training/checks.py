"""What a run verifies before it relies on it: its forward pass, and that every part of the adapter learns."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from haymaker.errors import ModelError
from haymaker.models.finite import at_fault
from haymaker.models.handshake import base_of
from haymaker.models.lora import lora_parameters
from haymaker.models.rounding import allowed_difference
from haymaker.records import Encoded
from haymaker.training.answer_rows import (
    VERIFIED_TOKENS,
    Method,
    answer_states,
    best_method,
    first_logits,
    plain_of,
    relative_difference,
)
from haymaker.training.batches import MicroBatch, lay_out
from haymaker.training.layer import FAMILY
from haymaker.training.parallel import ALONE, World
from haymaker.training.sharding import inside

METHOD_TOLERANCE = {torch.bfloat16: 5e-2, torch.float16: 1e-2}  # of the norm of all logits
METHOD_TOLERANCE_FLOAT32 = 1e-4


def verified_method(model: Any, row: Encoded, device: torch.device, world: World = ALONE) -> Method:
    """The cheapest method that agrees with the model's own forward on a row; the run's record names it.

    Raises ModelError where processes shall share rows, and the method is none that can, or another function then.
    """
    method, batch = best_method(model), lay_out([row], device)
    tolerance = METHOD_TOLERANCE.get(model.dtype, METHOD_TOLERANCE_FLOAT32)
    if method == "last_layer" and not agrees(model, batch, method, tolerance):
        method = "head"
    if world.context == 1:
        return method
    kind = base_of(model).config.model_type
    if method != "last_layer":
        raise ModelError(
            "context_parallel: processes share rows of models whose layers Haymaker runs itself "
            f"({', '.join(FAMILY)}), and this one, {kind}, runs its own; train it with context_parallel 1"
        )
    if (off := world.least(-difference_of_parts(model, batch, world))) < -tolerance:
        raise ModelError(
            f"context_parallel: hidden states of {kind} differ by {-off:.1e} of their norm from those of one process, "
            f"where {tolerance:.0e} is allowed; train with context_parallel 1"
        )
    return method


def agrees(model: Any, batch: MicroBatch, method: Method, tolerance: float) -> bool:
    """Whether a method's logits are the plain forward's; below float32, to what rounding does to these."""
    difference = relative_difference(model, batch.ids, batch.rows, method)
    if model.dtype not in METHOD_TOLERANCE:
        return difference <= tolerance
    plain = partial(first_logits, model, batch.ids, batch.rows, plain_of(method))
    return difference <= allowed_difference(difference, tolerance, base_of(model), plain)


@torch.no_grad()
def difference_of_parts(model: Any, batch: MicroBatch, world: World) -> float:
    """The norm of the difference between this process's part of a row's hidden states and what it finds alone."""
    tokens = min(VERIFIED_TOKENS, batch.ids.shape[1])
    rows = torch.arange(tokens, device=batch.ids.device)[None]
    whole = MicroBatch(batch.ids[:, :tokens], rows, rows, torch.ones_like(rows, dtype=torch.bool))
    part = world.cut(whole)
    base, states = base_of(model), partial(answer_states, model)
    found = inside(base, states, part.ids, part.rows, (), part.layout)[part.counted].float()
    alone = inside(base, states, whole.ids, rows)[0, part.targets[part.counted]].float()
    return float((found - alone).norm() / alone.norm())


def check_first_gradients(model: Any, masked: bool = False) -> None:
    """Every B must have a gradient at step 1 (A has none while B is zero), or a part of the adapter hangs loose.

    Where only some heads learn, the others have none, and it is enough that all are finite.
    """
    found = {name: weight.grad for name, weight in lora_parameters(model).items() if ".lora_B." in name}
    if broken := [name for name, grad in found.items() if grad is not None and not grad.isfinite().all()]:
        raise ModelError(
            f"{len(broken)} adapter matrices get no finite gradient at step 1, such as {broken[0]}: gradients are "
            f"not finite, {at_fault(model)}"
        )
    if loose := [name for name, grad in found.items() if grad is None or not (masked or grad.any())]:
        why = "they are not on the way from the prompt to the answer; give `targets` without them"
        if getattr(model.get_base_model(), "hf_quantizer", None) is not None:
            why = (
                "products of these quantised weights may have no gradient on this device; train on the checkpoint that "
                "they were made from, or on another device"
            )
        raise ModelError(f"{len(loose)} adapter matrices get no gradient at step 1, such as {loose[0]}: {why}")


def check_reached(loss: Tensor) -> None:
    """A loss that no part of the adapter reaches has no gradient, and nothing would be learned."""
    if not loss.requires_grad:
        raise ModelError(
            "the loss does not depend on the adapter: the adapted projections are not on the way from the prompt to "
            "the answer, or the model's own forward keeps no gradients; choose other targets, or another model"
        )
