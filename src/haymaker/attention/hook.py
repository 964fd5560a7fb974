"""The one attention function Haymaker registers with transformers.

    attach     a decoder's config names `haymaker:<backend>` while a `with` block is open, and is restored after it
    attend     that function: the output comes from the model's own backend, looked up by name at call time;
               the tools of the open blocks (probe, edit, record) may read the call and rewrite its output

State lives in context variables, so two threads do not mix and `generate` needs nothing passed to it. A thread started
inside a block starts without it.
"""

import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import causal_mask_function

from haymaker.attention.calls import Call, Step, Tool
from haymaker.attention.generating import ON_CACHE, running
from haymaker.errors import ModelError, ProbeError

PREFIX = "haymaker:"
PLAIN_BACKENDS = ("sdpa", "eager", "flex_attention")  # their mask says all: windows and packed sequences too


# ---- what holds the tools of open blocks, and the function that calls them

_TOOLS: ContextVar[tuple[Tool, ...]] = ContextVar("haymaker_tools", default=())
_STEP: ContextVar[Step | None] = ContextVar("haymaker_step", default=None)
_CHECKING: ContextVar[bool] = ContextVar("haymaker_checking", default=False)  # this thread is in `apart`
OVERRIDE: ContextVar[str | None] = ContextVar("haymaker_backend", default=None)  # the canary's view of eager


def current_step(decoder: PreTrainedModel) -> Step | None:
    """The forward of `decoder` that is running in this thread inside an open block."""
    step = _STEP.get()
    return step if step is not None and step.decoder is decoder else None


def open_tools(decoder: PreTrainedModel) -> tuple[Tool, ...]:
    """The tools that this thread's open blocks hold on `decoder`, outermost first."""
    return tuple(tool for tool in _TOOLS.get() if tool.decoder is decoder)


# --- the registered functions ---------------------------------------------------------------------------------------


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, *, backend: str, **options: Any
) -> Any:
    """transformers' attention function: (output [batch, query, head, head_dim], weights or None) of `backend`."""
    mask = attention_mask  # which some models give by keyword
    backend = OVERRIDE.get() or backend
    step = _STEP.get()
    if step is None:
        return delegate(backend, module)(module, query, key, value, mask, **options)
    call = describe(step, module, query, key, value, mask=mask, backend=backend, options=options)
    for tool in step.tools:
        call.query = tool.rewrite_query(call)
    output, weights = delegate(backend, module)(module, call.query, key, value, mask, **options)
    for tool in step.tools:
        output = tool.rewrite_output(call, output)
    step.memo["weights"] = weights
    for tool in step.tools:
        tool.observe(call, output)
    return output, weights


def build_mask(backend: str, *args: Any, **options: Any) -> Any:
    """transformers' mask function: the mask that `backend` expects (without one, masks silently become None)."""
    step = _STEP.get()
    sees = given = options.get("mask_function", causal_mask_function)
    for tool in step.tools if step is not None else ():
        sees = tool.rewrite_mask(sees)
    if sees is not given:
        options |= {"mask_function": sees, "allow_is_causal_skip": False}
    return AttentionMaskInterface()[OVERRIDE.get() or backend](*args, **options)


def register(backend: str) -> str:
    """Names our two functions for `backend`; returns the name. The entries stay, and do nothing outside a block."""
    name = PREFIX + backend
    AttentionInterface.register(name, partial(attend, backend=backend))
    if backend in AttentionMaskInterface():
        AttentionMaskInterface.register(name, partial(build_mask, backend))
    return name


@cache
def modeling_file(kind: type[nn.Module]) -> dict[str, Any]:
    """The names of the file that defines an attention class or the class it derives from (FSDP makes subclasses)."""
    files = [vars(sys.modules[base.__module__]) for base in kind.__mro__ if base.__module__ in sys.modules]
    return next((names for names in files if "eager_attention_forward" in names), files[0])


def delegate(backend: str, module: nn.Module) -> Callable[..., Any]:
    """The model's own function for `backend`: what transformers would have called. Looked up anew at every call."""
    names = modeling_file(type(module))
    interface: Any = names.get("ALL_ATTENTION_FUNCTIONS") or AttentionInterface()
    function = interface.get_interface(backend, names.get("eager_attention_forward"))
    if function is None:
        raise ProbeError(
            f"expected an `eager_attention_forward` beside {type(module).__name__}, found none: "
            "load the model with another attn_implementation"
        )
    if backend in PLAIN_BACKENDS:
        return function
    # flash functions read the name of their kernel from the module's config, where ours stands now
    return lambda module, *args, **options: function(_Stand(module, backend), *args, **options)


class _Stand:
    """An object, seen with its backend's own name in the config."""

    def __init__(self, real: Any, backend: str) -> None:
        self._real, self._backend = real, backend

    def __getattr__(self, name: str) -> Any:
        if name == "config":
            return _Stand(self._real.config, self._backend)
        return self._backend if name == "_attn_implementation" else getattr(self._real, name)


def describe(
    step: Step, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *, mask: Any, backend: str, options: dict
) -> Call:
    """A call with its geometry checked against what the cache promised."""
    layer = getattr(module, "layer_idx", len(step.keys))
    if not isinstance(layer, int) or layer < 0:
        raise ProbeError(f"{type(module).__name__}: expected an attention of one layer, found one that several share")
    geometry = geometry_of(step, layer, key)
    if geometry is None or query.shape[2] != step.count or key.shape[2] != geometry[0]:
        raise ProbeError(
            f"{type(module).__name__}, layer {layer}: expected {step.count} queries and "
            f"{geometry and geometry[0]} keys from the cache, found {query.shape[2]} and {key.shape[2]}; "
            "Haymaker cannot tell which positions these are (shared or sliced keys are not supported)"
        )
    if torch.compiler.is_compiling():
        raise ProbeError("expected a plain forward, found torch.compile: set disable_compile=True for generate")
    scaling, causal = options.get("scaling"), options.get("is_causal")
    return Call(
        step, module, backend, query, key, value, mask, layer,
        scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
        softcap=options.get("softcap"),
        sinks=options.get("s_aux"),
        # the other backends carry the window in their mask, and ignore this argument
        window=None if backend in PLAIN_BACKENDS else options.get("sliding_window"),
        causal=(getattr(module, "is_causal", True) if causal is None else causal) and backend != "eager",
        dropout=options.get("dropout") or 0.0,
        position_ids=options.get("position_ids"),
    )  # fmt: skip


def geometry_of(step: Step, layer: int, key: Tensor) -> tuple[int, int] | None:
    """A layer's number of keys and the slot of the first, as its cache gives them; where it keeps none, as that of the
    earlier layer whose keys these are (Gemma 3n, Gemma 4)."""
    if layer >= len(step.keys):
        return None
    if (found := step.keys[layer]) is None:
        found = step.keys[layer] = next((geometry for ref, geometry in step.lent if ref() is key), None)
    else:
        step.lent.append((weakref.ref(key), found))
    return found


# --- attaching to a model -------------------------------------------------------------------------------------------


def decoder_of(model: Any) -> PreTrainedModel:
    """The stack of layers inside any Hugging Face decoder; a PeftModel or LanguageModel is unwrapped.

    Raises ProbeError for what is not one: an encoder-decoder, a compiled model, a model of another library.
    """
    whole = unwrapped(model)
    decoder: Any = whole.get_decoder()
    if isinstance(decoder, PreTrainedModel) and decoder is not whole:
        return decoder
    # `get_decoder` gives Llama 4 itself, and ModernBERT's decoder its head
    return next((child for child in whole.children() if isinstance(child, PreTrainedModel)), whole)


def unwrapped(model: Any) -> PreTrainedModel:
    """The transformers model itself. Raises ProbeError, as `decoder_of` does."""
    if not isinstance(model, nn.Module):
        model = getattr(model, "model", model)
    if hasattr(model, "peft_config") and hasattr(model, "get_base_model"):
        model = cast(Any, model).get_base_model()
    if not isinstance(model, PreTrainedModel):
        raise ProbeError(f"expected a transformers decoder, found {type(model).__name__}: pass the model itself")
    if getattr(model.config, "is_encoder_decoder", False):
        raise ProbeError(f"expected a decoder, found the encoder-decoder {type(model).__name__}")
    refuse_tuples(model)
    return model


def refuse_tuples(model: PreTrainedModel) -> None:
    """Raise ModelError where a config has forwards return tuples, with which most of transformers' own fail."""
    if not all(config.return_dict for config in (model.config, model.config.get_text_config())):
        raise ModelError(
            f"{type(model).__name__}: expected forwards that name what they return, found return_dict=False in its "
            "config; set config.return_dict = True"
        )


class Attachment:
    """A decoder whose configs name our function and whose forward tells us its slots; shared by all open blocks."""

    def __init__(self, decoder: PreTrainedModel) -> None:
        found = [getattr(module, "config", None) for module in decoder.modules()]
        configs = {id(config): config for config in found if isinstance(config, PreTrainedConfig)}
        self.count = 0
        self.forwards_elsewhere = 0  # in threads that hold no block
        self.originals = [(config, config._attn_implementation) for config in configs.values()]
        for config, backend in self.originals:
            config._attn_implementation_internal = register(backend or "eager")
        self.hooks = [
            decoder.register_forward_pre_hook(_begin_step, with_kwargs=True),
            decoder.register_forward_hook(_end_step, always_call=True),
        ]

    def undo(self) -> None:
        for config, backend in self.originals:
            if str(config._attn_implementation).startswith(PREFIX):
                config._attn_implementation_internal = backend
        for hook in self.hooks:
            hook.remove()


_LOCK = threading.RLock()
_ATTACHED: dict[PreTrainedModel, Attachment] = {}


def backend_of(decoder: PreTrainedModel) -> str:
    """The attention implementation that the model was loaded with, also inside a block."""
    return str(decoder.config._attn_implementation or "eager").removeprefix(PREFIX)


@contextmanager
def apart() -> Iterator[None]:
    """Without this thread's open blocks, which do not count them: for forwards that only check something."""
    tools, checking = _TOOLS.set(()), _CHECKING.set(True)
    try:
        yield
    finally:
        _CHECKING.reset(checking)
        _TOOLS.reset(tools)


@contextmanager
def attach(*tools: Tool) -> Iterator[Attachment]:
    """Lets tools take part in the attention calls of their decoder, in this thread, until the block ends."""
    decoder = tools[0].decoder
    with _LOCK:
        attachment = _ATTACHED.get(decoder) or _ATTACHED.setdefault(decoder, Attachment(decoder))
        attachment.count += 1
    token = _TOOLS.set((*_TOOLS.get(), *tools))
    try:
        yield attachment
    finally:
        _TOOLS.reset(token)
        with _LOCK:
            attachment.count -= 1
            if not attachment.count:
                _ATTACHED.pop(decoder).undo()


def _begin_step(decoder: PreTrainedModel, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    tools = open_tools(decoder)
    if not tools:
        _STEP.set(None)
        if not _CHECKING.get() and (attachment := _ATTACHED.get(decoder)) is not None:
            attachment.forwards_elsewhere += 1
        return None
    check_attached(decoder)
    given = dict(zip(parameter_names(type(decoder)), args, strict=False)) | kwargs
    tokens: Tensor = given["inputs_embeds"] if given.get("input_ids") is None else given["input_ids"]
    batch, count = tokens.shape[:2]
    cache = given.get("past_key_values")
    first, keys = key_geometry(cache, count, decoder.config.num_hidden_layers)
    step = Step(
        decoder, tools, batch, first, count, keys, given.get("attention_mask"), given.get("input_ids"),
        getattr(cache, ON_CACHE, None), cached=cache is not None, packed=packs(given),
    )  # fmt: skip
    if (generation := running(decoder)) is not None:
        step.prompt_length, step.prompts, step.steady = generation.prompt_length, generation.prompts, generation.steady
    for tool in tools:
        tool.begin(step)
    _STEP.set(step)
    if "logits_to_keep" not in kwargs:
        return None
    # Gemma 4 leaves the other positions out of the layers that share keys; who reads or writes there needs them all
    return args, kwargs | {"logits_to_keep": 0}


def check_attached(decoder: PreTrainedModel) -> None:
    """Raise ProbeError where another attention was chosen inside a block, which would be neither read nor written."""
    if not (found := str(decoder.config._attn_implementation)).startswith(PREFIX):
        raise ProbeError(
            f"{type(decoder).__name__}: expected the attention that the open block put in, found {found!r}, chosen "
            "since; choose an attention implementation before the block"
        )


def packs(given: dict[str, Any]) -> bool:
    """Whether position ids begin anew within a row and no mask says more, which is how transformers packs sequences."""
    ids = given.get("position_ids")
    if ids is None or given.get("attention_mask") is not None or given.get("past_key_values") is not None:
        return False
    return bool((ids[..., 1:] < ids[..., :-1]).any())


def _end_step(decoder: PreTrainedModel, args: tuple, output: Any) -> None:
    step = current_step(decoder)
    _STEP.set(None)
    if step is not None and output is not None:  # None where the forward raised
        for tool in step.tools:
            tool.finish(step)


@cache
def parameter_names(kind: type[nn.Module]) -> list[str]:
    return list(inspect.signature(kind.forward).parameters)[1:]


def key_geometry(cache: Any, count: int, layers: int) -> tuple[int, list[tuple[int, int] | None]]:
    """Slot of the first query; per layer the number of keys and the slot of the first, as the cache will give them."""
    if cache is None:
        return 0, [(count, 0)] * layers
    return int(cache.get_query_offset()), [_layer_keys(cache, count, layer) for layer in range(layers)]


def _layer_keys(cache: Any, count: int, layer: int) -> tuple[int, int] | None:
    try:
        return cache.get_mask_sizes(count, layer)
    except ValueError:  # a linear-attention layer keeps no keys
        return None
