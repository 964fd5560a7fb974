"""Which linear layers of a decoder an adapter stands on: found by what they are, whatever they are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from haymaker.errors import ConfigError, ModelError
from haymaker.models.adapted import ATTENTION_NAMES, TOO_HIGH, UNUSED
from haymaker.records import Head

SEPARATE = ("q_proj", "k_proj", "v_proj")  # what a choice of heads needs, and an output projection
CHOOSING = ("gate", "router")  # they choose experts; an indexer chooses keys, and no gradient goes through it


@dataclass(frozen=True)
class Targets:
    """What to adapt: "attention", "mlp" or names of projections; in all layers or some; of all heads or some."""

    names: Sequence[str] = ("attention",)
    layers: Sequence[int] | None = None
    heads: Sequence[str] | None = None  # as "16-19"
    ranks: dict[str, int] = field(default_factory=dict)  # by name of a projection, in place of the adapter's rank


ATTENTION = Targets()


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder's layers, whatever it calls them: its outermost list of as many modules as it has layers."""
    count = getattr(model.config, "num_hidden_layers", None)
    lists = [module for module in model.get_decoder().modules() if isinstance(module, nn.ModuleList)]
    return next((list(found) for found in lists if len(found) == count), [])


def is_linear(module: nn.Module) -> bool:
    """Whether a module multiplies by a matrix: torch's linear layer, one of a quantised model, or GPT-2's Conv1D."""
    return isinstance(module, nn.Linear | Conv1D) or all(
        isinstance(getattr(module, name, None), int) for name in ("in_features", "out_features")
    )


def sizes(module: Any) -> tuple[int, int]:
    """(in, out) of a linear layer."""
    if isinstance(module, Conv1D):
        return module.weight.shape[0], module.weight.shape[1]
    return module.in_features, module.out_features


def linear_layers(layer: nn.Module) -> dict[str, tuple[str, nn.Module]]:
    """By name inside a decoder layer: the group ("attention" or "mlp") and module of each linear layer."""
    found: dict[str, tuple[str, nn.Module]] = {}
    for name, module in layer.named_modules():
        parts = name.split(".")
        if is_linear(module) and parts[-1] not in CHOOSING and "indexer" not in parts:
            found[name] = ("attention" if parts[0] in ATTENTION_NAMES else "mlp", module)
    return found


def target_modules(model: PreTrainedModel, targets: Targets) -> dict[str, nn.Module]:
    """The linear layers to adapt by their names in the model, in the layers' order. Raises ModelError, ConfigError."""
    layers = layers_of(model)
    names = {module: name for name, module in model.named_modules()}
    if targets.layers is not None and (wrong := [i for i in targets.layers if not 0 <= i < len(layers)]):
        raise ConfigError(f"layers: expected 0 to {len(layers) - 1}, found {', '.join(map(str, wrong))}")
    found: dict[str, nn.Module] = {}
    known: dict[str, str] = {}
    for index in range(len(layers)) if targets.layers is None else sorted(set(targets.layers)):
        for inner, (group, module) in linear_layers(layers[index]).items():
            known[inner.rpartition(".")[2]] = group
            if group in targets.names or inner.rpartition(".")[2] in targets.names:
                found[names[module]] = module
    check_found(model, targets, found, known)
    return found


def check_found(model: PreTrainedModel, targets: Targets, found: dict[str, nn.Module], known: dict[str, str]) -> None:
    """Every name that was asked for is there, and something is left to train."""
    groups = set(known.values())
    missing = [name for name in (*targets.names, *targets.ranks) if name not in known and name not in groups]
    if found and not missing:
        return
    said = ", ".join(sorted(known)) or f"none in {', '.join(name for name, _ in model.get_decoder().named_children())}"
    raise ModelError(
        f"LoRA on {', '.join(missing or targets.names)}: expected linear layers of that name in the layers of "
        f"{type(model).__name__}, found {said}; give other targets, or use another architecture"
    )


def check_ranks(modules: Mapping[str, nn.Module], rank: int, ranks: Mapping[str, int]) -> None:
    """Raises ConfigError for a rank of what is not adapted (PEFT passes it over), and for one above a smaller side."""
    adapted = {name.rpartition(".")[2] for name in modules}
    if unused := sorted(set(ranks) - adapted):
        raise ConfigError(UNUSED.format(unused[0], ", ".join(sorted(adapted))))
    for name, module in modules.items():
        last, side = name.rpartition(".")[2], min(sizes(module))
        if (wanted := ranks.get(last, rank)) > side:
            raise ConfigError(TOO_HIGH.format(name, side, wanted, last))


def suffixes(model: PreTrainedModel, wanted: Sequence[str], layers: Sequence[int] | None) -> list[str]:
    """The shortest endings of names that match `wanted` and no other linear layer of the same decoder layers."""
    others = [name for name, module in model.named_modules() if is_linear(module) and name not in set(wanted)]
    if layers is not None:  # PEFT is told them apart from the names
        chosen = {name for layer in layers for name in others if f".{layer}." in name}
        others = [name for name in others if name in chosen]
    found: set[str] = set()
    for name in wanted:
        parts = name.split(".")
        endings = (".".join(parts[-length:]) for length in range(1, len(parts) + 1))
        found.add(next((e for e in endings if not any(ends_with(other, e) for other in others)), name))
    return sorted(found)


def ends_with(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")


# ---- some heads


def head_masks(
    model: PreTrainedModel, targets: Targets, modules: dict[str, nn.Module]
) -> dict[str, tuple[str, Tensor]]:
    """By module, "lora_A" or "lora_B" and what its gradient is multiplied by, so that only the chosen heads learn.

    Rows of B for queries, keys and values (of the KV heads that the chosen heads read); columns of A for the output.
    """
    if targets.heads is None:
        return {}
    chosen = [Head.parse(text) for text in targets.heads]
    config: Any = model.config
    heads = config.num_attention_heads
    groups = heads // (getattr(config, "num_key_value_heads", None) or heads)
    if wrong := [head for head in chosen if head.layer >= config.num_hidden_layers or head.head >= heads]:
        raise ConfigError(f"heads: {wrong[0]} is not among {config.num_hidden_layers} layers of {heads} heads")
    return {name: mask_of(name, module, chosen, heads, groups) for name, module in modules.items()}


def mask_of(name: str, module: nn.Module, chosen: Sequence[Head], heads: int, groups: int) -> tuple[str, Tensor]:
    layer = next(int(part) for part in name.split(".") if part.isdigit())
    own = {head.head for head in chosen if head.layer == layer}
    last = name.rpartition(".")[2]
    inner, outer = sizes(module)
    if last in ("k_proj", "v_proj"):
        return "lora_B", marked({head // groups for head in own}, heads // groups, outer)[:, None]
    if last == "q_proj":
        return "lora_B", marked(own, heads, outer)[:, None]
    if last in ("o_proj", "out_proj", "dense") and inner % heads == 0:
        return "lora_A", marked(own, heads, inner)[None]
    raise ConfigError(
        f"heads: expected attention projections apart ({', '.join(SEPARATE)} and an output), found {name}; "
        "leave heads out, or choose other targets"
    )


def marked(chosen: set[int], heads: int, width: int) -> Tensor:
    """1.0 for the places of chosen heads, 0.0 elsewhere."""
    mask = torch.zeros(heads, width // heads)
    mask[sorted(chosen)] = 1.0
    return mask.flatten()
