"""What `dtype="auto"` means on this machine, and how many threads then compute: a rule of what was measured.

On one thread a processor with AMX takes half the time or less in bfloat16 that it takes in float32, at 1,024 tokens;
two thirds at 512. Of two cores a second thread takes a third off where the machine is quiet; where another process
holds its core it costs five times as much, since both wait for each other after every product
(benchmarks/results/smollm2.md, docs/log.md). Small models do not gain: they wait for other things than products.
"""

import os
import platform
from typing import Any

import torch
from transformers import PreTrainedConfig

from haymaker.errors import ConfigError
from haymaker.models.shapes import WIDE
from haymaker.processes import processor_says

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # who sets them has chosen
OWN_THREADS = torch.get_num_threads()  # torch's own number, before anybody changed it


def chosen_dtype(dtype: str, device: torch.device, config: PreTrainedConfig) -> torch.dtype | str:
    """The precision to load weights in. Raises ConfigError for a name that is none.

    "auto" is the checkpoint's own on a GPU. On a CPU it is bfloat16 where the processor has AMX, the checkpoint's own
    precision is 16 bits and the model is at least 512 wide; else float32.
    """
    if dtype != "auto":
        if dtype not in DTYPES:
            raise ConfigError(f"dtype: expected auto, {', '.join(DTYPES)}, found {dtype!r}")
        return DTYPES[dtype]
    if device.type != "cpu":
        return config.dtype or "auto"
    half = config.dtype in (torch.bfloat16, torch.float16)
    return torch.bfloat16 if half and wide(config) and has_amx() else torch.float32


def wide(config: PreTrainedConfig) -> bool:
    return (getattr(config.get_text_config(), "hidden_size", None) or 0) >= WIDE


def has_amx() -> bool:
    """Whether the processor multiplies tiles of bfloat16, and torch makes it do so."""
    asked = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(asked and asked() and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)


def choose_threads(dtype: torch.dtype, device: torch.device) -> None:
    """Let torch compute on as many threads as serve this precision best, unless somebody has chosen their number."""
    ours = (OWN_THREADS, threads_with_amx(OWN_THREADS))
    if any(name in os.environ for name in THREAD_VARIABLES) or torch.get_num_threads() not in ours:
        return
    if device.type == "cpu":
        amx = dtype == torch.bfloat16 and has_amx()
        torch.set_num_threads(threads_with_amx(OWN_THREADS) if amx else OWN_THREADS)


def threads_with_amx(cores: int) -> int:
    """One core stays free for what else the machine does."""
    return max(1, cores - 1)


def computed_by(model: Any) -> dict[str, Any]:
    """What a model's numbers are computed in and by: for the records of everything that is measured with it."""
    weight = next(model.parameters())
    on_cpu = weight.device.type == "cpu"
    return {
        "device": weight.device.type,
        "dtype": str(weight.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads() if on_cpu else None,
        "processor": processor() if on_cpu else torch.cuda.get_device_name(weight.device),
    }


def processor() -> str:
    """The processor's name."""
    return processor_says("model name") or platform.processor() or platform.machine()
