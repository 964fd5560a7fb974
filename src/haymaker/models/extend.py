"""Context extension: RoPE for more tokens, windows opened; verified on the model by what changes and by what may not.

Assigning `config.rope_theta` does nothing on transformers 5, and some layers read their config as a switch. So every
change is made in the full config and carried to what is built from it, and then proven: frequencies and outputs of the
rotary embedding against the closed form; and inside the old context, at factor 1, logits that have not moved.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.config import Extend
from haymaker.errors import ExtensionError
from haymaker.models.finite import at_fault
from haymaker.models.forward import stack_of
from haymaker.models.rope import attention_scale, extended_parameters, frequencies_of, reach_of
from haymaker.models.rope_ways import check_way, way_of
from haymaker.models.windows import WINDOWED, layer_types, open_window, sliding_window, verify_window, window_name

FREQUENCY_TOLERANCE = 1e-5  # relative; frequencies are computed in float32
ANGLE_TOLERANCE = 1e-5  # absolute, of cos and sin; and float32 angles lose as much again per 100 tokens of position
ANGLE_TOLERANCE_PER_TOKEN = 1.2e-7
CONTEXT = "max_position_embeddings"
SHORT = 12  # tokens of the prompt whose logits may not move
LOGIT_TOLERANCE, LOGIT_TOLERANCE_ROUNDED = 1e-4, 5e-2  # of the largest logit; the second below float32
BUFFER = "inv_freq"
MISSING = object()
Plain = bool | int | float | str | None


@dataclass(frozen=True)
class Positions:
    """How a model sees positions: what two runs must share to be the same function. Lengths in tokens.

    theta: that of the global layers, where kinds of layers have their own. window: None where every layer sees all.
    """

    length: int
    theta: float
    rope_parameters: dict[str, Any]
    frequencies_digest: str
    window: int | None


@dataclass(frozen=True)
class Extension:
    """A context extension that took effect. Lengths and windows in tokens; `factor` is new over original length."""

    original: Positions
    extended: Positions

    @property
    def factor(self) -> float:
        return self.extended.length / self.original.length


def extend_context(model: PreTrainedModel, extend: Extend) -> Extension:
    """Extend `model` in place and prove it. Raises ExtensionError, and then the model may not be used further."""
    original = positions_of(model)
    if original is None:
        raise ExtensionError(why_not(model))
    parameters = global_parameters(model)
    check_way(parameters, extend, type(model).__name__)
    check_base(model)
    if extend.length < original.length:
        raise ExtensionError(
            f"extend.length is {extend.length} tokens, but the model already reads {original.length}; "
            f"give at least {original.length}, or no extension"
        )
    extend_windows(model, extend)
    way, factor = way_of(extend), max(1.0, extend.length / reach_of(parameters, original.length))
    same = extend if way != "theta" else extend.model_copy(update={"theta": original.theta})
    with unmoved(model, f"RoPE by {way} at factor 1"):
        change_rope(model, parameters, same, 1.0, original.length)
    before = short_logits(model, SHORT), frequencies_found(model)
    with others_unmoved(model):
        change_rope(model, parameters, extend, factor, extend.length)
    after = short_logits(model, SHORT, changed=True), frequencies_found(model)
    if torch.equal(before[0], after[0]) and not torch.allclose(before[1], after[1], rtol=0.1):
        raise ExtensionError(
            f"{type(model).__name__} does not turn by its rotary position embedding: other frequencies move no logit, "
            "so its context cannot be extended"
        )
    found = positions_of(model)
    assert found is not None
    return Extension(original, found)


# ---- reading a model's positions


def positions_of(model: PreTrainedModel) -> Positions | None:
    """What config and rotary embedding say; None for a model without RoPE, or without it in its global layers."""
    config: Any = stack_of(model).config
    parameters, found = global_parameters(model), rotary_modules(model)
    theta = parameters.get("rope_theta")
    if not found or not isinstance(theta, int | float) or getattr(config, CONTEXT, None) is None:
        return None
    every = torch.cat([module.get_buffer(name).flatten() for module in found.values() for name in buffers_of(module)])
    return Positions(
        int(config.max_position_embeddings),
        float(theta),
        plain_names(rope_parameters(model)),
        tensor_digest(every),
        sliding_window(model),
    )


def plain_names(parameters: dict[str, Any]) -> dict[str, Any]:
    """RoPE parameters without the old name of their rule, which a config on disk may have beside the new one."""
    found = {key: value for key, value in parameters.items() if key != "type" or "rope_type" not in parameters}
    return {
        key: plain_names(value) if isinstance(value, dict) else copy.deepcopy(value) for key, value in found.items()
    }


def rope_parameters(model: PreTrainedModel) -> dict[str, Any]:
    """The config's RoPE parameters, for all layers or by kind of layer."""
    return getattr(stack_of(model).config, "rope_parameters", None) or {}


def kinds_of(model: PreTrainedModel) -> dict[str, dict[str, Any]]:
    """RoPE parameters by kind of layer, for the kinds that have some; empty where all layers share theirs."""
    given = rope_parameters(model)
    return {} if "rope_theta" in given else {kind: one for kind, one in given.items() if isinstance(one, dict) and one}


def global_kind(model: PreTrainedModel) -> str | None:
    """The kind of layers that see everything and turn; None where all layers share one RoPE, or it cannot be told."""
    kinds = [kind for kind in kinds_of(model) if kind in layer_types(model) and kind not in WINDOWED]
    return kinds[0] if len(kinds) == 1 else None


def global_parameters(model: PreTrainedModel) -> dict[str, Any]:
    """The RoPE parameters of the layers that see everything; empty where there are none."""
    kinds, kind = kinds_of(model), global_kind(model)
    return (kinds[kind] if kind is not None else {}) if kinds else rope_parameters(model)


def rotary_modules(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The decoder's rotary embeddings by name: one for all layers, or one for each."""
    return {name: module for name, module in stack_of(model).named_modules() if buffers_of(module)}


def buffers_of(module: nn.Module) -> list[str]:
    """Names of the frequencies that a rotary embedding holds: `inv_freq`, or one for each kind of layer."""
    names = [name for name, _ in module.named_buffers(recurse=False)]
    return [name for name in names if name.endswith(BUFFER) and not name.endswith("original_" + BUFFER)]


def global_buffer(module: nn.Module, kind: str | None) -> str | None:
    """The name of the global layers' frequencies in a rotary embedding."""
    wanted = BUFFER if kind is None else f"{kind}_{BUFFER}"
    return next((name for name in (wanted, BUFFER) if name in buffers_of(module)), None)


def frequencies_found(model: PreTrainedModel) -> Float[Tensor, "pair"]:
    """Frequencies of the global layers, in radians per token."""
    for module in rotary_modules(model).values():
        if (name := global_buffer(module, global_kind(model))) is not None:
            return module.get_buffer(name).double().cpu()
    raise ExtensionError(
        f"{type(model).__name__} keeps no frequencies for its global layers where they are known to be"
    )


def tensor_digest(values: Tensor) -> str:
    return hashlib.sha256(values.detach().float().cpu().numpy().tobytes()).hexdigest()


def why_not(model: PreTrainedModel) -> str:
    """Why a model without known positions cannot be extended."""
    config: Any = stack_of(model).config
    name, kinds = type(model).__name__, kinds_of(model)
    if getattr(config, "rotary_dim", None) or getattr(config, "rotary_value", None) is not None:
        return (
            f"{name} turns queries and keys by a table of its own making, which no config changes, "
            "so its context cannot be extended"
        )
    if not rotary_modules(model):
        return f"{name} has no rotary position embedding, so its context cannot be extended"
    if kinds:
        return (
            f"{name} has rotary position embeddings for layers of kind {', '.join(sorted(kinds))}; expected one kind "
            "of them that sees the whole context, which is what is extended"
        )
    return f"{name} says no {'RoPE base' if getattr(config, CONTEXT, None) else CONTEXT} that could be extended"


# ---- changing it


def extend_windows(model: PreTrainedModel, extend: Extend) -> None:
    """Open the windows unless they stay; windowed layers with a RoPE of their own keep both unless told otherwise."""
    name = window_name(model)
    if name is None:
        return
    config: Any = stack_of(model).config
    window = int(getattr(config, name))
    keep = bool(kinds_of(model)) if extend.keep_window is None else extend.keep_window
    if window >= extend.length:
        return
    if not keep:
        with unmoved(model, "the window taken away", min(SHORT, window - 1)):
            change(model, lambda: open_window(model, extend.length))
    context = config.max_position_embeddings
    config.max_position_embeddings = extend.length  # a window is one only if the context is longer
    try:
        verify_window(model, window if keep else None, window + 2)
    finally:
        config.max_position_embeddings = context


def change_rope(model: PreTrainedModel, parameters: dict[str, Any], extend: Extend, factor: float, length: int) -> None:
    """Give the global layers what extends `parameters`, which serve the model's present length, by `factor`."""
    config: Any = stack_of(model).config
    new = extended_parameters(parameters, extend, factor, config.max_position_embeddings, len(frequencies_found(model)))
    change(model, partial(set_rope, model, new, length))
    verify_frequencies(model, length)


def set_rope(model: PreTrainedModel, parameters: dict[str, Any], length: int) -> None:
    """Put the global layers' RoPE and the length into the config."""
    config, kind = cast(Any, stack_of(model).config), global_kind(model)
    config.rope_parameters = parameters if kind is None else {**config.rope_parameters, kind: parameters}
    config.max_position_embeddings = length
    if vars(config).get("head_dim", 0) is None:  # transformers' YaRN reads it here alone
        config.head_dim = config.hidden_size // config.num_attention_heads
    if "original_max_position_embeddings" in parameters and hasattr(config, "original_max_position_embeddings"):
        config.original_max_position_embeddings = parameters["original_max_position_embeddings"]  # Phi-3 reads it there


def change(model: PreTrainedModel, act: Callable[[], None]) -> None:
    """Change the config, and what a model built from it would have otherwise: numbers, names, rotary embeddings."""
    before = skeleton(model)
    act()
    after = skeleton(model)
    modules = dict(model.named_modules())
    for name, attribute, value in differences(before, after):
        if name in modules:
            setattr(modules[name], attribute, value)
    rebuild_rotary(model)


def skeleton(model: PreTrainedModel) -> nn.Module:
    """The model that its config describes, without weights."""
    try:
        with torch.device("meta"):
            return type(model)(type(model.config).from_dict(model.config.to_dict()))
    except Exception as error:  # of any kind: configs check themselves, each in its own way
        raise ExtensionError(
            f"transformers does not build {type(model).__name__} with rope_parameters "
            f"{stack_of(model).config.rope_parameters}: {' '.join(str(error).split())}"
        ) from error


def differences(before: nn.Module, after: nn.Module) -> Iterator[tuple[str, str, Plain]]:
    """Plain attributes, by module, that differ. Raises ExtensionError for tensors of another shape."""
    for (name, old), (_, new) in zip(before.named_modules(), after.named_modules(), strict=True):
        for attribute, value in vars(new).items():
            if isinstance(value, bool | int | float | str | None) and vars(old).get(attribute, MISSING) != value:
                yield name, attribute, value
    sizes = [
        {name: tensor.shape for name, tensor in [*m.named_parameters(), *m.named_buffers()]} for m in (before, after)
    ]
    if resized := [name for name, shape in sizes[0].items() if sizes[1].get(name) != shape]:
        raise ExtensionError(
            f"{type(after).__name__} keeps tables as long as its context, such as {resized[0]}; they cannot be extended"
        )


def rebuild_rotary(model: PreTrainedModel) -> None:
    """Rotary embeddings anew from the config, in their places."""
    decoder: Any = stack_of(model)
    for name, old in rotary_modules(model).items():
        new = type(old)(config=decoder.config)  # type: ignore[call-arg]
        decoder.set_submodule(name, new.to(old.get_buffer(buffers_of(old)[0]).device).train(old.training))


# ---- proving it


def check_base(model: PreTrainedModel) -> None:
    """Raises ExtensionError for a base whose frequencies are not those that its config promises."""
    found = frequencies_found(model)
    expected = frequencies_of(global_parameters(model), len(found))
    if expected is None or not torch.allclose(found, expected, rtol=FREQUENCY_TOLERANCE, atol=0):
        raise ExtensionError(
            f"{type(model).__name__} turns by other frequencies than its rope_parameters {global_parameters(model)} "
            "give in closed form, so an extension of them could not be verified"
        )


def verify_frequencies(model: PreTrainedModel, length: int) -> None:
    """Compare the global layers' frequencies, and cos and sin at far positions, with the closed form."""
    parameters, found = global_parameters(model), frequencies_found(model)
    expected, name = frequencies_of(parameters, len(found)), type(model).__name__
    if expected is None or not torch.allclose(found, expected, rtol=FREQUENCY_TOLERANCE, atol=0):
        ends = "unknown" if expected is None else f"{expected[-1]:.6g}"
        raise ExtensionError(
            f"theta {parameters['rope_theta']:.6g} did not take on {name}: the rotary embedding holds "
            f"{len(found)} frequencies ending at {found[-1]:.6g}, expected them to end at {ends}; "
            "this model or transformers version builds it in a way Haymaker does not know"
        )
    for module in rotary_modules(model).values():
        verify_angles(module, global_kind(model), attention_scale(parameters), length)


def verify_angles(rotary: nn.Module, kind: str | None, scale: float, length: int) -> None:
    """Check that a rotary embedding returns cos and sin of position times frequency, however it lays them out."""
    if (buffer := global_buffer(rotary, kind)) is None:
        return
    inv_freq = rotary.get_buffer(buffer)
    at = torch.tensor([[0, 1, length // 2, length - 1]], device=inv_freq.device)
    options = {"layer_type": kind} if "layer_type" in signature(rotary.forward).parameters else {}
    returned = rotary(torch.zeros(1, dtype=torch.float32, device=at.device), at, **options)
    parts = (returned.real, returned.imag) if isinstance(returned, Tensor) else returned
    angles = at[0].cpu().double()[:, None] * inv_freq.double().cpu()
    tolerance = scale * (ANGLE_TOLERANCE + length * ANGLE_TOLERANCE_PER_TOKEN)
    for name, values, truth in zip(("cos", "sin"), parts, (angles.cos() * scale, angles.sin() * scale), strict=True):
        flat = values.double().cpu().reshape(-1, len(at[0]), values.shape[-1])[0]
        layouts = (truth, torch.cat([truth, truth], dim=-1), truth.repeat_interleave(2, dim=-1))
        if not any(flat.shape == one.shape and torch.allclose(flat, one, rtol=0, atol=tolerance) for one in layouts):
            raise ExtensionError(
                f"{type(rotary).__name__} does not return the {name} of position times frequency (it scales or "
                "reorders them); its positions cannot be verified"
            )


@contextmanager
def unmoved(model: PreTrainedModel, what: str, tokens: int = SHORT) -> Iterator[None]:
    """Check that logits of a short prompt are after the block what they were before it."""
    before = short_logits(model, tokens)
    yield
    difference = float(
        (short_logits(model, tokens, changed=True) - before).abs().max() / before.abs().max().clamp(min=1e-30)
    )
    exact = torch.finfo(next(model.parameters()).dtype).eps < 1e-6
    if not difference <= (allowed := LOGIT_TOLERANCE if exact else LOGIT_TOLERANCE_ROUNDED):
        raise ExtensionError(
            f"{what} changes {type(model).__name__} where nothing may change: the logits of {tokens} tokens move by "
            f"{difference:.3g} of the largest, with {allowed:g} allowed; something else hangs on what was changed, "
            "so this model cannot be extended like this"
        )


@contextmanager
def others_unmoved(model: PreTrainedModel) -> Iterator[None]:
    """Check that the other kinds of layers keep their frequencies."""
    before = other_frequencies(model)
    yield
    changed = [name for name, values in other_frequencies(model).items() if not torch.equal(values, before[name])]
    if changed:
        raise ExtensionError(
            f"{type(model).__name__}: {', '.join(changed)} changed, and only global layers were to be extended"
        )


def other_frequencies(model: PreTrainedModel) -> dict[str, Tensor]:
    """Frequencies of layers that are not global, by module and kind."""
    return {
        f"{name}.{buffer}": module.get_buffer(buffer).clone()
        for name, module in rotary_modules(model).items()
        for buffer in buffers_of(module)
        if buffer != global_buffer(module, global_kind(model))
    }


@torch.no_grad()
def short_logits(model: PreTrainedModel, tokens: int, *, changed: bool = False) -> Float[Tensor, "token vocabulary"]:
    """Logits of a fixed prompt. Raises ExtensionError where there are none, or they are not finite."""
    size, name = model.get_input_embeddings().weight.shape[0], type(model).__name__  # type: ignore[union-attr]
    ids = torch.arange(1, tokens + 1, device=model.device)[None] * 7919 % size
    try:
        logits = model(input_ids=ids, use_cache=False).logits[0].float().cpu()
    except Exception as error:
        how = " with its RoPE extended" if changed else ""
        why = ", so something else of it depends on the base" if changed else ""
        raise ExtensionError(
            f"{name} does not run{how} ({type(error).__name__}: {error}){why}; it cannot be extended"
        ) from error
    if not logits.isfinite().all():
        raise ExtensionError(f"{name}: the logits of {tokens} tokens are not finite, {at_fault(model)}")
    return logits
