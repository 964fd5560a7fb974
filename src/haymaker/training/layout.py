"""How the rows of a step lie in its tensors, and so which keys a query sees: side by side, or cut among processes."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as distributed
from jaxtyping import Float, Int64
from torch import Tensor

from haymaker.training.kernels import attend, attend_later, attend_rows, few, visible
from haymaker.training.packed_attention import attend_packed

# their names until torch 2.12
all_gather = getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
reduce_scatter = getattr(distributed, "reduce_scatter_single", None) or distributed.reduce_scatter_tensor

Queries = Float[Tensor, "batch head query dim"]
Keys = Float[Tensor, "batch kv_head token dim"]


@dataclass(frozen=True)
class Sight:
    """What a layer says of its attention: the scale of scores, tokens seen back (None: all), whether a backward pass
    finds its probabilities kept."""

    scaling: float
    window: int | None = None
    keeps_probabilities: bool = False


@runtime_checkable
class Layout(Protocol):
    """Where tokens stand in their rows, and attention within these."""

    def longest(self, tokens: int) -> int:
        """Tokens of the longest row, of `tokens` that are here."""
        ...

    def of_tokens(self, values: Float[Tensor, "1 position dim"]) -> Float[Tensor, "1 token dim"]:
        """What belongs to each token, of what belongs to positions 0, 1, ... of a row."""
        ...

    def attend(self, query: Queries, key: Keys, value: Keys, sight: Sight) -> Queries:
        """Causal attention of all tokens that are here."""
        ...

    def attend_rows(self, query: Queries, key: Keys, value: Keys, rows: Tensor, sight: Sight) -> Queries:
        """Causal attention of the tokens at `rows` [batch, row] alone."""
        ...

    def few(self, rows: Int64[Tensor, "batch row"], tokens: int, groups: int) -> bool:
        """Whether `attend_rows` is the cheaper one."""
        ...


@dataclass(frozen=True)
class Padded:
    """Every row from its first token on, padded on the right: causality alone keeps the padding out."""

    def longest(self, tokens: int) -> int:
        return tokens

    def of_tokens(self, values: Tensor) -> Tensor:
        return values

    def attend(self, query: Tensor, key: Tensor, value: Tensor, sight: Sight) -> Tensor:
        return attend(
            query, key, value, sight.scaling, sight.window, keeps_probabilities=sight.keeps_probabilities
        )  # fmt: skip

    def attend_rows(self, query: Tensor, key: Tensor, value: Tensor, rows: Tensor, sight: Sight) -> Tensor:
        return attend_rows(query, key, value, visible(rows, key.shape[2], sight.window), sight.scaling)

    def few(self, rows: Tensor, tokens: int, groups: int) -> bool:
        return few(rows, tokens, groups)


PADDED = Padded()


@dataclass(frozen=True)
class Packed:
    """Rows one after another, without padding, each of which sees itself alone; `answers` of each feed the loss."""

    lengths: tuple[int, ...]
    answers: tuple[int, ...]

    def longest(self, tokens: int) -> int:
        return max(self.lengths)

    def of_tokens(self, values: Tensor) -> Tensor:
        return torch.cat([values[:, :length] for length in self.lengths], dim=1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, sight: Sight) -> Tensor:
        return attend_packed(query, key, value, self.lengths, scaling=sight.scaling, window=sight.window)

    def attend_rows(self, query: Tensor, key: Tensor, value: Tensor, rows: Tensor, sight: Sight) -> Tensor:
        found, start = [], 0
        parts = (query.split(self.answers, 2), key.split(self.lengths, 2), value.split(self.lengths, 2))
        for own, keys, values, places in zip(*parts, rows.split(self.answers, 1), strict=True):
            seen = visible(places - start, keys.shape[2], sight.window)
            found.append(attend_rows(own, keys, values, seen, sight.scaling))
            start += keys.shape[2]
        return torch.cat(found, dim=2)

    def few(self, rows: Tensor, tokens: int, groups: int) -> bool:
        return few(rows, tokens, groups)


@dataclass(frozen=True)
class Chunked:
    """Two chunks of every row, of the 2n that n processes share: the first ones see few keys, the last ones many, so
    process r holds chunks r and 2n-1-r and all have the same work. Keys and values are gathered in every layer."""

    rank: int
    size: int
    tokens: int  # of a row, a multiple of 2n
    group: Any = None

    @property
    def chunk(self) -> int:
        return self.tokens // (2 * self.size)

    @property
    def starts(self) -> tuple[int, int]:
        """First positions of the two chunks."""
        return self.rank * self.chunk, (2 * self.size - 1 - self.rank) * self.chunk

    def places(self, device: torch.device) -> Int64[Tensor, "token"]:
        return torch.cat([torch.arange(start, start + self.chunk, device=device) for start in self.starts])

    def longest(self, tokens: int) -> int:
        return self.tokens

    def of_tokens(self, values: Tensor) -> Tensor:
        return torch.cat([values[:, start : start + self.chunk] for start in self.starts], dim=1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, sight: Sight) -> Tensor:
        key, value = GatheredKeys.apply(self, key, value)
        parts = zip(query.chunk(2, dim=2), self.starts, strict=True)
        found = [attend_later(part, key, value, first, scaling=sight.scaling, window=sight.window)
                 for part, first in parts]  # fmt: skip
        return torch.cat(found, dim=2)

    def attend_rows(self, query: Tensor, key: Tensor, value: Tensor, rows: Tensor, sight: Sight) -> Tensor:
        key, value = GatheredKeys.apply(self, key, value)
        seen = visible(self.places(rows.device)[rows], self.tokens, sight.window)
        return attend_rows(query, key, value, seen, sight.scaling)

    def few(self, rows: Tensor, tokens: int, groups: int) -> bool:
        return few(rows, tokens, groups * self.size)


class GatheredKeys(torch.autograd.Function):
    """Keys and values of whole rows from those of every process. Backwards each gets the sum of what all found."""

    @staticmethod
    def forward(context: Any, chunks: Chunked, key: Keys, value: Keys) -> tuple[Tensor, Tensor]:
        context.chunks = chunks
        own = torch.stack([key, value])
        every = own.new_empty(chunks.size, *own.shape)
        all_gather(every.view(-1, *own.shape[1:]), own, group=chunks.group)
        early, late = every.chunk(2, dim=-2)
        ordered = torch.cat([early, late.flip(0)])  # [2n, 2, batch, kv_head, chunk, dim]
        whole = ordered.movedim(0, -3).flatten(-3, -2)
        return whole[0], whole[1]

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        chunks: Chunked = context.chunks
        ordered = torch.stack(gradients).unflatten(-2, (2 * chunks.size, chunks.chunk)).movedim(-3, 0)
        early, late = ordered.chunk(2)
        every = torch.cat([early, late.flip(0)], dim=-2)  # [n, 2, batch, kv_head, 2 chunks, dim]
        own = torch.empty_like(every[0])
        reduce_scatter(own, every.flatten(0, 1), group=chunks.group)
        return None, own[0], own[1]
