"""What a run would take, before it is started: steps, tokens, operations, peak memory and hours on some device."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from haymaker.attention.threads import MAKING
from haymaker.choices import CPU, DEVICES, named_device
from haymaker.config import Extend, TrainConfig
from haymaker.models.batching import batches_of
from haymaker.models.load import Source, read_config, read_tokenizer
from haymaker.models.lora import lora_size
from haymaker.models.lora_targets import Targets, check_ranks, head_masks, target_modules
from haymaker.models.names import WEIGHT_FILES, check_described, display_name, files_of
from haymaker.models.precision import choose_threads, chosen_dtype
from haymaker.models.quantised import method_of
from haymaker.models.shapes import Shape, shape_of
from haymaker.processes import launched
from haymaker.records import Encoded, Example
from haymaker.training.batches import encoded_rows, packs_of, rows_of_step
from haymaker.training.budget import USABLE, Largest, as_one_of, peak_bytes, rungs_of, said
from haymaker.training.cost import cost_of_row, together_seconds
from haymaker.training.memory_plan import answer_share, tokens_of_largest
from haymaker.training.rates import rates_here

MOST_ROWS = 2**18  # that are looked at one by one


def forecast(
    model: PreTrainedConfig,
    rows: Sequence[Encoded],
    config: TrainConfig,
    dtype: torch.dtype,
    device: str | None = None,
    *,
    stored: int | None = None,
) -> dict[str, Any]:
    """A run's figures from the model's config alone; `device` is a name of `DEVICE_NAMES`, None the one at hand.

    stored: bytes of the weights, None where they are of `dtype`. Raises ConfigError for a device that is not known.
    """
    (name, place), shape = device_of(device), adapted_shape(model, config, dtype)
    shape = shape if stored is None else replace(shape, base_bytes=stored)
    lengths = [len(row) for row in rows]
    processes = max(config.context_parallel, launched())
    own = as_one_of(shape, processes, config.context_parallel, config.shard)
    tokens = tokens_of_largest(lengths, config.tokens_at_once, config.batch, config.context_parallel)
    chosen = DEVICES[name] if name in DEVICES else rates_here(shape, dtype, max(lengths), tokens, place)
    largest = Largest(math.ceil(answer_share(rows) * tokens), max(lengths) if place.type == "cpu" else None)
    free = chosen.memory * USABLE
    rungs = rungs_of(config.recompute, own, tokens, free, largest)
    looked_at = min(config.steps, max(1, MOST_ROWS // config.batch))
    times = config.steps / looked_at  # epochs are alike: a run of more steps is as many times as long
    parts = list(parts_of_run(rows, config, looked_at, gpu=place.type != "cpu"))
    taken = [row for part in parts for row in part]
    costs = [[cost_of_row(shape, len(row), len(row.answer_rows), rungs) for row in part] for part in parts]
    seconds = times * sum(together_seconds(part, shape.layers, chosen, gpu=place.type != "cpu") for part in costs)
    peak = peak_bytes(own, tokens, rungs, largest=largest)
    return {
        "device": name,
        "processes": processes,
        "steps": config.steps,
        "rows": config.steps * config.batch,
        "tokens": round(times * sum(len(row) for row in taken)),
        "answer_tokens": round(times * sum(len(row.answer_rows) for row in taken)),
        "parameters": shape.adapter,
        "operations": times * sum(cost.operations for part in costs for cost in part),
        "recompute": said(rungs),
        "peak_bytes": peak,
        "memory_bytes": int(chosen.memory),
        "fits": peak <= free,
        "hours": seconds / 3600 / processes,
    }


def parts_of_run(rows: Sequence[Encoded], config: TrainConfig, steps: int, gpu: bool) -> Iterator[list[Encoded]]:
    """The rows of every forward pass of a run's first steps in one process: laid in line on a GPU, else of about equal
    length."""
    for step in range(steps):
        its = rows_of_step(rows, config.batch, config.seed, step)
        lengths, most = [len(row) for row in its], config.tokens_at_once
        groups = packs_of(lengths, most, config.packed_below) if gpu else batches_of(lengths, most)
        yield from ([its[i] for i in group] for group in groups)


def forecast_run(
    name: str,
    rows: Iterable[Example | Encoded],
    config: TrainConfig,
    extend: Extend | None,
    *,
    dtype: str = "auto",
    device: str | None = None,
) -> dict[str, Any]:
    """`forecast` for a model's name; its tokenizer and config are read, and its weights need not be there.

    Raises LengthError for rows too long for it.
    """
    source = Source.of(name, check_described)
    model, tokenizer = read_config(source), read_tokenizer(source)
    context = model.max_position_embeddings if extend is None else extend.length
    place = device_of(device)[1]
    precision = chosen_dtype(dtype, place, model)
    known = precision if isinstance(precision, torch.dtype) else torch.bfloat16
    choose_threads(known, place)
    return {"model": display_name(name)} | forecast(
        model, encoded_rows(rows, tokenizer, context), config, known, device, stored=quantised_bytes(source, model)
    )


def quantised_bytes(source: Source, model: PreTrainedConfig) -> int | None:
    """Bytes of quantised weights, as their files have them; None for plain ones, and where no file is here."""
    if source.gguf is not None or method_of(model) is None:
        return None
    return sum(path.stat().st_size for path in files_of(Path(source.place), WEIGHT_FILES)) or None


def adapted_shape(model: PreTrainedConfig, config: TrainConfig, dtype: torch.dtype) -> Shape:
    """The model's shape with the adapter's parameters; its modules are made without memory."""
    with MAKING, torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(model)
    targets = Targets(config.targets, config.layers, config.heads, config.ranks)
    modules = target_modules(empty, targets)
    check_ranks(modules, config.rank, config.ranks)  # refuses what training would, as does the next
    head_masks(empty, targets, modules)
    weights = sum(weight.numel() for weight in empty.parameters()) * dtype.itemsize
    shape = shape_of(model, dtype.itemsize, lora_size(modules, config.rank, config.ranks), weights)
    return replace(shape, mlp_adapted="mlp" in config.targets)


def device_of(name: str | None) -> tuple[str, torch.device]:
    """A device's name in the table, or the one at hand's, and its kind. Raises ConfigError for a name that is none."""
    if name is None:
        place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return place.type, place
    known = named_device(name)
    return known, torch.device(known if known in (CPU, "mps") else "cuda")
