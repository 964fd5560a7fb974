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

from haymaker.attention.canary import Architecture, check_architecture, output_projection
from haymaker.attention.hook import current_step, decoder_of
from haymaker.attention.seen import Seen
from haymaker.attention.targets import reach
from haymaker.errors import ProbeError

FINAL = -1  # the key of the last norm among the layers' own
NORM_NAMES = ("norm", "final_layernorm", "final_layer_norm", "ln_f")


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


def quotient(after: Tensor, before: Tensor) -> Tensor:
    """What `before` was multiplied with, number by number; 0 where it was 0."""
    return torch.where(before == 0, 0.0, after / before)


@contextmanager
def watch_scales(model: Any, rows: Int[Tensor, "#batch row"]) -> Iterator[Scales]:
    """Keeps the norms' scales of forwards inside the block, at the rows of a probe that is open around it."""
    decoder, architecture = decoder_of(model), check_direct_path(model)
    scales = Scales(rows)
    with ExitStack() as hooks:
        for layer, norm in path_norms(decoder).items():
            hook = norm.register_forward_hook(partial(scales.keep, decoder, layer))
            hooks.callback(hook.remove)
        for layer, shape in architecture.layers.items() if architecture.between == "gate" else ():
            projection = output_projection(decoder.get_submodule(shape.name))
            hook = projection.register_forward_hook(partial(scales.keep_entry, decoder, layer))
            hooks.callback(hook.remove)
        yield scales


def path_norms(decoder: PreTrainedModel) -> dict[int, nn.Module]:
    """The last norm, and for each layer the norm between its attention and the residual stream, if it has one."""
    final: Any = next((getattr(decoder, name) for name in NORM_NAMES if hasattr(decoder, name)), None)
    layers: Any = decoder.layers
    # Where a layer has a norm behind its MLP too (Gemma 2, OLMo 2), this name is of the one behind its attention.
    inner = {i: layer.post_attention_layernorm for i, layer in enumerate(layers) if behind_attention(layer)}
    for norm in (final, *inner.values()):
        if norm is None or not only_scales(norm, decoder):
            raise ProbeError(
                f"{type(decoder).__name__}: expected norms that only scale (RMS) on the way to the logits, found "
                f"{type(norm).__name__ if norm is not None else 'no last norm'}; contributions to logits cannot be "
                "read, use another metric than write"
            )
    return {FINAL: final, **inner}


@torch.no_grad()
def only_scales(norm: nn.Module, decoder: PreTrainedModel) -> bool:
    """Whether each number of a norm's output is a multiple of the same number of its input: no mean is taken off."""
    embedding = next(decoder.get_input_embeddings().parameters())
    single = torch.zeros(1, 1, decoder.config.hidden_size, dtype=decoder.dtype, device=embedding.device)
    single[..., 0] = 1
    return not norm(single)[..., 1:].any()


def behind_attention(layer: nn.Module) -> bool:
    return hasattr(layer, "post_feedforward_layernorm") and hasattr(layer, "post_attention_layernorm")


def check_direct_path(model: Any) -> Architecture:
    """Raises ProbeError for a model whose heads have no linear path of their own to the logits."""
    architecture = check_architecture(model)
    path_norms(decoder_of(model))
    if architecture.between == "mixing":
        raise ProbeError(
            f"{architecture.name}: expected head outputs to enter the output projection apart from each other, found "
            "that they are mixed before it; contributions to logits cannot be read, use another metric than write"
        )
    return architecture


def contributions(
    model: Any, seen: Seen, scales: Scales, produced: Int[Tensor, "batch row"]
) -> tuple[dict[str, Float[Tensor, "layer batch head row"]], Float[Tensor, "layer batch head row"]]:
    """Logits that each named span, and that the whole head, adds to the token produced at a row.

    The model's own scales of norms and gates on head outputs are folded in; logits are those before a softcap or a
    factor. Layers without attention are NaN.
    """
    decoder = decoder_of(model)
    width = seen.output.shape[-1]
    to_logit = unembedding(model, produced, scales)
    parts = {name: torch.full(value.shape[:-1], torch.nan) for name, value in seen.value.items()}
    whole = torch.full(seen.output.shape[:-1], torch.nan)
    for layer in seen.layers:
        shape = seen.architecture.layers[layer]
        direction = to_logit * scales.found.get(layer, torch.ones(()))
        direction = direction * getattr(decoder.layers[layer], "residual_multiplier", 1.0)  # type: ignore[index]
        projection = output_projection(decoder.get_submodule(shape.name))
        pulled = pulled_back(projection, direction, shape.heads * shape.head_dim, scales.dtype)
        each = pulled.unflatten(-1, (shape.heads, width)).transpose(1, 2)  # [batch, head, row, dim]
        output = seen.output[layer, :, : shape.heads]
        if (entered := scales.entered.get(layer)) is not None:
            each = each * quotient(entered.unflatten(-1, (shape.heads, width)).transpose(1, 2), output)
        whole[layer, :, : shape.heads] = (output * each).sum(-1)
        for name, value in seen.value.items():
            parts[name][layer, :, : shape.heads] = (value[layer, :, : shape.heads] * each).sum(-1)
    return parts, whole


def unembedding(model: Any, produced: Int[Tensor, "batch row"], scales: Scales) -> Float[Tensor, "batch row width"]:
    """Direction of the residual stream that raises the logit of each row's token, the last norm's scale folded in."""
    head = model.get_output_embeddings()
    final = scales.found[FINAL]
    one_hot = torch.nn.functional.one_hot(produced, num_classes=len(head.weight)).float()
    return pulled_back(head, one_hot, final.shape[-1], scales.dtype) * final


def pulled_back(
    projection: nn.Module, direction: Float[Tensor, "batch row out"], width: int, dtype: torch.dtype
) -> Float[Tensor, "batch row {width}"]:
    """W^T direction for a linear module with weight W: its vector-Jacobian product.

    So a LoRA wrapper, a merged or a quantised weight counts as the model applies it, and a bias not at all.
    """
    device = next(projection.parameters()).device
    entry = torch.zeros(*direction.shape[:-1], width, dtype=dtype, device=device, requires_grad=True)
    with torch.enable_grad():
        found = torch.autograd.grad(projection(entry), entry, direction.to(device, dtype))[0]
    return found.float().cpu()
