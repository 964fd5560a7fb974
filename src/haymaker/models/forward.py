"""A decoder's layers, and modules that run another function for a while in place of their own forward."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn
from transformers import PreTrainedModel


@contextmanager
def other_forwards(functions: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Inside the block each module runs the function given for it, which takes the arguments of its forward.

    After it, also after an exception, every module is as it was, an instance's own forward (accelerate puts its hooks
    there) included. Hooks that torch keeps on a module run around the function too.
    """
    before = {module: vars(module).get("forward") for module in functions}
    for module, function in functions.items():
        module.forward = function
    try:
        yield
    finally:
        for module, own in before.items():
            del module.forward
            if own is not None:
                module.forward = own


def stack_of(model: PreTrainedModel) -> PreTrainedModel:
    """What holds the layers, also where `get_decoder` gives the whole model (Llama 4) or a head (ModernBERT)."""
    decoder: Any = model.get_decoder()
    if isinstance(decoder, PreTrainedModel) and decoder is not model:
        return decoder
    return next((child for child in model.children() if isinstance(child, PreTrainedModel)), model)


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a decoder, in their order; none where they are not one list of modules."""
    decoder: Any = stack_of(model)
    depth = getattr(decoder.config, "num_hidden_layers", None)
    lists = [child for child in decoder.children() if isinstance(child, nn.ModuleList) and len(child) == depth]
    return list(lists[0]) if lists else []
