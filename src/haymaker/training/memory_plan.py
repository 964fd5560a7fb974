"""The plan of a run's memory: what the machine has free, and which rung every layer gets."""

import math
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from haymaker.config import Rung
from haymaker.models.batching import batches_of
from haymaker.models.handshake import base_of
from haymaker.models.lora import lora_parameters
from haymaker.models.memory import free_bytes
from haymaker.models.shapes import Shape, shape_of
from haymaker.records import Encoded
from haymaker.training.budget import USABLE, Largest, as_one_of, peak_bytes, rungs_of, said
from haymaker.training.parallel import ALONE, World
from haymaker.training.sharding import is_sharded

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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
    model: Any,
    lengths: Sequence[int],
    tokens_at_once: int,
    recompute: Rung | Literal["auto"],
    *,
    world: World = ALONE,
    batch: int | None = None,
    answers: float = 1.0,
) -> MemoryPlan:
    """A plan for rows of these lengths, taken `tokens_at_once` at a time; the same for all processes.

    batch: rows of a step, None for any number. answers: the largest share of a row that is its answer.
    """
    tokens = tokens_of_largest(lengths, tokens_at_once, batch, world.context)
    largest = Largest(math.ceil(answers * tokens), max(lengths) if model.device.type == "cpu" else None)
    shard = is_sharded(base_of(model))
    shape = as_one_of(model_shape(model), world.size, world.context, shard)
    held = used_bytes(model) // (world.size if shard else 1)
    free = int(world.least(free_bytes(model.device) + held))
    rungs = rungs_of(recompute, shape, tokens, USABLE * free, largest)
    return MemoryPlan(tuple(rungs), tokens, peak_bytes(shape, tokens, rungs, largest=largest), free)


def tokens_of_largest(lengths: Sequence[int], tokens_at_once: int, batch: int | None, context: int) -> int:
    """Tokens of the largest micro-batch, padding included, that a step of `batch` rows can have; its part where
    `context` processes share rows."""
    groups = batches_of(lengths, tokens_at_once, batch)
    return -(-max(len(group) * max(lengths[i] for i in group) for group in groups) // context)


def answer_share(rows: Sequence[Encoded]) -> float:
    """The largest share of a row that is its answer."""
    return max(len(row.answer_rows) / len(row) for row in rows)


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


class Meter:
    """The most bytes in use. Of a GPU all of them; of a process on a CPU its model's weights and what it took since.

    What a process held beside the model when this began (Python, torch, what others loaded) does not count; where the
    kernel tells no resident memory, it does, and so does what was taken before.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self.device, self.others = device, 0
        if device.type != "cuda" and STATUS.is_file():
            self.others = max(0, resident("VmRSS") - used_bytes(model))

    def reset(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            with suppress(OSError):  # another kernel, or one that forbids it: the peak is that since the start then
                RESET.write_text("5")

    def read(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        if STATUS.is_file():
            return resident("VmHWM") - self.others
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident(what: str) -> int:
    """Bytes of this process in memory, now (VmRSS) or at most (VmHWM)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(what))
    return 1024 * int(line.split()[1])
