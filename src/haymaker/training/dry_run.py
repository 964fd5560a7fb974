"""What a run would take, before it is started: steps, tokens, operations, peak memory and hours on some device."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from haymaker.choices import DEVICES, Device
from haymaker.config import Extend, Rung, TrainConfig
from haymaker.errors import ConfigError
from haymaker.models.batching import batches_of
from haymaker.models.load import Source, read_config, read_tokenizer
from haymaker.models.lora import lora_size
from haymaker.models.lora_targets import Targets, target_modules
from haymaker.models.memory import free_bytes
from haymaker.models.names import display_name
from haymaker.models.precision import chosen_dtype
from haymaker.models.shapes import Shape, shape_of
from haymaker.records import Encoded, Example
from haymaker.training.batches import encoded_rows, rows_of_step
from haymaker.training.budget import USABLE, as_one_of, peak_bytes, planned, said
from haymaker.training.cost import Cost, cost_of_row

MEASURED_WIDTH = 1_024  # of the matrix products that tell how fast a device at hand is
ATTENTION_SHARE = 0.5  # of a product's rate, that attention reaches where nothing is known


def forecast(
    model: PreTrainedConfig, rows: Sequence[Encoded], config: TrainConfig, dtype: torch.dtype, device: str | None = None
) -> dict[str, Any]:
    """A run's figures from the model's config alone; `device` is a name of `hm.choices.DEVICES`, None the one at hand.

    Raises ConfigError for a device that is not known.
    """
    name, chosen = (str(here()), measured(dtype)) if device is None else (device, known_device(device))
    shape = adapted_shape(model, config, dtype)
    lengths = [len(row) for row in rows]
    groups = list(batches_of(lengths, config.tokens_at_once))
    processes = max(config.context_parallel, int(os.environ.get("WORLD_SIZE", "1")))
    own = as_one_of(shape, processes, config.context_parallel, config.shard)
    longest = max(len(group) * max(lengths[i] for i in group) for group in groups)
    tokens_at_once = -(-longest // config.context_parallel)
    free = chosen.memory * USABLE
    rungs: list[Rung] = (
        planned(own, tokens_at_once, free) if config.recompute == "auto" else [config.recompute] * shape.layers
    )
    taken = [row for step in range(config.steps) for row in rows_of_step(rows, config.batch, config.seed, step)]
    cost = sum((cost_of_row(shape, len(row), len(row.answer_rows), rungs) for row in taken), Cost(0.0, 0.0, 0.0, 0.0))
    peak = peak_bytes(own, tokens_at_once, rungs)
    return {
        "device": name,
        "processes": processes,
        "steps": config.steps,
        "rows": len(taken),
        "tokens": sum(len(row) for row in taken),
        "answer_tokens": sum(len(row.answer_rows) for row in taken),
        "parameters": shape.adapter,
        "operations": cost.operations,
        "recompute": said(rungs),
        "peak_bytes": peak,
        "memory_bytes": int(chosen.memory),
        "fits": peak <= free,
        "hours": cost.seconds(chosen) / 3600 / processes,
    }


def forecast_run(
    name: str,
    rows: Iterable[Example | Encoded],
    config: TrainConfig,
    extend: Extend | None,
    *,
    dtype: str = "auto",
    device: str | None = None,
) -> dict[str, Any]:
    """`forecast` for a model's name; its tokenizer and config are read. Raises LengthError for rows too long for it."""
    source = Source.of(name)
    model, tokenizer = read_config(source), read_tokenizer(source)
    context = model.max_position_embeddings if extend is None else extend.length
    place = here() if device is None else torch.device("cuda")
    precision = chosen_dtype(dtype, place, model)
    known = precision if isinstance(precision, torch.dtype) else torch.bfloat16
    return {"model": display_name(name)} | forecast(
        model, encoded_rows(rows, tokenizer, context), config, known, device
    )


def adapted_shape(model: PreTrainedConfig, config: TrainConfig, dtype: torch.dtype) -> Shape:
    """The model's shape with the adapter's parameters; its modules are made without memory."""
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(model)
    targets = Targets(config.targets, config.layers, config.heads, config.ranks)
    modules = target_modules(empty, targets)
    weights = sum(weight.numel() for weight in empty.parameters()) * dtype.itemsize
    shape = shape_of(model, dtype.itemsize, lora_size(modules, config.rank, config.ranks), weights)
    return replace(shape, mlp_adapted="mlp" in config.targets)


def known_device(name: str) -> Device:
    if name not in DEVICES:
        raise ConfigError(f"device: expected one of {', '.join(DEVICES)}, found {name!r}")
    return DEVICES[name]


def here() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def measured(dtype: torch.dtype) -> Device:
    """The device at hand, by the best of some matrix products; attention is taken to reach half of that."""
    place = here()
    width = MEASURED_WIDTH * (8 if place.type == "cuda" else 1)
    matrix = torch.randn(width, width, device=place).to(dtype)
    rate = 2 * width**3 / min(seconds_of(matrix) for _ in range(3))
    bandwidth = 1e12 if place.type == "cuda" else 1e10
    memory = float(free_bytes(place))
    return Device(rate, ATTENTION_SHARE * rate, ATTENTION_SHARE * rate, bandwidth, memory, "measured here")


def seconds_of(matrix: torch.Tensor) -> float:
    started = time.perf_counter()
    (matrix @ matrix)[0, 0].item()  # waits for the device
    return time.perf_counter() - started
