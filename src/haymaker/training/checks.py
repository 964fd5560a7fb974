"""What a run verifies before it relies on it: its forward pass, and that every part of the adapter learns."""

from typing import Any

import torch
from torch import Tensor

from haymaker.errors import ModelError
from haymaker.models.lora import lora_parameters
from haymaker.records import Encoded
from haymaker.training.answer_rows import Method, best_method, relative_difference
from haymaker.training.batches import lay_out

METHOD_TOLERANCE = {torch.bfloat16: 5e-2, torch.float16: 1e-2}  # of the norm of all logits
METHOD_TOLERANCE_FLOAT32 = 1e-4


def verified_method(model: Any, row: Encoded, device: torch.device) -> Method:
    """The cheapest method that agrees with the model's own forward on a row; the run's record names it."""
    method = best_method(model)
    if method != "last_layer":
        return method
    batch = lay_out([row], device)
    difference = relative_difference(model, batch.ids, batch.rows, method)
    return method if difference <= METHOD_TOLERANCE.get(model.dtype, METHOD_TOLERANCE_FLOAT32) else "head"


def check_first_gradients(model: Any, masked: bool = False) -> None:
    """Every B must have a gradient at step 1 (A has none while B is zero), or a part of the adapter hangs loose.

    Where only some heads learn, the others have none, and it is enough that all are finite.
    """
    dead = [
        name
        for name, weight in lora_parameters(model).items()
        if ".lora_B." in name
        and (weight.grad is None or not weight.grad.isfinite().all() or not (masked or weight.grad.any()))
    ]
    if dead:
        raise ModelError(f"{len(dead)} adapter matrices get no finite gradient at step 1, such as {dead[0]}")


def check_reached(loss: Tensor) -> None:
    """A loss that no part of the adapter reaches has no gradient, and nothing would be learned."""
    if not loss.requires_grad:
        raise ModelError(
            "the loss does not depend on the adapter: the adapted projections are not on the way from the prompt to "
            "the answer, or the model's own forward keeps no gradients; choose other targets, or another model"
        )
