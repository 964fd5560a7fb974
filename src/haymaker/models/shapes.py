"""A decoder's sizes, as its config says them: what plans of memory and time are made of. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

WIDE = 512  # hidden size from which products are what takes time, so that bfloat16 pays on a processor with AMX


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes; widths in elements, `element` in bytes."""

    layers: int
    hidden: int
    query: int  # query heads times width of a head
    key_value: int
    heads: int
    inner: int
    vocabulary: int
    element: int
    adapter: int  # trainable parameters
    base_bytes: int
    mlp_adapted: bool = False

    @property
    def layer_weights(self) -> int:
        """Parameters of a layer's matrices."""
        return self.hidden * (2 * self.query + 2 * self.key_value) + 3 * self.hidden * self.inner


def shape_of(config: Any, element: int, adapter: int, base_bytes: int | None = None) -> Shape:
    """The shape that a transformers config describes."""
    heads = size_of(config, "num_attention_heads") or 1
    width = size_of(config, "head_dim") or config.hidden_size // heads
    kv_heads = size_of(config, "num_key_value_heads") or heads
    inner = size_of(config, "intermediate_size", "n_inner") or 4 * config.hidden_size
    shape = Shape(
        config.num_hidden_layers, config.hidden_size, heads * width, kv_heads * width, heads, inner, config.vocab_size,
        element, adapter, 0,
    )  # fmt: skip
    embeddings = shape.vocabulary * shape.hidden * (1 if getattr(config, "tie_word_embeddings", False) else 2)
    return replace(shape, base_bytes=base_bytes or element * (shape.layers * shape.layer_weights + embeddings))


def size_of(config: Any, *names: str) -> int | None:
    """The first of these sizes that a config has; the largest one where layers have their own. None if it has none."""
    layers = getattr(config, "per_layer_config", None)
    parts = [config] if layers is None else [layers[i] for i in range(len(layers))]
    for name in names:
        values = [value for part in parts if (value := getattr(part, name, None))]
        if values:
            return max(max(value) if isinstance(value, Sequence) else value for value in values)
    return None
