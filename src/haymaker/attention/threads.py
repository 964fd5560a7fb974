"""What is put on a module for a while acts in the thread that puts it there: the module may serve others meanwhile."""

from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any

# Whoever makes modules, or walks through those of a model: transformers and PEFT put other functions into torch
# meanwhile, for all threads. Two at a time leave them there, and every later model without numbers.
MAKING = RLock()


def nothing(*_: Any, **__: Any) -> None:
    """What a hook does that changes nothing."""


def of_this_thread(function: Callable[..., Any], elsewhere: Callable[..., Any] = nothing) -> Callable[..., Any]:
    """A hook or a forward that is `function` in this thread, and `elsewhere` in all others."""
    thread = get_ident()
    return lambda *args, **options: (function if get_ident() == thread else elsewhere)(*args, **options)
