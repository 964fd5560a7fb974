"""What two processes on a CPU do together, the same in both: rows of a step apart, rows cut in chunks, weights shared.

Process 0 is the test's own; the others are forked from one that has imported all of this once.
"""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as distributed
from command_line import run
from killed import begun
from small_decoders import VOCABULARY, small_decoder
from tiny_rows import random_rows

from haymaker.config import TrainConfig
from haymaker.errors import HaymakerError
from haymaker.models.load import load_model
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.records import Encoded
from haymaker.training.answer_rows import Method, answer_loss
from haymaker.training.batches import lay_out
from haymaker.training.budget import RUNGS
from haymaker.training.loop import train
from haymaker.training.parallel import World, world_of
from haymaker.training.sharding import shard_base

CONFIG = TrainConfig(steps=3, batch=5, rank=2, rate=0.01, save_every=2)
RUNS = {
    "rows apart": CONFIG,
    "rows cut": CONFIG.changed(context_parallel=2),
    "weights shared": CONFIG.changed(shard=True, tokens_at_once=80),  # of 3 rows and of 2: another number of parts
    "both": CONFIG.changed(context_parallel=2, shard=True, recompute="full"),
}
KINDS = ("llama", "mistral", "qwen3", "phi3")  # Mistral's window is shorter than a row, and than a chunk
CASES = [*(("llama", rung) for rung in RUNGS), *((kind, "none") for kind in KINDS[1:])]


def rows_with_answers() -> list[Encoded]:
    """Rows of which answers take a little, a half and nearly all: in chunks of both processes, and of one."""
    return [row for answer in (3, 10, 19) for row in random_rows(2, 40, answer, seed=answer, vocabulary=VOCABULARY)]


def adapted(kind: str) -> Any:
    """A tiny model in float64, with an adapter that is not at its start."""
    model = add_lora(small_decoder(kind), rank=2, alpha=4.0, seed=0).to(torch.float64)
    generator = torch.Generator().manual_seed(1)
    for weight in lora_parameters(model).values():
        weight.data = torch.randn(weight.shape, generator=generator).to(torch.float64) * 0.1
    return model


def step(
    kind: str, rung: str, world: World, method: Method = "last_layer", *, shared: bool = False
) -> tuple[float, torch.Tensor]:
    """Loss and gradient of the world's processes together."""
    model = adapted(kind)
    weights = list(lora_parameters(model).values())
    if shared:
        shard_base(model, world)
    rows = world.share(rows_with_answers())
    total = torch.zeros((), dtype=torch.float64)
    for start in range(0, len(rows), 2):
        batch = world.cut(lay_out(rows[start : start + 2], torch.device("cpu")))
        loss = answer_loss(model, batch, method, [rung] * model.config.num_hidden_layers)
        loss.backward()
        total += loss.detach()
    found = torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None] + [total[None]])
    if world.size > 1:
        distributed.all_reduce(found)
    return found[-1].item(), found[:-1]


def work(model: Path, out: Path) -> dict[str, Any]:
    """Everything that is asked of two processes; what they found."""
    found: dict[str, Any] = {}
    world = world_of(distributed.get_rank(), 2, 2)
    for kind, rung in CASES:
        found[f"{kind} {rung}"] = step(kind, rung, world)
    found["gpt2 full"] = step("gpt2", "full", world_of(distributed.get_rank(), 2, 1), "head", shared=True)
    for name, config in RUNS.items():
        found[name] = train(load_model(model, dtype="float32"), random_rows(7), config, out / name, on_progress=quiet)
    found["Ctrl-C"] = refused(model, out, "stopped", on_progress=at_step(1, signal.SIGINT))
    found["stopped"] = refused(model, out, "stopped", on_progress=quiet)
    found["SIGKILL"] = refused(model, out, "killed", on_progress=at_step(2, signal.SIGKILL))  # ends process 1
    return found


def work_again(model: Path, out: Path) -> dict[str, Any]:
    """What two new processes make of the run that a kill left."""
    rank, found = distributed.get_rank(), {}
    found["other rows in process 1"] = refused(model, out, "killed", rows=random_rows(7, seed=rank))
    found["rows apart"] = refused(model, out, "killed", config=RUNS["both"].changed(context_parallel=1, shard=False))
    found["killed"] = refused(model, out, "killed")
    return found


def quiet(steps: int) -> None:
    """Takes the metrics, so that no progress bar is drawn."""


def refused(model: Path, out: Path, name: str, **changes: Any) -> Any:
    """What comes of a run of cut rows and shared weights: its result, or what its error says."""
    how: dict[str, Any] = {"rows": random_rows(7), "config": RUNS["both"], "on_progress": quiet} | changes
    try:
        return train(load_model(model, dtype="float32"), out=out / name, **how)
    except HaymakerError as error:
        return str(error)


def at_step(step: int, number: signal.Signals) -> Callable[[int], None]:
    """Sends process 1 a signal after a step."""
    told: list[int] = []

    def count(steps: int) -> None:
        told.append(steps)
        if sum(told) == step and distributed.get_rank() == 1:
            os.kill(os.getpid(), number)

    return count


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def command(model: Path, out: Path) -> Any:
    """`haymaker train` as torchrun starts it, which gives each process its place by variables alone. One speaks."""
    words = ["train", "--model", "miniature-llama", "--data", out / "rows.jsonl", "--out", out / "command", "--json"]
    words += ["--set", "steps=1", "--set", "context_parallel=2", "--set", "shard=true"]
    result = run(*words)
    if os.environ["RANK"] == "1":
        assert (result.exit_code, result.stdout) == (0, "")
    return result


@contextmanager
def placed(rank: int, port: int) -> Iterator[None]:
    """Inside the block this process is one of two for whoever asks its variables."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    with patch.dict(os.environ, place | {"RANK": str(rank), "LOCAL_RANK": str(rank)}):
        yield


@contextmanager
def joined(rank: int, port: int) -> Iterator[None]:
    """Inside the block this process is one of two that reach each other."""
    with placed(rank, port):
        distributed.init_process_group("gloo", timeout=timedelta(seconds=100))
        try:
            yield
        finally:
            distributed.destroy_process_group()


def one_of_two(rank: int, port: int, model: Path, out: Path, what: str) -> Any:
    """What one process finds."""
    with (placed if what == "command" else joined)(rank, port):
        return globals()[what](model, out)


def second(*place: Any) -> None:
    """The other process; as many threads as the first one, which is forked from no process of one thread."""
    torch.set_num_threads(1)
    one_of_two(1, *place)


def both(model: Path, out: Path, what: str, code: int = 0) -> Any:
    """What the two find, as this process has it; the other one ends with `code`."""
    place = (free_port(), model, out, what)
    other = begun(second, *place)
    try:
        found = one_of_two(0, *place)
        other.join(timeout=60)
        assert other.exitcode == code
        return found
    finally:
        other.kill()
