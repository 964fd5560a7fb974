"""The kinds of edit: what may be written over head outputs.

An edit acts on head outputs [batch, position, head, head_dim] before the output projection mixes heads. Values are
computed from what the model's attention returned, before anything is written, so the order of edits does not matter.

    Zero       nothing                              Resample   what the head wrote in another prompt
    Mean       its mean over a reference set        Patch      what it wrote in a donor, on the same tokens
    Uniform    the plain mean of all visible values (the mask of Wu et al., arXiv 2404.15574: not a removal)
    Knockout   its output without a span's keys, renormalised
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from haymaker.attention.calls import Call
from haymaker.attention.canary import Site
from haymaker.attention.recording import Recording
from haymaker.attention.rows import scores, softmax_with_sinks, visible_keys, weighted
from haymaker.attention.targets import Target, as_head, as_heads, as_spans
from haymaker.errors import ProbeError
from haymaker.records import Head, Span

KNOCKOUT_BYTES = 2**28  # bound on the scores that a Knockout recomputes at once


@dataclass(frozen=True, eq=False)
class Edit:
    """Heads (`Head`, pairs or '16-19') and what to write over them; `batch_rows` limits it to some rows of a batch."""

    heads: Any
    batch_rows: Any = field(default=None, kw_only=True)

    stateless: ClassVar[bool] = False  # any number of these can be written as one
    at_query: ClassVar[bool] = False  # rewrites queries instead of outputs
    needs_call: ClassVar[bool] = False  # acts only where queries and keys are in reach

    def __post_init__(self) -> None:
        self._set("heads", as_heads(self.heads))
        if self.batch_rows is not None:
            self._set("batch_rows", tuple(operator.index(row) for row in self.batch_rows))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __str__(self) -> str:
        return f"{type(self).__name__} of {', '.join(map(str, self.heads[:4]))}{', ...' if self.heads[4:] else ''}"

    def recipients(self, batch: int) -> list[int]:
        """The batch rows to write."""
        return list(range(batch) if self.batch_rows is None else self.batch_rows)

    def check(self, head: Head, width: int, site: Site) -> None:
        """Raises ProbeError if there is nothing here that fits a head of this width at this site."""

    def compute(self, target: Target) -> Float[Tensor, "#n #positions #dim"]:
        """What to write for each pair, position and dimension, or one value for all."""
        raise NotImplementedError


class Zero(Edit):
    """Heads write nothing: equal to zeroed columns of o_proj.

    Args:
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        batch_rows: Only these rows of the batch; all if None.

    Raises:
        ProbeError: Something that is no head.

    Examples:
        >>> str(hm.Zero([(16, 19), "3-4"]))
        'Zero of 16-19, 3-4'
    """

    stateless = True

    def compute(self, target: Target) -> Float[Tensor, "#n #positions #dim"]:
        return target.output.new_zeros(1, 1, 1)


class Uniform(Edit):
    """Heads attend evenly to all keys they see, as if their query were 0: they still write the mean value.

    This is what masking does in the script of Wu et al., there in decode calls only (scope="last+decode"). For parity;
    it does not remove a head.

    Args:
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        batch_rows: Only these rows of the batch; all if None.

    Raises:
        ProbeError: Something that is no head.

    Source:
        Wu et al. 2024 (arXiv 2404.15574), the published script.

    Examples:
        >>> str(hm.Uniform([(16, 19)]))
        'Uniform of 16-19'
    """

    stateless = at_query = needs_call = True

    def compute(self, target: Target) -> Float[Tensor, "#n #positions #dim"]:
        return target.output.new_zeros(1, 1, 1)


@dataclass(frozen=True, eq=False)
class Mean(Edit):
    """Heads write a constant, such as their mean over a reference set.

    Args:
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        values: A vector [head_dim] for each head (as `hm.mean_outputs` gives them), or a tensor [layer, head,
            head_dim].
        batch_rows: Only these rows of the batch; all if None.

    Raises:
        ProbeError: Something that is no head; a head without a vector, or of another width (when a block opens).

    Examples:
        >>> str(hm.Mean([(3, 4)], {(3, 4): torch.zeros(32)}))
        'Mean of 3-4'
    """

    values: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        found = {h: self.values[h] for h in self.heads} if isinstance(self.values, Tensor) else dict(self.values)
        self._set("values", {as_head(head): vector for head, vector in found.items()})

    def check(self, head: Head, width: int, site: Site) -> None:
        found = self.values.get(head)
        if found is None or tuple(found.shape) != (width,):
            shape = "none" if found is None else list(found.shape)
            raise ProbeError(f"Mean of {head}: expected a vector of {width}, found {shape}; see hm.mean_outputs")

    def compute(self, target: Target) -> Float[Tensor, "#n #positions #dim"]:
        vectors = {head: self.values[Head(target.layer, head)].to(target.output) for head in set(target.numbers)}
        return torch.stack([vectors[head] for head in target.numbers])[:, None]


@dataclass(frozen=True, eq=False)
class Knockout(Edit):
    """Heads lose the keys of `span` and renormalise over the others, exactly.

    Rows that see nothing of the span keep their output bit for bit; a row that sees nothing else writes 0.

    Args:
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        span: A Span of token positions (slots), or several.
        batch_rows: Only these rows of the batch; all if None.

    Raises:
        ProbeError: Something that is no head, or no Span.

    Examples:
        >>> with hm.edit(lm.model, hm.Knockout([(3, 4)], hm.Span(0, 2))):
        ...     logits = lm.model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    """

    span: Any
    needs_call = True

    def __post_init__(self) -> None:
        super().__post_init__()
        spans = as_spans(self.span)
        if not spans or not all(isinstance(span, Span) for span in spans):
            raise ProbeError(f"Knockout: expected a Span or several, found {self.span!r}")
        self._set("span", tuple(sorted(spans)))

    def compute(self, target: Target) -> Float[Tensor, "#n #positions #dim"]:
        call, slots = target.call, target.where.slots()
        assert call is not None
        result = target.read(target.rows)
        affected = (slots >= self.span[0].start).any(0).nonzero()[:, 0]
        if not len(affected):
            return result
        group = call.query.shape[1] // call.key.shape[1]
        for kv_head in sorted({head // group for head in target.numbers}):
            pairs = (target.heads // group == kv_head).nonzero()[:, 0]
            heads = torch.tensor(sorted({head for head in target.numbers if head // group == kv_head})).to(pairs.device)
            cost = 4 * len(call.query) * len(heads) * call.key.shape[2]
            for some in affected.split(max(1, KNOCKOUT_BYTES // cost)):
                found, touched = self._without(call.for_heads(heads.tolist(), kv_head), slots[:, some])
                rows, columns = target.rows[pairs], torch.searchsorted(heads, target.heads[pairs])
                touched = touched.expand(found.shape[:3])[rows, columns, :, None]
                some = some.to(result.device)
                old = result[pairs[:, None], some]
                result[pairs[:, None], some] = torch.where(touched, found[rows, columns].to(old.dtype), old)
        return result

    def _without(self, call: Call, slots: Int[Tensor, "#batch rows"]) -> tuple[Tensor, Tensor]:
        """Outputs [batch, head, row, head_dim] without the span, and which rows [batch or 1, 1 or head, row] saw it."""
        visible, first = visible_keys(call, slots), call.first_key
        score = scores(call, slots, visible)
        touched = torch.zeros(1, 1, slots.shape[1], dtype=torch.bool, device=score.device)
        for span in self.span:
            sees = visible.sees(span.start - first, span.stop - first, slots.shape[1])
            touched = touched | sees.to(score.device)
            score[..., max(span.start - first, 0) : max(span.stop - first, 0)] = -torch.inf
        weights, _ = softmax_with_sinks(score, call.sinks)
        return weighted(weights.nan_to_num(0.0), call.value[:, :, : visible.stop]), touched


@dataclass(frozen=True, eq=False)
class Patch(Edit):
    """Heads write what they wrote in a donor at the same position (slot) of the same tokens.

    Args:
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        donor: A Recording; a dict of tensors [position, head_dim] or [batch, position, head_dim] by head, from slot 0
            on; or a row of the same batch, copied as it is computed. With two LoRA adapters as rows of one batch
            (PEFT's `adapter_names`) that patches one model into another in lockstep, through decoding too, and stores
            nothing. Then all other batch rows receive it, unless `batch_rows` says which; a list of rows is one for
            each of those.
        batch_rows: Only these rows of the batch; all if None.

    Raises:
        ProbeError: Something that is no head; a donor of another width, of other positions or of another batch (when
            the block opens or the model runs).

    Source:
        Activation patching across models: Prakash et al. 2024 (arXiv 2402.14811).

    Examples:
        >>> ids = torch.tensor([[5, 6, 7, 8]])
        >>> with hm.record(lm.model, [(3, 4)]) as donor:
        ...     plain = lm.model(input_ids=ids).logits
        >>> with hm.edit(lm.model, hm.Patch([(3, 4)], donor)):
        ...     patched = lm.model(input_ids=ids).logits
        >>> torch.allclose(plain, patched, atol=1e-4)
        True
    """

    donor: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.donor, Recording | Mapping):
            self._set("donor", _store(self.donor))
        elif isinstance(self.donor, Sequence):
            self._set("donor", tuple(operator.index(row) for row in self.donor))
            if len(self.donor) != len(self.batch_rows or ()):
                raise ProbeError(f"{self}: expected one donor row for each of batch_rows, found {len(self.donor)}")
        else:
            self._set("donor", operator.index(self.donor))

    def recipients(self, batch: int) -> list[int]:
        every = super().recipients(batch)
        return every if self.batch_rows is not None else [row for row in every if row != self.donor]

    def check(self, head: Head, width: int, site: Site) -> None:
        if isinstance(self.donor, Recording):
            _check_store(self, self.donor, head, width, site)

    def compute(self, target: Target) -> Float[Tensor, "#n #positions #dim"]:
        if isinstance(self.donor, Recording):
            return _from_store(self, self.donor, target, _index_of_slots(self, self.donor, target))
        batch, several = len(target.output), isinstance(self.donor, tuple)
        donors = torch.tensor(self.donor if several else [self.donor])
        if outside := donors[(donors < 0) | (donors >= batch)].tolist():
            raise ProbeError(f"{self}: expected a donor row of a batch of {batch}, found {outside[0]}")
        table = torch.zeros(batch, dtype=torch.long)
        table[list(self.batch_rows) if several else slice(None)] = donors
        return target.read(table.to(target.rows.device)[target.rows])


@dataclass(frozen=True, eq=False)
class Resample(Edit):
    """Heads write what they wrote in another prompt, position by position in order.

    The k-th position of the scope gets the k-th recorded one, so prompts of other lengths fit where the scope is
    explicit rows, as many as were recorded; the scope "last" gets the last recorded one.

    Args:
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        values: A Recording or a dict of tensors, as the donor of Patch.
        batch_rows: Only these rows of the batch; all if None.

    Raises:
        ProbeError: Something that is no head; outputs of another width; fewer positions recorded than the scope has.

    Examples:
        >>> with hm.record(lm.model, [(3, 4)]) as other:
        ...     plain = lm.model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
        >>> with hm.edit(lm.model, hm.Resample([(3, 4)], other), scope="last"):
        ...     changed = lm.model(input_ids=torch.tensor([[9, 6, 7]])).logits
    """

    values: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("values", _store(self.values))

    def check(self, head: Head, width: int, site: Site) -> None:
        _check_store(self, self.values, head, width, site)

    def compute(self, target: Target) -> Float[Tensor, "#n #positions #dim"]:
        order, count = target.order(), self.values.layer(target.layer).shape[1]
        if (order >= count).any() or (order < -count).any():
            raise ProbeError(f"{self}: expected {int(order.max()) + 1} recorded positions, found {count}")
        return _from_store(self, self.values, target, order % count)


def _store(given: Any) -> Recording:
    return given if isinstance(given, Recording) else Recording.of_tensors(given, None)


def _check_store(edit: Edit, store: Recording, head: Head, width: int, site: Site) -> None:
    if store.site not in (None, site):
        raise ProbeError(f"{edit}: expected outputs recorded at {site}, found {store.site}: record with site={site!r}")
    found = list(store.of(head).shape)
    if found[-1] != width:
        raise ProbeError(f"{edit}: expected outputs of width {width} for {head}, found {found}")


def _index_of_slots(edit: Edit, store: Recording, target: Target) -> Int[Tensor, "n positions"]:
    """Where each slot is in the store."""
    slots = target.slots()
    positions, order = store.positions.to(slots.device).sort(dim=1)
    if len(positions) > 1:
        positions, order = positions[target.rows], order[target.rows]
    positions, order = positions.expand(len(slots), -1).contiguous(), order.expand(len(slots), -1)
    index = torch.searchsorted(positions, slots.contiguous()).clamp(max=positions.shape[1] - 1)
    missing = slots[(positions.gather(1, index) != slots) & target.valid()].unique().tolist()
    if missing:
        raise ProbeError(
            f"{edit}: the donor has no output at positions {missing[:8]}: record it on the same tokens, or scope it"
        )
    return order.gather(1, index)


def _from_store(edit: Edit, store: Recording, target: Target, index: Int[Tensor, "n positions"]) -> Tensor:
    table = store.layer(target.layer).to(target.output)
    if len(table) not in (1, len(target.output)):
        raise ProbeError(f"{edit}: expected a donor batch of 1 or {len(target.output)}, found {len(table)}")
    rows = target.rows if len(table) > 1 else torch.zeros_like(target.rows)
    columns = torch.tensor([store.columns[target.layer].index(head) for head in target.numbers])
    return table[rows[:, None], index, columns.to(rows.device)[:, None]]
