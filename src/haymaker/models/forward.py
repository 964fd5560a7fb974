"""Modules that run another function for a while, in place of their own forward."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


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
