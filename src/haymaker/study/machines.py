"""Machines that a study may be reckoned on, in what precision they compute, and models' sizes. No torch, no model.

A processor's rates are those of one thread, measured with SmolLM2-135M (benchmarks/results/smollm2.md).
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from haymaker.choices import CPU, DEVICES, MODEL_SHAPES, Device, named_device
from haymaker.errors import ConfigError
from haymaker.models.shapes import WIDE, Shape, shape_of
from haymaker.processes import cores, free_memory, processor_says

AMX, AVX512 = "amx_bf16", "avx512f"  # flags of a processor
RATES = {  # of one thread, with all that is not products; of what has not AVX-512 half of that is assumed
    AMX: Device(300e9, 90e9, 90e9, 20e9, 0.0),
    AVX512: Device(100e9, 80e9, 80e9, 10e9, 0.0),
    "": Device(50e9, 40e9, 40e9, 5e9, 0.0),
}
LAYER_SECONDS = {"gpu": 6e-4, "cpu": 5e-4}  # of one token through one layer when nothing but its launch takes time


@dataclass(frozen=True)
class Machine:
    """One device, what it is called, the bytes of its numbers, and whether it is the one at hand."""

    name: str
    device: Device
    gpu: bool
    element: int = 2
    here: bool = False

    @property
    def layer_seconds(self) -> float:
        return LAYER_SECONDS["gpu" if self.gpu else "cpu"]


def machine_of(name: str | None, threads: int = 1, half: bool = False) -> Machine:
    """A device of the table by its name, or the one at hand; `half`: a processor computes in bfloat16.

    Raises ConfigError for a name that is none.
    """
    if name is None:
        return gpu_here() or cpu_here(threads, half)
    known = named_device(name)
    if known == CPU:
        return cpu_here(threads, half)
    return Machine(known, DEVICES[known], True, here=is_here(DEVICES[known]))


def is_here(device: Device) -> bool:
    found = gpu_here()
    return found is not None and found.device[:4] == device[:4]


def cpu_here(threads: int, half: bool) -> Machine:
    flags = processor_flags()
    kind = AMX if half and AMX in flags else AVX512 if AVX512 in flags else ""
    products, attention, backward, bandwidth = (threads * rate for rate in RATES[kind][:4])
    about = f"{threads} of {cores()} cores, {'bfloat16' if half else 'float32'}"
    device = Device(products, attention, backward, bandwidth, float(free_memory()), about)
    return Machine("cpu", device, False, 2 if half else 4, here=True)


def processor_flags() -> frozenset[str]:
    """What the processor can, in the kernel's words; empty where the system does not tell."""
    return frozenset(processor_says("flags").split())


def computes_in_half(model: str, dtype: str) -> bool:
    """Whether a processor computes a model in bfloat16: where that is asked for, or `auto` means it here."""
    config = config_of(model) or {}
    asked = config.get("dtype", config.get("torch_dtype", "bfloat16")) in ("bfloat16", "float16")
    width = config.get("hidden_size")
    wide = isinstance(width, int) and width >= WIDE
    return dtype == "bfloat16" or (dtype == "auto" and asked and wide and AMX in processor_flags())


def gpu_here() -> Machine | None:
    """The first GPU of this machine, as the nearest of the table."""
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    if not told:
        return None
    name, _, memory = told[0].rpartition(",")
    known = nearest(name)
    device = DEVICES[known]._replace(memory=float(memory) * 2**20, about=f"taken as {known}")
    return Machine(name.strip(), device, True, here=True)


def nearest(name: str) -> str:
    """The device of the table whose words a GPU's name has; an A100 where it has none of theirs."""
    told = f"{name} {name.replace(' ', '')}".lower()
    return next((key for key in DEVICES if all(word in told for word in key.split("-"))), "a100-80gb")


# ---- a model's sizes, without the model where its name is known


def shape_for(name: str, rank: int, element: int) -> Shape | None:
    """The sizes of a model by its config.json or by its name; None where neither is known."""
    config = config_of(name)
    if config is None:
        return None
    given = {"tie_word_embeddings": False, "num_key_value_heads": None, "head_dim": None, **config}
    try:
        shape = shape_of(SimpleNamespace(**given), element, 0)
        adapter = rank * shape.layers * (4 * shape.hidden + 2 * shape.query + 2 * shape.key_value)
    except (AttributeError, TypeError, ValueError, ArithmeticError):  # sizes that are none: loading will tell them
        return None
    return replace(shape, adapter=adapter)


def config_of(name: str) -> Mapping[str, Any] | None:
    """A model's config, or its sizes by its name; None where neither is known."""
    return config_here(name) or MODEL_SHAPES.get(name.rpartition("/")[2].lower().removesuffix("-instruct"))


def config_here(name: str) -> Mapping[str, Any] | None:
    """The config.json of a model that is on this machine."""
    from haymaker.models.names import model_here

    try:
        place = model_here(name, lambda path: None)
        found = json.loads(((place if place.is_dir() else place.parent) / "config.json").read_text())
    except (ConfigError, OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
