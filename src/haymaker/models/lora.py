"""LoRA on the attention projections, and nothing else: added by PEFT, counted, and written in PEFT's file format."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.errors import ModelError
from haymaker.files import read_json, whole_files, write_json

PROJECTIONS = (("q_proj", "k_proj", "v_proj", "o_proj"), ("qkv_proj", "o_proj"))  # the second is Phi-3's
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def add_lora(model: PreTrainedModel, rank: int, alpha: float, seed: int) -> PeftModel:
    """Wrap `model` in LoRA (Hu et al. 2021) on q, k, v, o of every layer: W + alpha/rank * B A, B zero at first.

    A depends on (seed, module) alone. Raises ModelError where the projections are not found or more would be trained.
    """
    targets = attention_projections(model)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",  # type: ignore[arg-type]
        target_modules=sorted({name.rpartition(".")[2] for name in targets}),
    )  # fmt: skip
    model.requires_grad_(False)
    with quiet_peft():
        wrapped = get_peft_model(model, config, autocast_adapter_dtype=True)  # A and B in float32 whatever the base
    check_trainable(wrapped, targets, rank)
    for name, weight in lora_parameters(wrapped).items():
        if ".lora_A." in name:
            reset_a(name, weight, seed)
    wrapped.eval()
    return wrapped


@contextmanager
def quiet_peft() -> Iterator[None]:
    """PEFT 0.21 asks transformers 5.23 for a property under its old name, which warns users of what is not theirs."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def attention_projections(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """The linear projections of every layer's attention by module name, in the layers' order."""
    found: dict[str, nn.Linear] = {}
    layers: Any = getattr(model.get_decoder(), "layers", ())
    for index, layer in enumerate(layers):
        attention = getattr(layer, "self_attn", None)
        for names in PROJECTIONS:
            modules = [getattr(attention, name, None) for name in names]
            if all(isinstance(module, nn.Linear) for module in modules):
                found |= {f"{index}.{name}": module for name, module in zip(names, modules, strict=True)}  # type: ignore[misc]
                break
        else:
            raise ModelError(
                f"LoRA needs q_proj, k_proj, v_proj, o_proj (or qkv_proj, o_proj) in layers.{index}.self_attn of "
                f"{type(model).__name__}, found {[name for name, _ in layer.named_children()]}; "
                "this architecture is not supported"
            )
    if not found:
        raise ModelError(
            f"{type(model).__name__} keeps its layers in a way Haymaker does not know; LoRA cannot be added"
        )
    return found


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The A and B matrices by name, in the model's order."""
    return {name: weight for name, weight in model.named_parameters() if ".lora_A." in name or ".lora_B." in name}


def lora_size(projections: Iterable[nn.Linear], rank: int) -> int:
    """Trainable parameters in closed form: rank * (in + out) for every projection."""
    return sum(rank * (module.in_features + module.out_features) for module in projections)


def check_trainable(wrapped: PeftModel, targets: dict[str, nn.Linear], rank: int) -> None:
    trainable = {name: weight.numel() for name, weight in wrapped.named_parameters() if weight.requires_grad}
    if trainable.keys() != lora_parameters(wrapped).keys() or len(trainable) != 2 * len(targets):
        raise ModelError(
            f"expected exactly the A and B of {len(targets)} attention projections to be trained, "
            f"found {len(trainable)} tensors, such as {', '.join(list(trainable)[:3])}"
        )
    expected = lora_size(targets.values(), rank)
    if sum(trainable.values()) != expected:
        raise ModelError(f"expected {expected} trainable parameters, found {sum(trainable.values())}")


@torch.no_grad()
def reset_a(name: str, weight: Tensor, seed: int) -> None:
    """Uniform in +-1/sqrt(in), which is PEFT's own range, from a generator keyed by (seed, name); the same on a GPU."""
    key = hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)
    bound = weight.shape[1] ** -0.5
    weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))


def remove_lora(model: PeftModel) -> PreTrainedModel:
    """The base model as it was before `add_lora`."""
    base = model.unload()
    return base  # type: ignore[return-value]


def save_adapter(model: PeftModel, folder: Path, base_name: str | None) -> None:
    """Write PEFT's files into `folder`, each at once, without a local path in them."""
    with whole_files(folder) as scratch:
        model.save_pretrained(str(scratch), safe_serialization=True, save_embedding_layers=False)
        path = scratch / ADAPTER_FILES[0]
        write_json(path, read_json(path) | {"base_model_name_or_path": base_name, "inference_mode": True})
        (scratch / "README.md").unlink()  # PEFT's blank card


def adapter_digest(folder: Path) -> str:
    """sha256 of an adapter's weights and config."""
    whole = hashlib.sha256()
    for name in ADAPTER_FILES:
        whole.update((folder / name).read_bytes())
    return whole.hexdigest()
