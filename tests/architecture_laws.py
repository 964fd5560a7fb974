"""What Haymaker promises of any architecture, each held against an oracle that is not Haymaker's.

A law returns nothing where it holds. It raises AssertionError where Haymaker was wrong; an error of Haymaker's own is a
refusal; anything else is a fault too.
"""

import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from any_architecture import CONTEXT, VOCABULARY, WINDOW
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel

from haymaker.attention.canary import check_architecture, output_projection
from haymaker.attention.edits import Zero, edit
from haymaker.attention.hook import decoder_of, modeling_file
from haymaker.attention.probing import probe
from haymaker.config import Extend, TrainConfig
from haymaker.heads.direct_path import check_direct_path, contributions, watch_scales
from haymaker.interventions.branches import can_branch
from haymaker.interventions.causal import branched_effects, relayed_effects
from haymaker.models.extend import extend_context, positions_of
from haymaker.models.generation import generate
from haymaker.models.load import LanguageModel, load_model
from haymaker.models.packaged import MINIATURES
from haymaker.records import Encoded, Span
from haymaker.training.loop import train

TOKENS = 24
ROWS = [9, 20, TOKENS - 1]
TOLERANCE = 2e-4  # of the largest number compared, from 1 on
RIGHT = 1e-5


def prompt(rows: int = 1, length: int = TOKENS, seed: int = 1) -> Tensor:
    """Random token ids [rows, length] without special ones."""
    return torch.randint(5, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def run(model: Any, ids: Tensor, **options: Any) -> Tensor:
    """Logits [batch, position, token], without a cache."""
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False, **options).logits.float()


def far(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest number beyond 1; inf where one is NaN."""
    found = (ours.double() - theirs.double()).abs().max() / theirs.double().abs().max().clamp(min=1)
    return float(found.nan_to_num(torch.inf))


def same(what: str, ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == theirs.shape, f"{what}: shape {list(ours.shape)}, expected {list(theirs.shape)}"
    difference = far(ours, theirs)
    assert difference <= tolerance, f"{what}: off by {difference:.3g}"


# ---- loading


def loads(model: PreTrainedModel) -> None:
    """What `save_pretrained` wrote is loaded as the same model."""
    ids = prompt(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
        loaded = load_model(folder, dtype="float32", device="cpu").model
        same("logits of the model loaded", run(loaded, ids), run(model, ids), RIGHT)


# ---- reading


@contextmanager
def eager_weights(model: PreTrainedModel) -> Iterator[dict[int, Tensor]]:
    """Weights [batch, head, query, key] by layer, as the model's own eager attention function returns them."""
    kept: dict[int, Tensor] = {}
    backend = model.config._attn_implementation
    with ExitStack() as undo:
        undo.callback(model.set_attn_implementation, backend)
        model.set_attn_implementation("eager")
        for names in {id(n): n for n in map(modeling_file, map(type, model.modules()))}.values():
            if (function := names.get("eager_attention_forward")) is not None:
                undo.callback(names.__setitem__, "eager_attention_forward", function)
                names["eager_attention_forward"] = watched(function, kept)
        yield kept


def watched(function: Callable, kept: dict[int, Tensor]) -> Callable:
    def watch(module: nn.Module, *args: Any, **options: Any) -> Any:
        output, weights = function(module, *args, **options)
        kept[int(getattr(module, "layer_idx", len(kept)))] = weights
        return output, weights

    return watch


def reads(model: PreTrainedModel) -> None:
    """Rows of the probe are those of eager attention, and logits are what they were, to the bit."""
    ids = prompt(2)
    plain = run(model, ids)
    with probe(model, rows=ROWS, spans={"needle": Span(3, 7)}) as seen:
        probed = run(model, ids)
    assert torch.equal(plain, probed), f"logits move under a probe by {far(probed, plain):.3g}"
    with eager_weights(model) as weights:
        run(model, ids)
    with probe(model, rows=ROWS, spans={"needle": Span(3, 7)}) as read:  # as a pass over examples does
        run(model, ids, **({"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}))
    for found in (seen, read):
        assert sorted(weights) == found.layers, f"layers {found.layers} were read, {sorted(weights)} have attention"
        for layer, full in weights.items():
            rows = full[:, :, ROWS, -TOKENS:]
            heads = rows.shape[1]
            same(f"top weight of layer {layer}", found.top_probability[layer, :, :heads, :, 0], rows.amax(-1))
            mass = found.mass["needle"][layer, :, :heads]
            same(f"mass of layer {layer}", mass.nan_to_num(0), rows[..., 3:7].sum(-1))


def takes(model: Any, name: str) -> bool:
    """Whether a model's forward has an argument of this name."""
    return name in inspect.signature(type(model).forward).parameters


# ---- writing


def zeroes(model: PreTrainedModel) -> None:
    """A head without output is the model whose output projection has no columns for it."""
    architecture, ids = check_architecture(model), prompt(2)
    heads = [architecture.heads[0], architecture.heads[-1]]
    with edit(model, Zero(heads)) as block:
        edited = run(model, ids)
    assert block.writes == len({head.layer for head in heads})
    plain = run(model, ids)
    with torch.no_grad(), ExitStack() as undo:
        for head in heads:
            shape = architecture.layers[head.layer]
            projection: Any = output_projection(decoder_of(model).get_submodule(shape.name))
            weight = getattr(projection, "linear", projection).weight  # Moshi wraps it
            undo.callback(weight.copy_, weight.clone())
            columns = weight.T if type(projection).__name__ == "Conv1D" else weight  # GPT-2 keeps them as rows
            columns[:, head.head * shape.head_dim :][:, : shape.head_dim] = 0
        expected = run(model, ids)
    same("logits without two heads", edited, expected)
    assert far(plain, expected) > RIGHT, "nothing depends on the heads"


# ---- the direct path


def writes(model: PreTrainedModel) -> None:
    """A head's contribution to a logit is what the logit loses without it while all else that is added stays."""
    architecture = check_direct_path(model)
    ids, rows = prompt(1), torch.tensor([[TOKENS - 1]])
    produced = torch.tensor([[11]])
    spans = {"all": Span(0, TOKENS)}
    with probe(model, rows=rows, spans=spans, values=True) as seen, watch_scales(model, rows) as scales:
        run(model, ids)
    parts, whole = contributions(model, seen, scales, produced)
    for layer in sorted(architecture.layers):
        for head in (0, architecture.layers[layer].heads - 1):
            lost = lost_without(model, layer, head, ids, 11)
            same(f"contribution of {layer}-{head}", whole[layer, 0, head, 0], torch.tensor(lost))
            same(f"contribution of a span to {layer}-{head}", parts["all"][layer, 0, head, 0], whole[layer, 0, head, 0])


def lost_without(model: Any, layer: int, head: int, ids: Tensor, token: int) -> float:
    """What a logit loses when a head writes nothing, all else adds what it added and norms keep their scale."""
    decoder, shape = decoder_of(model), check_architecture(model).layers[layer]
    attention = decoder.get_submodule(shape.name)
    stack = next(one for one in decoder.children() if any(module is attention for module in one.modules()))
    parts = [child for one in stack.children() for child in one.children()]
    outer = [child for child in decoder.children() if child is not stack]
    own = next(part for part in parts if any(module is attention for module in part.modules()))
    replay = Replay([*parts, *outer], own)
    with replay.keeping():
        before = head_output(model, ids, token)
    with replay.holding(last=[call for call in replay.calls if call[0] in outer][-1]):
        hook = output_projection(attention).register_forward_pre_hook(without(head, shape.head_dim))
        after = head_output(model, ids, token)
        hook.remove()
    return before - after


def head_output(model: Any, ids: Tensor, token: int) -> float:
    """What the unembedding gives for a token after `ids`."""
    kept: list[Tensor] = []
    hook = model.get_output_embeddings().register_forward_hook(lambda _, __, output: kept.append(output))
    run(model, ids)
    hook.remove()
    return float(kept[-1][0, -1, token])


def without(head: int, width: int) -> Callable:
    def drop(_: nn.Module, args: tuple) -> tuple:
        entered = args[0].clone()
        entered.reshape(*entered.shape[:2], -1, width)[:, :, head] = 0
        return (entered, *args[1:])

    return drop


class Replay:
    """Calls of modules as they were; what stands behind `own` or comes `last` only keeps its scale."""

    def __init__(self, modules: list[nn.Module], own: nn.Module) -> None:
        self.modules, self.own = modules, own
        self.calls: list[tuple[nn.Module, Any, Any]] = []
        self.written: Any = None

    @contextmanager
    def hooked(self, act: Callable) -> Iterator[None]:
        with ExitStack() as hooks:
            for module in dict.fromkeys(self.modules):
                hooks.callback(module.register_forward_hook(act, with_kwargs=True).remove)
            yield

    def keeping(self) -> Any:
        def keep(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
            if module is self.own:
                self.written = first_of(output)
            self.calls.append((module, given(args, kwargs), output))

        return self.hooked(keep)

    def holding(self, last: tuple) -> Any:
        calls = iter(self.calls)

        def hold(module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
            one = next(calls)
            assert one[0] is module
            if module is self.own:
                return output
            before, after = one[1], one[2]
            if one is last or (before is self.written and isinstance(after, Tensor)):
                return given(args, kwargs) * torch.where(before == 0, 0, after / before)
            return after

        return self.hooked(hold)


def given(args: tuple, kwargs: dict) -> Any:
    return next((one for one in [*args, *kwargs.values()] if isinstance(one, Tensor)), None)


def first_of(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


# ---- extension

METHODS: dict[str, dict[str, Any]] = {
    "ntk": {},
    "theta": {"theta": 2_000_000.0},  # of models that say no base; of others four times theirs
    "linear": {"method": "linear"},
    "yarn": {"method": "yarn"},
}


def extends(method: str) -> Callable[[PreTrainedModel], None]:
    """At factor 1, or with windows opened and the base as it was, nothing moves on a short prompt; by 4 the model is
    the one that transformers loads from its config."""

    def law(model: PreTrainedModel) -> None:
        options, ids = METHODS[method], prompt(2, WINDOW - 4)
        plain = run(model, ids)
        positions = positions_of(model)
        if method == "theta" and positions is not None:
            options = {"theta": 4 * positions.theta}
            wider = anew(model)
            extend_context(wider, Extend(length=4 * CONTEXT, theta=positions.theta, keep_window=False))
            same("logits inside the window, its base unchanged", run(wider, ids), plain, RIGHT)
        if method != "theta":
            whole = anew(model)
            extend_context(whole, Extend(length=CONTEXT, **options))
            same("logits inside the window at factor 1", run(whole, ids), plain, RIGHT)
        extend_context(model, Extend(length=4 * CONTEXT, **options))
        assert far(run(model, ids), plain) > RIGHT, "an extension by 4 moves no logit"
        long = prompt(1, 2 * CONTEXT)
        same("logits of the config loaded anew", run(model, long), run(anew(model), long), RIGHT)

    return law


def anew(model: PreTrainedModel) -> PreTrainedModel:
    """The model that transformers makes of this one's config as it would be on disk, with its weights."""
    other = type(model)(type(model.config).from_dict(model.config.to_dict())).eval()
    other.load_state_dict(model.state_dict())
    return other.requires_grad_(False)


# ---- head effects


def maps(model: PreTrainedModel) -> None:
    """A causal map is what plain forwards with one head taken away each give."""
    lm = LanguageModel(model, tokenizer(), "tiny")
    ids, answer = prompt(1)[0].tolist(), 3
    item = Encoded("row", tuple(ids), len(ids) - answer)
    scope = "last+decode"
    effects = branched_effects if can_branch(model, scope) else relayed_effects
    found = effects(lm, item, None, scope, 256)
    heads = check_architecture(model).heads
    plain = answer_log_probability(model, item)
    for head in [heads[0], heads[len(heads) // 2], heads[-1]]:
        with edit(model, Zero([head]), scope=scope, prompt_length=item.prompt_length):
            lost = plain - answer_log_probability(model, item)
        ours = torch.tensor(float(found[head.layer, head.head]))
        same(f"effect of {head}", ours, torch.tensor(lost), 1e-3)


def answer_log_probability(model: Any, item: Encoded) -> float:
    ids = torch.tensor([item.input_ids])
    found = run(model, ids)[0, item.prompt_length - 1 : -1].log_softmax(-1)
    return float(found.gather(-1, ids[0, item.prompt_length :, None]).sum())


# ---- answers


def answers(model: PreTrainedModel) -> None:
    """Greedy answers of a batch are those of the whole sequence read anew for every token, without cache or padding."""
    model.generation_config.eos_token_id, steps = None, 4
    rows = [Encoded(f"row-{n}", tuple(prompt(1, n, seed=n)[0].tolist()), n) for n in (TOKENS, TOKENS - 1)]
    lm = LanguageModel(model, tokenizer(), "tiny")
    lm.tokenizer.eos_token = None  # its number is any token's here
    expected = []
    for row in rows:
        ids = torch.tensor([row.input_ids])
        for _ in range(steps):
            ids = torch.cat([ids, run(model, ids)[:, -1:].argmax(-1)], dim=1)
        expected.append(tuple(ids[0, len(row) :].tolist()))
    found = [one.ids for one in generate(lm, rows, steps, stop=None)]
    assert found == expected, f"answers {found}, expected {expected}"


# ---- training


def trains(model: PreTrainedModel) -> None:
    """The first loss is the cross-entropy of the answers' tokens, and the step changes the adapter alone."""
    lm = LanguageModel(model, tokenizer(), "tiny")
    rows = [Encoded(f"row-{i}", tuple(prompt(1, seed=i)[0].tolist()), TOKENS - 3) for i in range(2)]
    expected = -sum(answer_log_probability(model, row) for row in rows) / 6
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with tempfile.TemporaryDirectory() as folder:
        train(lm, rows, TrainConfig(steps=1, batch=2, rank=2), Path(folder) / "out", on_progress=lambda n: None)
        loss = first_loss(Path(folder) / "out")
    same("loss", torch.tensor(loss), torch.tensor(expected), 1e-4)
    now = dict(lm.base.named_parameters())
    kept = [
        name for name, weight in before.items() if torch.equal(weight, now.get(name, now.get(wrapped(name), weight)))
    ]
    assert len(kept) == len(before), "training changed the base"


def wrapped(name: str) -> str:
    stem, _, last = name.rpartition(".")
    return f"{stem}.base_layer.{last}"


def first_loss(folder: Path) -> float:
    import json

    return float(json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])["loss"])


def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MINIATURES / "llama")


LAWS: dict[str, Callable[[PreTrainedModel], None]] = {
    "load": loads,
    "probe": reads,
    "Zero": zeroes,
    "write": writes,
    **{f"extend {method}": extends(method) for method in METHODS},
    "causal map": maps,
    "answers": answers,
    "training step": trains,
}
