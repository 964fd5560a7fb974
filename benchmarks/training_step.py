"""Seconds and saved bytes of a training step: answer rows only, against the usual forward with `labels=`.

Same weights, rows, precision and threads; losses and gradients are compared before anything is timed. Run it on an idle
machine: `python benchmarks/training_step.py --layers 4 --length 512 --rows 16 --repeats 7`.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from haymaker.models.batching import batches_of
from haymaker.models.handshake import library_versions
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.records import Encoded
from haymaker.training.answer_rows import Method, answer_loss
from haymaker.training.batches import lay_out

TOLERANCE = 1e-5  # relative, of loss and gradient
CPU = torch.device("cpu")
METHODS: tuple[Method, ...] = ("all_rows", "head", "last_layer")


def new_rows(count: int, length: int, answer: int, vocabulary: int) -> list[Encoded]:
    ids = torch.randint(3, vocabulary, (count, length), generator=torch.Generator().manual_seed(0)).tolist()
    return [Encoded(f"row-{i}", tuple(row), length - answer) for i, row in enumerate(ids)]


def new_model(chosen: argparse.Namespace) -> Any:
    """A random Llama with the miniature's proportions and a LoRA adapter that is not at its start."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=chosen.vocabulary, hidden_size=chosen.hidden, intermediate_size=2 * chosen.hidden,
        num_hidden_layers=chosen.layers, num_attention_heads=8, num_key_value_heads=4, head_dim=32,
        max_position_embeddings=chosen.length, tie_word_embeddings=True,
    )  # fmt: skip
    model = add_lora(LlamaForCausalLM(config).eval(), rank=8, alpha=16.0, seed=0)
    for weight in lora_parameters(model).values():
        weight.data.normal_(std=0.05)
    return model


def labels_step(model: Any, rows: list[Encoded]) -> Tensor:
    """The loss as transformers' own trainers take it: logits of every row, prompt labels masked."""
    ids = torch.tensor([row.input_ids for row in rows])
    labels = ids.clone()
    for i, row in enumerate(rows):
        labels[i, : row.prompt_length] = -100
    loss = model(input_ids=ids, labels=labels, use_cache=False).loss
    loss.backward()
    return loss.detach()


def our_step(model: Any, rows: list[Encoded], method: Method, tokens_at_once: int) -> Tensor:
    answers = sum(len(row.answer_rows) for row in rows)
    total = torch.zeros(())
    for group in batches_of([len(row) for row in rows], tokens_at_once):
        loss = answer_loss(model, lay_out([rows[i] for i in group], CPU), method) / answers
        loss.backward()
        total += loss.detach()
    return total


def saved_bytes(step: Callable[[], Tensor]) -> int:
    """Bytes of activations handed to the backward passes of a step, each storage once (micro-batches share memory)."""
    alive: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        if not isinstance(value, torch.nn.Parameter):
            alive[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        step()
    return sum(alive.values())


def gradient(model: Any) -> Tensor:
    return torch.cat([weight.grad.flatten() for weight in lora_parameters(model).values() if weight.grad is not None])


def measure(model: Any, step: Callable[[], Tensor], repeats: int) -> dict[str, Any]:
    model.zero_grad()
    loss = step().item()
    found = gradient(model).clone()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return {
        "loss": loss, "gradient": found, "seconds": statistics.median(seconds),
        "spread": max(seconds) - min(seconds), "saved_bytes": saved_bytes(step),
    }  # fmt: skip


def check(found: dict[str, dict[str, Any]]) -> None:
    """Every way must compute the same loss and gradient, and the gradient must be one."""
    plain = found["labels"]
    assert plain["gradient"].norm() > 0
    for name, other in found.items():
        assert abs(other["loss"] - plain["loss"]) <= TOLERANCE * plain["loss"], name
        assert (other["gradient"] - plain["gradient"]).norm() <= TOLERANCE * plain["gradient"].norm(), name


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    defaults = {"layers": 4, "length": 512, "rows": 16, "answer": 8, "hidden": 192, "vocabulary": 2_000, "repeats": 5}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tokens-at-once", type=int, default=2_048, help="of our micro-batches")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    model, rows = new_model(chosen), new_rows(chosen.rows, chosen.length, chosen.answer, chosen.vocabulary)
    steps: dict[str, Callable[[], Tensor]] = {"labels": lambda: labels_step(model, rows)}
    for method in METHODS:
        steps[method] = lambda method=method: our_step(model, rows, method, chosen.tokens_at_once)
    found = {name: measure(model, step, chosen.repeats) for name, step in steps.items()}
    check(found)
    for line in found.values():
        line["gradient_norm"] = line.pop("gradient").norm().item()
        line["speedup"] = found["labels"]["seconds"] / line["seconds"]
    setting = {"threads": torch.get_num_threads(), "machine": platform.machine(), "versions": library_versions()}
    print(json.dumps({"arguments": vars(chosen), **setting, "steps": found}, indent=2))


if __name__ == "__main__":
    main()
