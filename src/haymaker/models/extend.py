"""Context extension: a larger RoPE base, no sliding window; both verified on the model, never assumed.

Assigning `config.rope_theta` does nothing on transformers 5, so the full `rope_parameters` go into the config, the
rotary embedding is built anew, and its frequencies and outputs are compared with the closed form.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float64
from torch import Tensor
from transformers import PreTrainedModel

from haymaker.config import Extend
from haymaker.errors import ExtensionError
from haymaker.models.forward import other_forwards

FREQUENCY_TOLERANCE = 1e-5  # relative; frequencies are computed in float32
ANGLE_TOLERANCE = 1e-5  # absolute, of cos and sin; and float32 angles lose as much again per 100 tokens of position
ANGLE_TOLERANCE_PER_TOKEN = 1.2e-7
MAX_WINDOW_DRY_RUN = 16_384  # tokens; the mask of a dry run has the square of it in bytes


@dataclass(frozen=True)
class Positions:
    """How a model sees positions: what two runs must share to be the same function. Lengths in tokens."""

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
        raise ExtensionError(
            f"{type(model).__name__} has no rotary position embedding, so its context cannot be extended"
        )
    refuse_unknown_rope(model)
    if extend.length < original.length:
        raise ExtensionError(
            f"extend.length is {extend.length} tokens, but the model already reads {original.length}; "
            f"give at least {original.length}, or no extension"
        )
    dimensions = rotated_dimensions(model)
    theta = extend.theta or ntk_theta(original.theta, extend.length / original.length, dimensions)
    set_theta(model, theta, extend.length)
    if original.window is not None and not extend.keep_window:
        remove_window(model)
    verify_theta(model, theta, dimensions, extend.length)
    if original.window is not None:
        verify_window(model, original.window if extend.keep_window else None, original.window + 2)
    found = positions_of(model)
    assert found is not None
    return Extension(original, found)


def ntk_theta(theta: float, factor: float, rotated_dims: int) -> float:
    """NTK-aware RoPE base: theta * factor^(d / (d - 2)), so the slowest frequency slows down by exactly `factor`.

    Source: bloc97, "NTK-Aware Scaled RoPE" (2023); the base that Zhao et al. 2025 call theta scaling.
    """
    if rotated_dims <= 2:
        raise ExtensionError(
            f"NTK-aware theta needs more than 2 rotated dimensions, found {rotated_dims}; give extend.theta"
        )
    return theta * factor ** (rotated_dims / (rotated_dims - 2))


def frequencies(theta: float, rotated_dims: int) -> Float64[Tensor, "pair"]:
    """theta^(-2i/d) for i in 0..d/2-1, in radians per token (Su et al. 2021, eq. 15)."""
    return theta ** (-torch.arange(0, rotated_dims, 2, dtype=torch.float64) / rotated_dims)


# ---- reading a model's positions


def positions_of(model: PreTrainedModel) -> Positions | None:
    """What config and rotary embedding say; None for a model without RoPE or with one base per layer type."""
    config, rotary = model.config, rotary_embedding(model)
    parameters = getattr(config, "rope_parameters", None) or {}
    if rotary is None or not isinstance(parameters.get("rope_theta"), int | float):
        return None
    return Positions(
        config.max_position_embeddings,
        float(parameters["rope_theta"]),
        dict(parameters),
        tensor_digest(rotary.inv_freq),
        sliding_window(model),
    )


def rotary_embedding(model: PreTrainedModel) -> Any:
    """The decoder's one rotary embedding, None where it has none."""
    rotary = getattr(model.get_decoder(), "rotary_emb", None)
    return rotary if isinstance(getattr(rotary, "inv_freq", None), Tensor) else None


def tensor_digest(values: Tensor) -> str:
    return hashlib.sha256(values.detach().float().cpu().numpy().tobytes()).hexdigest()


def refuse_unknown_rope(model: PreTrainedModel) -> None:
    kind = model.config.rope_parameters.get("rope_type", "default")
    if kind != "default":
        raise ExtensionError(
            f"{type(model).__name__} uses RoPE of type {kind!r}, whose base Haymaker cannot verify; "
            "only type 'default' (plain theta) can be extended"
        )


def rotated_dimensions(model: PreTrainedModel) -> int:
    """Dimensions of a head that RoPE turns (fewer than all under partial rotary)."""
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(head_dim * config.rope_parameters.get("partial_rotary_factor", 1.0))


def layer_types(model: PreTrainedModel) -> list[str]:
    """`full_attention` or `sliding_attention` of every layer."""
    config = model.config
    given = getattr(config, "layer_types", None)
    if given is not None:
        return list(given)
    kind = "full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"
    return [kind] * config.num_hidden_layers


def sliding_window(model: PreTrainedModel) -> int | None:
    """The window in tokens of the model's windowed layers, None where every layer sees everything."""
    return model.config.sliding_window if "sliding_attention" in layer_types(model) else None


# ---- changing it


def set_theta(model: PreTrainedModel, theta: float, length: int) -> None:
    """Put base and length into the config and build the rotary embedding from it."""
    config, decoder = model.config, cast(Any, model.get_decoder())
    config.rope_parameters = {**config.rope_parameters, "rope_type": "default", "rope_theta": theta}
    config.max_position_embeddings = length
    old = decoder.rotary_emb
    decoder.rotary_emb = type(old)(config=config).to(old.inv_freq.device)


def remove_window(model: PreTrainedModel) -> None:
    """Let every layer see every earlier token."""
    config, decoder = model.config, cast(Any, model.get_decoder())
    config.sliding_window = None
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = ["full_attention"] * config.num_hidden_layers
    for module in decoder.modules():
        if getattr(module, "sliding_window", None) is not None:
            module.sliding_window = None
        if hasattr(module, "layer_type"):
            module.layer_type = "full_attention"
    if hasattr(decoder, "has_sliding_layers"):
        decoder.has_sliding_layers = False


# ---- proving it


def verify_theta(model: PreTrainedModel, theta: float, rotated_dims: int, length: int) -> None:
    """Compare the rotary embedding's frequencies, and its cos and sin at far positions, with the closed form."""
    rotary, expected = rotary_embedding(model), frequencies(theta, rotated_dims)
    found = rotary.inv_freq.double().cpu()
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=FREQUENCY_TOLERANCE, atol=0):
        raise ExtensionError(
            f"theta {theta:.6g} did not take on {type(model).__name__}: the rotary embedding holds "
            f"{list(found.shape)} frequencies ending at {found[-1]:.6g}, expected {list(expected.shape)} ending at "
            f"{expected[-1]:.6g}; this transformers version builds it in a way Haymaker does not know"
        )
    at = torch.tensor([[0, 1, length // 2, length - 1]], device=rotary.inv_freq.device)
    cos, sin = rotary(torch.zeros(1, dtype=torch.float32, device=at.device), at)
    angles = at[0].cpu().double()[:, None] * rotary.inv_freq.double().cpu()
    angles = torch.cat([angles, angles], dim=-1)
    for name, values, truth in (("cos", cos, angles.cos()), ("sin", sin, angles.sin())):
        if not torch.allclose(
            values[0].double().cpu(), truth, rtol=0, atol=ANGLE_TOLERANCE + length * ANGLE_TOLERANCE_PER_TOKEN
        ):
            raise ExtensionError(
                f"the rotary embedding of {type(model).__name__} does not return the {name} of position times "
                "frequency (it scales or reorders them); its positions cannot be verified"
            )


def verify_window(model: PreTrainedModel, window: int | None, tokens: int) -> None:
    """Check that every layer's window is `window`: in config and modules, and in the masks for a prompt of `tokens`."""
    if sliding_window(model) != window:
        raise ExtensionError(
            f"expected a window of {window} tokens, but {type(model).__name__} says {sliding_window(model)}"
        )
    if window is None and (left := modules_with_window(model)):
        raise ExtensionError(f"a sliding window was to be removed, but {', '.join(left[:3])} still has one")
    if tokens > MAX_WINDOW_DRY_RUN:
        return
    blocked = [not sees_first_token(mask) for mask in dry_run_masks(model, tokens)]
    if blocked != [kind == "sliding_attention" for kind in layer_types(model)]:
        raise ExtensionError(
            f"expected a window of {window} tokens, but the masks of {type(model).__name__} for {tokens} tokens "
            f"hide the first from {sum(blocked)} of {len(blocked)} layers"
        )


def modules_with_window(model: PreTrainedModel) -> list[str]:
    return [name for name, module in model.named_modules() if getattr(module, "sliding_window", None) is not None]


def sees_first_token(mask: Any) -> bool:
    """Whether the last query of a layer's mask [batch, head, query, key] may read key 0. No mask means causal."""
    if not isinstance(mask, Tensor):
        return True
    entry = mask[0, 0, -1, 0]
    return bool(entry) if mask.dtype == torch.bool else float(entry) == 0.0


def dry_run_masks(model: PreTrainedModel, tokens: int) -> list[Any]:
    """The mask that each layer is given for a prompt of `tokens`; no layer computes anything."""
    seen: list[Any] = []

    def pass_through(hidden_states: Tensor, attention_mask: Any = None, **_: Any) -> Tensor:
        seen.append(attention_mask)
        return hidden_states

    layers: Any = model.get_decoder().layers
    with other_forwards(dict.fromkeys(layers, pass_through)), torch.no_grad():
        model.get_decoder()(input_ids=torch.zeros(1, tokens, dtype=torch.long, device=model.device), use_cache=False)
    return seen
