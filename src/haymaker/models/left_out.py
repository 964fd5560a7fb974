"""Weights of a checkpoint for which the model of its config has no place: it would be another model."""

import re
from collections.abc import Iterable, Mapping

from torch import nn
from transformers import PreTrainedModel

from haymaker.errors import ModelError

NUMBER = re.compile(r"\.(\d+)\.")
AHEAD = re.compile(r"\.(eh_proj|[eh]norm|(token|hidden)_layernorm|shared_head|mtp\w*)\.")
LEARNED = re.compile(r"\.(weight|sinks|(?!masked)\w+_bias)$")


def check_left_out(name: str, model: PreTrainedModel, unexpected: Iterable[str]) -> None:
    """Raise ModelError where a checkpoint has layers, parts of layers or biases for which its config has no place.

    transformers leaves them out with a report. What else it leaves out is no part of the decoder's own layers: masks,
    rotary tables and scales, layers that predict further tokens, towers for images, heads of other tasks.
    """
    modules = dict(model.named_modules())
    prefix = f"{model.base_model_prefix}."  # which names in a file may lack
    modules = {name.removeprefix(prefix): module for name, module in modules.items()} | modules
    keys = sorted(unexpected)
    ahead = {found[0] for key in keys if AHEAD.search(key) and (found := layer_of(modules, key))}
    lost = [key for key in keys if is_of_layer(modules, key, ahead) or is_bias(modules, key)]
    if lost:
        raise ModelError(
            f"{name}: its file holds {len(lost)} weights for which its config leaves no place, such as {lost[0]}, so "
            "the model would be another one; give the config that was saved with these weights"
        )


def layer_of(modules: Mapping[str, nn.Module], key: str) -> tuple[str, bool] | None:
    """The layer that a weight belongs to, and whether the model has it; None for what stands in no list of layers."""
    for found in NUMBER.finditer(key):
        layers = modules.get(key[: found.start()])
        if isinstance(layers, nn.ModuleList):
            return key[: found.end()], int(found[1]) < len(layers)
    return None


def is_of_layer(modules: Mapping[str, nn.Module], key: str, ahead: set[str]) -> bool:
    """Whether it is learned by a layer that the model has, or of one behind the last that is none of those `ahead`."""
    found = layer_of(modules, key)
    if found is None or found[0] in ahead:
        return False
    return not found[1] or LEARNED.search(key) is not None


def is_bias(modules: Mapping[str, nn.Module], key: str) -> bool:
    """Whether it is the bias of a product or a norm that has none here."""
    place, _, kind = key.rpartition(".")
    module = modules.get(place)
    if kind != "bias" or module is None or any(module.children()):
        return False
    return getattr(module, "weight", None) is not None and "bias" not in dict(module.named_buffers(recurse=False))
