"""Several processes that train one adapter: each takes some rows of a step, one sum makes their gradients one.

`torchrun` and `accelerate launch` say by the environment how many there are. The loss is divided by the answer tokens
of all of them before, so that the number of processes changes no objective.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor, nn

Row = TypeVar("Row")


@dataclass(frozen=True)
class World:
    """This process's number, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of a step that this process takes: every `size`-th."""
        return list(rows[self.rank :: self.size])

    def sum_gradients(self, weights: Sequence[nn.Parameter], loss: Tensor, tokens: int) -> tuple[float, int]:
        """Add all processes' gradients in one message; returns the loss and tokens of all."""
        if self.size == 1:
            return loss.item(), tokens
        parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
        numbers = torch.tensor([loss.item(), tokens], dtype=torch.float32, device=loss.device)
        flat = torch.cat([part.flatten().float() for part in parts] + [numbers])
        distributed.all_reduce(flat)
        *found, numbers = flat.split([*(weight.numel() for weight in weights), 2])
        for weight, part in zip(weights, found, strict=True):
            weight.grad = part.view_as(weight).to(weight.dtype)
        total, count = numbers.tolist()
        return total, round(count)

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            distributed.barrier()

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        if self.size == 1:
            return flag
        place = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
        said = torch.tensor([float(flag)], device=place)
        distributed.all_reduce(said)
        return bool(said.item())


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """The processes that a launcher started, or this one alone. A group that is there already is used, and stays."""
    if distributed.is_available() and distributed.is_initialized():
        yield World(distributed.get_rank(), distributed.get_world_size())
        return
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def take_gpu() -> None:
    """Make the launcher's GPU for this process the one that "cuda" means; before a model is loaded."""
    if torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
