"""LoRA on every architecture: exactly the layers that were asked for, and only the heads that were."""

from typing import Any
from unittest.mock import Mock

import pytest
import torch
from small_decoders import FAMILIES, small_decoder

from haymaker.errors import ConfigError, ModelError
from haymaker.models.lora import add_lora, lora_parameters
from haymaker.models.lora_targets import Targets, head_masks, target_modules

IDS = torch.arange(3, 23)[None]


def adapted_modules(wrapped: Any) -> set[str]:
    return {name.partition(".lora_")[0].removeprefix("base_model.model.") for name in lora_parameters(wrapped)}


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_of_every_family_is_adapted_and_nothing_else(family: str) -> None:
    model = small_decoder(family)
    before = model(input_ids=IDS).logits
    wanted = set(target_modules(model, Targets()))
    wrapped = add_lora(model, rank=2, alpha=4.0, seed=0)
    assert adapted_modules(wrapped) == wanted
    assert len(wanted) in {2 * model.config.num_hidden_layers, 4 * model.config.num_hidden_layers}
    assert not any(part in name for name in wanted for part in ("mlp", "ffn", "fc1", "fc2"))
    assert torch.equal(wrapped(input_ids=IDS).logits, before)  # B is zero
    wrapped(input_ids=IDS).logits.sum().backward()
    assert all(weight.grad is not None for weight in lora_parameters(wrapped).values())


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "phi3", "gpt_neox"])
def test_mlps_layers_and_ranks_are_chosen_by_config(family: str) -> None:
    model = small_decoder(family)
    last = target_modules(model, Targets(layers=[1]))
    (name, *_) = (name.rpartition(".")[2] for name in last)
    targets = Targets(names=("attention", "mlp"), layers=[1], ranks={name: 3})
    modules = target_modules(model, targets)
    wrapped = add_lora(model, rank=2, alpha=4.0, seed=0, targets=targets)
    assert adapted_modules(wrapped) == set(modules)
    assert len(modules) > len(last)
    assert all(".1." in module for module in modules)
    ranks = {module: weight.shape[0] for module, weight in lora_parameters(wrapped).items() if ".lora_A." in module}
    assert {rank for module, rank in ranks.items() if f".{name}." in module} == {3}
    assert {rank for module, rank in ranks.items() if f".{name}." not in module} == {2}


def test_projections_can_be_named() -> None:
    modules = target_modules(small_decoder("llama"), Targets(names=("q_proj", "down_proj")))
    assert {name.rpartition(".")[2] for name in modules} == {"q_proj", "down_proj"}


@pytest.mark.parametrize(
    ("targets", "error", "said"),
    [
        (Targets(names=("query",)), ModelError, "LoRA on query: expected linear layers.*found down_proj, gate_proj"),
        (
            Targets(ranks={"attention": 2}),
            ConfigError,
            "ranks: no attention is adapted, .*adapted are k_p",
        ),
        (Targets(ranks={"up_proj": 2}), ConfigError, "ranks: no up_proj is adapted"),
        (
            Targets(ranks={"v_proj": 10**3}),
            ConfigError,
            r"rank: .* smaller side of .* of model\.layers\.0\.",
        ),
        (Targets(layers=[3]), ConfigError, "layers: expected 0 to 2, found 3"),
        (Targets(heads=["0-4"]), ConfigError, "heads: 0-4 is not among 3 layers of 4 heads"),
        (Targets(ranks={"wq": 4}), ModelError, "LoRA on wq"),
    ],
)
def test_what_there_is_not_is_named(targets: Targets, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        add_lora(small_decoder("llama"), 2, 4.0, 0, targets=targets)


def test_heads_of_a_fused_projection_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected attention projections apart.*c_attn"):
        add_lora(small_decoder("gpt2"), 2, 4.0, 0, targets=Targets(heads=["0-1"]))


def test_masks_leave_the_chosen_heads_alone_free() -> None:
    # 4 query heads over 2 KV heads of width 8: head 3 is rows 24 to 31 of q, columns of o, and KV head 1, rows 8 to 15
    model, targets = small_decoder("llama"), Targets(heads=["1-3"])
    masks = head_masks(model, targets, target_modules(model, targets))
    which, mask = masks["model.layers.1.self_attn.q_proj"]
    assert (which, mask[:, 0].nonzero().flatten().tolist()) == ("lora_B", list(range(24, 32)))
    which, mask = masks["model.layers.1.self_attn.k_proj"]
    assert (which, mask[:, 0].nonzero().flatten().tolist()) == ("lora_B", list(range(8, 16)))
    which, mask = masks["model.layers.1.self_attn.o_proj"]
    assert (which, mask[0].nonzero().flatten().tolist()) == ("lora_A", list(range(24, 32)))
    assert not masks["model.layers.0.self_attn.q_proj"][1].any()


def test_a_refusal_of_pefts_leaves_no_layer_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("haymaker.models.lora.check_trainable", Mock(side_effect=ModelError("others are trained")))
    model = small_decoder("llama")
    before = dict(model.named_modules())
    with pytest.raises(ModelError, match="others are trained"):
        add_lora(model, rank=2, alpha=4.0, seed=0)
    assert dict(model.named_modules()) == before
    assert not hasattr(model, "peft_config")
