"""Read a few rows of every head's attention while a model runs, at almost no cost and without changing its output."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from haymaker.attention.calls import Call, Step, Tool
from haymaker.attention.canary import Architecture, check_architecture
from haymaker.attention.chance import dropping
from haymaker.attention.generating import watched
from haymaker.attention.hook import attach, decoder_of, unwrapped
from haymaker.attention.rows import (
    VisibleKeys,
    highest,
    mask_bytes,
    scores,
    softmax_with_sinks,
    taken,
    visible_keys,
    weighted,
)
from haymaker.attention.seen import Part, Parts, Seen
from haymaker.attention.targets import Reach, Rows, as_spans, check_steady, reach, row_table
from haymaker.errors import ProbeError
from haymaker.records import Span


@contextmanager
def probe(
    model: Any,
    rows: Rows,
    spans: Mapping[str, Any] | None = None,
    topk: int = 1,
    *,
    values: bool = False,
    layers: Iterable[int] | None = None,
    memory_budget_bytes: int = 2**30,
) -> Iterator[Seen]:
    """Reads the attention of `rows` in every layer and head of what runs inside the block, in this thread.

    Logits are bit-identical with and without a probe, but for rounding where Gemma 4 is asked for a few of them, as it
    then leaves positions out of layers that share keys, and does not inside a block.

    Args:
        model: Any Hugging Face decoder whose attention goes through transformers' attention interface.
        rows: Token positions of the queries to read, or a list of them for each batch row (same count). Position p is
            the row that predicts the token at p + 1. Positions are slots, indices into the padded sequence: with left
            padding the first real token is not at 0. They may be reached in a prefill, in chunks of one, or while
            decoding, also inside `generate`, where positions beyond the prompt are those of generated tokens fed back.
            A row reached again (a second forward in the block) is overwritten. Rows that change places while
            decoding (beams), or that guidance runs a second time with another prompt, are refused.
        spans: Names of token spans: a Span or (start, stop), a list of them (their union), or such a list for each
            batch row.
        topk: How many of the most attended keys to keep; ties go to the lowest position.
        values: Also keep what each span writes, sum of p_j v_j over its keys, and the whole head output of the rows.
        layers: Read only these.
        memory_budget_bytes: Bound on the scores (fp32, turned into probabilities in place) and the mask of the rows
            that are worked on at once, in all batch rows and heads of a layer.

    Yields:
        A Seen, to be read after the forward, with `top_position`, `top_probability` [layer, batch, head, row, topk],
        `lse` [layer, batch, head, row], `mass[name]` (0 to 1) likewise. On exit its results move to the CPU, once.

    Raises:
        ProbeError: Rows, spans or layers that cannot be; an architecture that fails the check; dropout that is on.

    Examples:
        >>> with hm.probe(lm.model, rows=[3], spans={"start": hm.Span(0, 2)}) as seen:
        ...     logits = lm.model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
        >>> seen.mass["start"].shape  # [layer, batch, head, row]
        torch.Size([4, 1, 8, 1])
    """
    decoder = decoder_of(model)
    architecture = check_architecture(model)
    refuse_dropping(decoder)
    seen = Seen(row_table(rows), _spans(spans or {}), architecture, decoder.config.num_hidden_layers)
    if topk < 1:
        raise ProbeError(f"expected topk of 1 or more, found {topk}")
    wanted = _layers(layers, architecture)
    try:
        tool = _Probe(decoder, seen, topk, values=values, layers=wanted, budget=memory_budget_bytes)
        with watched(unwrapped(model)), attach(tool):
            yield seen
    finally:
        seen.freeze()


def _layers(layers: Iterable[int] | None, architecture: Architecture) -> frozenset[int]:
    wanted = frozenset(architecture.layers if layers is None else layers)
    if not wanted:
        raise ProbeError(f"{architecture.name}: expected layers with attention, found none")
    if missing := sorted(wanted - set(architecture.layers)):
        raise ProbeError(
            f"{architecture.name}: expected layers with attention, {sorted(architecture.layers)}, found {missing}"
        )
    return wanted


def _spans(spans: Mapping[str, Any]) -> dict[str, Parts]:
    """Each name's spans as disjoint parts: one list for the whole batch, or one for each of its rows."""
    found: dict[str, Parts] = {}
    for name, value in spans.items():
        listed = as_spans(value)
        nested = listed and all(isinstance(item, Sequence) for item in listed)
        found[name] = [_union(name, as_spans(item)) for item in listed] if nested else [_union(name, listed)]
    return found


def _union(name: str, spans: list[Any]) -> list[tuple[int, int]]:
    if not spans or not all(isinstance(span, Span) for span in spans):
        raise ProbeError(f"span {name!r}: expected a Span, Spans or a list of them per batch row, found {spans!r:.80}")
    merged: list[tuple[int, int]] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], span.stop))
        else:
            merged.append((span.start, span.stop))
    return merged


def refuse_dropping(decoder: PreTrainedModel) -> None:
    if (place := dropping(decoder)) is not None:
        raise ProbeError(f"expected no dropout, found it on in {place}: call model.eval() first")


class _Probe(Tool):
    """Reduces chosen rows of each call on the spot, and writes the results into a Seen."""

    def __init__(
        self, decoder: PreTrainedModel, seen: Seen, topk: int, *, values: bool, layers: frozenset[int], budget: int
    ) -> None:
        super().__init__(decoder)
        self.seen, self.topk, self.values, self.layers, self.budget = seen, topk, values, layers, budget

    def begin(self, step: Step) -> None:
        if self.decoder.training:
            refuse_dropping(self.decoder)
        for name, parts in self.seen.spans.items():
            if len(parts) not in (1, step.batch):
                raise ProbeError(
                    f"span {name!r}: expected one list for each of {step.batch} batch rows, found {len(parts)}"
                )
        self.seen.length = max(self.seen.length, step.slots.stop)
        plan = step.memo[self] = reach(self.seen.rows, step)
        if plan is not None:
            check_steady(step, plan.slots)

    @torch.no_grad()
    def observe(self, call: Call, output: Float[Tensor, "batch queries heads dim"]) -> None:
        plan = call.step.memo[self]
        if plan is None or call.layer not in self.layers:
            return
        if call.dropout:
            raise ProbeError(f"expected no dropout, found {call.dropout} in attention: call model.eval() first")
        size = self._rows_at_once(call)
        if size >= len(plan.columns):
            look = self._shared(call, plan)
            if self._waits(call, plan, size):
                waiting = call.step.memo.setdefault((self, "waiting"), {})
                waiting.setdefault(_alike(call, look), []).append((call, look, scores(call, plan.slots, look.keys)))
            else:
                self._read(call, plan, look, output)
            return
        for start in range(0, len(plan.columns), size):
            part = plan.part(slice(start, start + size))
            self._read(call, part, self._look(call, part), output)

    def _waits(self, call: Call, plan: Reach, rows_at_once: int) -> bool:
        """A decoding step's row takes longer to launch than to read: the layers are reduced together, at the end."""
        return len(plan.columns) == 1 and not self.values and rows_at_once >= 2 * len(self.layers)  # joined: a copy

    @torch.no_grad()
    def finish(self, step: Step) -> None:
        plan = step.memo[self]
        for group in step.memo.pop((self, "waiting"), {}).values():
            calls, looks, found = zip(*group, strict=True)
            sinks = None if calls[0].sinks is None else torch.cat([call.sinks for call in calls])
            result = self._reduce(torch.cat(found, dim=1), calls[0].first_key, sinks, looks[0])
            parts = {name: part.split([len(score[0]) for score in found], dim=1) for name, part in result.items()}
            for index, call in enumerate(calls):
                own = {name: part[index] for name, part in parts.items()}
                self.seen.store(call.layer, plan.columns, plan.reached, own)

    def _rows_at_once(self, call: Call) -> int:
        batch, heads, keys = call.query.shape[0], call.query.shape[1], call.key.shape[2]
        needed = batch * keys * (heads * max(4, call.query.element_size()) + mask_bytes(call))
        if needed > self.budget:
            raise ProbeError(
                f"one row needs {needed} bytes for {batch} x {heads} heads x {keys} keys, "
                f"memory_budget_bytes is {self.budget}: raise it, or use a smaller batch"
            )
        return self.budget // needed

    def _shared(self, call: Call, plan: Reach) -> "_Look":
        """Layers of one forward with the same mask see the same."""
        key = (self, id(call.mask), call.key.shape[2], call.first_key, call.window, call.query.device)
        if key not in call.step.memo:
            call.step.memo[key] = self._look(call, plan), call.mask  # holding the mask keeps its id its own
        return call.step.memo[key][0]

    def _look(self, call: Call, plan: Reach) -> "_Look":
        keys = visible_keys(call, plan.slots)
        visible = _each_span(self.seen.spans, partial(_sees, call, keys, len(plan.columns)))
        if visible is None:
            return _Look(keys, None, everything=False)
        return _Look(keys, visible.to(call.query.device), everything=bool(visible.all()))

    def _read(self, call: Call, plan: Reach, look: "_Look", output: Tensor) -> None:
        weights = scores(call, plan.slots, look.keys)
        result = self._reduce(weights, call.first_key, call.sinks, look)  # which makes probabilities of them
        if self.values:
            result["output"] = taken(call, output.transpose(1, 2), plan.slots).to(weights.dtype)
            if (value := _each_span(self.seen.spans, partial(_value, call, weights), dim=3)) is not None:
                result["value"] = value
        self.seen.store(call.layer, plan.columns, plan.reached, result)

    def _reduce(self, score: Tensor, first_key: int, sinks: Tensor | None, look: "_Look") -> dict[str, Tensor]:
        """The results [batch, head, row, ...] of scores [batch, head, row, key], which are overwritten by weights."""
        position = top_positions(score, self.topk)
        weights, lse = softmax_with_sinks(score, sinks, in_place=True)
        exists = position >= 0
        result = {
            "top_position": torch.where(exists, position + first_key, -1),
            "top_probability": torch.where(exists, weights.gather(-1, position.clamp(min=0)), 0.0),
            "lse": lse,
            "sink": torch.zeros_like(lse) if sinks is None else (sinks[None, :, None] - lse).exp(),
        }
        found = _each_span(self.seen.spans, partial(_mass, first_key, weights))
        if found is not None and look.visible is not None:
            result["mass"] = found if look.everything else torch.where(look.visible, found, torch.nan)
            result["visible"] = look.visible.expand_as(found).contiguous()  # its own memory: rows are written later
        return result


@dataclass(eq=False)
class _Look:
    """What rows see of the keys, and of each span: visible [batch, head, row, span]."""

    keys: VisibleKeys
    visible: Bool[Tensor, "#batch #heads rows spans"] | None
    everything: bool


def _each_span(spans: dict[str, Parts], reduce: Callable[[slice, Part], Tensor], dim: int = -1) -> Tensor | None:
    """reduce(batch rows, parts of a span) for each name, stacked along `dim`."""
    whole = slice(None)
    found = [
        reduce(whole, parts[0])
        if len(parts) == 1
        else torch.cat([reduce(slice(row, row + 1), part) for row, part in enumerate(parts)])
        for parts in spans.values()
    ]
    return torch.stack(torch.broadcast_tensors(*found), dim=dim) if found else None


def _alike(call: Call, look: "_Look") -> Hashable:
    """What layers share that see the same; one whose heads see different keys keeps to itself."""
    by_head = look.visible is not None and look.visible.shape[1] > 1
    return id(look), call.sinks is None, call.layer if by_head else None


def _keys(first_key: int, start: int, stop: int, count: int) -> slice:
    """The keys among the first `count` that hold slots [start, stop)."""
    return slice(max(start - first_key, 0), min(max(stop - first_key, 0), count))


def _sees(call: Call, keys: VisibleKeys, rows: int, batch: slice, part: Part) -> Bool[Tensor, "#batch #heads rows"]:
    seen = [keys.sees(start - call.first_key, stop - call.first_key, rows) for start, stop in part]
    found = torch.stack(torch.broadcast_tensors(*seen)).any(0)
    return found[batch] if len(found) > 1 else found


def _mass(first_key: int, weights: Tensor, batch: slice, part: Part) -> Float[Tensor, "batch heads rows"]:
    cut = [weights[batch, :, :, _keys(first_key, *ends, weights.shape[-1])].sum(-1) for ends in part]
    return cut[0] if len(cut) == 1 else torch.stack(cut).sum(0)


def _value(call: Call, weights: Tensor, batch: slice, part: Part) -> Float[Tensor, "batch heads rows dim"]:
    keys = [_keys(call.first_key, *ends, weights.shape[-1]) for ends in part]
    return torch.stack([weighted(weights[batch, :, :, some], call.value[batch, :, some]) for some in keys]).sum(0)


def top_positions(
    scores: Float[Tensor, "batch heads rows keys"], count: int
) -> Int[Tensor, "batch heads rows {count}"]:
    """Indices of the `count` highest scores, best first; -1 where none is left above -inf.

    Ties go to the lowest index, as torch.max promises and topk does not.
    """
    if count == 1:
        value, index = highest(scores)
        return torch.where(value > -torch.inf, index, -1)
    found: list[tuple[Tensor, Tensor]] = []
    for _ in range(count):
        value, index = highest(scores)
        found.append((value, index))
        scores.scatter_(-1, index, -torch.inf)
    for value, index in reversed(found):
        scores.scatter_(-1, index, value)  # as they were
    return torch.cat([torch.where(value > -torch.inf, index, -1) for value, index in found], dim=-1)
