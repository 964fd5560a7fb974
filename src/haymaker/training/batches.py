"""Which rows a training step takes, and how they are laid into tensors. Pure: order depends on (seed, epoch) alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from haymaker.errors import DataError
from haymaker.models.batching import refuse_long_rows
from haymaker.randomness import keyed
from haymaker.records import Encoded, Example, rows_of_kind
from haymaker.tokens import encode_many
from haymaker.training.layout import PADDED, Chunked, Layout, Packed


@dataclass(frozen=True)
class MicroBatch:
    """Rows side by side, right-padded, or laid out otherwise. The logits at `rows` predict `targets` if `counted`."""

    ids: Int64[Tensor, "batch token"]
    rows: Int64[Tensor, "batch row"]
    targets: Int64[Tensor, "batch row"]
    counted: Bool[Tensor, "batch row"]
    layout: Layout = PADDED

    @property
    def tokens(self) -> int:
        return self.ids.numel()


def encoded_rows(rows: Iterable[Example | Encoded], tokenizer: PreTrainedTokenizerBase, context: int) -> list[Encoded]:
    """Rows in tokens, none longer than the context. Raises LengthError with the ids, DataError for unusable rows."""
    given = rows_of_kind(rows, (Example, Encoded))
    fresh = iter(encode_many([row for row in given if isinstance(row, Example)], tokenizer))
    found = [row if isinstance(row, Encoded) else next(fresh) for row in given]
    if not found:
        raise DataError("expected rows to train on, found none; build a dataset with rows first")
    if silent := [row.example_id for row in found if not len(row.answer_rows)]:
        raise DataError(
            f"{len(silent)} rows have no answer token to learn, such as {', '.join(silent[:5])}; mend the rows"
        )
    refuse_long_rows(found, context)
    return found


def rows_of_step(rows: Sequence[Encoded], batch: int, seed: int, step: int) -> list[Encoded]:
    """The `batch` rows of a step: epoch after epoch, each in its own order, a function of (seed, epoch)."""
    found: list[Encoded] = []
    for epoch in range(step * batch // len(rows), ((step + 1) * batch - 1) // len(rows) + 1):
        order = keyed(seed, "train order", epoch).sample(range(len(rows)), len(rows))
        first = max(0, step * batch - epoch * len(rows))
        last = min(len(rows), (step + 1) * batch - epoch * len(rows))
        found += [rows[index] for index in order[first:last]]
    return found


def lay_out(rows: Sequence[Encoded], device: torch.device) -> MicroBatch:
    """Tensors of a group of rows; padding repeats what is harmless and is never counted."""
    length, width = max(map(len, rows)), max(len(row.answer_rows) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    places = torch.zeros(len(rows), width, dtype=torch.long)
    targets = torch.zeros_like(places)
    counted = torch.zeros_like(places, dtype=torch.bool)
    for i, row in enumerate(rows):
        answer = list(row.answer_rows)
        ids[i, : len(row)] = torch.tensor(row.input_ids)
        places[i, : len(answer)] = torch.tensor(answer)
        targets[i, : len(answer)] = torch.tensor([row.input_ids[position + 1] for position in answer])
        counted[i, : len(answer)] = True
    return MicroBatch(ids.to(device), places.to(device), targets.to(device), counted.to(device))


def packs_of(lengths: Sequence[int], tokens_at_once: int, below: int) -> list[list[int]]:
    """Indices of rows that are laid one after another: those shorter than `below`, the longest first, each into the
    first pack that has room for it. Longer ones, and one that fills a pack, go alone."""
    packs: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        short = lengths[i] < below
        place = next((k for k, left in enumerate(room) if short and lengths[i] <= left), len(packs))
        if place == len(packs):
            packs.append([])
            room.append(tokens_at_once if short else 0)
        packs[place].append(i)
        room[place] -= lengths[i]
    return packs


def laid_in_line(rows: Sequence[Encoded], device: torch.device) -> MicroBatch:
    """Tensors of rows one after another, without padding."""
    ids = [token for row in rows for token in row.input_ids]
    starts = accumulate((len(row) for row in rows), initial=0)
    places = [start + place for row, start in zip(rows, starts, strict=False) for place in row.answer_rows]
    targets = [row.input_ids[place + 1] for row in rows for place in row.answer_rows]
    line, at, wanted = (torch.tensor([values], device=device) for values in (ids, places, targets))
    layout = Packed(tuple(map(len, rows)), tuple(len(row.answer_rows) for row in rows))
    return MicroBatch(line, at, wanted, torch.ones_like(at, dtype=torch.bool), layout)


def chunks_of(batch: MicroBatch, rank: int, size: int, group: Any = None) -> MicroBatch:
    """What process `rank` of `size` holds of rows that they share: two chunks of each, and the answer rows in them."""
    tokens = batch.ids.shape[1]
    layout = Chunked(rank, size, tokens + -tokens % (2 * size), group)
    places = layout.places(batch.ids.device)
    here = torch.full((layout.tokens,), -1, device=places.device)
    here[places] = torch.arange(len(places), device=places.device)
    rows, mine = here[batch.rows], batch.counted & (here[batch.rows] >= 0)
    width = max(1, int(mine.sum(dim=1).max()))  # one row at least: the layers' messages need all processes
    first = (~mine).int().argsort(dim=1, stable=True)[:, :width]
    ids = functional.pad(batch.ids, (0, layout.tokens - tokens))[:, places]
    return MicroBatch(
        ids, rows.gather(1, first).clamp(min=0), batch.targets.gather(1, first), mine.gather(1, first), layout
    )
