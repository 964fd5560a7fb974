"""Checkpoints whose weights are quantised: what reading them needs, and the tensors that their weights are made of."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

from haymaker.attention.threads import MAKING
from haymaker.errors import ModelError
from haymaker.file_reading import read_json
from haymaker.models.headers import tensors_in

PACKAGES: Mapping[str, Mapping[str, str]] = {  # by method, what transformers reads it with: module, and name to install
    "bitsandbytes": {"bitsandbytes": "bitsandbytes"},
    "torchao": {"torchao": "torchao"},
    "gptq": {"optimum": "optimum", "gptqmodel": "gptqmodel"},
    "awq": {"gptqmodel": "gptqmodel"},
    "compressed-tensors": {"compressed_tensors": "compressed-tensors"},
    "aqlm": {"aqlm": "aqlm[gpu,cpu]"},
    "vptq": {"vptq": "vptq"},
    "eetq": {"kernels": "kernels"},
    "auto-round": {"auto_round": "auto-round"},
}
# Of these transformers 5.23 quantises a model in memory, but writes and reads no checkpoint, whatever is installed:
# HQQ's own files have other tensors than those that it looks for.
NEVER_READ = ("hqq", "quanto")
TELLS_EVERY_PRODUCT = "bitsandbytes.autograd._functions"  # a logger: that 8 bits round their input, as is documented
OWN_ORDER = "support_avx512bf16_for_cpu"  # of bitsandbytes' Linear4bit: whether it may reorder its weights
WHOLE = ("I", "U", "BOOL")  # how safetensors' names of whole numbers begin
SMALL = ("F8", "F6", "F4")  # and of floats in which no model computes: they stand for a number times a scale
SCALE = re.compile(r"scale|SCB|absmax|qzeros|codebook", re.IGNORECASE)  # in names of what stands beside codes
METHOD = re.compile(r'"quantization_config": (?!null)')  # in a config, or in a part of one
ORIGINAL = "or take the checkpoint that it was made from"


def method_of(config: Any) -> str | None:
    """By what a model's weights are quantised, as its config says; None where they are not."""
    found = getattr(config, "quantization_config", None)
    if found is None:
        return None
    values = found if isinstance(found, Mapping) else vars(found)
    method = values.get("quant_method")
    if method is None and (values.get("load_in_4bit") or values.get("load_in_8bit")):
        return "bitsandbytes"
    return str(getattr(method, "value", method))


def check_method(name: str, config: Any) -> None:
    """Raise ModelError for weights quantised by a method that is not known, or that needs what is not installed."""
    method = method_of(config)
    if method is None:
        return
    known = {full.partition("_4bit")[0].partition("_8bit")[0] for full in AUTO_QUANTIZER_MAPPING}
    if method not in known:
        raise ModelError(
            f"{name}: its weights are quantised by {method!r}, which transformers does not know (it knows "
            f"{', '.join(sorted(known))}); load it with the library that made it, {ORIGINAL}"
        )
    if method in NEVER_READ:
        raise ModelError(
            f"{name}: its weights are quantised by {method}, of which transformers reads no checkpoint; take the one "
            "that it was made from"
        )
    missing = [package for module, package in PACKAGES.get(method, {}).items() if find_spec(module) is None]
    if missing:
        raise ModelError(
            f"{name}: its weights are quantised by {method}, which transformers reads with {' and '.join(missing)}: "
            f"pip install {' '.join(missing)}, {ORIGINAL}"
        )


def check_codes(name: str, folder: Path | None, model: nn.Module) -> None:
    """Raise ModelError where a file holds codes (whole numbers, floats of 8 bits and less) of which nothing says what
    they mean: the config names no method of quantisation, or no scale stands beside them.

    A config that says float8 itself may mean numbers.
    """
    if folder is None:
        return
    own, written, tensors = dict(model.named_parameters()), read_json(folder / "config.json"), tensors_in(folder)
    told = METHOD.search(json.dumps(written)) is not None  # a model that was unpacked in loading has forgotten it
    numbers = not told and "float8" in str(written.get("dtype", written.get("torch_dtype")))
    kinds = {key: str(about.get("dtype", "")) for key, about in tensors.items()}
    codes = [key for key, kind in kinds.items() if kind.startswith(WHOLE if numbers else (*WHOLE, *SMALL))]
    codes = [key for key in codes if key in own or key.endswith(".weight")]
    beside = {place(key) for key in tensors if SCALE.search(key.removeprefix(place(key)))}
    unknown = [key for key in codes if place(key) not in beside] if told else codes
    if unknown:
        what = "whole numbers" if kinds[unknown[0]].startswith(WHOLE) else "floats of so few bits that they are codes"
        lost = "no scale stands beside them" if told else "its config names no method of quantisation"
        raise ModelError(
            f"{name}: {unknown[0]} holds {what} ({kinds[unknown[0]]}), and {lost} that would say what they mean; give "
            f"{'all files' if told else 'the config'} that {'were' if told else 'was'} saved with these weights, "
            f"{ORIGINAL}"
        )


def place(key: str) -> str:
    """The product that a tensor belongs to, as bitsandbytes' `proj.weight.absmax` does to `proj`."""
    return key.rpartition(".weight")[0] or key.rpartition(".")[0]


@torch.no_grad()
def unpack(model: Any) -> None:
    """Let quantised weights become what they stay: some (compressed-tensors) are unpacked at the first forward pass.

    bitsandbytes' of 4 bits stay as they were read. On a CPU with AVX512-BF16 it would put them into an order of its own
    at the first pass, whose product has no gradient, and its `state_dict` gets some layers wrong when it puts them back
    (0.50.2, 128 inputs and 64 outputs): the model is another one from then on.
    """
    if getattr(model, "hf_quantizer", None) is not None:
        logging.getLogger(TELLS_EVERY_PRODUCT).setLevel(logging.ERROR)
        for module in model.modules():
            if hasattr(module, OWN_ORDER):
                setattr(module, OWN_ORDER, False)
        model(input_ids=torch.zeros(1, 2, dtype=torch.int64, device=model.device), use_cache=False)


def own_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Name and values of all tensors that a model's weights are made of.

    Of quantised ones also what stands beside the codes (scales, zero points), which may be buffers, or the parts of a
    tensor that is none in itself.
    """
    if getattr(model, "hf_quantizer", None) is None:
        with MAKING:  # another thread may lend an adapter to it
            plain = list(model.named_parameters())
        yield from plain
        return
    states = [getattr(weight, "quant_state", None) for weight in model.parameters()]
    if any(getattr(state, "packing_format_for_cpu", False) for state in states):
        raise ModelError(
            "bitsandbytes has put these 4-bit weights into the processor's order, and may not find back to theirs; "
            "load the model with hm.load_model, which keeps their order"
        )
    for name, weight in model.state_dict().items():
        if isinstance(weight, Tensor):
            yield from parts_of(name, weight)


def parts_of(name: str, weight: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The plain tensors inside one of torchao's, and inside those; a plain one is itself."""
    flatten = getattr(weight, "__tensor_flatten__", None)
    if flatten is None:
        yield name, weight
        return
    for part in flatten()[0]:
        yield from parts_of(f"{name}.{part}", getattr(weight, part))
