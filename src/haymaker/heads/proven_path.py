"""Which norms and factors stand between a head and the logits: found by what they are given, and proven by gradients.

Before the first reading a few tokens go through the model with everything held but the direct path: what other modules
of a layer add is cut from the graph, norms on the path multiply with the scales they had. The gradient of a logit with
respect to what enters an output projection is then the direct path itself. It must be the closed form's
(direct_path.py) up to one factor for each layer, the same for other tokens; else the model is refused.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.attention.canary import (
    TOKENS,
    Architecture,
    check_architecture,
    output_projection,
    place_of,
    sample_tokens,
)
from haymaker.attention.hook import apart, decoder_of
from haymaker.attention.threads import of_this_thread
from haymaker.errors import ProbeError

FINAL = -1  # the key of the last norm among the layers' own
TOLERANCE, TOLERANCE_ROUNDED = 1e-3, 5e-2  # of the direction's length; the second below float32
SAMPLES = ((0, TOKENS - 1, 5), (1, TOKENS - 2, 7))  # batch row, position, token
INSTEAD = "contributions to logits cannot be read, use another metric than write"


@dataclass(frozen=True)
class ProvenPath:
    """Names of the norms by layer (FINAL is the last one), and what else a layer's output is multiplied with."""

    architecture: Architecture
    norms: dict[int, str]
    factors: dict[int, float]


_KNOWN: WeakKeyDictionary[PreTrainedModel, dict[str, ProvenPath]] = WeakKeyDictionary()


def prove(model: Any) -> ProvenPath:
    """The direct path of a model's heads, proven once. Raises ProbeError for a model that has none, or another."""
    decoder, architecture = decoder_of(model), check_architecture(model)
    known = _KNOWN.setdefault(decoder, {})
    if architecture.backend not in known:
        if architecture.between == "mixing":
            raise ProbeError(
                f"{architecture.name}: expected head outputs to enter the output projection apart from each other, "
                f"found that they are mixed before it; {INSTEAD}"
            )
        norms = path_norms(decoder, architecture)
        known[architecture.backend] = ProvenPath(architecture, norms, factors_of(model, architecture, norms))
    return known[architecture.backend]


# ---- finding the norms


def layer_name(attention: str) -> str:
    """The name of the layer that holds a module: `layers.3` of `layers.3.self_attn`."""
    parts = attention.split(".")
    end = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts) - 1)
    return ".".join(parts[: end + 1])


def path_norms(decoder: PreTrainedModel, architecture: Architecture) -> dict[int, str]:
    """The last norm, and for each layer the module that is given what its attention returns, if there is one."""
    order: list[tuple[str, Any, Any]] = []
    with ExitStack() as hooks:
        for name, module in watched_modules(decoder, architecture).items():
            hooks.callback(module.register_forward_hook(of_this_thread(noting(order, name)), with_kwargs=True).remove)
        with torch.no_grad():
            run(decoder)
    outer = {name for name, _ in decoder.named_children()}
    last = next((name for name, _, _ in reversed(order) if name in outer), None)
    inner = {layer: behind(order, shape.name) for layer, shape in architecture.layers.items()}
    found = {FINAL: last, **{layer: name for layer, name in inner.items() if name is not None}}
    for name in found.values():
        if name is None or not only_scales(decoder, name):
            kind = "no last norm" if name is None else type(decoder.get_submodule(name)).__name__
            raise ProbeError(
                f"{type(decoder).__name__}: expected norms that only scale (RMS) on the way to the logits, found "
                f"{kind}; {INSTEAD}"
            )
    return found  # type: ignore[return-value]


def watched_modules(decoder: PreTrainedModel, architecture: Architecture) -> dict[str, nn.Module]:
    """What stands directly in the decoder and in its layers: all that adds to the residual stream or scales it."""
    first = layer_name(next(iter(architecture.layers.values())).name)
    stack, _, _ = first.rpartition(".")
    layers = decoder.get_submodule(stack)
    found = {name: child for name, child in decoder.named_children() if child is not layers}
    for number, layer in layers.named_children():
        found |= {f"{stack}.{number}.{name}": child for name, child in layer.named_children()}
    return found


def noting(order: list[tuple[str, Any, Any]], name: str) -> Callable[..., None]:
    def note(_: nn.Module, args: tuple, options: dict[str, Any], output: Any) -> None:
        order.append((name, first_tensor((*args, *options.values())), first_tensor(output)))

    return note


def first_tensor(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values
    return next((one for one in values if isinstance(one, Tensor)), None) if isinstance(values, tuple | list) else None


def behind(order: list[tuple[str, Any, Any]], attention: str) -> str | None:
    """The module that is given just what a layer's attention returned, dropout aside."""
    written = next((output for name, _, output in order if within(attention, name)), None)
    for name, given, output in order:
        if given is not None and given is written and output is not given:
            return name
    return None


def within(attention: str, name: str) -> bool:
    return attention == name or attention.startswith(f"{name}.")


@torch.no_grad()
def only_scales(decoder: PreTrainedModel, name: str) -> bool:
    """Whether each number of a module's output is a multiple of the same number of its input: no mean is taken off."""
    single = torch.zeros(1, 1, decoder.config.hidden_size, dtype=decoder.dtype, device=place_of(decoder))
    single[..., 0] = 1
    try:
        output = decoder.get_submodule(name)(single)
    except Exception:  # no norm at all: an embedding, another module
        return False
    return isinstance(output, Tensor) and output.shape == single.shape and not output[..., 1:].any()


# ---- the proof


def factors_of(model: Any, architecture: Architecture, norms: dict[int, str]) -> dict[int, float]:
    """By layer, what the direct path multiplies with beyond norms, projection and unembedding."""
    decoder = decoder_of(model)
    allowed = TOLERANCE if torch.finfo(decoder.dtype).eps < 1e-6 else TOLERANCE_ROUNDED
    with torch.inference_mode(False), torch.enable_grad(), plainly(decoder):
        leaves, scales, logits = held_forward(model, architecture, norms)
        if not logits.requires_grad:
            raise ProbeError(
                f"{architecture.name}: expected what heads write to stay in the residual stream up to {norms[FINAL]}, "
                f"found that other modules stand on every way to the logits; {INSTEAD}"
            )
        samples = [sample_factors(model, architecture, leaves, scales, logits, sample=sample) for sample in SAMPLES]
    factors: dict[int, float] = {}
    for layer in architecture.layers:
        (one, off), (other, off_too) = (sample[layer] for sample in samples)
        if not max(off, off_too, abs(one - other) / max(abs(one), 1e-9)) <= allowed:
            raise ProbeError(
                f"{architecture.name}: expected what layer {layer}'s heads write to reach the logits through its "
                f"output projection, {norms.get(layer, 'no norm')} and {norms[FINAL]} alone, found another path "
                f"(off by {max(off, off_too):.2g}, slopes {one:.4g} and {other:.4g}); {INSTEAD}"
            )
        factors[layer] = 1.0 if abs(one - 1) <= allowed / 10 else one
    return factors


def held_forward(
    model: Any, architecture: Architecture, norms: dict[int, str]
) -> tuple[dict[int, Tensor], dict[int, Tensor], Tensor]:
    """A forward in which only direct paths carry gradients: entries of output projections, norms' scales, logits."""
    decoder, leaves, scales = decoder_of(model), {}, {}
    logits: list[Tensor] = []
    by_name = {name: layer for layer, name in norms.items()}
    attentions = [shape.name for shape in architecture.layers.values()]
    with ExitStack() as hooks:
        for layer, shape in architecture.layers.items():
            projection = output_projection(decoder.get_submodule(shape.name))
            hooks.callback(projection.register_forward_pre_hook(of_this_thread(entering(leaves, layer))).remove)
        for name, module in watched_modules(decoder, architecture).items():
            if any(within(attention, name) for attention in attentions):
                continue
            hold = scaling(scales, by_name[name]) if name in by_name else cut
            hooks.callback(module.register_forward_hook(of_this_thread(hold)).remove)
        head = model.get_output_embeddings()
        if head is None:
            raise ProbeError(f"{architecture.name}: expected an unembedding, found none; {INSTEAD}")
        keep = of_this_thread(lambda _, __, output: logits.append(output))
        hooks.callback(head.register_forward_hook(keep).remove)
        ids, mask = sample_tokens(decoder)
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    return leaves, scales, logits[-1]


def entering(leaves: dict[int, Tensor], layer: int) -> Callable[..., tuple]:
    def enter(_: nn.Module, args: tuple) -> tuple:
        leaves[layer] = args[0].detach().requires_grad_()
        return (leaves[layer], *args[1:])

    return enter


def scaling(scales: dict[int, Tensor], layer: int) -> Callable[..., Tensor]:
    def scale(_: nn.Module, args: tuple, output: Tensor) -> Tensor:
        scales[layer] = quotient(output, args[0]).detach()
        return args[0] * scales[layer]

    return scale


def cut(module: nn.Module, args: tuple, output: Any) -> Any:
    """What a module adds, without its gradient; what only hands on (dropout) is left alone."""
    if isinstance(module, nn.Dropout | nn.Identity) or any(output is one for one in args):
        return output
    if isinstance(output, Tensor):
        return output.detach()
    return type(output)(cut(module, (), one) for one in output) if type(output) in (tuple, list) else output


def sample_factors(
    model: Any,
    architecture: Architecture,
    leaves: dict[int, Tensor],
    scales: dict[int, Tensor],
    logits: Tensor,
    *,
    sample: tuple[int, int, int],
) -> dict[int, tuple[float, float]]:
    """By layer the factor between gradient and closed form at one row, and how far they are from being parallel."""
    row, position, token = sample
    decoder, head = decoder_of(model), model.get_output_embeddings()
    gradients = torch.autograd.grad(
        logits[row, position, token], list(leaves.values()), retain_graph=True, allow_unused=True
    )
    final = scales[FINAL][row, position].float().cpu()
    one_hot = nn.functional.one_hot(torch.tensor([[token]]), num_classes=logits.shape[-1]).float()
    to_logit = pulled_back(head, one_hot, len(final), decoder.dtype)[0, 0] * final
    found = {}
    for (layer, leaf), gradient in zip(leaves.items(), gradients, strict=True):
        direction = to_logit
        if layer in scales:
            direction = direction * scales[layer][row, position].float().cpu()
        projection = output_projection(decoder.get_submodule(architecture.layers[layer].name))
        ours = pulled_back(projection, direction[None, None], leaf.shape[-1], decoder.dtype)[0, 0]
        entered = torch.zeros_like(leaf) if gradient is None else gradient
        theirs = entered[row].reshape(TOKENS, -1).float().cpu()  # of every position: others may not reach this logit
        factor = float(ours @ theirs[position] / (ours @ ours).clamp(min=1e-30))
        unexplained = theirs.index_add(0, torch.tensor([position]), ours[None], alpha=-factor)
        found[layer] = (factor, float(unexplained.norm() / theirs.norm().clamp(min=1e-30)))
    return found


@contextmanager
def plainly(decoder: PreTrainedModel) -> Iterator[None]:
    """In evaluation mode, without autocast and without open blocks."""
    training = [module for module in decoder.modules() if module.training]
    decoder.eval()
    try:
        with apart(), torch.autocast(place_of(decoder).type, enabled=False):
            yield
    finally:
        for module in training:
            module.training = True


def run(decoder: PreTrainedModel) -> None:
    ids, mask = sample_tokens(decoder)
    with plainly(decoder):
        decoder(input_ids=ids, attention_mask=mask, use_cache=False)


# ---- linear algebra


def quotient(after: Tensor, before: Tensor) -> Tensor:
    """What `before` was multiplied with, number by number; 0 where it was 0."""
    return torch.where(before == 0, 0.0, after / before)


def pulled_back(
    projection: nn.Module, direction: Float[Tensor, "batch row out"], width: int, dtype: torch.dtype
) -> Float[Tensor, "batch row {width}"]:
    """W^T direction for a linear module with weight W: its vector-Jacobian product.

    So a LoRA wrapper, a merged or a quantised weight counts as the model applies it, and a bias not at all.
    """
    device = place_of(projection)
    entry = torch.zeros(*direction.shape[:-1], width, dtype=dtype, device=device, requires_grad=True)
    with torch.inference_mode(False), torch.enable_grad():
        left = projection(entry)
        found = torch.autograd.grad(left, entry, direction.to(device, dtype), allow_unused=True) if left.grad_fn else ()
    if not found or found[0] is None:  # as products of quantised weights and activations
        raise ProbeError(f"{type(projection).__name__}: its product has no gradient on this device; {INSTEAD}")
    return found[0].float().cpu()
