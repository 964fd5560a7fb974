"""Laws of edits: removal is zeroed weights, a patch of itself is nothing, and what is mistaken for them is neither."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from equivalences import furthest, law, logits, tiny_model, tokens, unequal
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import DynamicCache

from haymaker.attention.canary import check_architecture, output_projection
from haymaker.attention.edits import Knockout, Mean, Patch, Uniform, Zero, edit
from haymaker.attention.probing import probe
from haymaker.attention.recording import mean_outputs, record
from haymaker.records import Head, Span

HEADS = [Head(1, 2), Head(2, 0)]  # in layers that have attention in every model
TARGETS = {"phi3": ["qkv_proj", "o_proj"]}
LORA = ["q_proj", "k_proj", "v_proj", "o_proj"]


def projection(model: Any, head: Head) -> tuple[Any, slice]:
    """The output projection of a head's layer, and the head's columns in it."""
    shape = check_architecture(model).layers[head.layer]
    columns = slice(head.head * shape.head_dim, (head.head + 1) * shape.head_dim)
    return output_projection(model.get_decoder().get_submodule(shape.name)), columns


@contextmanager
def zeroed(model: Any, heads: list[Head], after: bool = False) -> Iterator[None]:
    """By hand: hooks that zero heads' slices of what enters their projection, or of what leaves it."""

    def before_it(columns: slice) -> Callable:
        return lambda _, args: (_without(args[0], columns), *args[1:])

    def after_it(columns: slice) -> Callable:
        return lambda _, __, output: _without(output, columns)

    hooks = []
    for head in heads:
        module, columns = projection(model, head)
        hooks.append(
            module.register_forward_hook(after_it(columns))
            if after
            else module.register_forward_pre_hook(before_it(columns))
        )
    yield
    for hook in hooks:
        hook.remove()


def _without(heads: Tensor, columns: slice) -> Tensor:
    heads = heads.clone()
    heads[..., columns] = 0
    return heads


def edited(model: Any, ids: Tensor, *edits: Any, **options: Any) -> Tensor:
    with edit(model, *edits, **options):
        return logits(model, ids)


def every_head(model: Any) -> list[Head]:
    return [Head(layer, i) for layer, shape in check_architecture(model).layers.items() for i in range(shape.heads)]


def adapted(name: str) -> Any:
    """A tiny model with two random LoRA adapters, donor and target, on all of its attention."""
    config = LoraConfig(r=2, target_modules=TARGETS.get(name, LORA))
    model = get_peft_model(tiny_model(name), config, adapter_name="donor")
    model.add_adapter("target", config)
    torch.manual_seed(7)
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def merged(name: str, adapter: str) -> Any:
    model = adapted(name)
    model.set_adapter(adapter)
    return model.merge_and_unload()


@law("9", "Zero against an o_proj pre-hook: logits")
def zero_hook(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    found = edited(model, ids, Zero(HEADS))
    with zeroed(model, HEADS):
        return furthest(found, logits(model, ids))


@law("9", "Zero against zeroed columns of o_proj: logits", 1e-4)
def zero_columns(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    found = edited(model, ids, Zero(HEADS))
    for head in HEADS:
        module, columns = projection(model, head)
        module.weight[:, columns] = 0
    return furthest(found, logits(model, ids))


@law("9", "Zero is not a slice of what o_proj returns: share of its effect", 0.1, apart=True)
def zero_after(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    found = edited(model, ids, Zero(HEADS))
    with zeroed(model, HEADS, after=True):
        return furthest(found, logits(model, ids)) / furthest(found, logits_plain(name, ids))


@law("9", "Zero is not a query of 0 (the published mask): share of its effect", 0.1, apart=True)
def zero_uniform(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    found = edited(model, ids, Zero(HEADS))
    return furthest(found, edited(model, ids, Uniform(HEADS))) / furthest(found, logits_plain(name, ids))


def logits_plain(name: str, ids: Tensor) -> Tensor:
    return logits(tiny_model(name), ids)


@law("10", "generation without heads against recomputation without a cache: tokens that differ, of 12")
def generated(name: str) -> float:
    model, ids = tiny_model(name), tokens(2, 12)
    with edit(model, Zero(HEADS)):
        text = model.generate(ids, max_new_tokens=6, do_sample=False)
        step = ids
        for _ in range(6):
            step = torch.cat([step, logits(model, step, use_cache=False)[:, -1:].argmax(-1)], dim=1)
    return unequal(text, step)


@law("12", "donor = recipient, all heads: logits")
def identity(name: str) -> float:
    model, ids = tiny_model(name), tokens(1).expand(2, -1)
    heads, plain = every_head(model), logits(model, ids)
    with record(model, heads) as donor:
        logits(model, ids)
    return furthest(edited(model, ids, Patch(heads, donor)), plain)


@law("12", "an equal row of the batch as donor: logits", 1e-5)  # where a row lies decides the order of sums
def equal_row(name: str) -> float:
    model, ids = tiny_model(name), tokens(1).expand(2, -1)
    heads = every_head(model)
    return furthest(edited(model, ids, Patch(heads, 0)), logits(model, ids))


@law("12", "two adapters as rows of one batch against two merged models: logits", 2e-4)
def adapters(name: str) -> float:
    ids, both = tokens(1, 16), adapted(name)
    with edit(both, Patch(HEADS, donor=0)):
        ours = logits(both, ids.expand(2, -1), adapter_names=["donor", "target"])[1:]
    donor, target = merged(name, "donor"), merged(name, "target")
    with record(donor, HEADS) as recording:
        logits(donor, ids)
    return furthest(ours, edited(target, ids, Patch(HEADS, recording)))


@law("12", "the same in lockstep over a cache, token by token, against one pass", 2e-4)
def lockstep(name: str) -> float:
    model, ids = tiny_model(name), torch.cat([tokens(1, 16), tokens(1, 16, seed=5)])
    with edit(model, Patch(HEADS, donor=0)):
        whole, cache = logits(model, ids), DynamicCache(config=model.config)
        steps = [logits(model, step, past_key_values=cache) for step in ids.split((9, *[1] * 7), dim=1)]
    return furthest(torch.cat(steps, dim=1), whole)


@law("12", "all heads from a donor: attention outputs, layer by layer")
def all_heads(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    heads = every_head(model)
    with record(model, heads) as donor:
        logits(model, ids[:1])
    with edit(model, Patch(heads, donor)), record(model, heads) as patched:
        logits(model, ids[1:])
    return furthest(patched.values, donor.values)


@law("13", "Knockout against the closed form, where the span has under 0.9 of the mass", 2e-5)
def knockout(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    layer, rows, span = min(check_architecture(model).layers), list(range(2, 24)), [Span(2, 4), Span(9, 11)]
    with probe(model, rows, {"gone": span}, values=True) as seen:
        logits(model, ids)
    mass, part = (table["gone"][layer].nan_to_num(0) for table in (seen.mass, seen.value))
    expected = (seen.output[layer] - part) / (1 - mass)[..., None]
    heads = [Head(layer, head) for head in range(4)]
    with edit(model, Knockout(heads, span)), record(model, heads, rows, site="attention") as written:
        logits(model, ids)
    safe = mass < 0.9
    return furthest(written.values.transpose(1, 2)[safe], expected[safe])


@law("13", "Knockout of what no row sees: logits")
def knockout_nothing(name: str) -> float:
    model, ids = tiny_model(name), tokens(2)
    return furthest(edited(model, ids, Knockout(HEADS, Span(40, 50))), logits(model, ids))


@law("14", "Uniform against zeroed rows of the query projection: logits", 1e-4)
def uniform(name: str) -> float | None:
    if name in ("phi3", "qwen3", "qwen3_next"):
        return None  # fused, normalised or gated queries: their rows are elsewhere
    model, ids = tiny_model(name), tokens(2)
    found = edited(model, ids, Uniform(HEADS))
    for head in HEADS:
        _, columns = projection(model, head)
        attention = model.get_decoder().layers[head.layer].self_attn
        attention.q_proj.weight[columns] = 0
        if attention.q_proj.bias is not None:
            attention.q_proj.bias[columns] = 0
    return furthest(found, logits(model, ids))


@law("14", "Mean over the very position it is written at: logits", 1e-4)
def mean(name: str) -> float:
    model, ids = tiny_model(name), tokens()
    means = mean_outputs(model, HEADS, [{"input_ids": ids}], rows=[13])
    return furthest(edited(model, ids, Mean(HEADS, means), scope=[13]), logits(model, ids))


@law("15", "unmerged LoRA (o_proj included) against merged: edited logits", 2e-4)
def lora_edit(name: str) -> float:
    ids, model = tokens(2), adapted(name)
    model.set_adapter("target")
    return furthest(edited(model, ids, Zero(HEADS)), edited(merged(name, "target"), ids, Zero(HEADS)))


@law("15", "the same: rows read", 1e-4)
def lora_rows(name: str) -> float:
    ids, model = tokens(2), adapted(name)
    model.set_adapter("target")
    found = []
    for one in (model, merged(name, "target")):
        with probe(one, [9, 23]) as seen:
            one(input_ids=ids)
        found.append(torch.cat([seen.top_probability[..., 0], seen.lse]))
    return furthest(*found)


def between_sites(name: str, change: Any) -> float:
    model, ids = tiny_model(name), tokens(2)
    return furthest(*(edited(model, ids, change, site=site) for site in ("attention", "o_proj")))


@law("16", "Zero at both sites, where no norm mixes heads between: logits")
def zero_sites(name: str) -> float | None:
    return None if name == "bitnet" else between_sites(name, Zero(HEADS))


@law("16", "Zero at both sites, where one does: logits", 0.05, apart=True)
def zero_sites_mixed(name: str) -> float | None:
    return between_sites(name, Zero(HEADS)) if name == "bitnet" else None


@law("16", "Patch at both sites, with a gate or norm between: logits", 0.05, apart=True)
def patch_sites(name: str) -> float | None:
    return between_sites(name, Patch(HEADS, donor=0)) if name in ("bitnet", "qwen3_next") else None


@law("17", "four head sets as rows of one batch against four runs: logits", 1e-4)
def head_sets(name: str) -> float:
    model, ids = tiny_model(name), tokens(1)
    sets = [[Head(1, 0)], [Head(1, 1), Head(2, 3)], [Head(2, 2)], [Head(1, 3)]]
    together = [Zero(heads, batch_rows=[row]) for row, heads in enumerate(sets)]
    found = edited(model, ids.expand(4, -1), *together)
    return max(furthest(found[row : row + 1], edited(model, ids, Zero(heads))) for row, heads in enumerate(sets))
