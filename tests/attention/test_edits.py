"""Edits are what they say: removal equals zeroed weights, a patch of itself is nothing, and nothing else changes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tiny_models import BUILDERS, logits, tiny_model, tokens
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from haymaker.attention.canary import check_architecture, output_projection
from haymaker.attention.edits import Edit, Knockout, Mean, Patch, Resample, Uniform, Zero, edit
from haymaker.attention.probing import probe
from haymaker.attention.recording import mean_outputs, record
from haymaker.errors import ProbeError
from haymaker.records import Head, Span

EVERY = pytest.mark.parametrize("name", BUILDERS)
HEADS = [Head(1, 2), Head(2, 0)]  # in layers that have attention in every model
PEFT_WARNS = pytest.mark.filterwarnings("ignore:.*checkpointing.* is deprecated:FutureWarning")


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def attention(model: PreTrainedModel, layer: int) -> torch.nn.Module:
    return model.get_decoder().get_submodule(check_architecture(model).layers[layer].name)


@contextmanager
def at_o_proj(model: PreTrainedModel, heads: list[Head], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """The oracle by hand: a hook on the input of o_proj that changes heads' slices."""

    def hook(head: Head) -> Callable:
        width = check_architecture(model).layers[head.layer].head_dim
        mine = slice(head.head * width, (head.head + 1) * width)

        def change_slice(_: Any, args: tuple) -> tuple:
            heads = args[0].clone()
            heads[..., mine] = change(heads[..., mine])
            return (heads, *args[1:])

        return change_slice

    hooks = [output_projection(attention(model, h.layer)).register_forward_pre_hook(hook(h)) for h in heads]
    yield
    for one in hooks:
        one.remove()


def adapted(name: str = "llama", seed: int = 7) -> PeftModel:
    """A tiny model with two random LoRA adapters, donor and target, on all of its attention."""
    config = LoraConfig(r=2, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    model = get_peft_model(tiny_model(name), config, adapter_name="donor")
    model.add_adapter("target", config)
    torch.manual_seed(seed)
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


# --- removal -------------------------------------------------------------------------------------------------------


@EVERY
def test_zero_is_zeroed_columns_of_o_proj(name: str) -> None:
    model, ids = tiny_model(name), tokens(2)
    with edit(model, Zero(HEADS)) as editing:
        edited = logits(model, ids)
    assert editing.writes == 2
    with at_o_proj(model, HEADS, torch.zeros_like):
        assert torch.equal(edited, logits(model, ids))
    plain = logits(model, ids)
    assert (plain - edited).abs().max() > 0.1
    for head in HEADS:
        width = check_architecture(model).layers[head.layer].head_dim
        output_projection(attention(model, head.layer)).weight[:, head.head * width : (head.head + 1) * width] = 0
    torch.testing.assert_close(edited, logits(model, ids), atol=1e-6, rtol=0)


def test_zero_is_not_what_it_is_mistaken_for() -> None:
    """Not a slice of what o_proj returns (heads are mixed there), and not a query of 0 (that writes the mean value)."""
    model, ids = tiny_model("llama"), tokens()
    plain = logits(model, ids)
    with edit(model, Zero(HEADS)):
        zeroed = logits(model, ids)
    with edit(model, Uniform(HEADS)):
        uniform = logits(model, ids)
    hooks = []
    for layer, head in HEADS:

        def cut(_: Any, __: Any, output: Tensor, head: int = head) -> Tensor:
            return output.index_fill(-1, torch.arange(head * 8, head * 8 + 8), 0)

        hooks.append(attention(model, layer).o_proj.register_forward_hook(cut))
    sliced = logits(model, ids)
    for hook in hooks:
        hook.remove()
    effect = (plain - zeroed).abs().max()
    assert (sliced - zeroed).abs().max() > 0.3 * effect
    assert (uniform - zeroed).abs().max() > 0.3 * effect


def test_what_stands_before_o_proj_decides_the_site() -> None:
    found = {name: check_architecture(tiny_model(name)) for name in ("llama", "qwen3_next", "bitnet")}
    assert {name: (a.between, a.site) for name, a in found.items()} == {
        "llama": ("nothing", "attention"),
        "qwen3_next": ("gate", "o_proj"),
        "bitnet": ("mixing", "o_proj"),
    }


@pytest.mark.parametrize(("name", "kind", "same"), [
    ("llama", "zero", True), ("llama", "patch", True),
    ("qwen3_next", "zero", True), ("qwen3_next", "patch", False),  # the donor's gate, or the recipient's
    ("bitnet", "zero", False), ("bitnet", "patch", False),
])  # fmt: skip
def test_sites_agree_where_they_should(name: str, kind: str, same: bool) -> None:
    model, ids = tiny_model(name), tokens(2)
    found = []
    for site in ("attention", "o_proj"):
        with edit(model, Zero(HEADS) if kind == "zero" else Patch(HEADS, donor=0), site=site) as editing:
            found.append(logits(model, ids))
        assert editing.site == site
    difference = (found[0] - found[1]).abs().max()
    assert difference == 0 if same else difference > 0.05


# --- the table: every model, every edit ----------------------------------------------------------------------------

REFERENCE = tokens(2, 24, seed=3)


def make(kind: str, model: PreTrainedModel) -> Edit:
    if kind in ("mean", "resample", "patch"):
        with record(model, HEADS) as recording:
            logits(model, REFERENCE)
    return {
        "zero": lambda: Zero(HEADS),
        "mean": lambda: Mean(HEADS, mean_outputs(model, HEADS, [{"input_ids": REFERENCE}])),
        "uniform": lambda: Uniform(HEADS),
        "resample": lambda: Resample(HEADS, recording),
        "knockout": lambda: Knockout(HEADS, Span(3, 6)),
        "patch": lambda: Patch(HEADS, recording),
        "row": lambda: Patch(HEADS, donor=1),
    }[kind]()


@EVERY
@pytest.mark.parametrize("kind", ["zero", "mean", "uniform", "resample", "knockout", "patch", "row"])
def test_every_edit_changes_its_heads_and_is_undone(name: str, kind: str) -> None:
    model, ids = tiny_model(name), tokens(2)
    first = HEADS[0].layer
    others = [(first, head) for head in range(4) if head != HEADS[0].head]
    plain = logits(model, ids)
    change = make(kind, model)
    with record(model, others) as before:
        logits(model, ids)
    with edit(model, change) as editing, record(model, others) as during, probe(model, rows=[5, 20]) as seen:
        edited = logits(model, ids)
    assert editing.writes == 2
    assert seen.lse[first:].isfinite().all()
    assert (edited[0] - plain[0]).abs().max() > 1e-3
    if not (name == "bitnet" and editing.site == "o_proj" and change.needs_call):  # its norm spreads what comes before
        assert torch.equal(before.values, during.values)
    # the same in chunks over a cache, and token by token
    cache = DynamicCache(config=model.config)
    with edit(model, change):
        chunked = [logits(model, chunk, past_key_values=cache) for chunk in ids.split((10, 13, 1), dim=1)]
    torch.testing.assert_close(torch.cat(chunked, dim=1), edited, atol=5e-4, rtol=1e-4)
    assert torch.equal(logits(model, ids), plain)


@EVERY
def test_generation_under_an_edit_is_its_recomputation(name: str) -> None:
    model, ids = tiny_model(name), tokens(2, 12)
    with edit(model, Zero(HEADS)):
        text = model.generate(ids, max_new_tokens=6, do_sample=False)
        step = ids
        for _ in range(6):
            step = torch.cat([step, logits(model, step, use_cache=False)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(text, step)


# --- each kind against an oracle -----------------------------------------------------------------------------------


def test_uniform_is_a_query_of_zero() -> None:
    model, ids = tiny_model("llama"), tokens(2)
    with edit(model, Uniform(["1-2"])):
        edited = logits(model, ids)
    attention(model, 1).q_proj.weight[16:24] = 0
    torch.testing.assert_close(edited, logits(model, ids), atol=1e-5, rtol=0)


def test_mean_of_the_position_itself_changes_nothing() -> None:
    model, ids = tiny_model("llama"), tokens()
    means = mean_outputs(model, HEADS, [{"input_ids": ids}], rows=[13])
    with edit(model, Mean(HEADS, means), scope=[13]):
        torch.testing.assert_close(logits(model, ids), logits_plain(ids), atol=1e-5, rtol=0)
    with edit(model, Mean(HEADS, means), scope=[14]):
        assert (logits(model, ids) - logits_plain(ids)).abs().max() > 0.05


def logits_plain(ids: Tensor, name: str = "llama") -> Tensor:
    return logits(tiny_model(name), ids)


def test_means_leave_padding_out() -> None:
    model, ids = tiny_model("llama"), tokens(1, 10)
    padded = torch.cat([torch.zeros(1, 4, dtype=torch.long), ids], dim=1)
    alone = mean_outputs(model, HEADS, [{"input_ids": ids}])
    with_padding = mean_outputs(model, HEADS, [{"input_ids": padded, "attention_mask": (padded > 0).long()}])
    torch.testing.assert_close(alone, with_padding, atol=1e-5, rtol=0)
    with record(model, HEADS) as recording:
        logits(model, ids)
    torch.testing.assert_close(alone[HEADS[0]], recording.of("1-2").mean((0, 1)), atol=1e-6, rtol=0)


def test_resample_goes_by_order_and_patch_by_position() -> None:
    model, ids, other = tiny_model("llama"), tokens(), tokens(1, 10, seed=8)
    with record(model, HEADS, rows=[4, 9]) as recording:
        logits(model, other)
    with edit(model, Resample(HEADS, recording), scope=[11, 20]), record(model, HEADS, rows=[20, 11]) as written:
        logits(model, ids)
    assert torch.equal(written.of("2-0"), recording.of("2-0").flip(1))
    with edit(model, Resample(HEADS, recording), scope="last"), record(model, HEADS, rows=[23]) as last:
        logits(model, ids)
    assert torch.equal(last.of("2-0"), recording.of("2-0")[:, 1:])
    with pytest.raises(ProbeError, match=r"positions \[11, 20\]"), edit(model, Patch(HEADS, recording), scope=[11, 20]):
        logits(model, ids)
    with (
        pytest.raises(ProbeError, match="expected 24 recorded positions, found 2"),
        edit(model, Resample(HEADS, recording)),
    ):
        logits(model, ids)


@EVERY
def test_knockout_is_the_closed_form(name: str) -> None:
    """o' = (o - sum p_j v_j) / (1 - sum p_j) over the span, from a probe's masses and values."""
    model, ids = tiny_model(name), tokens(2)
    layer, rows = min(check_architecture(model).layers), list(range(2, 24))
    heads = [Head(layer, head) for head in (0, 3)]
    with probe(model, rows, {"gone": [Span(2, 4), Span(9, 11)]}, values=True) as seen:
        logits(model, ids)
    mass, part = seen.mass["gone"][layer, :, [0, 3]], seen.value["gone"][layer, :, [0, 3]]
    visible, output = seen.visible["gone"][layer, :, [0, 3]], seen.output[layer, :, [0, 3]]
    expected = torch.where(visible[..., None], (output - part) / (1 - mass)[..., None], output).transpose(1, 2)
    with (
        edit(model, Knockout(heads, [Span(2, 4), Span(9, 11)])),
        record(model, heads, rows, site="attention") as written,
    ):
        logits(model, ids)
    safe = (visible.logical_not() | (mass < 0.999)).transpose(1, 2)
    torch.testing.assert_close(written.values[safe], expected[safe], atol=1e-4, rtol=1e-3)
    assert visible.any()
    assert safe.float().mean() > 0.9


def test_knockout_is_a_mask() -> None:
    model, ids = tiny_model("llama"), tokens(2)
    mask = torch.ones(24, 24, dtype=torch.bool).tril().expand(2, 4, 24, 24).clone()
    mask[:, [0, 3], :, 4:9] = False
    with edit(model, Knockout([(layer, head) for layer in range(3) for head in (0, 3)], Span(4, 9))):
        edited = logits(model, ids)
    torch.testing.assert_close(edited, logits(model, ids, attention_mask=mask), atol=1e-4, rtol=1e-4)


def test_knockout_of_the_invisible_is_nothing_and_of_everything_is_zero() -> None:
    model, ids = tiny_model("mistral"), tokens()
    heads = [(layer, head) for layer in range(3) for head in range(4)]
    for name in ("mistral", "llama"):
        with edit(other := tiny_model(name), Knockout(heads, Span(30, 40))):
            assert torch.equal(logits(other, ids), logits_plain(ids, name))
    cache = DynamicCache(config=model.config)
    logits(model, ids, past_key_values=cache)
    plain = logits_plain(torch.cat([ids, ids[:, :1]], dim=1), "mistral")[:, -1:]
    with edit(model, Knockout(heads, Span(0, 10))):  # long out of the window
        torch.testing.assert_close(logits(model, ids[:, :1], past_key_values=cache), plain, atol=1e-5, rtol=0)
    with edit(model, Knockout(["0-1"], Span(0, 24))), record(model, ["0-1"]) as written:
        logits(model, ids)
    assert not written.values.any()


# --- patching ------------------------------------------------------------------------------------------------------


@EVERY
def test_a_donor_that_is_the_recipient_changes_nothing(name: str) -> None:
    model, ids = tiny_model(name), tokens(1).expand(2, -1)
    heads = [(layer, head) for layer in check_architecture(model).layers for head in range(4)]
    plain = logits(model, ids)
    with record(model, heads) as donor:
        logits(model, ids)
    with edit(model, Patch(heads, donor)):
        assert torch.equal(logits(model, ids), plain)
    with edit(model, Patch(heads, donor=0)):
        # Equal rows of a batch need not be equal to the bit: where a row lies decides the order of a processor's sums.
        torch.testing.assert_close(logits(model, ids), plain, atol=1e-5, rtol=0)
    assert torch.equal(donor.positions, torch.arange(24)[None])
    assert donor.values.shape[:3] == (2, 24, len(heads))


def test_all_heads_from_a_donor_give_the_donors_attention() -> None:
    model, ids = tiny_model("llama"), tokens(2)
    heads = [(layer, head) for layer in range(3) for head in range(4)]
    with record(model, heads) as donor:
        logits(model, ids[:1])
    with edit(model, Patch(heads, donor)), record(model, heads) as patched:
        edited = logits(model, ids[1:])
    assert torch.equal(patched.values, donor.values)
    with edit(model, Patch(heads, donor=0)):
        torch.testing.assert_close(logits(model, ids)[1:], edited, atol=1e-5, rtol=0)
    by_hand = {head: donor.of(head)[0] for head in heads}
    with edit(model, Patch(heads, by_hand)):
        torch.testing.assert_close(logits(model, ids[1:]), edited, atol=1e-5, rtol=0)


@PEFT_WARNS
def test_two_adapters_in_lockstep_are_two_models() -> None:
    """Donor and recipient as rows of one batch, generating; against two merged models and a recording, no cache."""
    ids = tokens(1, 10)
    both = adapted()
    with edit(both, Patch(HEADS, donor=0)):
        text = both.generate(
            input_ids=ids.expand(2, -1), max_new_tokens=5, do_sample=False, adapter_names=["donor", "target"]
        )[1:]
    # the donor must see the recipient's tokens: force them on both rows
    with edit(both, Patch(HEADS, donor=0)):
        lockstep = logits(both, text.expand(2, -1), adapter_names=["donor", "target"])[1:]
    models = {}
    for name in ("donor", "target"):
        one = adapted()
        one.set_adapter(name)
        models[name] = one.merge_and_unload()
    with record(models["donor"], HEADS) as donor:
        logits(models["donor"], text)
    with edit(models["target"], Patch(HEADS, donor)):
        separate = logits(models["target"], text)
    torch.testing.assert_close(lockstep, separate, atol=1e-4, rtol=1e-4)
    assert (separate - logits(models["target"], text)).abs().max() > 0.1


@PEFT_WARNS
def test_unmerged_adapters_are_edited_as_merged() -> None:
    """LoRA on o_proj included: a hook on its base layer would miss the adapter's path."""
    ids, model = tokens(), adapted()
    model.set_adapter("target")
    found = {}
    for site in ("attention", "o_proj"):
        with edit(model, Zero(HEADS), site=site):
            found[site] = logits(model, ids)
    base = [m.base_layer.register_forward_pre_hook(lambda _, args: (args[0].index_fill(-1, torch.arange(16, 24), 0),))
            for m in (model.get_base_model().model.layers[1].self_attn.o_proj,)]  # fmt: skip
    missed = logits(model, ids)
    base[0].remove()
    with edit(model, Zero(["1-2"])):
        whole = logits(model, ids)
    merged = model.merge_and_unload()
    with edit(merged, Zero(HEADS)):
        expected = logits(merged, ids)
    for edited in found.values():
        torch.testing.assert_close(edited, expected, atol=1e-4, rtol=1e-4)
    assert (missed - whole).abs().max() > 0.05


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "site"),
    [("zero", "o_proj"), *((kind, "attention") for kind in ("zero", "mean", "uniform", "knockout", "row"))],
)
def test_edits_can_be_differentiated(kind: str, site: Literal["attention", "o_proj"]) -> None:
    model, ids = tiny_model("gemma2"), tokens(2, 8)
    change = make(kind, model)
    weight = model.model.layers[1].self_attn.v_proj.weight
    with torch.enable_grad(), edit(model, change, site=site):
        loss = logits(model, ids).square().mean()
        (slope,) = torch.autograd.grad(loss, weight)
    step = 1e-3 * torch.sign(slope)
    ends = []
    for move in (step, -2 * step):
        weight += move
        with edit(model, change, site=site):
            ends.append(logits(model, ids).square().mean())
    assert (ends[0] - ends[1]).item() / 2 == pytest.approx((slope * step).sum().item(), rel=2e-2)


@pytest.mark.parametrize("name", ["llama", "qwen3_next"])
def test_attribution_is_the_slope_of_patching(name: str) -> None:
    model, ids = tiny_model(name), tokens(1, 8)
    with torch.enable_grad(), record(model, HEADS, gradients=True) as recording:
        metric = logits(model, ids)[0, -1, 5]
        slopes = torch.autograd.grad(metric, list(recording.tensors.values()))
    with record(model, HEADS) as base:
        logits(model, ids)
    with record(model, HEADS) as donor:
        logits(model, tokens(1, 8, seed=4))
    layer, head = HEADS[1]
    step = 1e-3 * (donor.of(HEADS[1]) - base.of(HEADS[1]))
    expected = (slopes[recording.layers.index(layer)][:, :, head] * step).sum()
    with edit(model, Patch([HEADS[1]], {HEADS[1]: base.of(HEADS[1]) + step})):
        moved = logits(model, ids)[0, -1, 5] - metric
    assert moved.item() == pytest.approx(expected.item(), rel=0.1, abs=2e-5)


@PEFT_WARNS
def test_gradient_checkpointing_is_refused() -> None:
    model = tiny_model("llama").train()
    model.gradient_checkpointing_enable()
    with torch.enable_grad(), pytest.raises(ProbeError, match="checkpointing"), edit(model, Zero(HEADS)):
        logits(model, tokens())
