"""A model that one thread changes, by training say, is not run by another."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from haymaker.attention.threads import MAKING, nothing, of_this_thread
from haymaker.errors import ModelError
from haymaker.models.forward import stack_of
from haymaker.models.handshake import base_of

_CHANGED: WeakKeyDictionary[nn.Module, tuple[int, str]] = WeakKeyDictionary()  # the thread that does it, and what


@contextmanager
def changed_here(model: Any, doing: str) -> Iterator[None]:
    """Inside the block this thread is `doing` something to `model` that makes another function of it: a forward of
    another thread raises ModelError then, as does such a block there."""
    base = base_of(model)

    def refuse(doing: str) -> None:
        raise ModelError(
            f"{type(base).__name__}: another thread is {doing}, which changes what it computes; wait for that thread, "
            "or load the model once for each"
        )

    with MAKING:
        before = _CHANGED.get(base)
        if before is not None and before[0] != get_ident():
            refuse(before[1])
        _CHANGED[base] = before or (get_ident(), doing)
    hook = stack_of(base).register_forward_pre_hook(of_this_thread(nothing, lambda *_: refuse(doing)))
    try:
        yield
    finally:
        hook.remove()
        if before is None:
            del _CHANGED[base]
