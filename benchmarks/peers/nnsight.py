"""nnsight: deferred code on the input of `o_proj`."""

from collections.abc import Sequence
from typing import Any

import torch
from nnsight import NNsight
from torch import Tensor

from haymaker.records import Head


class Peer:
    package = "nnsight"

    def __init__(self, model: Any, donor: Any) -> None:
        self.width = model.config.head_dim
        self.model, self.donor = NNsight(model), NNsight(donor)

    def columns(self, head: Head) -> slice:
        return slice(head.head * self.width, (head.head + 1) * self.width)

    def zero(self, ids: Tensor, heads: Sequence[Head]) -> Tensor:
        model = self.model
        with model.trace(input_ids=ids, use_cache=False):
            for head in heads:
                model.model.layers[head.layer].self_attn.o_proj.input[..., self.columns(head)] = 0
            logits = model.output.logits.save()
        return logits

    def patch(self, ids: Tensor, heads: Sequence[Head]) -> Tensor:
        model, donor = self.model, self.donor
        with donor.trace(input_ids=ids, use_cache=False):
            given = list().save()
            for head in heads:
                given.append(donor.model.layers[head.layer].self_attn.o_proj.input)
        with model.trace(input_ids=ids, use_cache=False):
            for head, values in zip(heads, given, strict=True):
                columns = self.columns(head)
                model.model.layers[head.layer].self_attn.o_proj.input[..., columns] = values[..., columns]
            logits = model.output.logits.save()
        return logits

    def outputs(self, ids: Tensor, heads: Sequence[Head], rows: Sequence[int]) -> Tensor:
        model, rows, layers = self.model, list(rows), sorted({head.layer for head in heads})
        with model.trace(input_ids=ids, use_cache=False):
            found = list().save()
            for layer in layers:
                found.append(model.model.layers[layer].self_attn.o_proj.input[:, rows])
        return torch.cat([one.unflatten(-1, (-1, self.width)) for one in found], dim=2)
