"""What an architecture does around its attention, and proof that rows and edits mean there what they say.

Before the first probe or edit of a model a few tokens go through it three times: plain, through our function, and
through its eager attention. Differences raise ProbeError: a model that cannot be read right is not read at all.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.attention.calls import Call, Tool
from haymaker.attention.hook import OVERRIDE, attach, backend_of, current_step, decoder_of
from haymaker.attention.rows import scores, softmax_with_sinks, take_rows, visible_keys, weighted
from haymaker.attention.threads import of_this_thread
from haymaker.errors import ProbeError
from haymaker.records import Head

PADDING, TOKENS = 3, 10
Between = Literal["nothing", "gate", "mixing"]
Site = Literal["attention", "o_proj"]


@dataclass(frozen=True)
class LayerShape:
    """Query heads, KV heads and value width of one attention layer, and where its module is in the decoder."""

    heads: int
    kv_heads: int
    head_dim: int
    name: str


@dataclass(frozen=True)
class Architecture:
    """What the canary found.

    between: what stands between attention and the output projection: nothing; a gate, which keeps heads apart; or
        mixing (BitNet's sub-norm), where an edit before it and one after it are different interventions.
    site: where edits act unless told otherwise: `attention` if nothing stands between, else `o_proj`.
    differences: the largest seen (see `difference`): `logits` (hidden states with and without our function), `rows`
        (probe against eager weights), `outputs` (probe weights times values against the backend's output) and
        `columns` (a zeroed head against zeroed columns of o_proj, where that is a plain Linear).
    """

    name: str
    backend: str
    layers: dict[int, LayerShape]
    between: Between
    differences: dict[str, float]

    @property
    def heads(self) -> list[Head]:
        """Every query head, layer by layer."""
        return [Head(layer, head) for layer, shape in sorted(self.layers.items()) for head in range(shape.heads)]

    @property
    def site(self) -> Site:
        return "attention" if self.between == "nothing" else "o_proj"


_KNOWN: WeakKeyDictionary[PreTrainedModel, dict[str, Architecture]] = WeakKeyDictionary()


def check_architecture(model: Any) -> Architecture:
    """The model's architecture, checked once per model and backend (later calls cost nothing).

    Raises ProbeError naming the architecture where rows, outputs or a zeroed head differ from the model's own.
    """
    decoder = decoder_of(model)
    known = _KNOWN.setdefault(decoder, {})
    backend = backend_of(decoder)
    if backend not in known:
        known[backend] = _check(decoder, backend)
    return known[backend]


def output_projection(attention: nn.Module) -> nn.Module:
    """The module that mixes heads; with LoRA its wrapper, so that an edit reaches the adapter's part too."""
    for name in ("o_proj", "out_proj", "dense", "c_proj", "wo", "Wo", "proj"):
        if isinstance(found := getattr(attention, name, None), nn.Module):
            return found
    raise ProbeError(f"expected an output projection in {type(attention).__name__}, found none under a known name")


@contextmanager
def at_projection(
    decoder: PreTrainedModel,
    architecture: Architecture,
    layers: Iterable[int],
    act: Callable[..., Tensor],
    *,
    before: bool,
) -> Iterator[None]:
    """Calls act(step, layer, heads [batch, query, head, head_dim]) where heads enter the output projections of layers.

    before: what `act` returns goes into the projection; otherwise it only sees what went in, edits included.
    """
    with ExitStack() as hooks:
        for layer in layers:
            shape = architecture.layers[layer]
            projection = output_projection(decoder.get_submodule(shape.name))
            register = projection.register_forward_pre_hook if before else projection.register_forward_hook
            hook = partial(_at_projection, decoder, partial(act, layer=layer), shape.head_dim, before=before)
            hooks.callback(register(of_this_thread(hook)).remove)
        yield


def _at_projection(
    decoder: PreTrainedModel, act: Callable, head_dim: int, _: nn.Module, args: tuple, *__: Any, before: bool
) -> tuple | None:
    step = current_step(decoder)
    if step is None:
        return None
    found = act(step, heads=args[0].reshape(step.batch, step.count, -1, head_dim))
    return (found.reshape(args[0].shape), *args[1:]) if before else None


def check_heads(architecture: Architecture, heads: Iterable[Head]) -> None:
    """Raises ProbeError for heads that the model does not have, or whose layer has no attention."""
    for head in heads:
        shape = architecture.layers.get(head.layer)
        if shape is None:
            raise ProbeError(
                f"{architecture.name}: expected a head of the layers with attention, {sorted(architecture.layers)}; "
                f"found {head}"
            )
        if head.head >= shape.heads:
            raise ProbeError(
                f"{architecture.name}: expected query heads 0 to {shape.heads - 1} in layer {head.layer}, found {head}"
            )


class _Canary(Tool):
    """Compares every attention call of a forward with our reading of it, and what o_proj gets with what we gave."""

    def __init__(self, decoder: PreTrainedModel, zeroed: int | None = None) -> None:
        super().__init__(decoder)
        self.names = {module: name for name, module in decoder.named_modules()}
        self.zeroed = zeroed  # head 0 of this layer is written zero
        self.layers: dict[int, LayerShape] = {}
        self.outputs: dict[int, Tensor] = {}
        self.entered: dict[nn.Module, Tensor] = {}  # by attention: one layer may have two, of which one runs
        self.differences = {"rows": 0.0, "outputs": 0.0}

    def rewrite_output(self, call: Call, output: Tensor) -> Tensor:
        output = output.clone()
        if call.layer == self.zeroed:
            output[:, :, 0] = 0
        return output

    def observe(self, call: Call, output: Float[Tensor, "batch queries heads dim"]) -> None:
        name = self.names[call.module]
        if call.layer in self.outputs:
            raise ProbeError(
                f"{type(call.module).__name__}: expected one attention call in layer {call.layer}, found two"
            )
        self.layers[call.layer] = LayerShape(output.shape[2], call.key.shape[1], output.shape[3], name)
        self.outputs[call.layer] = output.flatten(2).clone()
        if call.layer != self.zeroed:
            self._compare(call, output, call.step.memo["weights"])

    def _compare(self, call: Call, output: Tensor, eager: Tensor | None) -> None:
        slots = torch.stack([torch.arange(PADDING, TOKENS), torch.arange(TOKENS - PADDING)])
        weights, _ = softmax_with_sinks(scores(call, slots, visible := visible_keys(call, slots)), call.sinks)
        local = slots.to(output.device)
        ours = weighted(weights, call.value[:, :, : visible.stop])
        self._note("outputs", ours, take_rows(output.transpose(1, 2), local))
        if eager is not None and eager.ndim == 4:
            self._note("rows", weights, take_rows(eager, local)[..., : visible.stop])

    def _note(self, name: str, ours: Tensor, theirs: Tensor) -> None:
        self.differences[name] = max(self.differences[name], difference(ours, theirs))

    @contextmanager
    def watch_projections(self) -> Iterator[None]:
        """Keeps what enters the output projection of each layer."""
        with ExitStack() as hooks:
            for attention in filter(_has_projection, self.decoder.modules()):
                keep = of_this_thread(partial(self._keep, attention))
                hooks.callback(output_projection(attention).register_forward_pre_hook(keep).remove)
            yield

    def _keep(self, attention: nn.Module, _: nn.Module, args: tuple) -> None:
        self.entered[attention] = args[0].reshape(2, TOKENS, -1).clone()

    def projected(self, layer: int) -> Tensor:
        """What entered a layer's output projection. Raises ProbeError where there is none that is known."""
        attention = self.decoder.get_submodule(self.layers[layer].name)
        if attention not in self.entered:
            output_projection(attention)
            raise ProbeError(
                f"{type(attention).__name__}: expected its output to enter its projection, found it unused"
            )
        return self.entered[attention]


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, absolute up to 1 and relative to the largest value beyond; inf if there is a NaN."""
    found = (ours.double() - theirs.double()).abs().max() / theirs.double().abs().max().clamp(min=1)
    return float(found.nan_to_num(torch.inf))


def _has_projection(module: nn.Module) -> bool:
    with suppress(ProbeError):
        return isinstance(getattr(module, "layer_idx", None), int) and bool(output_projection(module))
    return False


def _check(decoder: PreTrainedModel, backend: str) -> Architecture:
    architecture = f"{type(decoder).__name__} with {backend} attention"
    with torch.no_grad(), _evaluating(decoder):
        plain = _run(decoder)
        ours = _Canary(decoder)
        with attach(ours), ours.watch_projections():
            through = _run(decoder)
        if not ours.layers:
            raise ProbeError(
                f"{architecture}: expected attention through transformers' interface, found no layer that uses it"
            )
        if ours.differences["rows"] == 0 and backend != "eager":
            _compare_with_eager(decoder, ours.differences)
        differences = {"logits": difference(through, plain), **ours.differences, **_column_difference(decoder, ours)}
        between = _between(decoder, ours)
    quantised = getattr(decoder.config, "quantization_config", None) is not None
    _refuse(architecture, differences, through, QUANTISED if quantised else EAGER)
    return Architecture(type(decoder).__name__, backend, ours.layers, between, differences)


EAGER = "Haymaker cannot read this architecture right, try attn_implementation='eager'"
QUANTISED = (  # a head that is set to zero changes how all others of its token are rounded
    "where activations are rounded to 8 bits too, what one head writes cannot be told from the others'; take the "
    "checkpoint that these quantised weights were made from"
)


def _refuse(architecture: str, differences: dict[str, float], hidden: Tensor, advice: str) -> None:
    tolerance = 1e-4 if torch.finfo(hidden.dtype).eps < 1e-6 else 5e-2
    if wrong := {name: value for name, value in differences.items() if value > tolerance}:
        raise ProbeError(
            f"{architecture}: expected differences up to {tolerance}, found {wrong} on {TOKENS} tokens; {advice}"
        )


def sample_tokens(decoder: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Ids and mask of two rows, one padded left, one right: masks that go missing show."""
    device = place_of(decoder.get_input_embeddings())
    ids: Int[Tensor, "2 tokens"] = (torch.arange(2 * TOKENS).view(2, -1) * 7 + 3) % decoder.config.vocab_size
    mask = torch.ones_like(ids)
    mask[0, :PADDING] = mask[1, TOKENS - PADDING :] = 0
    return ids.to(device), mask.to(device)


def place_of(module: Any) -> torch.device:
    """The device on which a module computes, also where accelerate keeps its weights elsewhere."""
    parameter = next(chain(module.parameters(), module.buffers()))  # GPTQ's and AWQ's layers have buffers alone
    hook: Any = getattr(module, "_hf_hook", None)
    if parameter.is_meta and getattr(hook, "execution_device", None) is not None:
        return torch.device(hook.execution_device)
    if parameter.is_meta and isinstance(module, PreTrainedModel):
        return place_of(module.get_input_embeddings())
    return parameter.device


def _run(decoder: PreTrainedModel) -> Tensor:
    """Last hidden states of the sample's tokens. Raises ProbeError where they are not finite."""
    ids, mask = sample_tokens(decoder)
    hidden = decoder(input_ids=ids, attention_mask=mask, use_cache=False)[0]
    hidden = hidden[mask.bool().to(hidden.device)]
    if not hidden.isfinite().all():
        bad = [name for name, weight in decoder.named_parameters() if not weight.isfinite().all()]
        raise ProbeError(
            f"{type(decoder).__name__}: its hidden states of {TOKENS} tokens are not finite, and of its weights "
            f"{', '.join(bad[:3]) if bad else 'all are'}{' are not finite' if bad else ''}; "
            f"{'load whole weights' if bad else 'load it with dtype float32'}"
        )
    return hidden


def _compare_with_eager(decoder: PreTrainedModel, differences: dict[str, float]) -> None:
    """The same through the model's eager function, whose weights are what `output_attentions` returns."""
    canary = _Canary(decoder)
    token = OVERRIDE.set("eager")
    try:
        with attach(canary):
            _run(decoder)
    finally:
        OVERRIDE.reset(token)
    differences["rows"] = canary.differences["rows"]


def _column_difference(decoder: PreTrainedModel, ours: _Canary) -> dict[str, float]:
    """Zeroing the last head of a layer's o_proj input against zeroing its columns of the weight."""
    layer, shape = next(iter(ours.layers.items()))
    projection = output_projection(decoder.get_submodule(shape.name))
    full = ours.projected(layer)
    if full.shape[-1] != shape.heads * shape.head_dim:
        raise ProbeError(
            f"{type(decoder).__name__}, layer {layer}: expected an o_proj input of {shape.heads} heads of "
            f"{shape.head_dim}, found width {full.shape[-1]}: heads are not apart there"
        )
    # offloaded, or quantised: torchao's layers are plain and their weights are not
    if type(projection) is not nn.Linear or type(projection.weight) is not nn.Parameter or projection.weight.is_meta:
        return {}
    weight, edited = projection.weight.clone(), full.clone()
    weight[:, -shape.head_dim :] = 0
    edited[..., -shape.head_dim :] = 0
    return {"columns": difference(projection(edited), nn.functional.linear(full, weight, projection.bias))}


def _between(decoder: PreTrainedModel, ours: _Canary) -> Between:
    """Whether o_proj gets the head outputs as they are; if not, whether zeroing one head leaves the others alone."""
    changed = [layer for layer in ours.layers if not torch.equal(ours.outputs[layer], ours.projected(layer))]
    if not changed:
        return "nothing"
    edited = _Canary(decoder, zeroed=changed[0])
    with attach(edited), edited.watch_projections():
        _run(decoder)
    before, after = ours.projected(changed[0]), edited.projected(changed[0])
    width = ours.layers[changed[0]].head_dim
    apart = torch.equal(before[..., width:], after[..., width:]) and not after[..., :width].any()
    return "gate" if apart else "mixing"


@contextmanager
def _evaluating(decoder: PreTrainedModel) -> Iterator[None]:
    """Without dropout and autocast; every module's own mode is put back."""
    modes = [(module, module.training) for module in decoder.modules()]
    decoder.eval()
    try:
        with torch.autocast(place_of(decoder).type, enabled=False):
            yield
    finally:
        for module, training in modes:
            module.training = training
