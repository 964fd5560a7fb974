"""Weights of a checkpoint for which the model of its config has no place: it would be another model."""

import re
from collections.abc import Iterable, Mapping

from torch import nn
from transformers import PreTrainedModel

from haymaker.errors import ModelError

NUMBER = re.compile(r"\.(\d+)\.")


def check_left_out(name: str, model: PreTrainedModel, unexpected: Iterable[str]) -> None:
    """Raise ModelError where a checkpoint has more layers than its config, or a bias where the config has none.

    transformers leaves them out with a report. What else it leaves out is no part of the decoder's own layers: masks
    and rotary tables of earlier versions, towers for images.
    """
    modules = dict(model.named_modules())
    prefix = f"{model.base_model_prefix}."  # which names in a file may lack
    modules = {name.removeprefix(prefix): module for name, module in modules.items()} | modules
    ahead = getattr(model.config.get_text_config(), "num_nextn_predict_layers", None) or 0
    lost = sorted(key for key in unexpected if is_beyond(modules, key, ahead) or is_bias(modules, key))
    if lost:
        raise ModelError(
            f"{name}: its file holds {len(lost)} weights for which its config leaves no place, such as {lost[0]}, so "
            "the model would be another one; give the config that was saved with these weights"
        )


def is_beyond(modules: Mapping[str, nn.Module], key: str, ahead: int) -> bool:
    """Whether a weight is of a layer behind the last one, and the `ahead` that predict further tokens behind that."""
    for found in NUMBER.finditer(key):
        layers = modules.get(key[: found.start()])
        if isinstance(layers, nn.ModuleList):
            return int(found[1]) >= len(layers) + ahead
    return False


def is_bias(modules: Mapping[str, nn.Module], key: str) -> bool:
    """Whether it is the bias of a product or a norm that has none here."""
    place, _, kind = key.rpartition(".")
    module = modules.get(place)
    if kind != "bias" or module is None or any(module.children()):
        return False
    return getattr(module, "weight", None) is not None and "bias" not in dict(module.named_buffers(recurse=False))
