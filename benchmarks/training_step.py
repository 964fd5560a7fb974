"""Seconds, saved bytes and operations of a training step: ours rung by rung, HF Trainer with `labels`, TRL's.

    python benchmarks/training_step.py [--layers 2 4 8] [--lengths 1024 2048] [--shares 0.01 0.1 1] [--turns 5]
    python benchmarks/training_step.py --model smollm2-135m --lengths 1024    # a real one, after `haymaker fetch`

Forward and backward of one batch, the same weights, rows, precision and threads; no one recomputes unless the rung says
so. Losses and gradients are compared before anything is timed, then the ways take turns, and ratios are of one turn.
Rungs: full logits; answer rows alone in the head; in the last layer too; fused LoRA projections (what `train` does);
a policy that keeps little; bfloat16. TRL's column needs the extra `bench`; without it there is none.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from training_common import PEERS, labelled, new_model, new_rows, peer, real_model

from haymaker.models.handshake import library_versions
from haymaker.models.lora import lora_parameters
from haymaker.models.rounding import DRAWS, relative_norm, shaken
from haymaker.records import Encoded
from haymaker.training.answer_rows import Method, Rungs, answer_loss
from haymaker.training.batches import lay_out

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 5e-2}  # relative, of loss and gradient; see `check` for a deep model
DEEP = 1e-4  # a gradient in float32 through thirty layers: 3e-5 where oneDNN sums in its order and MKL in its own
CPU = torch.device("cpu")
Step = Callable[[], Tensor]
OURS = "fused LoRA"
LADDER: dict[str, tuple[Method, bool, str]] = {  # method, fused projections, rung of every layer
    "full logits": ("all_rows", True, "none"),
    "answer rows": ("head", True, "none"),
    "last layer": ("last_layer", False, "none"),
    OURS: ("last_layer", True, "none"),
    "policy": ("last_layer", True, "attention"),
    "bf16": ("last_layer", True, "none"),
}


@contextmanager
def unfused() -> Iterator[None]:
    """PEFT's own modules in our layers."""
    with patch("haymaker.training.projections.is_plain", lambda module: False):
        yield


def our_step(model: Any, rows: list[Encoded], method: Method, rungs: Rungs) -> Tensor:
    loss = answer_loss(model, lay_out(rows, CPU), method, rungs) / sum(len(row.answer_rows) for row in rows)
    loss.backward()
    return loss.detach()


def our_way(name: str, model: Any, rows: list[Encoded]) -> Step:
    method, fused, rung = LADDER[name]
    rungs = [] if rung == "none" else [rung] * model.config.num_hidden_layers

    def step() -> Tensor:
        if fused:
            return our_step(model, rows, method, rungs)
        with unfused():
            return our_step(model, rows, method, rungs)

    return step


def peer_step(trainer: Any, rows: list[Encoded]) -> Tensor:
    """What the trainer does between two updates: its loss, over all answer tokens of the step, and its gradient."""
    answers = torch.tensor(sum(len(row.answer_rows) for row in rows))
    loss = trainer.compute_loss(trainer.model, labelled(rows), num_items_in_batch=answers)
    loss.backward()
    return loss.detach()


def ways(make: Callable[[torch.dtype], Any], rows: list[Encoded], folder: str) -> dict[str, tuple[Any, Step]]:
    """Every way with a model of its own, all of them of the same numbers."""
    found: dict[str, tuple[Any, Step]] = {}
    for name in LADDER:
        model = make(torch.bfloat16 if name == "bf16" else torch.float32)
        found[name] = model, our_way(name, model, rows)
    for name in PEERS:
        model = make(torch.float32)
        try:
            trainer = peer(name, model, rows, folder)
        except ImportError:
            continue
        found[name] = trainer.model, partial(peer_step, trainer, rows)
    return found


# ---- what is measured


def saved_bytes(step: Step) -> int:
    """Bytes of activations that stand from the forward to the backward pass, each storage once."""
    alive: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        if not isinstance(value, torch.nn.Parameter):
            alive[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        step()
    return sum(alive.values())


class Operations(TorchDispatchMode):
    """Counts products and attention, of which torch knows none on a CPU: half of the square, as it is causal."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found, name = function(*args, **(kwargs or {})), function._overloadpacket.__name__
        if name == "_scaled_dot_product_flash_attention_for_cpu":
            self.total += sdpa_flop_count(*(value.shape for value in args[:3])) // 2
        elif name == "_scaled_dot_product_flash_attention_for_cpu_backward":
            self.total += sdpa_backward_flop_count(*(value.shape for value in args[:4])) // 2
        elif name == "_linear_pointwise":  # oneDNN's products, which torch's table lacks: of AMD's processors alone
            weight = args[2] if function._overloadname == "binary" else args[1]
            self.total += 2 * args[0].numel() * len(weight)
        elif function._overloadpacket in flop_registry:
            self.total += flop_registry[function._overloadpacket](*args, **(kwargs or {}), out_val=found)
        return found


def operations(step: Step) -> int:
    with Operations() as counter:
        step()
    return counter.total


def gradient(model: Any, step: Step) -> tuple[float, Tensor]:
    model.zero_grad()
    loss = step().item()
    return loss, torch.cat([weight.grad.flatten().float() for weight in lora_parameters(model).values()])


def check(found: dict[str, tuple[Any, Step]]) -> float:
    """Each way's loss and gradient equal those of the way before it, and the gradient is one; its norm."""
    before: tuple[float, Tensor] | None = None
    for name, (model, step) in found.items():
        loss, now = gradient(model, step)
        tolerance = TOLERANCE[torch.bfloat16 if name == "bf16" else torch.float32]
        if before is None:
            before = loss, now
        assert now.norm() > 0, name
        assert abs(loss - before[0]) <= tolerance * before[0], (name, loss, before[0])
        difference = relative_norm(now, before[1])
        if name != "bf16" and model.config.num_hidden_layers > 8:
            tolerance = DEEP
        if name == "bf16" and difference > tolerance:  # a deep model amplifies what is rounded at its start
            tolerance = 2 * max(relative_norm(shaken_gradient(model, step, seed), now) for seed in range(DRAWS))
            print(f"bf16: a gradient {difference:.2f} of its norm from float32's, {tolerance:.2f} allowed")
        assert difference <= tolerance, (name, difference, tolerance)
        if name != "bf16":  # behind it come the peers, in float32
            before = loss, now
    assert before is not None
    return float(before[1].norm())


def shaken_gradient(model: Any, step: Step, seed: int) -> Tensor:
    """Where embeddings are off by a step of bfloat16."""
    with shaken(model, seed):
        return gradient(model, step)[1]


def seconds_of(found: dict[str, tuple[Any, Step]], turns: int) -> dict[str, list[float]]:
    """Seconds of every way in every turn."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(turns):
        order = list(found) if turn % 2 == 0 else list(found)[::-1]
        for name in order:
            started = time.perf_counter()
            found[name][1]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def measure(layers: int, length: int, share: float, chosen: argparse.Namespace) -> dict[str, Any]:
    """One cell; `layers` are a real model's own, 0 here."""
    answer = min(length - 1, max(1, round(share * length)))
    rows = new_rows(chosen.rows, length, answer, chosen.vocabulary)
    make = partial(new_model, layers, length, chosen.vocabulary) if layers else partial(real_model, chosen.model)
    with tempfile.TemporaryDirectory() as folder:
        found = ways(make, rows, folder)
        norm = check(found)
        bytes_of = {name: saved_bytes(step) for name, (_, step) in found.items()}
        counted = {name: operations(step) for name, (_, step) in found.items()}
        seconds = seconds_of(found, chosen.turns)
    ratio = {
        name: statistics.median(other / own for other, own in zip(times, seconds[OURS], strict=True))
        for name, times in seconds.items()
    }
    lines = {
        name: {"seconds": statistics.median(times), "spread": max(times) - min(times), "times_ours": ratio[name],
               "saved_mib": bytes_of[name] / 2**20, "gigaflop": counted[name] / 1e9}
        for name, times in seconds.items()
    }  # fmt: skip
    name = f"{layers} layers" if layers else chosen.model
    return {"model": name, "length": length, "share": share, "gradient_norm": norm, "ways": lines}


# ---- the command


def as_table(cases: list[dict[str, Any]]) -> str:
    """Markdown: seconds (times ours), MiB and GFLOP of every way."""
    lines = []
    for case in cases:
        lines += [f"\n{case['model']}, {case['length']:,} tokens, answer {case['share']:.0%}\n"]
        lines += ["| way | s a step | times ours | saved MiB | GFLOP |", "|---|---|---|---|---|"]
        lines += [
            f"| {name} | {way['seconds']:.3f} ± {way['spread'] / 2:.3f} | {way['times_ours']:.2f} | "
            f"{way['saved_mib']:.1f} | {way['gigaflop']:.1f} |"
            for name, way in case["ways"].items()
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="one that loads, in place of the random ones of --layers")
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1_024, 2_048])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.1, 1.0], help="answer tokens of all")
    for name, default in (("rows", 1), ("vocabulary", 8_192), ("turns", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    cases = []
    for layers in [0] if chosen.model else chosen.layers:
        for length in chosen.lengths:
            for share in chosen.shares:
                cases.append(measure(layers, length, share, chosen))
                print(as_table(cases[-1:]), flush=True)
    about = {"threads": torch.get_num_threads(), "machine": platform.machine(), "versions": library_versions()}
    print(json.dumps({"arguments": vars(chosen), **about}))


if __name__ == "__main__":
    main()
