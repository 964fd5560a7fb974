"""Keep what chosen heads write while a model runs: donors for Patch and Resample, references for Mean."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from haymaker.attention.calls import Call, Step, Tool
from haymaker.attention.canary import Site, at_projection, check_architecture, check_heads
from haymaker.attention.generating import watched
from haymaker.attention.hook import attach, decoder_of, unwrapped
from haymaker.attention.targets import HeadLike, Rows, as_head, as_heads, check_steady, row_table
from haymaker.errors import ProbeError
from haymaker.records import Head


@contextmanager
def record(
    model: Any,
    heads: Iterable[HeadLike],
    rows: Rows | None = None,
    *,
    site: Site | None = None,
    gradients: bool = False,
) -> Iterator["Recording"]:
    """Keeps the outputs of `heads`, before o_proj, of what runs inside the block, as the model got them (edited).

    Args:
        model: Any Hugging Face decoder whose attention goes through transformers' attention interface.
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        rows: Positions (slots) to keep, shared or one list per batch row; all if None, in the order they were computed.
        site: "attention" or "o_proj", see `edit`; by default the one where edits of this model act.
        gradients: Keep whole outputs in the graph instead, as `Recording.tensors`, so that torch.autograd.grad of a
            metric with respect to them gives the effect of every head at once.

    Yields:
        A Recording, in the model's precision, on the model's devices, with `values` [batch, position, head, head_dim],
        and `of(head)` [batch, position, head_dim].

    Raises:
        ProbeError: Heads that the model lacks; rows that were never reached (when they are read); an architecture that
            fails the check.

    Source:
        With gradients: attribution patching, Syed et al. 2023 (arXiv 2310.10348).

    Examples:
        >>> with hm.record(lm.model, [(3, 4), "2-1"], rows=[1, 3]) as written:
        ...     logits = lm.model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
        >>> written.values.shape
        torch.Size([1, 2, 2, 32])
    """
    decoder, architecture = decoder_of(model), check_architecture(model)
    recording = Recording(as_heads(heads), site or architecture.site, None if rows is None else row_table(rows))
    check_heads(architecture, recording.heads)
    tool = _Recorder(decoder, recording, gradients)
    hooked = nullcontext()
    if recording.site == "o_proj":
        hooked = at_projection(decoder, architecture, recording.layers, tool.take, before=gradients)
    with watched(unwrapped(model)), attach(tool), hooked:
        yield recording


def mean_outputs(
    model: Any, heads: Iterable[HeadLike], batches: Iterable[Mapping[str, Tensor]], rows: Rows | None = None
) -> dict[Head, Float[Tensor, " head_dim"]]:
    """The mean output of each head over a reference set, for `Mean`.

    Args:
        model: Any Hugging Face decoder whose attention goes through transformers' attention interface.
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        batches: Keyword arguments of the model, one dict per forward. Positions under `attention_mask` do not count.
        rows: Average only over these positions (slots) of each sequence.

    Returns:
        A float32 vector [head_dim] on the CPU for each head.

    Raises:
        ProbeError: Heads that the model lacks, no batch, or rows that a forward did not reach.

    Examples:
        >>> means = hm.mean_outputs(lm.model, ["3-4"], [{"input_ids": torch.tensor([[5, 6, 7, 8]])}])
        >>> str(hm.Mean(["3-4"], means))
        'Mean of 3-4'
    """
    sums: dict[Head, Tensor] = {}
    count = 0
    for batch in batches:
        with torch.no_grad(), record(model, heads, rows) as recording:
            model(**batch)
        positions = recording.positions.expand(recording.batch, -1)
        mask = batch.get("attention_mask")
        keep = torch.ones_like(positions, dtype=torch.bool) if mask is None else mask.cpu().bool().gather(1, positions)
        count += int(keep.sum())
        for head in recording.heads:
            found = recording.of(head).cpu()[keep].double().sum(0)
            sums[head] = sums[head] + found if head in sums else found
    if not count:
        raise ProbeError("expected a reference set with tokens, found none: give at least one batch")
    return {head: (total / count).float() for head, total in sums.items()}


class Recording:
    """Head outputs by position: `values` [batch, position, head, head_dim], heads in the order asked for.

    positions: [batch or 1, position], slots. tensors: with gradients=True, [batch, query, head, head_dim] by layer.
    """

    def __init__(self, heads: tuple[Head, ...], site: Site | None, rows: Tensor | None = None) -> None:
        self.heads, self.site, self.rows = heads, site, rows
        self.layers = sorted({head.layer for head in heads})
        self.columns = {layer: [head.head for head in heads if head.layer == layer] for layer in self.layers}
        self.tensors: dict[int, Tensor] = {}
        self._pieces: dict[int, list[Tensor]] = {layer: [] for layer in self.layers}
        self._slots: dict[int, list[Tensor]] = {layer: [] for layer in self.layers}
        self._joined: dict[int, Tensor] = {}
        self.length = 0  # slots that forwards covered

    @classmethod
    def of_tensors(cls, outputs: Mapping[Any, Tensor], site: Site | None) -> "Recording":
        """A store made by hand: for each head [position, head_dim] or [batch, position, head_dim], from slot 0 on."""
        by_head = {as_head(head): tensor for head, tensor in outputs.items()}
        recording = cls(tuple(by_head), site)
        for layer, columns in recording.columns.items():
            tensors = [by_head[Head(layer, head)] for head in columns]
            shapes = {tuple(tensor.shape) for tensor in tensors}
            if len(shapes) > 1 or tensors[0].ndim not in (2, 3):
                raise ProbeError(f"expected [batch, position, head_dim] for each head, alike, found {sorted(shapes)}")
            stacked = torch.stack(tensors, dim=-2)
            recording.add(layer, torch.arange(stacked.shape[-3]), stacked if stacked.ndim == 4 else stacked[None])
        return recording

    def add(self, layer: int, slots: Int[Tensor, " some"], outputs: Float[Tensor, "batch some heads dim"]) -> None:
        """Keeps a layer's outputs at `slots`."""
        self._pieces[layer].append(outputs)
        self._slots[layer].append(slots)
        self._joined.pop(layer, None)

    @property
    def positions(self) -> Int[Tensor, "#batch position"]:
        slots = self._covered()
        return slots[None] if self.rows is None else self.rows

    @property
    def batch(self) -> int:
        return self._pieces[self.layers[0]][0].shape[0]

    @property
    def values(self) -> Float[Tensor, "batch position head head_dim"]:
        return torch.stack([self.of(head) for head in self.heads], dim=2)

    def of(self, head: HeadLike) -> Float[Tensor, "batch position head_dim"]:
        """The outputs of one head."""
        head = as_head(head)
        if head not in self.heads:
            raise ProbeError(f"expected a recorded head, one of {', '.join(map(str, self.heads))}; found {head}")
        return self.layer(head.layer)[:, :, self.columns[head.layer].index(head.head)]

    def layer(self, layer: int) -> Float[Tensor, "batch position head head_dim"]:
        """The recorded heads of one layer, in the order of `columns`."""
        if layer not in self._joined:
            slots, outputs = self._covered(layer), torch.cat(self._pieces[layer], dim=1)
            if self.rows is not None:
                index = torch.searchsorted(slots, self.rows).to(outputs.device)
                index = index.expand(len(outputs), -1)[:, :, None, None]
                outputs = outputs.gather(1, index.expand(-1, -1, *outputs.shape[2:]))
            self._joined[layer] = outputs
        return self._joined[layer]

    def _covered(self, layer: int | None = None) -> Int[Tensor, " slots"]:
        found = self._slots[self.layers[0] if layer is None else layer]
        if not found and not self.length:
            raise ProbeError("expected a forward of this model inside the block, in its thread; found none")
        slots = torch.cat(found) if found else torch.empty(0, dtype=torch.long)
        if (slots.diff() <= 0).any():
            raise ProbeError("expected one sequence, found positions recorded twice: open one record block for each")
        if self.rows is not None and (missing := sorted(set(self.rows.flatten().tolist()) - set(slots.tolist()))):
            raise ProbeError(f"rows {missing} were never reached: forwards covered positions 0 to {self.length - 1}")
        return slots


class _Recorder(Tool):
    def __init__(self, decoder: PreTrainedModel, recording: Recording, gradients: bool) -> None:
        super().__init__(decoder)
        self.recording, self.gradients = recording, gradients

    def rewrite_output(self, call: Call, output: Float[Tensor, "batch queries heads dim"]) -> Tensor:
        wanted = self.gradients and self.recording.site == "attention" and call.layer in self.recording.columns
        return self.take(call.step, call.layer, output) if wanted else output

    def observe(self, call: Call, output: Float[Tensor, "batch queries heads dim"]) -> None:
        if self.recording.site == "attention" and not self.gradients and call.layer in self.recording.columns:
            self.take(call.step, call.layer, output)

    def take(self, step: Step, layer: int, heads: Float[Tensor, "batch queries heads dim"]) -> Tensor:
        """Keeps what is wanted of one call; the tensor to go on with."""
        if self.gradients:
            self.recording.tensors[layer] = heads if heads.requires_grad else heads.detach().requires_grad_()
            return self.recording.tensors[layer]
        rows, slots = self.recording.rows, torch.arange(step.slots.start, step.slots.stop)
        self.recording.length = max(self.recording.length, step.slots.stop)
        if rows is not None:
            slots = slots[torch.isin(slots, rows)]
        check_steady(step, slots)
        if len(slots):
            local = (slots - step.first).to(heads.device)
            kept = heads.detach()[:, local][:, :, self.recording.columns[layer]]
            self.recording.add(layer, slots, kept)
        return heads
