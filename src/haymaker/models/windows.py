"""Sliding windows: which a model has, and how they are opened without touching what hangs on their being there.

A window is opened by making it as long as the context. Taking it away instead is another model in some architectures:
Exaone 4 turns RoPE on in its global layers where there is no window, Gemma 3 reads another RoPE, Cohere 2 none.
"""

from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassFieldValidationError
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from haymaker.errors import ExtensionError
from haymaker.models.forward import layers_of, other_forwards, stack_of

WINDOWED = {
    "sliding_attention": "sliding_window",
    "hybrid_sliding": "sliding_window",
    "chunked_attention": "attention_chunk_size",
}
MAX_DRY_RUN = 16_384  # tokens; the mask of a dry run has the square of it in bytes


def layer_types(model: PreTrainedModel) -> list[str]:
    """`full_attention`, `sliding_attention`, ... of every layer."""
    config: Any = stack_of(model).config
    given = getattr(config, "layer_types", None)
    if given is not None:
        return list(given)
    kind = "full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"
    return [kind] * config.num_hidden_layers


def window_name(model: PreTrainedModel) -> str | None:
    """The config's entry with the window of the windowed layers, None where every layer sees everything."""
    config, kinds = stack_of(model).config, layer_types(model)
    for kind, name in WINDOWED.items():
        if kind in kinds and getattr(config, name, None) is not None:
            return name
    return None


def sliding_window(model: PreTrainedModel) -> int | None:
    """The window in tokens of the model's windowed layers; None where every layer sees the whole context."""
    config, name = stack_of(model).config, window_name(model)
    window = None if name is None else int(getattr(config, name))
    return None if window is None or window >= config.max_position_embeddings else window


def open_window(model: PreTrainedModel, length: int) -> None:
    """Let every layer see every earlier one of `length` tokens; the kinds of layers stay as they are."""
    config, name = stack_of(model).config, window_name(model)
    if name is None:
        return
    without = getattr(config, "layer_types", None) is None  # then nothing but the mask knows the window
    set_window(config, name, None if without else length, length)
    read = getattr(type(config).from_dict(config.to_dict()), name, None)
    if read != getattr(config, name):  # MiMo's class takes it from the name that the file on the Hub has
        raise ExtensionError(
            f"{type(model).__name__}: another entry of its config says the window too, so {name} would be read as "
            f"{read} and not opened; keep the window (keep_window), or take that entry out of config.json"
        )


def forget_stray_window(model: PreTrainedModel) -> int | None:
    """Take a window out of the config that the model does not have; the window, None where there is no such.

    A Llama whose config says `sliding_window` sees everything, but transformers' cache would forget keys by it, so that
    answers to long prompts were those of another function.
    """
    config: Any = stack_of(model).config
    if not layers_of(model):
        return None
    sizes = [getattr(layer, "sliding_window", None) for layer in DynamicCache(config=config).layers]
    most = min(getattr(config, "max_position_embeddings", None) or MAX_DRY_RUN, MAX_DRY_RUN)
    window = min((size for size in sizes if size is not None), default=most)
    if window >= most:
        return None
    masks = zip(dry_run_masks(model, window + 1), sizes, strict=False)
    if not all(sees_first_token(mask) for mask, size in masks if size == window):
        return None
    before, entries = last_logits(model, window + 1), dict(vars(config))
    for name in {name for name in WINDOWED.values() if getattr(config, name, None) is not None}:
        set_window(config, name, None, most)
    if "layer_types" in vars(config):
        config.layer_types = ["full_attention" if kind in WINDOWED else kind for kind in layer_types(model)]
    try:
        same = torch.allclose(last_logits(model, window + 1), before, atol=1e-3 * float(before.abs().max()))
    except Exception:  # of any kind: RecurrentGemma's layers cannot do without
        same = False
    if not same:  # it is there, and known to something else than the masks
        vars(config).clear()
        vars(config).update(entries)
    return window if same else None


def set_window(config: Any, name: str, window: int | None, length: int) -> None:
    """Set the config's entry; to `length` where it takes a number only."""
    try:
        setattr(config, name, window)
    except StrictDataclassFieldValidationError:
        setattr(config, name, length)


@torch.no_grad()
def last_logits(model: PreTrainedModel, tokens: int) -> Float[Tensor, " vocabulary"]:
    """Logits of a prompt's last token."""
    size = model.get_input_embeddings().weight.shape[0]  # type: ignore[union-attr]
    ids = torch.arange(1, tokens + 1, device=model.device)[None] * 7919 % size
    return model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].float()


# ---- seeing it


def verify_window(model: PreTrainedModel, window: int | None, tokens: int) -> None:
    """Check that every windowed layer's window is `window`: in the config, and in the masks for `tokens` tokens."""
    name = type(model).__name__
    if (found := sliding_window(model)) != window:
        raise ExtensionError(f"expected a window of {window} tokens, but {name} says {found}")
    if tokens > MAX_DRY_RUN:
        return
    blocked = [not sees_first_token(mask) for mask in dry_run_masks(model, tokens)]
    if blocked != [window is not None and kind in WINDOWED for kind in layer_types(model)]:
        raise ExtensionError(
            f"expected a window of {window} tokens, but the masks of {name} for {tokens} tokens "
            f"hide the first from {sum(blocked)} of {len(blocked)} layers"
        )


def sees_first_token(mask: Any) -> bool:
    """Whether the last query of a layer's mask [batch, head, query, key] may read key 0. No mask means causal."""
    if not isinstance(mask, Tensor):
        return True
    entry = mask[0, 0, -1, 0]
    return bool(entry) if mask.dtype == torch.bool else float(entry) == 0.0


def dry_run_masks(model: PreTrainedModel, tokens: int) -> list[Any]:
    """The mask that each layer is given for a prompt of `tokens`; no layer computes anything."""
    decoder, seen = cast(Any, stack_of(model)), []

    def pass_through(hidden_states: Tensor, *_: Any, attention_mask: Any = None, **__: Any) -> Tensor:
        seen.append(attention_mask)
        return hidden_states

    with other_forwards(dict.fromkeys(layers_of(model), pass_through)), torch.no_grad():
        decoder(input_ids=torch.zeros(1, tokens, dtype=torch.long, device=model.device), use_cache=False)
    return seen
