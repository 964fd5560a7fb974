"""What a forward and one layer's attention call are to the tools of open blocks (probe, edit, record)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

Sees = Callable[[Any, Any, Any, Any], Any]  # (batch, head, query slot, key slot) -> whether the query sees the key


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

    def finish(self, step: "Step") -> None:
        """After a forward of the decoder that ended well."""


@dataclass(eq=False)
class Step:
    """One forward of a decoder: which slots its queries hold, and what each layer's keys cover."""

    decoder: PreTrainedModel
    tools: tuple[Tool, ...]
    batch: int
    first: int  # slot of the first query
    count: int  # queries
    keys: list[tuple[int, int] | None]  # per layer: number of keys, slot of the first; None where a cache keeps none
    padding: Tensor | None = None  # the caller's mask, as given
    tokens: Tensor | None = None  # ids [batch, query]
    prompt_length: int | None = None  # in slots, where who runs the forward is known to know it
    prompts: int | None = None  # of a running `generate`: each is batch / prompts rows (beams, returned sequences)
    steady: int | None = None  # slots up to which a row of the batch is one sequence; None: all of them
    packed: bool = False  # whether a row holds several sequences, one after another
    cached: bool = False  # whether keys are kept for a next forward
    lent: list[tuple[Any, tuple[int, int]]] = field(default_factory=list)  # keys seen, for layers without their own
    memo: dict[Any, Any] = field(default_factory=dict)  # what tools compute once for all layers

    @property
    def rows_each(self) -> int:
        """Rows of the batch that belong to one prompt, side by side."""
        return self.batch // self.prompts if self.prompts else 1

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
    # None (causal, or as the backend finds in position ids), bool or additive [batch, 1 or head, query, key], padding
    # [batch, key] (flash backends), or a BlockMask (flex attention)
    mask: Any
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
