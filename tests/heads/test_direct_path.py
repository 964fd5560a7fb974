"""The direct path: heads' contributions add up to what attention adds to a logit, in every architecture it reads."""

from typing import Any

import pytest
import torch
from tiny_models import SHAPE, tiny_model, tokens
from torch import Tensor
from transformers import GraniteConfig, GraniteForCausalLM, Olmo2Config, Olmo2ForCausalLM, PreTrainedModel

from haymaker.attention.probing import probe
from haymaker.errors import ProbeError
from haymaker.heads.direct_path import FINAL, contributions, unembedding, watch_scales
from haymaker.heads.proven_path import pulled_back
from haymaker.records import Span

ROWS = torch.tensor([[9, 15, 20]])


def built(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if name == "granite":  # a factor on what attention adds
        return GraniteForCausalLM(GraniteConfig(**SHAPE, residual_multiplier=0.3, attention_multiplier=0.4)).eval()
    if name == "olmo2":  # norms behind attention and MLP, none before them
        return Olmo2ForCausalLM(Olmo2Config(**SHAPE)).eval()
    return tiny_model(name)


def attention_layers(model: Any) -> list[tuple[int, Any]]:
    return [(i, layer) for i, layer in enumerate(model.model.layers) if hasattr(layer, "self_attn")]


def attention_writes(model: Any) -> tuple[dict[int, Tensor], list[Any]]:
    """Filled by the next forward: what attention adds to the residual stream, and what enters the last norm."""
    kept: dict[int, Tensor] = {}
    hooks = [model.model.norm.register_forward_pre_hook(lambda _, args: kept.update({FINAL: args[0]}))]
    for i, layer in attention_layers(model):
        sandwich = hasattr(layer, "post_feedforward_layernorm")
        last = layer.post_attention_layernorm if sandwich else layer.self_attn.o_proj
        hooks.append(last.register_forward_hook(lambda _, __, out, i=i: kept.update({i: out})))
    return kept, hooks


@pytest.mark.parametrize(
    "name", ["llama", "mistral", "qwen3", "gemma2", "gpt_oss", "phi3", "qwen3_next", "granite", "olmo2"]
)
def test_heads_add_up_to_what_attention_adds(name: str) -> None:
    model, ids = built(name), tokens(batch=2, length=22)
    produced = ids[:, ROWS[0] + 1]
    spans = {"early": Span(0, 12), "all": Span(0, 22)}
    with (
        probe(model, rows=ROWS, spans=spans, values=True) as seen,
        watch_scales(model, ROWS) as scales,
        torch.no_grad(),
    ):
        kept, hooks = attention_writes(model)
        logits = model(input_ids=ids).logits
    for hook in hooks:
        hook.remove()
    parts, whole = contributions(model, seen, scales, produced)
    direction = unembedding(model, produced, scales)
    for i, layer in attention_layers(model):
        bias = getattr(layer.self_attn.o_proj, "bias", None)
        written = getattr(layer, "residual_multiplier", 1) * kept[i][:, ROWS[0]] - (0 if bias is None else bias)
        assert torch.allclose(whole[i].sum(1), (written * direction).sum(-1), atol=1e-4)
    assert torch.allclose(parts["all"], whole, atol=1e-5, equal_nan=True)  # a span of everything is the whole head
    assert not torch.allclose(parts["early"][-1], whole[-1], atol=1e-2)
    if name != "gemma2":  # which bends its logits
        final = (kept[FINAL][:, ROWS[0]] * direction).sum(-1)
        assert torch.allclose(final, logits[:, ROWS[0]].gather(-1, produced[..., None])[..., 0], atol=1e-4)


def test_decoding_keeps_the_scales_of_each_row() -> None:
    model, ids = tiny_model("llama"), tokens(length=16)
    rows = torch.tensor([[11, 12, 13]])
    with torch.no_grad(), probe(model, rows=rows, values=True), watch_scales(model, rows) as whole:
        model(input_ids=ids)
    with torch.no_grad(), probe(model, rows=rows, values=True), watch_scales(model, rows) as stepped:
        cache = model(input_ids=ids[:, :12]).past_key_values
        for at in (12, 13):
            model(input_ids=ids[:, at : at + 1], past_key_values=cache)
    assert torch.allclose(whole.found[FINAL], stepped.found[FINAL], atol=1e-5)


def test_a_layer_norm_before_the_unembedding_is_refused() -> None:
    model = tiny_model("llama")
    model.model.norm = torch.nn.LayerNorm(32)
    with pytest.raises(
        ProbeError, match=r"expected norms that only scale \(RMS\) on the way to the logits, found LayerNorm"
    ):
        watch_scales(model, ROWS).__enter__()


def test_attention_that_other_positions_read_is_refused() -> None:
    """Each head reaches its own position as expected, and the one behind it as well."""
    model = tiny_model("llama")
    attention: Any = model.model.layers[0].self_attn
    plain = attention.forward

    def summed(*args: Any, **options: Any) -> Any:
        output, *rest = plain(*args, **options)
        return (output.cumsum(1), *rest)

    attention.forward = summed
    with pytest.raises(ProbeError, match="layer 0's heads write .* found another path"):
        watch_scales(model, ROWS).__enter__()


def test_a_projection_without_a_gradient_is_refused() -> None:
    """As products of quantised weights and activations."""

    class Detached(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input).detach()

    with pytest.raises(ProbeError, match="Detached: its product has no gradient on this device"):
        pulled_back(Detached(4, 3), torch.ones(1, 1, 3), 4, torch.float32)
