"""What is computed again: every rung gives the gradient of the one before, and keeps less."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from small_decoders import VOCABULARY, small_decoder
from tiny_rows import random_rows
from torch import Tensor

import haymaker.training.recompute as recompute
from haymaker.config import Rung
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.training.answer_rows import Method, answer_loss
from haymaker.training.batches import lay_out
from haymaker.training.budget import RUNGS

KNOWN = ("llama", "mistral", "qwen2", "qwen3", "phi3")


def adapted(kind: str, dtype: torch.dtype = torch.float64, **lora: Any) -> Any:
    """A tiny model of some family with an adapter that is not at its start."""
    model = add_lora(small_decoder(kind), rank=2, alpha=4.0, seed=0, **lora).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for weight in lora_parameters(model).values():
        weight.data = torch.randn(weight.shape, generator=generator).to(dtype) * 0.1
    return model


def gradient(model: Any, method: Method, rungs: Sequence[Rung], kept: Callable[[Tensor], None] | None = None) -> Tensor:
    """All gradients of a step in one vector."""
    model.zero_grad()
    note = kept or (lambda value: None)
    batch = lay_out(random_rows(3, longest=50, vocabulary=VOCABULARY), torch.device("cpu"))
    with torch.autograd.graph.saved_tensors_hooks(lambda value: (note(value), value)[1], lambda value: value):
        loss = answer_loss(model, batch, method, rungs)
    loss.backward()
    found = [weight.grad.flatten() for weight in lora_parameters(model).values() if weight.grad is not None]
    return torch.cat(found)


@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.parametrize("piece", [7, 16_384])
def test_every_rung_gives_the_gradient_of_the_one_before(
    kind: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recompute, "PIECE", piece)
    model = adapted(kind)
    layers = model.config.num_hidden_layers
    before = gradient(model, "all_rows", ())
    assert before.norm() > 0
    for method, rungs in [("head", ()), *(("last_layer", [rung] * layers) for rung in RUNGS)]:
        found = gradient(model, method, rungs)  # type: ignore[arg-type]
        allowed = 1e-10 if set(rungs) & set(RUNGS[1:]) else 1e-6  # transformers' norms are in float32
        assert float((found - before).norm() / before.norm()) < allowed, (method, rungs)
        before = found
    mixed: list[Rung] = [("none", "full", "attention")[i % 3] for i in range(layers)]  # type: ignore[misc]
    assert float((gradient(model, "last_layer", mixed) - before).norm() / before.norm()) < 1e-10


def bytes_kept(model: Any, rung: Rung) -> int:
    """Of a step, between its forward and its backward pass, weights apart."""
    storages: dict[int, int] = {}

    def note(value: Tensor) -> None:
        if not isinstance(value, torch.nn.Parameter):
            storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()

    gradient(model, "last_layer", [rung] * model.config.num_hidden_layers, note)
    return sum(storages.values())


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_every_rung_keeps_less(kind: str) -> None:
    sizes = [bytes_kept(adapted(kind), rung) for rung in RUNGS[:4]]
    assert sizes[0] > 1.2 * sizes[1]
    assert sizes[1] > 1.2 * sizes[3]


def test_of_the_inside_of_an_mlp_gate_and_up_are_kept_and_nothing_else() -> None:
    # bfloat16, inner width 48, two layers of three (of the last one there are answer rows alone: 9)
    model, batch = adapted("llama", torch.bfloat16), lay_out(random_rows(3, longest=50), torch.device("cpu"))
    counted = 2 * 2 * 48 * (2 * batch.tokens + 9)
    assert bytes_kept(model, "none") - bytes_kept(model, "mlp") == pytest.approx(counted, rel=0.05)
