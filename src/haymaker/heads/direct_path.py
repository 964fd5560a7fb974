"""The direct path from a head's output to a logit: which direction of a head's output raises which token.

A head's output goes through its slice of the output projection into the residual stream, and from there through the
last norm and the unembedding to the logits. That path is linear once the norms' scales are held at what they were in
the forward (Elhage et al. 2021), and adds up: all heads, MLPs and the embedding together give the logit. Later layers
also read what the head wrote; that is not counted.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.attention.canary import Architecture, output_projection
from haymaker.attention.hook import current_step, decoder_of
from haymaker.attention.seen import Seen
from haymaker.attention.targets import reach
from haymaker.attention.threads import of_this_thread
from haymaker.heads.proven_path import FINAL, prove, pulled_back, quotient


class Scales:
    """What stands on the direct path at the probe's rows, [batch, row, width].

    found: what a norm multiplies with, its output over its input. entered: what enters a layer's output projection,
    where a gate has changed the heads' outputs.
    """

    def __init__(self, rows: Int[Tensor, "#batch row"]) -> None:
        self.rows = rows
        self.found: dict[int, Tensor] = {}
        self.entered: dict[int, Tensor] = {}
        self.dtype = torch.float32  # that of activations

    def only(self, kept: Bool[Tensor, " row"]) -> "Scales":
        """The same at some of the rows."""
        part = Scales(self.rows[:, kept])
        part.found = {layer: table[:, kept] for layer, table in self.found.items()}
        part.entered = {layer: table[:, kept] for layer, table in self.entered.items()}
        part.dtype = self.dtype
        return part

    def keep(self, decoder: PreTrainedModel, layer: int, _: nn.Module, args: tuple, output: Tensor) -> None:
        """A norm's hook."""
        self.dtype = args[0].dtype
        before, after = (self.at_rows(decoder, tensor) for tensor in (args[0], output))
        if before is not None and after is not None:
            self.store(decoder, self.found, layer, quotient(after, before))

    def keep_entry(self, decoder: PreTrainedModel, layer: int, _: nn.Module, args: tuple, output: Tensor) -> None:
        """An output projection's hook."""
        if (entered := self.at_rows(decoder, args[0])) is not None:
            self.store(decoder, self.entered, layer, entered)

    def at_rows(self, decoder: PreTrainedModel, tensor: Tensor) -> Float[Tensor, "batch some width"] | None:
        """The rows that this forward computes, of a tensor over its positions; None without any."""
        step = current_step(decoder)
        plan = reach(self.rows, step) if step is not None else None
        if step is None or plan is None:
            return None
        local = (plan.slots - step.first).expand(step.batch, -1)[..., None].to(tensor.device)
        return tensor.gather(1, local.expand(-1, -1, tensor.shape[-1])).float().cpu()

    def store(self, decoder: PreTrainedModel, tables: dict[int, Tensor], layer: int, values: Tensor) -> None:
        step = current_step(decoder)
        plan = reach(self.rows, step) if step is not None else None
        assert plan is not None  # else there were no values
        shape = (len(values), self.rows.shape[1], values.shape[-1])
        table = tables.setdefault(layer, torch.full(shape, torch.nan))
        table[:, plan.columns] = torch.where(plan.reached[..., None], values, table[:, plan.columns])


@contextmanager
def watch_scales(model: Any, rows: Int[Tensor, "#batch row"]) -> Iterator[Scales]:
    """Keeps the norms' scales of forwards inside the block, at the rows of a probe that is open around it."""
    decoder, path = decoder_of(model), prove(model)
    architecture, scales = path.architecture, Scales(rows)
    with ExitStack() as hooks:
        for layer, name in path.norms.items():
            hook = decoder.get_submodule(name).register_forward_hook(
                of_this_thread(partial(scales.keep, decoder, layer))
            )
            hooks.callback(hook.remove)
        for layer, shape in architecture.layers.items() if architecture.between == "gate" else ():
            projection = output_projection(decoder.get_submodule(shape.name))
            hook = projection.register_forward_hook(of_this_thread(partial(scales.keep_entry, decoder, layer)))
            hooks.callback(hook.remove)
        yield scales


def check_direct_path(model: Any) -> Architecture:
    """Raises ProbeError for a model whose heads have no linear path of their own to the logits."""
    return prove(model).architecture


def contributions(
    model: Any, seen: Seen, scales: Scales, produced: Int[Tensor, "batch row"]
) -> tuple[dict[str, Float[Tensor, "layer batch head row"]], Float[Tensor, "layer batch head row"]]:
    """Logits that each named span, and that the whole head, adds to the token produced at a row.

    The model's own scales of norms and gates on head outputs are folded in; logits are those before a softcap or a
    factor. Layers without attention are NaN.
    """
    decoder, path = decoder_of(model), prove(model)
    to_logit = unembedding(model, produced, scales)
    parts = {name: torch.full(value.shape[:-1], torch.nan) for name, value in seen.value.items()}
    whole = torch.full(seen.output.shape[:-1], torch.nan)
    for layer in seen.layers:
        shape = seen.architecture.layers[layer]
        direction = to_logit * scales.found.get(layer, torch.ones(())) * path.factors[layer]
        projection = output_projection(decoder.get_submodule(shape.name))
        pulled = pulled_back(projection, direction, shape.heads * shape.head_dim, scales.dtype)
        sizes = (shape.heads, shape.head_dim)
        each = pulled.unflatten(-1, sizes).transpose(1, 2)  # [batch, head, row, dim]
        output = seen.output[layer, :, : shape.heads, :, : shape.head_dim]
        if (entered := scales.entered.get(layer)) is not None:
            each = each * quotient(entered.unflatten(-1, sizes).transpose(1, 2), output)
        whole[layer, :, : shape.heads] = (output * each).sum(-1)
        for name, value in seen.value.items():
            parts[name][layer, :, : shape.heads] = (value[layer, :, : shape.heads, :, : shape.head_dim] * each).sum(-1)
    return parts, whole


def unembedding(model: Any, produced: Int[Tensor, "batch row"], scales: Scales) -> Float[Tensor, "batch row width"]:
    """Direction of the residual stream that raises the logit of each row's token, the last norm's scale folded in."""
    head = model.get_output_embeddings()
    final = scales.found[FINAL]
    one_hot = torch.nn.functional.one_hot(produced, num_classes=len(head.weight)).float()
    return pulled_back(head, one_hot, final.shape[-1], scales.dtype) * final
