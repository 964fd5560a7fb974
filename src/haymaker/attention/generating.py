"""Where a prompt ends, and whose rows a batch holds: what a forward alone cannot say, and `generate` and Haymaker's own
decoder know."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, cast

from torch import Tensor
from transformers import PreTrainedModel

ON_CACHE = "haymaker_prompt_length"  # set on the cache of a sequence by who fills it (models/generation.py)


@dataclass(frozen=True)
class Generation:
    """A running `generate`: its model, and the slots and number of its prompts; each may be several rows of a batch.

    steady: slots up to which a row of the batch is one sequence: beams change places behind the prompt, and guidance
    runs a prompt of its own, whose length differs; None where rows stay what they are.
    """

    model: PreTrainedModel
    prompt_length: int | None
    prompts: int
    steady: int | None


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
        given = next((one for one in (options.get("inputs_embeds"), inputs, options.get("input_ids"))
                      if isinstance(one, Tensor)), None)  # fmt: skip
        if given is None or _RUNNING.get() is not None:
            return generate(inputs, *args, **options)
        length, config = prompt_slots(given, options), args[0] if args else options.get("generation_config")
        said = partial(setting, options, config or cast(Any, model).generation_config)
        guided, beams = said("guidance_scale") != 1, said("num_beams") > 1
        token = _RUNNING.set(
            Generation(model, None if guided else length, len(given), 0 if guided else length if beams else None)
        )
        try:
            return generate(inputs, *args, **options)
        finally:
            _RUNNING.reset(token)

    return note


def prompt_slots(given: Tensor, options: Mapping[str, Any]) -> int:
    """Slots of a prompt: `generate` takes ids that go on with a filled cache, and knows them by the longer mask."""
    mask = options.get("attention_mask")
    goes_on = given.ndim == 2 and options.get("past_key_values") is not None and isinstance(mask, Tensor)
    return int(cast(Tensor, mask).shape[-1] if goes_on else given.shape[1])


def setting(options: Mapping[str, Any], config: Any, name: str) -> Any:
    """What `generate` takes for a number of its own that is 1 by default."""
    found = options.get(name)
    return found if found is not None else getattr(config, name, None) or 1
