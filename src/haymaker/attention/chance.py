"""Whether a model would compute something by chance."""

import re
from typing import Any

from torch import nn

from haymaker.errors import ModelError

CHANCE = re.compile("drop|jitter")  # in the names of rates that hold while a module trains


def check_ready(*models: Any) -> None:
    """Raise ModelError for a language model in train mode, or with dropout on in a part: answers would be chance."""
    for lm in models:
        if lm.model.training or dropping(lm.model):
            raise ModelError(f"{lm.name}: expected a model in eval mode, found it in train mode; call lm.model.eval()")


def dropping(model: nn.Module) -> str | None:
    """The first module that drops or shakes something by chance as the model stands; None where none does."""
    for name, module in model.named_modules():
        if module.training and any(rate > 0 for rate in rates_of(module)):
            return name or type(module).__name__
    return None


def rates_of(module: nn.Module) -> list[float]:
    """Rates of dropout and of noise that a module keeps under a name that says so."""
    own = {name: value for name, value in vars(module).items() if isinstance(value, float)}
    is_dropout = "dropout" in type(module).__name__.lower()  # whose rate is `p`
    return [value for name, value in own.items() if CHANCE.search(name) or (is_dropout and name == "p")]
