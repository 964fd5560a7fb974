"""Weights of a checkpoint for which the model of its config has no place: it would be another model."""

import re
from collections.abc import Iterable

from torch import nn
from transformers import PreTrainedModel

from haymaker.errors import ModelError

NUMBER = re.compile(r"\.(\d+)\.")


def check_left_out(name: str, model: PreTrainedModel, unexpected: Iterable[str]) -> None:
    """Raise ModelError where a checkpoint has more layers than its config, or a bias where the config has none.

    transformers leaves them out with a report. What else it leaves out is no part of the decoder's own layers: masks
    and rotary tables of earlier versions, towers for images.
    """
    lost = sorted(key for key in unexpected if is_beyond(model, key) or is_bias(model, key))
    if lost:
        raise ModelError(
            f"{name}: its file holds {len(lost)} weights for which its config leaves no place, such as {lost[0]}, so "
            "the model would be another one; give the config that was saved with these weights"
        )


def is_beyond(model: PreTrainedModel, key: str) -> bool:
    """Whether a weight is of a layer behind the last one. Layers that predict further tokens may stand there."""
    ahead = getattr(model.config.get_text_config(), "num_nextn_predict_layers", None) or 0
    for found in NUMBER.finditer(key):
        layers = module_of(model, key[: found.start()])
        if isinstance(layers, nn.ModuleList):
            return int(found[1]) >= len(layers) + ahead
    return False


def is_bias(model: PreTrainedModel, key: str) -> bool:
    """Whether it is the bias of a product or a norm that has none here."""
    place, _, kind = key.rpartition(".")
    module = module_of(model, place)
    if kind != "bias" or module is None or any(module.children()):
        return False
    return getattr(module, "weight", None) is not None and "bias" not in dict(module.named_buffers(recurse=False))


def module_of(model: PreTrainedModel, name: str) -> nn.Module | None:
    """The module of a name in a file, which may lack the prefix that a head puts before it."""
    modules = dict(model.named_modules())
    return modules.get(name, modules.get(f"{model.base_model_prefix}.{name}"))
