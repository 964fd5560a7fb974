"""Quantised checkpoints of a tiny Llama, by hand: codes and scales in a plain folder, in place of its weights.

Each maker returns the weights that its codes stand for.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

GROUP, WORD = 16, 8  # inputs that share a scale; codes of four bits in a word
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # of the columns in a word
Made = tuple[dict[str, Tensor], Tensor]  # tensors by what stands in place of "weight", and what they stand for
INT8 = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}


def fp8(weight: Tensor) -> Made:
    """Floats of 8 bits and a scale for all: one block, as the matrices are smaller than one."""
    scale = weight.abs().amax() / 448
    codes = (weight / scale).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_scale_inv": scale.reshape(1, 1)}, codes.float() * scale


def int8(weight: Tensor) -> Made:
    """Whole numbers of 8 bits, a scale a row."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    codes = (weight / scale).round()
    return {"weight": codes.to(torch.int8), "weight_scale": scale}, codes * scale


def gptq(weight: Tensor) -> Made:
    """Four bits, eight inputs a word; zero points are stored one lower."""
    codes, scales, meant = in_groups(weight)
    groups = (torch.arange(len(codes)) // GROUP).int()
    zeros = words(torch.full(scales.shape, 7).T, range(WORD)).T
    parts = {"qweight": words(codes, range(WORD)), "qzeros": zeros, "scales": scales, "g_idx": groups}
    return {name: part.contiguous() for name, part in parts.items()}, meant


def awq(weight: Tensor) -> Made:
    """Four bits, eight outputs a word, in an order of their own."""
    codes, scales, meant = in_groups(weight)
    parts = {"qweight": codes, "qzeros": torch.full(scales.shape, 8)}
    packed = {name: words(part.T, AWQ_ORDER).T.contiguous() for name, part in parts.items()}
    return {**packed, "scales": scales}, meant


def in_groups(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes [in, out] of 0 to 15, scales [group, out] in 16 bits, and the weight [out, in] that they mean."""
    parts = weight.T.reshape(-1, GROUP, len(weight))
    scales = (parts.abs().amax(1) / 7).clamp(min=1e-6).half()
    codes = (parts / scales.float()[:, None]).round().clamp(-8, 7)
    meant = (codes * scales.float()[:, None]).reshape(weight.T.shape).T
    return (codes + 8).reshape(weight.T.shape).long(), scales, meant.contiguous()


def words(codes: Tensor, order: Any) -> Tensor:
    """Eight rows of codes as one of 32-bit words."""
    packed = sum(codes[row::WORD].long() << (4 * place) for place, row in enumerate(order))
    return torch.as_tensor(packed).to(torch.int32)


GROUPED = {"bits": 4, "group_size": GROUP}
METHODS: Mapping[str, tuple[Callable[[Tensor], Made], dict[str, Any]]] = {
    "fp8": (fp8, {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}),
    "compressed-tensors": (
        int8,
        {
            "quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed",
            "ignore": ["lm_head"],
            "config_groups": {"all": {"format": "int-quantized", "targets": ["Linear"], "weights": INT8}},
        },
    ),
    "gptq": (
        gptq,
        {"quant_method": "gptq", "desc_act": False, "sym": True, "checkpoint_format": "gptq", "backend": "gptq_torch"}
        | GROUPED,
    ),
    "awq": (awq, {"quant_method": "awq", "zero_point": True, "version": "gemm", "backend": "torch_awq"} | GROUPED),
}  # fmt: skip


def quantise(folder: Path, method: str) -> dict[str, Tensor]:
    """Quantise the projections of a plain checkpoint's layers; returns all weights as they are meant."""
    make, about = METHODS[method]
    written, meant = {}, load_file(folder / "model.safetensors")
    for name, weight in list(meant.items()):
        parts = {"weight": weight}
        if name.endswith("_proj.weight"):
            parts, meant[name] = make(weight)
        written |= {name.removesuffix("weight") + part: value for part, value in parts.items()}
    save_file(written, folder / "model.safetensors", {"format": "pt"})
    say_quantised(folder, about)
    return meant


def say_quantised(folder: Path, about: Mapping[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": dict(about)}))
