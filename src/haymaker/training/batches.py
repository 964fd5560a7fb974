"""Which rows a training step takes, and how they are laid into tensors. Pure: order depends on (seed, epoch) alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from haymaker.errors import DataError
from haymaker.models.batching import refuse_long_rows
from haymaker.randomness import keyed
from haymaker.records import Encoded, Example, rows_of_kind
from haymaker.tokens import encode_many


@dataclass(frozen=True)
class MicroBatch:
    """Right-padded rows of about equal length. The logits at `rows` predict `targets`, where `counted`."""

    ids: Int64[Tensor, "batch token"]
    rows: Int64[Tensor, "batch row"]
    targets: Int64[Tensor, "batch row"]
    counted: Bool[Tensor, "batch row"]

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
    return MicroBatch(*(part.to(device) for part in (ids, places, targets, counted)))
