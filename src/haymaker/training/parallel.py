"""Several processes that train one adapter: each takes some rows of a step, one sum makes their gradients one.

`torchrun` and `accelerate launch` say by the environment how many there are. The loss is divided by the answer tokens
of all of them before, so that the number of processes changes no objective.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from haymaker.errors import ConfigError, DataError, HaymakerError, ModelError
from haymaker.processes import launched
from haymaker.records import digest
from haymaker.training.batches import MicroBatch, chunks_of

Row = TypeVar("Row")
Found = TypeVar("Found")
LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")  # in what torch says of a lost process
EXACT = 13  # digits of a digest that a float64 holds exactly


@dataclass(frozen=True)
class World:
    """This process's number, and how many there are; `context` of them that follow each other share their rows."""

    rank: int = 0
    size: int = 1
    context: int = 1
    group: Any = None  # of those that share this process's rows

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of a step that this process takes, alone or with others: of k groups, every k-th."""
        return list(rows[self.rank // self.context :: self.size // self.context])

    def cut(self, batch: MicroBatch) -> MicroBatch:
        """This process's part of rows that it shares, all of them where it shares none."""
        return batch if self.context == 1 else chunks_of(batch, self.rank % self.context, self.context, self.group)

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
        return self.least(-float(flag)) < 0

    def agree(self, value: Any) -> bool:
        """Whether all processes have an equal value (of what JSON can say)."""
        number = int(digest(value)[:EXACT], 16)
        return self.least(number) == -self.least(-number)

    def by_first(self, act: Callable[[], Found]) -> Found | None:
        """What the first process finds by `act`, None in the others. Where it raises a HaymakerError, all raise."""
        found, failure = None, None
        if self.is_first:
            try:
                found = act()
            except HaymakerError as error:
                failure = error
        if self.any(failure is not None):
            raise failure or DataError("the first of this run's processes cannot go on; it says why")
        return found

    def least(self, number: int | float) -> float:
        """The least of what the processes say."""
        if self.size == 1:
            return float(number)
        place = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
        said = torch.tensor([number], dtype=torch.float64, device=place)
        distributed.all_reduce(said, distributed.ReduceOp.MIN)
        return said.item()


ALONE = World()


@contextmanager
def joined_world(device: torch.device, context: int = 1) -> Iterator[World]:
    """The processes that a launcher started, or this one alone. A group that is there already is used, and stays.

    Raises ConfigError where they are no multiple of `context`, which share their rows.
    """
    if distributed.is_available() and distributed.is_initialized():
        with lost_processes():
            yield world_of(distributed.get_rank(), distributed.get_world_size(), context)
        return
    size = launched()
    check_size(size, context)
    if size == 1:
        yield World()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        with lost_processes():
            yield world_of(distributed.get_rank(), size, context)
    finally:
        distributed.destroy_process_group()


@contextmanager
def lost_processes() -> Iterator[None]:
    """A process that ended while others waited for it as one sentence."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and not any(word in str(error) for word in LOST):
            raise
        raise ModelError(
            "another process of this run ended, or cannot be reached any more, and says itself why; the last saved "
            f"state is kept: give the same command again to go on (torch says: {' '.join(str(error).split())[:120]})"
        ) from error


def world_of(rank: int, size: int, context: int) -> World:
    """The processes of a group that is there; those that share rows get one of their own."""
    check_size(size, context)
    if context == 1:
        return World(rank, size)
    groups = [distributed.new_group(list(range(start, start + context))) for start in range(0, size, context)]
    return World(rank, size, context, groups[rank // context])


def check_size(size: int, context: int) -> None:
    if size % context:
        was = "was" if size == 1 else "were"
        raise ConfigError(
            f"context_parallel: {context} processes share a row, but {size} {was} started; start a multiple of "
            f"{context}: torchrun --nproc-per-node {context} -m haymaker train ..."
        )


def take_gpu() -> None:
    """Make the launcher's GPU for this process the one that "cuda" means; before a model is loaded."""
    if torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
