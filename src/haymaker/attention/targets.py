"""Which heads, and which positions of them: what edits and recordings are asked for."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from haymaker.attention.calls import Call, Step
from haymaker.errors import ProbeError
from haymaker.records import Head, Span, is_range

Rows = Sequence[int] | Sequence[Sequence[int]] | Tensor
HeadLike = Head | Sequence[int] | str


def as_head(head: HeadLike) -> Head:
    """A Head from a Head, a pair, or `16-19`."""
    try:
        if isinstance(head, str):
            return Head.parse(head)
        layer, index = (operator.index(part) for part in head)
    except (TypeError, ValueError):
        raise ProbeError(f"expected a head like (16, 19) or '16-19', found {head!r}") from None
    if layer < 0 or index < 0:
        raise ProbeError(f"expected layer and head counted from 0, found {head!r}")
    return Head(layer, index)


def as_spans(told: Any) -> list[Any]:
    """Spans of a Span, a pair (start, stop), or several; what is neither stays as it is, for the caller to refuse.

    Raises ProbeError for a pair that is no span.
    """
    if isinstance(told, Span) or is_range(told):
        return [told if isinstance(told, Span) else span_of(told)]
    return [span_of(one) if is_range(one) else one for one in told] if isinstance(told, Iterable) else [told]


def span_of(pair: Sequence[int]) -> Span:
    try:
        return Span(*map(int, pair))
    except ValueError as error:
        raise ProbeError(f"expected a Span: {error}") from None


def as_heads(heads: Iterable[HeadLike] | Any) -> tuple[Head, ...]:
    """Heads in the order given, each once: a list of them, one alone, or names in one text, `18-6,17-3`."""
    if isinstance(heads, str):
        heads = heads.split(",")
    if isinstance(heads, Head):
        heads = [heads]
    if not isinstance(heads, Iterable):
        raise ProbeError(f"expected heads like [(16, 19), '3-4'] or '1-9,3-4', found {heads!r:.60}; of scores .top(5)")
    return tuple(dict.fromkeys(as_head(head) for head in heads))


@dataclass(eq=False)
class Where:
    """Positions of one forward that an edit writes.

    local: a slice of the queries, or their indices [batch or 1, position] where `valid`.
    order: which of the scope's positions these are, [batch or 1, position]: slots for a slice, else their rank.
    """

    first: int  # slot of the forward's first query
    local: slice | Tensor
    valid: Tensor | None = None
    order: Tensor | None = None

    def slots(self) -> Int[Tensor, "#batch positions"]:
        if isinstance(self.local, slice):
            return torch.arange(self.local.start, self.local.stop)[None] + self.first
        return self.local + self.first


@dataclass(eq=False)
class Target:
    """What an edit is asked for in one layer: n (batch row, head) pairs of `output` [batch, query, head, head_dim]."""

    layer: int
    output: Tensor
    rows: Int[Tensor, " n"]
    heads: Int[Tensor, " n"]
    where: Where
    numbers: list[int]  # the heads again, to be read without waiting for a device
    call: Call | None  # None at the o_proj site, where queries and keys are out of reach

    def read(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n positions head_dim"]:
        """The outputs of the pairs' heads at the target's positions, from other batch rows."""
        if isinstance(self.where.local, slice):
            return self.output[rows, self.where.local, self.heads]
        return self.output[rows[:, None], self.local(), self.heads[:, None]]

    def write(self, output: Tensor, values: Float[Tensor, "#n #positions #dim"]) -> None:
        """Puts values over the pairs, in place."""
        if isinstance(self.where.local, slice):
            output[self.rows, self.where.local, self.heads] = values
            return
        local = self.local()
        pair, place = self.valid().expand_as(local).nonzero(as_tuple=True)
        values = values.expand(*local.shape, -1)[pair, place]
        output[self.rows[pair], local[pair, place], self.heads[pair]] = values

    def valid(self) -> Bool[Tensor, "#n positions"]:
        """Which positions are the target's own; the others only fill a table."""
        if self.where.valid is None:
            return torch.ones(1, 1, dtype=torch.bool, device=self.output.device)
        return self._each(self.where.valid)

    def local(self) -> Int[Tensor, "n positions"]:
        assert isinstance(self.where.local, Tensor)
        return self._each(self.where.local)

    def slots(self) -> Int[Tensor, "n positions"]:
        return self._each(self.where.slots())

    def order(self) -> Int[Tensor, "n positions"]:
        return self._each(self.where.slots() if self.where.order is None else self.where.order)

    def _each(self, table: Tensor) -> Tensor:
        """A row of `table` for each pair."""
        table = table.to(self.output.device)
        return table.expand(len(self.rows), -1) if len(table) == 1 else table[self.rows]


def row_table(rows: Rows) -> Int[Tensor, "#batch rows"]:
    """Rows as one list for the whole batch, or one for each of its rows. Raises ProbeError if they are no positions."""
    listed: list[Any] = rows.tolist() if isinstance(rows, Tensor) else list(rows)
    nested = [list(row) if isinstance(row, Iterable) else [row] for row in listed]
    if not any(isinstance(row, Iterable) for row in listed):
        nested = [[operator.index(row) for row in listed]]
    counts = {len(row) for row in nested}
    if len(counts) != 1 or counts == {0}:
        raise ProbeError(f"expected rows, as many for each batch row, found counts {sorted(counts)}")
    table = torch.tensor(nested)
    if table.min() < 0:
        raise ProbeError(
            f"expected positions counted from 0, found {table[table < 0].tolist()}; "
            "write len(ids) - 1 for the last token: what comes later is not known yet"
        )
    return table


@dataclass(eq=False)
class Reach:
    """The rows of a table that one forward computes: their columns in it, their slots, and in which batch rows."""

    columns: list[int]
    slots: Int[Tensor, "#batch some"]
    reached: Bool[Tensor, "#batch some"]

    def part(self, some: slice) -> "Reach":
        return Reach(self.columns[some], self.slots[:, some], self.reached[:, some])


def check_steady(step: Step, slots: Tensor) -> None:
    """Raise ProbeError for slots where a row of the batch is not the sequence that it is in other forwards."""
    if step.steady is not None and (slots >= step.steady).any():
        raise ProbeError(
            f"rows {sorted(set(slots[slots >= step.steady].tolist()))}: expected each row of the batch to stay one "
            "sequence, found beams, which change places, or guidance, which runs another prompt; generate first, and "
            "read what it returned in a forward of its own"
        )


def reach(rows: Int[Tensor, "#batch rows"], step: Step) -> Reach | None:
    """What a forward computes of `rows`, if anything; slots of batch rows it does not reach are clamped into it."""
    if len(rows) not in (1, step.batch):
        raise ProbeError(f"rows: expected one list for each of {step.batch} batch rows, found {len(rows)}")
    reached = (rows >= step.first) & (rows < step.slots.stop)
    columns = reached.any(0).nonzero()[:, 0].tolist()
    slots = rows[:, columns].clamp(step.first, step.slots.stop - 1)
    return Reach(columns, slots, reached[:, columns]) if columns else None
