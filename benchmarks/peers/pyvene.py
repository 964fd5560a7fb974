"""pyvene: interventions on `head_attention_value_output`, and collection of `attention_value_output`."""

from collections.abc import Sequence
from typing import Any

import pyvene
import torch
from torch import Tensor

from haymaker.records import Head


class Peer:
    package = "pyvene"

    def __init__(self, model: Any, donor: Any) -> None:
        self.model, self.width = model, model.config.head_dim

    def zero(self, ids: Tensor, heads: Sequence[Head]) -> Tensor:
        places = [
            pyvene.RepresentationConfig(
                layer=head.layer, component="head_attention_value_output", unit="h", max_number_of_units=1,
                intervention_type=pyvene.ZeroIntervention,
            )
            for head in heads
        ]  # fmt: skip
        wrapped = pyvene.IntervenableModel(pyvene.IntervenableConfig(representations=places), self.model)
        _, output = wrapped(
            base={"input_ids": ids}, unit_locations={"base": [[[head.head]] * len(ids) for head in heads]}
        )
        return output.logits

    def outputs(self, ids: Tensor, heads: Sequence[Head], rows: Sequence[int]) -> Tensor:
        layers = sorted({head.layer for head in heads})
        places = [
            pyvene.RepresentationConfig(
                layer=layer, component="attention_value_output", unit="pos", max_number_of_units=len(rows),
                intervention_type=pyvene.CollectIntervention,
            )
            for layer in layers
        ]  # fmt: skip
        wrapped = pyvene.IntervenableModel(pyvene.IntervenableConfig(representations=places), self.model)
        (_, found), _ = wrapped(
            base={"input_ids": ids}, unit_locations={"base": [[list(rows)] * len(ids) for _ in layers]}
        )
        return torch.cat([one.view(len(ids), len(rows), -1, self.width) for one in found], dim=2)
