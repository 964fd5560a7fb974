"""Context extension. Laws: what was asked for took, what was not asked for did not move, or an error says why."""

import re
from typing import Any

import pytest
import torch
from any_architecture import tiny
from architecture_laws import METHODS, extends, prompt, run
from rotary_bases import BASES, SHAPE
from tiny_rows import CONTEXT, WINDOW
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from haymaker.config import Extend
from haymaker.errors import ConfigError, ExtensionError
from haymaker.models import extend as extending
from haymaker.models.extend import extend_context, frequencies_found, positions_of, rotary_modules
from haymaker.models.forward import stack_of
from haymaker.models.rope import attention_scale, frequencies, frequencies_of, ntk_theta
from haymaker.models.windows import dry_run_masks

RULES: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 2.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": CONTEXT // 4},
    "llama3": {
        "factor": 8.0, "original_max_position_embeddings": 64, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    },
}  # fmt: skip


def llama(kind: str, **more: Any) -> PreTrainedModel:
    """A Llama of heads of 32 dimensions, whose base has a RoPE of this type."""
    parameters = {"rope_type": kind, "rope_theta": 10_000.0, **RULES.get(kind, {}), **more}
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE, head_dim=32, rope_parameters=parameters)).eval()


# ---- closed forms


def test_ntk_theta_slows_the_slowest_frequency_by_the_factor() -> None:
    # d = 8: theta' = 10000 * 4^(8/6) = 63496.04; slowest: 63496.04^(-6/8) = 0.00025 = 10000^(-6/8) / 4
    theta = ntk_theta(10_000.0, 4.0, 8)
    assert theta == pytest.approx(63_496.04, abs=0.01)
    assert frequencies(theta, 8)[-1].item() == pytest.approx(0.001 / 4)
    assert frequencies(theta, 8)[0].item() == 1.0


@pytest.mark.parametrize("kind", [kind for kind in RULES if kind != "default"])
@pytest.mark.parametrize("more", [{}, {"rope_theta": 5e5}], ids=["theta 1e4", "theta 5e5"])
def test_closed_forms_are_those_of_transformers(kind: str, more: dict[str, Any]) -> None:
    config = llama(kind, **more).config
    found, scale = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    ours = frequencies_of(config.rope_parameters, 16)
    assert ours is not None
    torch.testing.assert_close(found.double(), ours, rtol=1e-5, atol=0)
    assert attention_scale(config.rope_parameters) == pytest.approx(scale)


# ---- what changes


@pytest.mark.parametrize("kind", BASES)
def test_an_extension_takes_on_every_shape_of_head(kind: str) -> None:
    model = BASES[kind]().eval()
    dims = {"llama": 8, "qwen3": 12, "phi3": 4}[kind]  # phi3 turns half of 8
    ids = torch.arange(3, 40)[None]
    before = model(input_ids=ids).logits
    extension = extend_context(model, Extend(length=4 * CONTEXT))
    assert extension.factor == 4
    assert not any(module.training for module in model.modules())
    assert model.config.max_position_embeddings == 4 * CONTEXT
    expected = frequencies(10_000 * 4 ** (dims / (dims - 2)), dims)
    torch.testing.assert_close(frequencies_found(model), expected, rtol=1e-6, atol=0)
    assert not torch.allclose(before, model(input_ids=ids).logits, atol=1e-6)


def test_linear_and_yarn_by_hand() -> None:
    # d = 32, theta 1e4, 64 tokens to 256: linear divides all by 4. YaRN's ramp: pair 16 ln(64 / 2 pi b) / ln 1e4 turns
    # b times: 32 times at -1.98, so low = 0; once at 4.03, so high = 5. Pair 1 is a fifth slowed: 1 - 0.2 * 3/4 = 0.85
    model, plain = llama("default"), frequencies(10_000.0, 32)
    extend_context(model, Extend(length=256, method="linear"))
    torch.testing.assert_close(frequencies_found(model), plain / 4, rtol=1e-6, atol=0)
    model = llama("default")
    extend_context(model, Extend(length=256, method="yarn"))
    share = torch.tensor([1, 0.85, 0.7, 0.55, 0.4] + [0.25] * 11, dtype=torch.float64)
    torch.testing.assert_close(frequencies_found(model), plain * share, rtol=1e-6, atol=0)
    assert attention_scale(model.config.rope_parameters) == pytest.approx(1.1386, abs=1e-4)  # 0.1 ln 4 + 1


@pytest.mark.parametrize(
    ("kind", "ways"), {"linear": "ntk theta linear", "yarn": "ntk theta yarn", "llama3": "ntk theta"}.items()
)
def test_a_base_with_a_rule_of_its_own_keeps_it_or_says_why_not(kind: str, ways: str) -> None:
    for way in METHODS:
        model, slowest = llama(kind), frequencies_found(llama(kind))[-1]
        if way not in ways.split():
            with pytest.raises(ExtensionError, match=f"type '{kind}', and no config says {way}"):
                extend_context(model, Extend(length=4 * CONTEXT, **METHODS[way]))
            continue
        extend_context(model, Extend(length=4 * CONTEXT, **METHODS[way]))
        assert model.config.rope_parameters["rope_type"] == kind
        if way != "theta":
            assert float(slowest / frequencies_found(model)[-1]) == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize(("length", "factor"), [(128, 4), (256, 4), (640, 10)])
def test_yarn_that_reaches_further_than_its_config_says_is_not_stretched_twice(length: int, factor: float) -> None:
    # as the cards of Qwen 2.5 and 3 have it: factor 4 of 64 tokens added, max_position_embeddings left at 64
    for way in ("yarn", "ntk"):
        model = llama("yarn", original_max_position_embeddings=CONTEXT)
        found, own = frequencies_found(model), model.config.rope_parameters["rope_theta"]
        extend_context(model, Extend(length=length, method=way))
        assert model.config.max_position_embeddings == length
        if factor == 4:
            assert torch.equal(frequencies_found(model), found)
        elif way == "yarn":
            assert model.config.rope_parameters["factor"] == factor
        else:
            assert model.config.rope_parameters["rope_theta"] == pytest.approx(ntk_theta(own, factor / 4, 32))


@pytest.mark.parametrize(("given", "expected"), [(1.1386, 1.1386 * 1.2773 / 1.1386), (1.0, 1.0), (None, 1.2773)])
def test_an_attention_factor_that_is_spelled_out_grows_if_it_is_yarns_own(given: float | None, expected: float) -> None:
    # 0.1 ln 4 + 1 = 1.1386, and 0.1 ln 16 + 1 = 1.2773
    model = llama("yarn", **({} if given is None else {"attention_factor": given}))
    extend_context(model, Extend(length=4 * CONTEXT, method="yarn"))
    assert next(iter(rotary_modules(model).values())).attention_scaling == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("kind", "reason"), [("dynamic", "raises its own base"), ("longrope", "searched for one")])
def test_a_rule_that_nothing_extends_is_named(kind: str, reason: str) -> None:
    more = {"dynamic": {"factor": 2.0}, "longrope": {"factor": 2.0, "short_factor": [1.0] * 16}}[kind]
    more |= {"long_factor": [2.0] * 16, "original_max_position_embeddings": 64} if kind == "longrope" else {}
    with pytest.raises(ExtensionError, match=f"type '{kind}', which cannot be extended: .*{reason}"):
        extend_context(llama(kind, **more), Extend(length=4 * CONTEXT))


def test_theta_goes_with_its_method() -> None:
    for given in ({"theta": 1e5, "method": "yarn"}, {"method": "theta"}):
        with pytest.raises(ConfigError, match="theta: expected one with the method theta"):
            Extend(length=64, **given)
    assert Extend(length=64, theta=1e5, method="theta").theta == 1e5


# ---- what may not move


KINDS = [
    "llama", "gemma2", "gemma3_text", "exaone4", "cohere2", "ministral", "gpt_oss", "deepseek_v2", "llama4_text",
    "olmo3", "modernbert-decoder", "mistral",
]  # fmt: skip


@pytest.mark.parametrize(("number", "kind"), list(enumerate(KINDS)))
def test_nothing_moves_inside_the_window_and_the_config_is_the_model(number: int, kind: str) -> None:
    """By a theta, which opens windows under the same base, and one other method; the benchmark crosses all."""
    for method in ("theta", ("ntk", "linear", "yarn")[number % 3]):
        extends(method)(tiny(kind))


def test_a_window_that_is_a_switch_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken away as it used to be, Exaone 4's window turns RoPE on in layers that had none."""

    def taken_away(model: PreTrainedModel, length: int) -> None:
        model.config.sliding_window = None
        model.config.layer_types = ["full_attention"] * model.config.num_hidden_layers

    monkeypatch.setattr(extending, "open_window", taken_away)
    with pytest.raises(ExtensionError, match="the window taken away changes Exaone4ForCausalLM where nothing may"):
        extend_context(tiny("exaone4"), Extend(length=256))


def test_only_global_layers_are_extended_where_kinds_have_a_rope_of_their_own() -> None:
    model = tiny("gemma3_text")
    rotary = next(iter(rotary_modules(model).values()))
    before = {name: values.clone() for name, values in rotary.named_buffers()}
    extension = extend_context(model, Extend(length=4 * 128))
    rotary = next(iter(rotary_modules(model).values()))
    assert torch.equal(rotary.get_buffer("sliding_attention_inv_freq"), before["sliding_attention_inv_freq"])
    assert not torch.equal(rotary.get_buffer("full_attention_inv_freq"), before["full_attention_inv_freq"])
    assert extension.extended.window == 16  # local layers stay local unless told otherwise
    opened = tiny("gemma3_text")
    assert extend_context(opened, Extend(length=4 * 128, keep_window=False)).extended.window is None


def test_a_context_of_the_same_length_changes_no_logits() -> None:
    for method in METHODS:
        if method != "theta":
            model = llama("default")
            before = run(model, prompt() % 50)
            extend_context(model, Extend(length=CONTEXT, method=method))
            torch.testing.assert_close(run(model, prompt() % 50), before, rtol=1e-5, atol=1e-5)


def test_the_base_theta_with_a_longer_length_changes_no_logits(new_model) -> None:
    model, ids = new_model(), torch.arange(10, 50)[None]
    before = model(input_ids=ids).logits
    extend_context(model, Extend(length=4 * CONTEXT, theta=10_000.0))
    assert torch.equal(before, model(input_ids=ids).logits)


# ---- what is refused


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_a_theta_below_the_bases_own_is_refused_and_its_own_is_not(kind: str) -> None:
    model = tiny(kind)
    own = positions_of(model).theta  # type: ignore[union-attr]
    with pytest.raises(ExtensionError, match=re.escape(f"ForCausalLM, {own:g}, found {0.9 * own:g}")):
        extend_context(model, Extend(length=512, theta=0.9 * own))
    assert extend_context(tiny(kind), Extend(length=512, theta=own)).extended.theta == own


def test_a_theta_is_set_at_the_length_that_the_model_has_too(new_model) -> None:
    model = new_model()
    extend_context(model, Extend(length=CONTEXT, theta=70_000.0))
    assert model.config.rope_parameters["rope_theta"] == 70_000
    torch.testing.assert_close(frequencies_found(model), frequencies(70_000.0, 8), rtol=1e-6, atol=0)


def test_what_only_a_changed_config_gives_a_module_is_a_difference() -> None:
    before, after = torch.nn.Identity(), torch.nn.Identity()
    after.scale = 2.0  # type: ignore[assignment]
    assert list(extending.differences(before, after)) == [("", "scale", 2.0)]


def test_a_model_that_does_not_run_is_a_sentence(new_model) -> None:
    model = new_model()
    model.model.layers[0].register_forward_pre_hook(lambda *_: {}[model.config.rope_parameters["rope_theta"]])
    with pytest.raises(ExtensionError, match=r"does not run \(KeyError: 10000.0\); it cannot be extended"):
        extend_context(model, Extend(length=4 * CONTEXT))


def test_a_theta_that_does_not_take_is_an_error(new_model, monkeypatch: pytest.MonkeyPatch) -> None:
    # what published recipes do: assign config.rope_theta, a silent no-op on transformers 5
    def assigned(model: PreTrainedModel, parameters: dict[str, Any], length: int) -> None:
        model.config.rope_theta = parameters["rope_theta"]

    monkeypatch.setattr(extending, "set_rope", assigned)
    monkeypatch.setattr(extending, "global_parameters", lambda model: {"rope_theta": 63_496.04})
    monkeypatch.setattr(extending, "check_base", lambda model: None)
    with pytest.raises(ExtensionError, match="theta 63496 did not take on LlamaForCausalLM"):
        extend_context(new_model(), Extend(length=4 * CONTEXT))


def test_a_rotary_embedding_that_scales_its_output_is_an_error(new_model, monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(model: PreTrainedModel) -> None:
        original(model)
        next(iter(rotary_modules(model).values())).attention_scaling = 1.1  # type: ignore[assignment]

    original = extending.rebuild_rotary
    monkeypatch.setattr(extending, "rebuild_rotary", scaled)
    monkeypatch.setattr(extending, "LOGIT_TOLERANCE", 1.0)
    with pytest.raises(ExtensionError, match="does not return the cos"):
        extend_context(new_model(), Extend(length=4 * CONTEXT))


def test_weights_that_are_no_numbers_are_named(new_model) -> None:
    model = new_model("mistral")
    model.model.norm.weight.data[0] = torch.nan
    with pytest.raises(ExtensionError, match="12 tokens are not finite, and of its weights model.norm.weight are not"):
        extend_context(model, Extend(length=4 * CONTEXT))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("gpt2", "has no rotary position embedding"),
        ("gptj", "by a table of its own making"),
        ("deepseek_v4", "for layers of kind compress, main; expected one kind of them that sees the whole"),
        ("granite_swa", "something else of it depends on the base"),
        ("recurrent_gemma", "says no max_position_embeddings"),
        ("other", "turns by other frequencies than its rope_parameters"),
    ],
)
def test_a_refusal_says_what_is_true_of_the_architecture(kind: str, reason: str) -> None:
    if kind == "gpt2":
        model: Any = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2, n_positions=32))
    elif kind == "other":
        model = llama("default")
        next(iter(rotary_modules(model).values())).get_buffer("inv_freq").mul_(2)
    else:
        model = tiny(kind)
    with pytest.raises(ExtensionError, match=reason):
        extend_context(model, Extend(length=1024))


def test_a_shorter_context_is_no_extension(new_model) -> None:
    with pytest.raises(ExtensionError, match=f"length is 32 tokens, but the model already reads {CONTEXT}"):
        extend_context(new_model(), Extend(length=32))


# ---- windows


def last_logits(model: PreTrainedModel, first_token: int, tokens: int) -> torch.Tensor:
    """Logits after a prompt whose first token is given; one layer, so nothing reaches further than its window."""
    ids = torch.arange(20, 20 + tokens)[None]
    ids[0, 0] = first_token
    return model(input_ids=ids).logits[0, -1]


@pytest.mark.parametrize(("keep", "reaches"), [(False, True), (None, True), (True, False)])
def test_the_window_goes_or_stays_as_asked(new_model, keep: bool | None, reaches: bool) -> None:
    model = new_model("mistral", layers=1)
    extension = extend_context(model, Extend(length=4 * CONTEXT, keep_window=keep))
    assert (extension.original.window, extension.extended.window) == (WINDOW, WINDOW if keep else None)
    changed = not torch.equal(last_logits(model, 7, WINDOW + 1), last_logits(model, 8, WINDOW + 1))
    assert changed == reaches


def test_a_window_as_long_as_the_old_context_is_one_in_the_new(new_model) -> None:
    model = new_model("mistral")
    model.config.sliding_window = CONTEXT
    assert positions_of(model).window is None
    assert extend_context(model, Extend(length=4 * CONTEXT, keep_window=True)).extended.window == CONTEXT


def test_windows_of_single_layers_go_too() -> None:
    layers = ["sliding_attention", "full_attention"]
    config = Qwen3Config(**SHAPE, head_dim=8, use_sliding_window=True, sliding_window=WINDOW, layer_types=layers)
    model = Qwen3ForCausalLM(config).eval()
    assert [mask is None for mask in dry_run_masks(model, WINDOW + 2)] == [False, True]
    extend_context(model, Extend(length=4 * CONTEXT))
    assert [mask is None for mask in dry_run_masks(model, WINDOW + 2)] == [True, True]


def test_a_window_that_the_config_says_twice_is_kept_or_refused() -> None:
    """MiMo's file says it by another name, from which its class sets the window whenever the config is read."""
    for keep in (True, False):
        model = tiny("mimo_v2_flash")
        model.config.sliding_window_size, model.config.sliding_window = WINDOW, WINDOW + 1
        if keep:
            assert extend_context(model, Extend(length=256)).extended.window == WINDOW + 1
        else:
            with pytest.raises(ExtensionError, match="another entry of its config says the window too"):
                extend_context(model, Extend(length=256, keep_window=False))


@pytest.mark.parametrize("method", METHODS)
def test_rope_that_no_layer_turns_by_cannot_be_extended(method: str) -> None:
    model = tiny("smollm3")
    for layer in stack_of(model).layers:  # type: ignore[union-attr]
        layer.self_attn.use_rope = 0
    model.config.no_rope_layers = [0] * len(model.config.no_rope_layers)
    with pytest.raises(ExtensionError, match="other frequencies move no logit"):
        extends(method)(model)


def test_a_window_that_stays_behind_is_an_error(new_model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extending, "open_window", lambda model, length: None)
    with pytest.raises(ExtensionError, match="expected a window of None tokens, but MistralForCausalLM says 16"):
        extend_context(new_model("mistral"), Extend(length=4 * CONTEXT))


def test_a_dry_run_leaves_the_model_as_it_was(new_model) -> None:
    model, ids = new_model("mistral"), torch.arange(10, 40)[None]
    before = model(input_ids=ids).logits
    assert len(dry_run_masks(model, WINDOW + 2)) == 3
    assert torch.equal(before, model(input_ids=ids).logits)
    assert not any("forward" in vars(layer) for layer in stack_of(model).layers)  # type: ignore[union-attr]
