"""Recomputation for models whose layers we do not know: torch's checkpoints around each of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.autograd.graph import save_on_cpu
from torch.utils.checkpoint import checkpoint

from haymaker.config import Rung
from haymaker.models.forward import other_forwards
from haymaker.models.lora_targets import layers_of
from haymaker.training.recompute import attention_contexts


def recomputed_layers(model: Any, rungs: Sequence[Rung]) -> AbstractContextManager[None]:
    """Inside the block each layer keeps what its rung says; "mlp", which needs to know the layer, keeps attention."""
    chosen = {
        layer: around(layer.forward, rung)
        for layer, rung in zip(layers_of(model), rungs, strict=False)
        if rung != "none"
    }
    return other_forwards(chosen) if chosen else nullcontext()


def around(forward: Callable[..., Any], rung: Rung) -> Callable[..., Any]:
    """A layer's forward under a checkpoint."""
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
    if rung in ("mlp", "attention"):
        options["context_fn"] = attention_contexts

    def run(*arguments: Any, **named: Any) -> Any:
        place = save_on_cpu(pin_memory=torch.cuda.is_available()) if rung == "offload" else nullcontext()
        with place:
            return checkpoint(partial(forward, **named), *arguments, **options)

    return run
