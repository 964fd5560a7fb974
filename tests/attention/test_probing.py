"""A probe reads what eager attention computes, in whatever way its rows are reached, and changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import BUILDERS, WINDOW, tiny_model, tokens
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import DynamicCache, PreTrainedModel, StaticCache
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from haymaker.attention.edit_kinds import Knockout
from haymaker.attention.probing import _Probe, probe, top_positions
from haymaker.attention.recording import record
from haymaker.attention.rows import highest
from haymaker.errors import ProbeError
from haymaker.records import Span

ROWS = [1, 9, 17, 22, 23]
SPANS = {"needle": Span(3, 7), "pair": [Span(0, 2), Span(15, 18), Span(1, 3)]}
PEFT_WARNS = pytest.mark.filterwarnings(
    "ignore:.*checkpointing.* is deprecated:FutureWarning"
)  # PEFT 0.21, transformers 5.23
EVERY = pytest.mark.parametrize("name", BUILDERS)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@contextmanager
def eager(model: PreTrainedModel) -> Iterator[None]:
    """The model with the attention that returns weights."""
    backend = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(backend)


def eager_weights(model: PreTrainedModel, layers: list[int], **inputs: Tensor) -> Tensor:
    """The oracle: weights [layer, batch, head, query, key] of the seen layers, from output_attentions."""
    with eager(model):
        weights = model(**inputs, output_attentions=True, use_cache=False).attentions
    return torch.stack([weights[layer] for layer in layers] if len(weights) > len(layers) else list(weights))


def assert_same(seen, other) -> None:
    """Two readings of the same rows agree: positions exactly, numbers up to fp32."""
    assert torch.equal(seen.top_position, other.top_position)
    for ours, theirs in [(seen.top_probability, other.top_probability), (seen.lse, other.lse)]:
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, equal_nan=True)
    for name, mass in seen.mass.items():
        torch.testing.assert_close(mass, other.mass[name], atol=1e-5, rtol=1e-5, equal_nan=True)


@EVERY
def test_rows_are_those_of_eager_attention(name: str) -> None:
    model, ids = tiny_model(name), tokens(2)
    with probe(model, ROWS, SPANS, topk=3) as seen:
        model(input_ids=ids)
    layers = seen.layers
    weights = eager_weights(model, layers, input_ids=ids)[:, :, :, ROWS]
    best = weights.sort(dim=-1, descending=True, stable=True)
    torch.testing.assert_close(seen.top_probability[layers], best.values[..., :3], atol=1e-5, rtol=0)
    shown = best.values[..., :3] > 0
    assert torch.equal(seen.top_position[layers][shown], best.indices[..., :3][shown])
    assert (seen.top_position[layers][~shown] == -1).all()  # fewer keys than topk are in the window
    for span, keys in {"needle": [3, 4, 5, 6], "pair": [0, 1, 2, 15, 16, 17]}.items():
        expected = weights[..., keys].sum(-1)
        visible = seen.visible[span][layers]
        torch.testing.assert_close(seen.mass[span][layers][visible], expected[visible], atol=1e-5, rtol=0)
        assert (expected[~visible] == 0).all()
        assert seen.mass[span][layers][~visible].isnan().all()
    assert seen.visible["needle"][layers].any()
    assert not seen.visible["needle"][layers].all()


@EVERY
@pytest.mark.parametrize("chunks", [(11, 13), (1, 2, 3, 5, 7, 5, 1)], ids=str)
def test_chunked_prefill_and_cached_decode_read_the_same(name: str, chunks: tuple[int, ...]) -> None:
    model, ids = tiny_model(name), tokens(2)
    with probe(model, ROWS, SPANS, topk=2, values=True) as whole:
        model(input_ids=ids)
    cache = DynamicCache(config=model.config)
    with probe(model, ROWS, SPANS, topk=2, values=True) as chunked:
        for chunk in ids.split(chunks, dim=1):
            model(input_ids=chunk, past_key_values=cache)
    assert_same(whole, chunked)
    torch.testing.assert_close(whole.output, chunked.output, atol=2e-5, rtol=1e-4, equal_nan=True)
    torch.testing.assert_close(whole.value["needle"], chunked.value["needle"], atol=2e-5, rtol=1e-4, equal_nan=True)


@EVERY
@pytest.mark.parametrize("topk", [1, 3])
def test_rows_decoded_one_by_one_read_as_in_one_pass(name: str, topk: int) -> None:
    """Layers of a step that has one row are reduced together, whatever they and the batch rows see."""
    model, ids, padding = tiny_model(name), tokens(2), torch.ones(2, 24, dtype=torch.long)
    padding[1, :4] = 0  # left padding: the second row's queries see other keys than the first's
    rows, spans = [[19, 20, 21], [21, 22, 23]], {"own": [[Span(2, 7)], [Span(4, 5), Span(15, 20)]]}
    with probe(model, rows, spans, topk=topk) as whole:
        model(input_ids=ids, attention_mask=padding)
    cache = DynamicCache(config=model.config)
    with probe(model, rows, spans, topk=topk) as decoded:
        for stop, chunk in zip((19, 20, 21, 22, 23, 24), ids.split((19, 1, 1, 1, 1, 1), dim=1), strict=True):
            model(input_ids=chunk, attention_mask=padding[:, :stop], past_key_values=cache)
    assert_same(whole, decoded)
    assert torch.equal(whole.visible["own"], decoded.visible["own"])
    torch.testing.assert_close(whole.sink, decoded.sink, equal_nan=True)


@EVERY
def test_generation_reads_what_one_pass_over_its_text_reads(name: str) -> None:
    model, ids = tiny_model(name), tokens(2, 16)
    rows = [14, 15, 16, 20]
    with probe(model, rows, SPANS) as seen:
        text = model.generate(ids, max_new_tokens=6, do_sample=False)
    assert torch.equal(text, model.generate(ids, max_new_tokens=6, do_sample=False))
    with probe(model, rows, SPANS) as forced:
        model(input_ids=text)
    assert_same(seen, forced)


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt_oss", "qwen3"])
def test_static_cache_reads_as_dynamic(name: str) -> None:
    model, ids = tiny_model(name), tokens(1)
    with probe(model, ROWS, SPANS) as dynamic:
        model(input_ids=ids)
    cache = StaticCache(config=model.config, max_cache_len=40)
    with probe(model, ROWS, SPANS) as static:
        for chunk in ids.split((6, 9, 7, 1, 1), dim=1):
            model(input_ids=chunk, past_key_values=cache)
    assert_same(dynamic, static)


@EVERY
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_reads_as_each_sequence_alone(name: str, side: str) -> None:
    model, lengths = tiny_model(name), [24, 13]
    ids = torch.zeros(2, 24, dtype=torch.long)
    starts = [24 - length if side == "left" else 0 for length in lengths]
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        ids[row, start : start + length] = tokens(1, length, seed=row)[0]
    rows = [[start + 8, start + 12] for start in starts]
    spans = {"needle": [[Span(start + 3, start + 6), Span(start + 9, start + 10)] for start in starts]}
    with probe(model, rows, spans, topk=2) as batch:
        model(input_ids=ids, attention_mask=(ids > 0).long())
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        with probe(model, [8, 12], {"needle": [Span(3, 6), Span(9, 10)]}, topk=2) as alone:
            model(input_ids=ids[row : row + 1, start : start + length])
        layers = alone.layers
        assert torch.equal(batch.top_position[layers][:, row] - start, alone.top_position[layers][:, 0])
        torch.testing.assert_close(
            batch.mass["needle"][:, row], alone.mass["needle"][:, 0], atol=1e-5, rtol=0, equal_nan=True
        )
        torch.testing.assert_close(batch.lse[:, row], alone.lse[:, 0], atol=1e-5, rtol=1e-5, equal_nan=True)


def test_positions_survive_the_crossing_of_a_window() -> None:
    """Rows before, at and after the crossing, in cached decoding, where a key's index is not its position."""
    model, ids = tiny_model("mistral"), tokens(1, 30)
    rows = [WINDOW - 2, WINDOW - 1, WINDOW, 20, 29]
    spans = {"first": Span(0, 1), "recent": Span(14, 16)}
    cache = DynamicCache(config=model.config)
    with probe(model, rows, spans) as seen:
        model(input_ids=ids[:, :5], past_key_values=cache)
        for position in range(5, 30):
            model(input_ids=ids[:, position : position + 1], past_key_values=cache)
    weights = eager_weights(model, seen.layers, input_ids=ids)[:, :, :, rows]
    assert torch.equal(seen.top_position[..., 0], weights.argmax(-1))
    # the row at position 8 sees 1 to 8; the row at 20 sees 13 to 20, at 29 sees 22 to 29
    assert seen.visible["first"][0, 0, 0].tolist() == [True, True, False, False, False]
    assert seen.visible["recent"][0, 0, 0].tolist() == [False, False, False, True, False]
    assert seen.mass["recent"].isnan().equal(~seen.visible["recent"])


def test_sinks_take_their_share() -> None:
    model, ids = tiny_model("gpt_oss"), tokens()
    with probe(model, ROWS, {"everything": Span(0, 24)}) as seen:
        model(input_ids=ids)
    torch.testing.assert_close(seen.mass["everything"] + seen.sink, torch.ones_like(seen.sink))
    assert (seen.sink > 0.01).any()


def test_softcap_and_scaling_are_those_of_the_call() -> None:
    model, ids = tiny_model("gemma2"), tokens()
    with probe(model, ROWS) as capped:
        model(input_ids=ids)
    for layer in model.model.layers:
        layer.self_attn.attn_logit_softcapping = None
    with probe(model, ROWS) as free:
        model(input_ids=ids)
    # scores are at most 2, so no key of 24 has more than e^2 / (e^2 + 23 e^-2)
    assert capped.top_probability[..., 0].max() < 0.95 < free.top_probability[..., 0].max()


def test_masses_are_those_of_indicator_values() -> None:
    """softmax(qK).V with V the indicator of a span is the span's mass: an oracle without probabilities."""
    model, ids = tiny_model("llama"), tokens()
    with probe(model, ROWS, SPANS, values=True) as seen:
        model(input_ids=ids)
    attention = model.model.layers[0].self_attn
    states: dict = {}
    hook = attention.register_forward_pre_hook(lambda _, args, kwargs: states.update(kwargs), with_kwargs=True)
    model(input_ids=ids)
    hook.remove()
    x = states["hidden_states"]
    q, k = (p(x).view(1, 24, -1, 8).transpose(1, 2) for p in (attention.q_proj, attention.k_proj))
    q, k = apply_rotary_pos_emb(q, k, *states["position_embeddings"])
    indicator = torch.zeros(1, 2, 24, 1)
    indicator[:, :, 3:7] = 1
    found = torch.nn.functional.scaled_dot_product_attention(q, k, indicator, is_causal=True, enable_gqa=True)
    expected = found[0, :, ROWS, 0]
    torch.testing.assert_close(seen.mass["needle"][0, 0, :, 1:], expected[:, 1:], atol=1e-6, rtol=0)


def test_span_values_add_up_to_the_output_of_the_head() -> None:
    model, ids = tiny_model("qwen3"), tokens()
    with probe(model, ROWS, {"start": Span(0, 2), "rest": Span(2, 24)}, values=True) as seen:
        model(input_ids=ids)
    together = seen.value["start"] + seen.value["rest"]
    torch.testing.assert_close(together, seen.output, atol=1e-5, rtol=1e-5)
    assert seen.output.shape == (3, 1, 4, len(ROWS), 12)


def test_a_small_budget_only_means_more_chunks() -> None:
    model, ids = tiny_model("llama"), tokens(2)
    with probe(model, ROWS, SPANS, topk=2, values=True) as whole:
        model(input_ids=ids)
    one_row = 2 * 24 * (4 * 4 + 3)  # batch x keys x (scores of 4 heads in fp32, turned into probabilities; mask)
    with probe(model, ROWS, SPANS, topk=2, values=True, memory_budget_bytes=one_row) as chunked:
        model(input_ids=ids)
    assert_same(whole, chunked)
    torch.testing.assert_close(whole.value["pair"], chunked.value["pair"], atol=1e-6, rtol=1e-5, equal_nan=True)
    with pytest.raises(ProbeError, match="memory_budget_bytes"), probe(model, ROWS, memory_budget_bytes=one_row - 1):
        model(input_ids=ids)


class LiveBytes(TorchDispatchMode):
    """What tensors over more than 200 keys, made inside the block and still alive, take together, and at most took."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.ndim > 2 and leaf.shape[-1] > 200:
                storage = leaf.untyped_storage()
                if storage.data_ptr() not in given:  # else a view
                    self.alive[storage.data_ptr()] = (StorageWeakRef(storage), storage.nbytes())
        self.alive = {key: (ref, size) for key, (ref, size) in self.alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt_oss"])
@pytest.mark.parametrize("kind", ["plain", "padded", "additive", "half"])
def test_rows_at_work_stay_within_the_budget(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = tiny_model(name, "eager" if kind == "additive" else None), tokens(2, 320)
    if kind == "half":
        if torch.cpu._is_amx_tile_supported() and torch.backends.cpu.get_cpu_capability() != "AVX512":
            pytest.skip("torch's attention packs bfloat16 for AMX although ATEN_CPU_CAPABILITY is below it, and raises")
        model.to(torch.bfloat16)
    padding = torch.ones_like(ids)
    padding[0, : 100 if kind == "padded" else 0] = 0
    live, observe = LiveBytes(), _Probe.observe

    def watched(*args: Any) -> None:
        with live:
            observe(*args)

    monkeypatch.setattr(_Probe, "observe", watched)
    monkeypatch.setattr("haymaker.attention.rows.KEY_BLOCK", 64)
    budget = 12 * 2 * 320 * 4 * 4  # scores of 12 rows; with their mask fewer fit
    with probe(model, range(280, 320), {"all": Span(0, 320)}, values=True, memory_budget_bytes=budget) as seen:
        model(input_ids=ids, attention_mask=padding, use_cache=False)
    assert budget / 2 < live.peak <= budget
    assert seen.reached.all()


def test_the_highest_of_many_keys_is_found_as_max_finds_it() -> None:
    """Rows longer than a few blocks, with a ragged end, ties within and across blocks, and rows that see nothing."""
    generator = torch.Generator().manual_seed(0)
    for keys in (511, 512, 513, 640, 700):
        scores = torch.randint(0, 40, (2, 3, 5, keys), generator=generator).float()
        scores[0, 0, 0] = -torch.inf
        scores[0, 0, 1, -1] = scores[0, 0, 2, 0] = scores[0, 0, 3, keys // 128 * 128 - 1] = 99.0
        value, index = highest(scores)
        assert torch.equal(value[..., 0], scores.amax(-1))
        first = (scores == scores.amax(-1, keepdim=True)).int().argmax(-1)  # argmax of 0 and 1 names the first
        assert torch.equal(index[..., 0], first)


def test_ties_go_to_the_lowest_position() -> None:
    scores = torch.tensor([1.0, 3.0, 3.0, 2.0, 3.0, 2.0]).view(1, 1, 1, -1)
    assert top_positions(scores, 5).flatten().tolist() == [1, 2, 4, 3, 5]
    assert scores.flatten().tolist() == [1.0, 3.0, 3.0, 2.0, 3.0, 2.0]
    model = tiny_model("llama")
    torch.nn.init.zeros_(model.model.layers[0].self_attn.q_proj.weight)
    with probe(model, [0, 5, 23], topk=2) as seen:
        model(input_ids=tokens())
    assert seen.top_position[0, 0, 0].tolist() == [[0, -1], [0, 1], [0, 1]]


def test_half_precision_is_scored_in_fp32() -> None:
    model, ids = tiny_model("llama", "eager").to(torch.bfloat16), tokens(4, 64)
    rows = list(range(4, 64, 3))
    with probe(model, rows, topk=2) as seen:
        model(input_ids=ids)
    weights = eager_weights(model, seen.layers, input_ids=ids)[:, :, :, rows].float()
    same = seen.top_position[..., 0] == weights.argmax(-1)
    gap = (seen.top_probability[..., 0] - seen.top_probability[..., 1]) / seen.top_probability[..., 0]
    assert same.float().mean() > 0.95
    assert (gap[~same] < 0.1).all()  # eager rounds scores to 8 bits: of a score of 10 that is 0.04, of two 0.08
    assert seen.top_probability.dtype == torch.float32


def test_packed_sequences_do_not_see_each_other() -> None:
    model, ids = tiny_model("llama"), tokens()
    positions = torch.cat([torch.arange(10), torch.arange(14)])[None]
    with probe(model, [9, 12, 23], {"first": Span(0, 10)}) as packed:
        model(input_ids=ids, position_ids=positions, use_cache=False)
    with probe(model, [2, 13]) as alone:
        model(input_ids=ids[:, 10:])
    assert torch.equal(packed.top_position[:, :, :, 1:] - 10, alone.top_position)
    assert packed.visible["first"][0, 0, 0].tolist() == [True, False, False]


@PEFT_WARNS
def test_lora_reads_as_merged() -> None:
    base, ids = tiny_model("llama"), tokens()
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    with probe(adapted, ROWS, SPANS) as unmerged:
        adapted(input_ids=ids)
    merged = adapted.merge_and_unload()
    with probe(merged, ROWS, SPANS) as after:
        merged(input_ids=ids)
    assert_same(unmerged, after)


class Int8Linear(torch.nn.Module):
    """A weight kept as eight-bit integers and a scale per output, without a float parameter to find."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.abs().amax(1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("integers", (linear.weight / scale).round().to(torch.int8))

    def weight(self) -> Tensor:
        return self.integers.float() * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.linear(x, self.weight())


@pytest.mark.parametrize("name", ["llama", "phi3", "qwen3_next"])
def test_quantised_weights_read_as_their_dequantised_twins(name: str) -> None:
    model, twin, ids = tiny_model(name), tiny_model(name), tokens(2)
    for layer, its in zip(model.model.layers, twin.model.layers, strict=True):
        for part in ("self_attn", "mlp"):
            kinds = getattr(layer, part, torch.nn.Identity()).named_children()
            for key, linear in [(key, one) for key, one in kinds if type(one) is torch.nn.Linear]:
                quantised = Int8Linear(linear)
                setattr(getattr(layer, part), key, quantised)
                getattr(getattr(its, part), key).weight.copy_(quantised.weight())
    readings = []
    for one in (model, twin):
        with probe(one, ROWS, SPANS, values=True) as seen:
            one(input_ids=ids)
        readings.append(seen)
    assert_same(*readings)
    assert type(model.model.layers[1].self_attn.o_proj) is Int8Linear
    with probe(fresh := tiny_model(name), ROWS) as full:
        fresh(input_ids=ids)
    assert not torch.allclose(full.lse, readings[0].lse, atol=1e-3, equal_nan=True)  # eight bits are not 32


@pytest.mark.parametrize(
    ("rows", "chunks"),
    [([[23, 5, 9, 5], [3, 21, 4, 20]], (4, 1, 1, 4, 10, 1, 1, 2)), ([[23, 3, 9, 22], [4, 20, 21, 8]], (10, 14))],
)
def test_rows_in_any_order_over_and_over_keep_their_last_reading(rows: list[list[int]], chunks: tuple) -> None:
    model = tiny_model("llama")
    with probe(model, rows, SPANS) as seen:
        for seed in range(4):
            cache, ids = DynamicCache(config=model.config), tokens(2, seed=seed)
            for chunk in ids.split(chunks, dim=1):
                model(input_ids=chunk, past_key_values=cache)
            if seed == 1:
                assert seen.reached.all()
                assert seen.lse.shape == (3, 2, 4, 4)
    with probe(model, rows, SPANS) as once:
        model(input_ids=tokens(2, seed=3))
    assert_same(seen, once)
    with probe(model, [5, 9]):
        model(input_ids=tokens(2, 6))
        with pytest.raises(ProbeError, match="batch of 2 as before, found 1"):
            model(input_ids=tokens(1, 6))


def test_crop_and_rerun_reads_as_a_fresh_prefill() -> None:
    model, prefix, question = tiny_model("llama"), tokens(1, 16), tokens(1, 4, seed=5)
    cache = DynamicCache(config=model.config)
    model(input_ids=prefix, past_key_values=cache)
    for _ in range(2):
        with probe(model, [17, 19], SPANS) as reused:
            model(input_ids=question, past_key_values=cache)
        cache.crop(-4)
    with probe(model, [17, 19], SPANS) as fresh:
        model(input_ids=torch.cat([prefix, question], dim=1))
    assert_same(reused, fresh)


@PEFT_WARNS
def test_the_last_visit_of_a_row_counts_and_recomputation_does_not() -> None:
    model, ids = tiny_model("llama"), tokens()
    with probe(model, ROWS) as once:
        model(input_ids=ids)
    with probe(model, ROWS) as twice:
        model(input_ids=tokens(seed=9))
        model(input_ids=ids)
    assert_same(once, twice)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    with torch.enable_grad(), probe(model, ROWS) as checkpointed:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    assert_same(once, checkpointed)


def test_layers_without_attention_are_reported() -> None:
    model = tiny_model("qwen3_next")
    with probe(model, ROWS) as seen:
        model(input_ids=tokens())
    assert seen.layers == [1, 2]
    assert (seen.top_position[0] == -1).all()
    assert seen.lse[0].isnan().all()
    assert not seen.lse[1:].isnan().any()
    with pytest.raises(ProbeError, match="0-1"):
        seen.head("0-1")
    assert torch.equal(seen.head((2, 3))["lse"], seen.lse[2, :, 3])
    with pytest.raises(ProbeError, match=r"found \[0\]"), probe(model, ROWS, layers=[0, 1]):
        pass
    with probe(model, ROWS, layers=[2]) as one:
        model(input_ids=tokens())
    assert one.layers == [2]
    assert torch.equal(one.lse[2], seen.lse[2])


def test_rows_never_reached_are_named() -> None:
    model = tiny_model("llama")
    with probe(model, [3, 40, 41]) as seen:
        model(input_ids=tokens())
    with pytest.raises(ProbeError, match=r"\[40, 41\].*0 to 23"):
        _ = seen.lse
    assert seen.reached.tolist() == [[True, False, False]]
    assert seen.reached_only().lse.shape == (3, 1, 4, 1)
    with probe(model, [3]) as unused:
        pass
    with pytest.raises(ProbeError, match="found none"):
        _ = unused.top_position
    with probe(model, [40]) as beyond, record(model, ["0-1"], rows=[40]) as kept:
        model(input_ids=tokens())
    for read in (lambda: beyond.top_position, lambda: kept.values):
        with pytest.raises(ProbeError, match=r"\[40\].*0 to 23"):
            read()
    with pytest.raises(ProbeError, match="rows asked for were never reached"):
        _ = beyond.reached_only().lse


@pytest.mark.parametrize(
    ("told", "spans"),
    [
        ((3, 9), Span(3, 9)),
        ([3, 9], Span(3, 9)),
        ([(3, 9), (12, 14)], [Span(3, 9), Span(12, 14)]),
        ([[(3, 9)], [(12, 14), Span(2, 4)]], [[Span(3, 9)], [Span(12, 14), Span(2, 4)]]),
    ],
)
def test_spans_may_be_told_as_pairs(told: Any, spans: Any) -> None:
    model, ids = tiny_model("llama"), tokens(2)
    found = []
    for one in (told, spans):
        with probe(model, [20], {"needle": one}) as seen:
            model(input_ids=ids)
        found.append(seen.mass["needle"])
    assert torch.equal(*found)
    if not isinstance(told[0], list):
        assert Knockout(["0-1"], told).span == Knockout(["0-1"], spans).span


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": [-1]}, "counted from 0"),
        ({"rows": []}, "expected rows"),
        ({"rows": [[1, 2], [3]]}, "counts"),
        ({"rows": [1], "topk": 0}, "topk"),
        ({"rows": [1], "spans": {"needle": []}}, "needle"),
        ({"rows": [1], "spans": {"needle": [(1, 2), "x"]}}, "needle"),
        ({"rows": [1], "spans": {"needle": (2, 1)}}, r"0 <= start < stop, found \[2, 1\)"),
        ({"rows": [1], "spans": {"needle": 5}}, "needle"),
        ({"rows": [1], "spans": {"needle": (True, 2)}}, "needle"),
        ({"rows": [1], "layers": []}, "found none"),
        ({"rows": [1], "layers": [7]}, r"\[7\]"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ProbeError, match=message), probe(tiny_model("llama"), **options):
        pass


def test_what_does_not_fit_the_batch_is_refused() -> None:
    model = tiny_model("llama")
    for options in ({"rows": [[1], [2]]}, {"rows": [1], "spans": {"needle": [[Span(0, 1)], [Span(1, 2)]]}}):
        with pytest.raises(ProbeError, match="3 batch rows, found 2"), probe(model, **options):
            model(input_ids=tokens(3))
    with probe(model, rows=[1], spans={"needle": Span(20, 30)}) as seen:
        model(input_ids=tokens())
    with pytest.raises(ProbeError, match="beyond the sequence"):
        _ = seen.mass
    with probe(model, rows=[1]) as plain:
        model(input_ids=tokens())
    with pytest.raises(ProbeError, match="values=True"):
        _ = plain.output


DROPPING = {  # rates that parts of decoders have
    "attention": ("layers.0.self_attn", "attention_dropout"),
    "hidden": ("layers.1.mlp", "hidden_dropout"),
    "layers": ("", "layerdrop"),
    "noise": ("layers.0.mlp", "jitter_noise"),
}


@pytest.mark.parametrize("kind", DROPPING)
def test_dropout_is_refused(kind: str) -> None:
    model = tiny_model("llama")
    place, rate = DROPPING[kind]
    setattr(model.model.get_submodule(place), rate, 0.5)
    with probe(model, ROWS):
        model(input_ids=tokens())
    model.train()
    with pytest.raises(ProbeError, match=f"no dropout, found it on in {place or 'LlamaModel'}"), probe(model, ROWS):
        pass
    assert model.training
    assert model.model.layers[0].training


def test_dropout_that_comes_on_inside_a_block_or_in_a_part_alone_is_refused() -> None:
    model: Any = tiny_model("llama").eval()
    attention = model.model.layers[1].self_attn
    attention.q_proj = torch.nn.Sequential(attention.q_proj, torch.nn.Dropout(0.5)).eval()
    with probe(model, ROWS):
        model(input_ids=tokens())
        model.train()
        with pytest.raises(ProbeError, match=r"found it on in layers.1.self_attn.q_proj.1"):
            model(input_ids=tokens())
    model.eval()
    attention.q_proj.train()
    with pytest.raises(ProbeError, match="no dropout"), probe(model, ROWS):
        pass
