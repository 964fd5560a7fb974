"""One forward of a decoder, one attention call in it, and who may take part.

Positions are slots: indices into the padded sequence, counted from the first token the cache ever held. With left
padding a slot is the padded position, not the `position_id`. Layers and query heads count from 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

Sees = Callable[[Any, Any, Any, Any], Any]  # (batch, head, query slot, key slot) -> whether the query sees the key

PLAIN_BACKENDS = ("sdpa", "eager", "flex_attention")  # their mask says all: windows and packed sequences too


class Tool:
    """What an open `with` block wants from the attention calls of one decoder. Override what is needed."""

    def __init__(self, decoder: PreTrainedModel) -> None:
        self.decoder = decoder

    def begin(self, step: "Step") -> None:
        """Before a forward of the decoder."""

    def rewrite_mask(self, sees: Sees) -> Sees:
        """Which keys a query sees, where the backend takes a mask that says so; another function is never skipped."""
        return sees

    def rewrite_query(self, call: "Call") -> Tensor:
        """The queries [batch, head, query, head_dim] that the backend gets."""
        return call.query

    def rewrite_output(self, call: "Call", output: Tensor) -> Tensor:
        """The head outputs [batch, query, head, head_dim] that the model gets."""
        return output

    def observe(self, call: "Call", output: Tensor) -> None:
        """Read a call, with the output that the model gets."""


@dataclass(eq=False)
class Step:
    """One forward of a decoder: which slots its queries hold, and what each layer's keys cover."""

    decoder: PreTrainedModel
    tools: tuple[Tool, ...]
    batch: int
    first: int  # slot of the first query
    count: int  # queries
    keys: list[tuple[int, int] | None]  # per layer: number of keys, slot of the first; None for linear attention
    padding: Tensor | None = None  # the caller's mask, as given
    memo: dict[Any, Any] = field(default_factory=dict)  # what tools compute once for all layers

    @property
    def is_decode(self) -> bool:
        """One token on top of a filled cache."""
        return self.count == 1 and self.first > 0

    @property
    def slots(self) -> range:
        return range(self.first, self.first + self.count)


@dataclass(eq=False)
class Call:
    """One layer's attention call: query [batch, head, query, dim], key and value [batch, kv_head, key, dim]."""

    step: Step
    module: nn.Module
    backend: str
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Any  # None, bool or additive [batch, 1 or head, query, key], padding [batch, key], or a BlockMask
    layer: int
    scaling: float
    softcap: float | None
    sinks: Tensor | None
    window: int | None
    causal: bool
    dropout: float
    position_ids: Tensor | None

    @property
    def first_key(self) -> int:
        """Slot of key 0."""
        geometry = self.step.keys[self.layer]
        assert geometry is not None  # else there was no call
        return geometry[1]

    def for_heads(self, heads: list[int], kv_head: int) -> "Call":
        """The same call for some query heads of one KV head."""
        mask = self.mask
        if isinstance(mask, Tensor) and mask.ndim == 4 and mask.shape[1] > 1:
            mask = mask[:, heads]
        one = slice(kv_head, kv_head + 1)
        return replace(
            self, query=self.query[:, heads], key=self.key[:, one], value=self.value[:, one], mask=mask,
            sinks=None if self.sinks is None else self.sinks[heads],
        )  # fmt: skip
