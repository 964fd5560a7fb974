"""The plan of a run's memory: what the machine has free, and which rung every layer gets."""

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from haymaker.config import Rung
from haymaker.models.batching import batches_of
from haymaker.models.handshake import base_of
from haymaker.models.lora import lora_parameters
from haymaker.models.memory import free_bytes
from haymaker.models.shapes import Shape, shape_of
from haymaker.training.budget import USABLE, as_one_of, peak_bytes, planned, said
from haymaker.training.parallel import ALONE, World
from haymaker.training.sharding import is_sharded


@dataclass(frozen=True)
class MemoryPlan:
    """What each layer keeps, the bytes that a step then needs at most, and those that were free."""

    rungs: tuple[Rung, ...]
    tokens: int  # of the largest micro-batch
    peak_bytes: int
    free_bytes: int

    def record(self) -> dict[str, Any]:
        """What the run's record keeps of it."""
        return {
            "recompute": said(self.rungs),
            "tokens_at_once": self.tokens,
            "predicted_peak_bytes": self.peak_bytes,
            "free_bytes": self.free_bytes,
        }


def plan_memory(
    model: Any, lengths: Sequence[int], tokens_at_once: int, recompute: str, *, world: World = ALONE
) -> MemoryPlan:
    """A plan for rows of these lengths, taken `tokens_at_once` at a time; the same for all processes."""
    groups = batches_of(lengths, tokens_at_once)
    tokens = -(-max(len(group) * max(lengths[i] for i in group) for group in groups) // world.context)
    shard = is_sharded(base_of(model))
    shape = as_one_of(model_shape(model), world.size, world.context, shard)
    held = used_bytes(model) // (world.size if shard else 1)
    free = int(world.least(free_bytes(model.device) + held))
    rungs = planned(shape, tokens, USABLE * free) if recompute == "auto" else [recompute] * shape.layers
    return MemoryPlan(tuple(rungs), tokens, peak_bytes(shape, tokens, rungs), free)  # type: ignore[arg-type]


def model_shape(model: Any) -> Shape:
    base = base_of(model)
    adapters = lora_parameters(model)
    adapter = sum(weight.numel() for weight in adapters.values())
    in_mlp = any(f".{part}." in name for name in adapters for part in ("mlp", "ffn", "fc1", "fc2"))
    shape = shape_of(base.config, base.dtype.itemsize, adapter, used_bytes(model))
    return shape if not in_mlp else Shape(**{**vars(shape), "mlp_adapted": True})


def used_bytes(model: Any) -> int:
    """Bytes of a model's own weights."""
    return sum(weight.nbytes for name, weight in model.named_parameters() if ".lora_" not in name)


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_of(device: torch.device) -> int:
    """The most bytes in use: of a GPU since the last reset, of a process on a CPU since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
