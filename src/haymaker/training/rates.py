"""What the device at hand reaches on a model's own shapes: measured in seconds, for what has not run yet.

On a CPU a step of a few layers of the model's widths is taken, and their attention alone: narrow products, what is done
element by element, launches and attention's backward pass run at rates of their own there.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from haymaker.choices import Device
from haymaker.config import Rung
from haymaker.models.extend import rebuild_rotary
from haymaker.models.lora import add_lora
from haymaker.models.memory import free_bytes
from haymaker.models.shapes import Shape
from haymaker.records import Encoded
from haymaker.training.answer_rows import answer_loss
from haymaker.training.batches import lay_out
from haymaker.training.cost import cost_of_row
from haymaker.training.kernels import attend

GPU_WIDTH = 8_192  # of the matrix products that tell how fast a GPU is
ATTENTION_SHARE = 0.5  # of a product's rate, that attention reaches on a GPU of which nothing is known
GPU_BANDWIDTH = 1e12
TOKENS, LAYERS = 1_024, 6  # of a measurement on a CPU: six, so that weights come from memory as a model's do
OPERATIONS = 3e11  # of it, at most: wide models have shorter rows and fewer layers
VOCABULARY = 512
LEAST_SECONDS = 0.15  # of a call: beside other work a shorter one finds a moment of quiet


def rates_here(shape: Shape, dtype: torch.dtype, row: int, tokens: int, place: torch.device) -> Device:
    """The device at hand, for layers of this shape and rows of `row` tokens, `tokens` of which go together."""
    memory = float(free_bytes(place))
    if place.type == "cuda":
        matrix = torch.randn(GPU_WIDTH, GPU_WIDTH, device=place).to(dtype)
        rate = 2 * GPU_WIDTH**3 / seconds_of(lambda: (matrix @ matrix)[0, 0].item())  # waits for the device
        return Device(rate, ATTENTION_SHARE * rate, ATTENTION_SHARE * rate, GPU_BANDWIDTH, memory, "measured here")
    rows = max(1, min(tokens, TOKENS) // row)
    attention = attention_rates(shape, dtype, rows, min(row, TOKENS))
    return Device(product_rate(shape, dtype, rows, row, attention), *attention, math.inf, memory, "measured here")


def product_rate(shape: Shape, dtype: torch.dtype, rows: int, row: int, attention: tuple[float, float]) -> float:
    """Operations a second of all that is not attention: of products, with what is done between them."""
    each = 4.0 * shape.layer_weights
    layers = max(2, min(LAYERS, shape.layers, int(OPERATIONS / (each * min(row, TOKENS)))))
    tokens = max(16, min(row, TOKENS, int(OPERATIONS / (each * layers))))
    few = replace(shape, layers=layers, vocabulary=VOCABULARY, adapter=0)
    model = stand_in(few, dtype)
    batch = lay_out([Encoded("", tuple(i % VOCABULARY for i in range(tokens)), tokens - 1)] * rows, model.device)
    kept: list[Rung] = ["none"] * layers
    seconds = seconds_of(lambda: answer_loss(model, batch, "last_layer", kept).backward())
    cost = cost_of_row(few, tokens, 1, kept)
    rest = seconds - rows * (cost.attention / attention[0] + cost.attention_backward / attention[1])
    return rows * cost.products / max(rest, 0.1 * seconds)


def stand_in(shape: Shape, dtype: torch.dtype) -> Any:
    """A Llama of these sizes with an adapter on its attention, made in no time: its weights are all the same."""
    width = shape.query // shape.heads
    config = LlamaConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.key_value // width,
        head_dim=width, dtype=dtype,
    )  # fmt: skip
    with torch.device("meta"):
        empty: Any = LlamaForCausalLM(config)
    model = empty.to(dtype).to_empty(device="cpu")
    for weight in model.parameters():
        weight.data.fill_(shape.hidden**-0.5)
    rebuild_rotary(model)
    return add_lora(model.eval(), rank=8, alpha=16.0, seed=0)


def attention_rates(shape: Shape, dtype: torch.dtype, rows: int, tokens: int) -> tuple[float, float]:
    """Operations a second of causal attention, forwards and backwards, the latter taken as 2.5 times as many."""
    width = shape.query // shape.heads
    query, key, value = (
        torch.randn(rows, size // width, tokens, width).to(dtype).requires_grad_()
        for size in (shape.query, shape.key_value, shape.key_value)
    )
    gradient = torch.randn(rows, shape.heads, tokens, width).to(dtype)

    def there() -> Tensor:
        return attend(query, key, value, width**-0.5)

    forward = seconds_of(there)
    both = seconds_of(lambda: torch.autograd.grad(there(), (query, key, value), gradient))
    operations = 2.0 * rows * shape.query * tokens**2
    return operations / forward, 2.5 * operations / max(both - forward, 0.1 * both)


def seconds_of(act: Callable[[], object]) -> float:
    """Seconds of a call: the mean of as many as fit into the time of a measurement, after one to warm up."""
    act()
    started, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - started < LEAST_SECONDS:
        act()
        calls += 1
    return (time.perf_counter() - started) / calls
