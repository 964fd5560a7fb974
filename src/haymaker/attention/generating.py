"""Where a prompt ends: what a forward alone cannot say, and `generate` and Haymaker's own decoder know."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

from torch import Tensor
from transformers import PreTrainedModel

ON_CACHE = "haymaker_prompt_length"  # set on the cache of a sequence by who fills it (models/generation.py)


@dataclass(frozen=True)
class Generation:
    """A running `generate`: its model, and the slots and number of its prompts; each may be several rows of a batch."""

    model: PreTrainedModel
    prompt_length: int
    prompts: int


_RUNNING: ContextVar[Generation | None] = ContextVar("haymaker_generation", default=None)
_LOCK = threading.Lock()
_WATCHED: dict[PreTrainedModel, int] = {}


def running(decoder: PreTrainedModel) -> Generation | None:
    """The `generate` that runs `decoder` in this thread, if it is watched."""
    found = _RUNNING.get()
    return found if found is not None and any(module is decoder for module in found.model.modules()) else None


@contextmanager
def watched(model: PreTrainedModel) -> Iterator[None]:
    """Notes of every `generate` of `model` what its prompts are, until the block ends. Blocks may overlap."""
    with _LOCK:
        if not _WATCHED.get(model):
            vars(model)["generate"] = noting(model, cast(Any, model).generate)
        _WATCHED[model] = _WATCHED.get(model, 0) + 1
    try:
        yield
    finally:
        with _LOCK:
            _WATCHED[model] -= 1
            if not _WATCHED[model]:
                del _WATCHED[model]
                original = vars(model).pop("generate").__wrapped__
                if not hasattr(original, "__func__"):  # an instance's own, which stood there before
                    vars(model)["generate"] = original


def noting(model: PreTrainedModel, generate: Callable[..., Any]) -> Callable[..., Any]:
    """`generate`, telling this thread what it generates from. One that runs inside another is part of it."""

    @wraps(generate)
    def note(inputs: Tensor | None = None, *args: Any, **options: Any) -> Any:
        given = next((one for one in (inputs, options.get("input_ids"), options.get("inputs_embeds"))
                      if isinstance(one, Tensor)), None)  # fmt: skip
        if given is None or _RUNNING.get() is not None:
            return generate(inputs, *args, **options)
        token = _RUNNING.set(Generation(model, int(given.shape[1]), len(given)))
        try:
            return generate(inputs, *args, **options)
        finally:
            _RUNNING.reset(token)

    return note
