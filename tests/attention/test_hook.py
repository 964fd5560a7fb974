"""The registered function changes nothing by itself, follows the model's own backend, and is gone after the block."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from any_architecture import tiny
from architecture_laws import eager_weights, prompt
from tiny_models import BUILDERS, tiny_model, tokens
from torch import Tensor
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    DiffLlamaConfig,
    DiffLlamaForCausalLM,
    DynamicCache,
    FalconConfig,
    FalconForCausalLM,
    StaticCache,
    T5Config,
    T5Model,
)
from transformers.masking_utils import flash_attention_mask

from haymaker.attention.calls import Tool
from haymaker.attention.canary import check_architecture
from haymaker.attention.edits import Zero, edit
from haymaker.attention.hook import attach, backend_of, decoder_of
from haymaker.attention.probing import probe
from haymaker.errors import ProbeError
from haymaker.records import Span

EVERY = pytest.mark.parametrize("name", BUILDERS)
COMPILING_WARNS = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
ROWS = [5, 12, 23]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def backends() -> Iterator[None]:
    """Whatever a test registers is forgotten."""
    kept = [(kind, dict(kind._global_mapping)) for kind in (AttentionInterface, AttentionMaskInterface)]
    yield
    for kind, mapping in kept:
        kind._global_mapping.clear()
        kind._global_mapping.update(mapping)


class Watcher(Tool):
    def __init__(self, model: Any) -> None:
        super().__init__(decoder_of(model))
        self.calls: list[tuple[int, str, bool]] = []

    def observe(self, call: Any, output: Tensor) -> None:
        self.calls.append((call.layer, call.backend, call.mask is None))


@pytest.mark.parametrize(("name", "backend"), [*((name, None) for name in BUILDERS), ("llama", "eager")])
def test_logits_are_bit_identical(name: str, backend: str | None) -> None:
    """Forward, padded forward (masks that go missing show there), chunks on a cache, static cache, generation."""
    model, ids = tiny_model(name, backend), tokens(2)
    padding = torch.ones_like(ids)
    padding[0, :7] = 0

    def run() -> list[Tensor]:
        cache = DynamicCache(config=model.config)
        return [
            model(input_ids=ids).logits,
            model(input_ids=ids, attention_mask=padding).logits,
            *(model(input_ids=chunk, past_key_values=cache).logits for chunk in ids.split((9, 14, 1), dim=1)),
            model.generate(ids, max_new_tokens=3, do_sample=False, return_dict_in_generate=True).sequences,
        ]

    plain = run()
    with probe(model, ROWS, {"needle": Span(3, 6)}, topk=2, values=True):
        probed = run()
    assert all(torch.equal(a, b) for a, b in zip(plain, probed, strict=True))
    if name in ("llama", "mistral", "gpt_oss"):
        static = [model(input_ids=ids, past_key_values=StaticCache(config=model.config, max_cache_len=30)).logits]
        with probe(model, ROWS):
            again = model(input_ids=ids, past_key_values=StaticCache(config=model.config, max_cache_len=30)).logits
        assert torch.equal(static[0], again)


@COMPILING_WARNS
@pytest.mark.filterwarnings("ignore:_compile flag on create_block_mask:DeprecationWarning")  # transformers 5.23
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_flex_attention_reads_its_block_masks(name: str) -> None:
    ids = tokens(2)
    padding = torch.ones_like(ids)
    padding[0, :4] = 0
    expected = tiny_model(name)
    with torch.compiler.set_stance("force_eager"):  # compiling takes minutes on a CPU
        model = tiny_model(name, "flex_attention")
        plain = model(input_ids=ids, attention_mask=padding).logits
        with probe(model, ROWS, {"needle": Span(5, 8)}) as seen:
            assert torch.equal(model(input_ids=ids, attention_mask=padding).logits, plain)
    with probe(expected, ROWS, {"needle": Span(5, 8)}) as oracle:
        expected(input_ids=ids, attention_mask=padding)
    assert torch.equal(seen.top_position, oracle.top_position)
    torch.testing.assert_close(seen.mass["needle"], oracle.mass["needle"], atol=1e-5, rtol=0, equal_nan=True)


def flash_like(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> tuple:
    """A stand-in for a flash kernel: 2-D padding, causality, window and packing of its own; knows its name."""
    assert module.config._attn_implementation == "flash_stand_in"
    assert module.layer_idx >= 0
    queries, keys = query.shape[2], key.shape[2]
    row, column = torch.arange(queries)[:, None] + keys - queries, torch.arange(keys)
    allowed = column <= row
    if options.get("sliding_window"):
        allowed = allowed & (column > row - options["sliding_window"])
    allowed = allowed.expand(len(query), 1, -1, -1)
    if mask is not None:
        allowed = allowed & mask[:, None, None, :].bool()
    elif queries == keys and len(query) == 1:
        document = (options["position_ids"][0] == 0).cumsum(0)
        allowed = allowed & (document[:, None] == document)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (query @ key.transpose(2, 3) * options["scaling"]).masked_fill(~allowed, -torch.inf)
    return (scores.softmax(-1).nan_to_num() @ value).transpose(1, 2).contiguous(), None


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_flash_kernels_keep_their_name_and_their_masks(name: str, backends: None) -> None:
    AttentionInterface.register("flash_stand_in", flash_like)
    AttentionMaskInterface.register("flash_stand_in", flash_attention_mask)
    model, expected, ids = tiny_model(name), tiny_model(name), tokens(2)
    model.config._attn_implementation = "flash_stand_in"
    padding = torch.ones_like(ids)
    padding[1, :5] = 0
    packed = torch.cat([torch.arange(10), torch.arange(14)])[None]
    for options in ({"input_ids": ids}, {"input_ids": ids, "attention_mask": padding},
                    {"input_ids": ids[:1], "position_ids": packed, "use_cache": False}):  # fmt: skip
        plain = model(**options).logits
        with probe(model, ROWS, {"needle": Span(7, 11)}) as seen:
            assert torch.equal(model(**options).logits, plain)
        with probe(expected, ROWS, {"needle": Span(7, 11)}) as oracle:
            expected(**options)
        assert torch.equal(seen.top_position, oracle.top_position)
        torch.testing.assert_close(seen.mass["needle"], oracle.mass["needle"], atol=1e-5, rtol=0, equal_nan=True)
    cache = DynamicCache(config=model.config)
    with probe(model, ROWS) as chunked:
        for chunk in ids.split((11, 12, 1), dim=1):
            model(input_ids=chunk, past_key_values=cache)
    with probe(expected, ROWS) as oracle:
        expected(input_ids=ids)
    assert torch.equal(chunked.top_position, oracle.top_position)


def test_the_backend_is_looked_up_at_every_call(backends: None) -> None:
    """A function that another library puts in place later is the one that runs."""
    model, ids = tiny_model("llama"), tokens()
    sdpa = AttentionInterface()["sdpa"]
    calls = []

    def wrapped(*args: Any, **options: Any) -> tuple:
        calls.append(1)
        return sdpa(*args, **options)

    with probe(model, ROWS):
        model(input_ids=ids)
        AttentionInterface.register("sdpa", wrapped)
        model(input_ids=ids)
    assert len(calls) == 3


def test_a_block_names_us_in_the_config_and_takes_it_back() -> None:
    model, ids = tiny_model("llama"), tokens()
    outer, inner = Watcher(model), Watcher(model)
    with attach(outer):
        assert model.config._attn_implementation == "haymaker:sdpa"
        assert backend_of(decoder_of(model)) == "sdpa"
        assert model.config._attn_implementation in AttentionInterface()
        assert model.config._attn_implementation in AttentionMaskInterface()
        with attach(inner):
            model(input_ids=ids)
        assert model.config._attn_implementation == "haymaker:sdpa"
        model(input_ids=ids)
    assert inner.calls == [(0, "sdpa", True), (1, "sdpa", True), (2, "sdpa", True)]
    assert outer.calls == inner.calls * 2
    assert model.config._attn_implementation == "sdpa"
    assert not model.model._forward_pre_hooks
    assert not model.model._forward_hooks


def test_two_models_in_one_block_each_have_their_own() -> None:
    first, second, ids = tiny_model("llama"), tiny_model("gemma2"), tokens()
    with probe(first, [3]) as a, probe(second, [7]) as b:
        first(input_ids=ids)
        with pytest.raises(ProbeError, match="found none"):
            _ = b.lse
        second(input_ids=ids)
    assert a.lse.shape == b.lse.shape
    assert not torch.equal(a.lse, b.lse)


def test_another_thread_runs_plain_and_ends_are_not_mixed_up() -> None:
    model, ids = tiny_model("llama"), tokens()
    plain, watcher, other = model(input_ids=ids).logits, Watcher(model), Watcher(model)
    opened, leave, found = threading.Event(), threading.Event(), []

    def run() -> None:
        with torch.no_grad():
            found.append(model(input_ids=ids).logits)
            with attach(other):
                opened.set()
                leave.wait()
                found.append(model(input_ids=ids).logits)

    thread = threading.Thread(target=run)
    with attach(watcher):
        thread.start()
        opened.wait()
        model(input_ids=ids)
    assert model.config._attn_implementation == "haymaker:sdpa"  # the thread still needs it
    leave.set()
    thread.join()
    assert model.config._attn_implementation == "sdpa"
    assert len(watcher.calls) == 3 == len(other.calls)
    assert all(torch.equal(logits, plain) for logits in found)


@COMPILING_WARNS
def test_what_is_no_decoder_is_refused() -> None:
    encoder_decoder = T5Model(T5Config(d_model=8, d_ff=8, d_kv=4, num_layers=1, num_heads=2, vocab_size=9))
    for model, message in [(encoder_decoder, "encoder-decoder"), (torch.nn.Linear(2, 2), "Linear"), ("llama", "str")]:
        with pytest.raises(ProbeError, match=message), probe(model, ROWS):
            pass
    llama = tiny_model("llama")
    with pytest.raises(ProbeError, match="OptimizedModule"), probe(torch.compile(llama), ROWS):
        pass


@pytest.mark.parametrize(
    ("kind", "lengths"), [("gemma3n_text", (21, 1, 1, 1)), ("gemma4_text", (24,)), ("gemma4_text", (7, 9, 8))]
)
def test_layers_that_share_keys_are_read_and_written(kind: str, lengths: tuple[int, ...]) -> None:
    """Layer 3 has keys of layer 1 and none in a cache; Gemma 4 gives it the positions alone whose logits are asked for.
    Windows are of 16."""
    model, ids = tiny(kind), prompt(2)
    assert [layer.self_attn.is_kv_shared_layer for layer in decoder_of(model).layers] == [False, False, False, True]
    heads = check_architecture(model).heads

    def logits(cache: DynamicCache | None = None, asked: int = 0) -> Tensor:
        if cache is None:
            return model(input_ids=ids, use_cache=False).logits
        chunks = ids.split(list(lengths), dim=1)
        return torch.cat(
            [model(input_ids=chunk, past_key_values=cache, logits_to_keep=asked).logits for chunk in chunks], 1
        )

    with eager_weights(model) as weights:
        logits()
    with probe(model, [9, 20, 23], {"needle": Span(3, 7)}) as seen:
        logits(DynamicCache(config=model.config), asked=1)
    for layer, full in weights.items():
        assert torch.allclose(seen.mass["needle"][layer].nan_to_num(0), full[:, :, [9, 20, 23], 3:7].sum(-1), atol=2e-4)
    for scope in ("all", [9, 20]):
        with edit(model, Zero([heads[0], heads[-1]]), scope=scope):
            expected = logits()
        with edit(model, Zero([heads[0], heads[-1]]), scope=scope):
            assert torch.allclose(logits(DynamicCache(config=model.config)), expected, atol=1e-3)
        assert not torch.allclose(expected, logits(), atol=1e-2)


def test_keys_the_cache_did_not_promise_are_refused() -> None:
    model = tiny_model("llama")
    attention = model.model.layers[1].self_attn
    original = attention.forward
    check_architecture(model)
    attention.forward = lambda hidden_states, position_embeddings, **options: original(
        hidden_states[:, -1:], tuple(part[:, -1:] for part in position_embeddings), **options
    )
    with probe(model, ROWS), pytest.raises(ProbeError, match="layer 1: expected 24 queries and 24 keys"):
        model(input_ids=tokens())


# --- the canary ----------------------------------------------------------------------------------------------------


@EVERY
def test_the_canary_passes_where_we_read_right(name: str) -> None:
    found = check_architecture(tiny_model(name))
    assert sorted(found.layers) == ([1, 2] if name == "qwen3_next" else [0, 1, 2])
    assert found.layers[1].heads == 4
    assert found.layers[1].kv_heads == 2
    assert found.layers[1].head_dim == {"qwen3": 12}.get(name, 8)
    assert found.differences["logits"] == 0 == found.differences["columns"]
    assert max(found.differences.values()) < 1e-5


@pytest.mark.parametrize("wrong", ["scaling", "mask", "name"])
def test_the_canary_catches_what_we_would_read_wrong(wrong: str, backends: None) -> None:
    """A backend with a scale of its own, one that hides keys by itself, and a model that asks for a name it knows."""
    eager = AttentionInterface()["sdpa"]

    def function(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any) -> tuple:
        if wrong == "scaling":
            options["scaling"] = 2 * options["scaling"]
        if wrong == "mask":
            value = torch.cat([torch.zeros_like(value[:, :, :4]), value[:, :, 4:]], dim=2)
        return eager(module, query, key, value, mask, **options)

    AttentionInterface.register("odd", function)
    AttentionMaskInterface.register("odd", AttentionMaskInterface()["sdpa"])
    model = tiny_model("llama")
    model.config._attn_implementation = "odd"
    if wrong == "name":
        norm = model.model.norm
        model.model.norm.register_forward_hook(
            lambda *args: args[-1] * (2.0 if norm.weight.shape and model.config._attn_implementation == "odd" else 1.0)
        )
    with pytest.raises(ProbeError, match="LlamaModel with odd attention"), probe(model, ROWS):
        pass
    assert model.config._attn_implementation == "odd"


def test_architectures_we_cannot_read_are_refused() -> None:
    """Falcon has its own attention; DiffLlama calls attention twice in a layer and subtracts."""
    shape: dict[str, Any] = dict(vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    diff = DiffLlamaForCausalLM(DiffLlamaConfig(**shape, num_key_value_heads=2, intermediate_size=48))
    for model, message in [
        (FalconForCausalLM(FalconConfig(**shape)), "FalconModel .*found no layer"),
        (diff, "DiffLlamaAttention.*found two"),
    ]:
        with pytest.raises(ProbeError, match=message), probe(model, ROWS):
            pass


def test_the_canary_runs_once_and_leaves_no_trace() -> None:
    model = tiny_model("llama").train()
    model.model.layers[1].eval()
    runs: list[int] = []
    model.model.register_forward_pre_hook(lambda *_: runs.append(1))
    for _ in range(3):
        with probe(model, ROWS):
            pass
    assert 1 <= len(runs) <= 4
    assert model.training
    assert model.model.layers[0].training
    assert not model.model.layers[1].training
    model.set_attn_implementation("eager")
    check_architecture(model)
    assert len(runs) > 4


def test_weights_that_are_no_numbers_are_named() -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    with pytest.raises(ProbeError, match=r"not finite, and of its weights layers.1.mlp.up_proj.weight are not finite"):
        check_architecture(model)


def test_the_first_reading_may_stand_under_autocast() -> None:
    model, ids = tiny_model("llama"), tokens()
    with torch.autocast("cpu", torch.bfloat16):
        plain = model(input_ids=ids).logits
        with probe(model, ROWS) as seen:
            assert torch.equal(model(input_ids=ids).logits, plain)
    assert seen.reached.all()


def test_weights_that_accelerate_keeps_elsewhere_are_read() -> None:
    accelerate = pytest.importorskip("accelerate")
    model, ids = tiny_model("llama"), tokens()
    with probe(model, ROWS) as expected:
        model(input_ids=ids)
    accelerate.cpu_offload(offloaded := tiny_model("llama"), execution_device="cpu")
    with probe(offloaded, ROWS) as seen:
        offloaded(input_ids=ids)
    assert torch.equal(seen.top_position, expected.top_position)
