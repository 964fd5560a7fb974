"""Laws of branches: a head zeroed in a branch of one prefill, or from its layer on, against a forward of its own."""

from typing import Any

import torch
from equivalences import furthest, law, logits, tiny_model, tokens
from torch import Tensor

from haymaker.attention.canary import check_architecture
from haymaker.attention.edits import Zero, edit
from haymaker.errors import ProbeError
from haymaker.interventions.branches import Trunk
from haymaker.interventions.relayed import Relay
from haymaker.records import Encoded

PROMPT = 19


def alone(model: Any, ids: Tensor, scope: list[int] | str) -> Tensor:
    """log p of the answer's tokens [head, token], each head zeroed in a whole forward."""
    found = []
    for head in check_architecture(model).heads:
        with edit(model, Zero([head]), scope=scope):
            table = logits(model, ids)[0, PROMPT - 1 : -1].log_softmax(-1)
        found.append(table.gather(-1, ids[0, PROMPT:, None])[:, 0])
    return torch.stack(found)


@law("17", "every head zeroed as a branch of one prefill against a forward each: log-probabilities", 1e-4)
def branches(name: str) -> float | None:
    model, ids = tiny_model(name), tokens(1)
    try:
        trunk = Trunk(model, ids[0, :PROMPT].tolist())
    except ProbeError:
        return None  # linear attention keeps no keys that branches could share
    found = trunk.log_probabilities([[Zero([head])] for head in trunk.architecture.heads], ids[0, PROMPT:].tolist())
    return furthest(found, alone(model, ids, list(range(PROMPT - 1, ids.shape[1]))))


@law("17", "every head zeroed everywhere, its forward started at its layer, against a whole forward: the same", 1e-4)
def relayed(name: str) -> float:
    model, ids = tiny_model(name), tokens(1)
    relay, heads = Relay(model, Encoded("row", tuple(ids[0].tolist()), PROMPT), 64), check_architecture(model).heads
    found = []
    for layer in relay.upwards():
        edits = [[Zero([head])] for head in heads if head.layer == layer]
        found += [relay.log_probabilities(edits, "all")] if edits else []
    return furthest(torch.cat(found), alone(model, ids, "all").sum(-1))
