"""Loading, extension, LoRA and the adapter handshake. Laws: what loads is what was asked for, or an error says why."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from any_architecture import shrunk, tiny
from command_line import run
from peft import PeftModel
from rotary_bases import BASES
from run_documents import fenced
from safetensors.torch import load_file, save_file
from tiny_models import SHAPE
from tiny_rows import CONTEXT, random_rows
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    BertConfig,
    BertForMaskedLM,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from haymaker.config import Extend, TrainConfig
from haymaker.errors import ConfigError, ExtensionError, ModelError
from haymaker.models import handshake
from haymaker.models.extend import extend_context
from haymaker.models.handshake import TOLERANCE_FLOAT32, probe_logits
from haymaker.models.load import LanguageModel, load_model
from haymaker.models.lora import add_lora, lora_parameters, quiet_peft, remove_lora
from haymaker.models.lora_targets import Targets, target_modules
from haymaker.training.loop import train

# ---- loading


def test_a_folder_loads_frozen_in_float32_and_eval_mode(model_folder: Path, new_model) -> None:
    new_model().to(torch.bfloat16).save_pretrained(model_folder)
    lm = load_model(model_folder)
    assert {parameter.dtype for parameter in lm.model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    assert not lm.model.training
    assert (lm.context, lm.name, lm.extension, lm.adapter) == (CONTEXT, "model", None, None)


def test_an_explicit_dtype_wins(model_folder: Path) -> None:
    assert load_model(model_folder, dtype="bfloat16").model.dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="expected auto, float32"):
        load_model(model_folder, dtype="half")


def test_weights_that_come_in_another_precision_than_was_asked_for_are_told(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As bitsandbytes' do."""
    real = AutoModelForCausalLM.from_pretrained
    for asked in ("auto", "float32", "bfloat16"):
        load_model(model_folder, dtype=asked)
        assert "computes in" not in capsys.readouterr().err
    monkeypatch.setattr(
        AutoModelForCausalLM, "from_pretrained", lambda *a, **k: real(*a, **k | {"dtype": torch.float32})
    )
    for asked in ("auto", "float32", "bfloat16"):
        load_model(model_folder, dtype=asked)
        said = "model: computes in float32, as its quantised weights were saved, and not in bfloat16"
        assert (said in capsys.readouterr().err) == (asked == "bfloat16")


@pytest.mark.parametrize(
    ("remove", "message"),
    [("tokenizer*", "no tokenizer"), ("*.safetensors", "no weights"), ("config.json", "no config.json")],
)
def test_a_folder_that_lacks_a_part_is_refused(model_folder: Path, remove: str, message: str) -> None:
    for path in model_folder.glob(remove):
        path.unlink()
    with pytest.raises(ModelError, match=message) as caught:
        load_model(model_folder)
    assert str(model_folder) in str(caught.value)


def test_a_missing_folder_is_refused_without_asking_the_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder.*miniature-llama"):
        load_model(tmp_path / "nothing")


def test_what_is_no_decoder_is_refused(tmp_path: Path, tokenizer) -> None:
    config = BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="expected a decoder .*found BertForMaskedLM"):
        load_model(tmp_path)


BOTH_WAYS = {
    "bert": {"is_decoder": False},
    "gemma3_text": {"use_bidirectional_attention": True},
    "gemma4_text": {"use_bidirectional_attention": "all"},
    "llama": {"is_causal": False},
    "xlnet": {},
}


@pytest.mark.parametrize("kind", BOTH_WAYS)
def test_what_sees_later_tokens_is_refused(kind: str, tmp_path: Path, tokenizer) -> None:
    """Of a gold answer's tokens each would see itself: training, heads and causal maps measured nothing."""
    config = shrunk(CONFIG_MAPPING[kind], BOTH_WAYS[kind] | ({"d_head": 8} if kind == "xlnet" else {}))
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="in which no token sees later ones"):
        load_model(tmp_path)


def test_a_lost_tensor_is_refused_and_not_filled_in_at_random(model_folder: Path) -> None:
    path = model_folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing.*layers.1.mlp.up_proj"):
        load_model(model_folder)


FEWER = ("llama", "gpt2", "gpt_neox", "phi3", "opt")
BIASED = {
    "llama": "self_attn.q_proj",
    "gpt_neox": "attention.dense",
    "phi3": "mlp.down_proj",
    "qwen2": "self_attn.o_proj",
}


def saved(kind: str, folder: Path, tokenizer: Any) -> dict[str, torch.Tensor]:
    """A tiny model's folder; its weights, to be changed."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SHAPE))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("kind", FEWER)
def test_a_config_of_fewer_layers_than_the_file_is_refused(kind: str, tmp_path: Path, tokenizer: Any) -> None:
    saved(kind, tmp_path, tokenizer)
    config = AutoConfig.from_pretrained(tmp_path)
    config.num_hidden_layers -= 1
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"holds \d+ weights for which its config leaves no place, such as .*\.\d\."):
        load_model(tmp_path)


@pytest.mark.parametrize("kind", BIASED)
def test_a_bias_that_the_config_does_not_have_is_refused(kind: str, tmp_path: Path, tokenizer: Any) -> None:
    tensors = saved(kind, tmp_path, tokenizer)
    place = next(name for name in tensors if name.endswith(f"0.{BIASED[kind]}.weight"))
    bias = place.replace(".weight", ".bias")
    if bias in tensors:  # GPT-NeoX has it, unless the config says otherwise
        config = json.loads((tmp_path / "config.json").read_text()) | {"attention_bias": False}
        (tmp_path / "config.json").write_text(json.dumps(config))
    tensors[bias] = torch.ones(len(tensors[place]))
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"leaves no place, such as .*{BIASED[kind]}.bias"):
        load_model(tmp_path)


SWITCHES = {  # of parts of layers: what the config is said to have instead
    "persimmon": {"qk_layernorm": False},
    "stablelm": {"use_parallel_residual": True},
    "lfm2_moe": {"use_expert_bias": False},
    "deepseek_v3": {"num_hidden_layers": 3},  # whose config says that one layer predicts further tokens
}


@pytest.mark.parametrize("kind", SWITCHES)
def test_a_part_of_a_layer_that_the_config_does_not_have_is_refused(kind: str, tmp_path: Path, tokenizer: Any) -> None:
    tiny(kind).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_model(tmp_path).name
    whole = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(whole | SWITCHES[kind]))
    with pytest.raises(ModelError, match=r"for which its config leaves no place, such as .*\.layers\.\d\."):
        load_model(tmp_path)


FOREIGN = (
    "score.weight", "mtp.layers.0.mlp.up_proj.weight", "model.mtp_layers.0.input_proj.weight", "visual.blocks.7.bias",
    "model.vision_tower.encoder.layers.9.fc1.bias", "model.layers.0.self_attn.rotary_emb.inv_freq", "v_head.bias",
    "model.layers.0.self_attn.k_scale", "model.norm_vision.weight", "mtp_norm.weight", "cls.seq_relationship.weight",
)  # fmt: skip


BESIDE = (
    "model.embed_positions.weight", "model.embed_norm.weight", "model.norm.bias", "lm_head.bias", "project_in.weight",
    "model.layers.0.self_attn.q_norm.weight", "model.layers.0.mlp.up_proj.weight_scale_inv",
)  # fmt: skip


@pytest.mark.parametrize("key", BESIDE)
def test_a_part_of_the_decoder_that_the_config_does_not_have_is_refused(
    key: str, tmp_path: Path, tokenizer: Any
) -> None:
    tensors = saved("llama", tmp_path, tokenizer) | {key: torch.ones(2)}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=f"1 weights for which its config leaves no place, such as {key}"):
        load_model(tmp_path)


def test_weights_that_nothing_is_known_of_are_told_and_a_head_of_its_own_is_used(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = saved("llama", tmp_path, tokenizer)
    config = json.loads((tmp_path / "config.json").read_text()) | {"tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors |= {"model.layers.0.layer_scalar": torch.ones(1), "prompt": torch.ones(2)}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    base = load_model(tmp_path, dtype="float32").base
    said = capsys.readouterr().err
    assert "2 weights of its file are left out, such as model.layers.0.layer_scalar" in said
    assert "its file holds a head of its own" in said
    assert not base.config.tie_word_embeddings
    assert torch.equal(base.lm_head.weight, tensors["lm_head.weight"])
    assert torch.equal(base.model.embed_tokens.weight, tensors["model.embed_tokens.weight"])


def test_what_is_no_part_of_the_decoder_is_left_out(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = saved("llama", tmp_path, tokenizer)
    own = SHAPE["num_hidden_layers"]
    ahead = {name.replace(".0.", f".{own}."): weight.clone() for name, weight in tensors.items() if ".0." in name}
    ahead[f"model.layers.{own}.eh_proj.weight"] = torch.ones(2, 4)  # as DeepSeek's, GLM's
    tensors |= ahead | {name: torch.ones(2) for name in FOREIGN}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    assert load_model(tmp_path).context
    assert "left out" not in capsys.readouterr().err


def test_the_decoder_of_a_model_that_reads_images_too_is_loaded(tmp_path: Path, tokenizer: Any) -> None:
    torch.manual_seed(0)
    config = shrunk(CONFIG_MAPPING["qwen3_5"], {})
    config.vision_config.depth = 1
    model = AutoModelForImageTextToText.from_config(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.allclose(load_model(tmp_path).model(ids).logits, model(input_ids=ids).logits, atol=1e-5)


@pytest.mark.parametrize("kind", ["gemma3", "gemma4"])
def test_a_text_decoder_saved_as_the_page_says_is_the_same_function(
    kind: str, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny(kind).eval()
    model.save_pretrained("whole")
    tokenizer.save_pretrained("whole")
    with pytest.raises(ModelError, match="found Gemma.ForConditionalGeneration of type .* no text decoder"):
        load_model("whole")
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    (block,) = fenced(page, "py")
    exec(block.replace("google/gemma-3-4b-it", "whole"), {})
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.equal(load_model("gemma-3-4b-text").model(ids).logits, model(input_ids=ids).logits)


def test_what_earlier_versions_wrote_beside_the_layers_is_left_out(tmp_path: Path, tokenizer: Any) -> None:
    tensors = saved("gpt_neox", tmp_path, tokenizer)
    for place in ("gpt_neox.layers.0.attention", "gpt_neox.layers.1.attention"):
        tensors |= {f"{place}.bias": torch.ones(1, 1, 4, 4), f"{place}.masked_bias": torch.tensor(-1e9)}
        tensors[f"{place}.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    assert load_model(tmp_path).context


WRONG = {
    "num_attention_heads": (0, 7, "x"),
    "hidden_size": (-1, None),
    "max_position_embeddings": ("x",),
    "model_type": ("nonesuch", 7),
    "rope_parameters": ("x", 7),
    "vocab_size": (10, "x"),
    "architectures": (["Nonesuch"],),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_config_of_other_values_is_one_sentence(key: str, model_folder: Path) -> None:
    whole = json.loads((model_folder / "config.json").read_text())
    for value in WRONG[key]:
        (model_folder / "config.json").write_text(json.dumps(whole | {key: value}))
        with pytest.raises(ModelError, match=f"{model_folder}: (cannot load its|expected a decoder)"):
            load_model(model_folder)


def test_broken_weights_are_one_sentence(model_folder: Path) -> None:
    (model_folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match="cannot load its weights"):
        load_model(model_folder)


# ---- LoRA


@pytest.mark.parametrize(("kind", "size"), [("llama", 2 * 4 * (64 + 48 + 48 + 64)), ("phi3", 2 * 4 * (96 + 64))])
def test_lora_is_on_attention_alone_and_counted(kind: str, size: int) -> None:
    # rank 4, 2 layers; llama: q 32+32, k and v 32+16, o 32+32; phi3: qkv 32+64, o 32+32
    model = BASES[kind]()
    targets = target_modules(model, Targets())
    wrapped = add_lora(model, rank=4, alpha=8.0, seed=0)
    weights = lora_parameters(wrapped)
    assert sum(weight.numel() for weight in weights.values()) == size
    assert len(weights) == 2 * len(targets)
    assert {name for name, weight in wrapped.named_parameters() if weight.requires_grad} == set(weights)
    assert not any("mlp" in name or "embed" in name for name in weights)


def test_a_new_adapter_changes_nothing_and_comes_off(new_model) -> None:
    model, ids = new_model(), torch.arange(10, 40)[None]
    before, names = model(input_ids=ids).logits, [name for name, _ in model.named_parameters()]
    wrapped = add_lora(model, rank=4, alpha=8.0, seed=0)
    assert torch.equal(before, wrapped(input_ids=ids).logits)
    assert [name for name, _ in remove_lora(wrapped).named_parameters()] == names


def test_initial_weights_depend_on_seed_and_name_alone(new_model) -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.rand(seed + 1)  # the global generator must not matter
        return torch.cat([w.flatten() for w in lora_parameters(add_lora(new_model(), 4, 8.0, seed)).values()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


# ---- adapters


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory, new_model, tokenizer) -> tuple[LanguageModel, Path]:
    folder = tmp_path_factory.mktemp("trained")
    new_model().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    lm = load_model(folder / "model", extend=Extend(length=128))
    config = TrainConfig(steps=2, batch=2, rank=2, rate=0.05)
    train(lm, random_rows(4), config, folder / "adapter", on_progress=lambda steps: None)
    return lm, folder / "adapter"


@pytest.fixture
def trained(trained_once: tuple[LanguageModel, Path], tmp_path: Path) -> tuple[LanguageModel, Path]:
    """A trained model, and a copy of its adapter folder to spoil."""
    lm, folder = trained_once
    shutil.copytree(folder, tmp_path / "adapter")
    return lm, tmp_path / "adapter"


IDS = torch.arange(10, 110)[None]


def test_an_adapter_brings_its_extension_and_the_same_logits(trained, model_folder: Path) -> None:
    lm, folder = trained
    again = load_model(model_folder, adapter=folder)
    assert again.context == 128
    assert again.extension == lm.extension
    assert torch.equal(lm.model(input_ids=IDS).logits, again.model(input_ids=IDS).logits)
    assert not any(parameter.requires_grad for parameter in again.model.parameters())
    assert load_model(model_folder, adapter=folder, extend=Extend(length=128)).context == 128


def test_the_card_says_how_others_load_it_right(
    trained: tuple[LanguageModel, Path], model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, folder = trained
    card = (folder / "README.md").read_text()
    assert "length 128 tokens, theta " in card
    line = next(line for line in card.splitlines() if line.startswith("haymaker extend model "))
    monkeypatch.chdir(model_folder.parent)
    assert run(*line.split()[1:]).exit_code == 0
    base = AutoModelForCausalLM.from_pretrained(model_folder.parent / "model-extended-128", dtype=torch.float32)
    with quiet_peft():
        others = PeftModel.from_pretrained(base, folder).eval()
    torch.testing.assert_close(others(input_ids=IDS).logits, lm.model(input_ids=IDS).logits, rtol=0, atol=1e-5)


def test_an_adapter_folder_names_no_local_path(trained, model_folder: Path) -> None:
    _, folder = trained
    for path in (*folder.glob("*.json"), folder / "README.md"):
        assert str(model_folder.parent) not in path.read_text()
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "model-extended-128"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "base.json", "metrics.jsonl", "training.json",
    ]  # fmt: skip


@pytest.mark.parametrize("extend", [Extend(length=256), Extend(length=128, theta=5e5)])
def test_another_extension_than_the_adapters_is_refused(trained, model_folder: Path, extend: Extend) -> None:
    with pytest.raises(ExtensionError, match="was trained at length 128 tokens"):
        load_model(model_folder, adapter=trained[1], extend=extend)


def test_another_base_is_refused(trained, model_folder: Path, new_model) -> None:
    new_model(seed=1).save_pretrained(model_folder)
    with pytest.raises(ModelError, match="trained on other weights"):
        load_model(model_folder, adapter=trained[1])


def test_another_tokenizer_is_refused(trained, model_folder: Path) -> None:
    path = model_folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"] = content["model"]["merges"][:-1]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="another tokenizer"):
        load_model(model_folder, adapter=trained[1])


def test_changed_adapter_weights_are_refused(trained, model_folder: Path) -> None:
    path = trained[1] / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({name: torch.zeros_like(value) for name, value in tensors.items()}, path, {"format": "pt"})
    with pytest.raises(ModelError, match="not the weights that training wrote"):
        load_model(model_folder, adapter=trained[1])


@pytest.mark.parametrize("key", ["return_dict", "output_attentions", "output_hidden_states"])
def test_what_a_forward_gives_is_not_the_configs_to_say(key: str, model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: key != "return_dict"}))
    ids = torch.tensor([[1, 2, 3]])
    found, plain = (load_model(place, dtype="float32").model(ids) for place in (folder, model_folder))
    assert set(found) == set(plain)
    assert torch.equal(found.logits, plain.logits)


def raise_alpha(folder: Path) -> None:
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"lora_alpha": 100 * config["lora_alpha"]}))


def test_another_function_of_the_same_weights_fails_the_probe(trained, model_folder: Path) -> None:
    raise_alpha(trained[1])
    with pytest.raises(ModelError, match="logits on the probe prompt differ.* was changed$"):
        load_model(model_folder, adapter=trained[1])


def test_in_a_lower_precision_the_probe_may_differ_by_what_rounding_does(
    trained, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "TOLERANCE_ROUNDED", 0.0)  # so that nothing else lets it through
    assert load_model(model_folder, adapter=trained[1], dtype="bfloat16").adapter == trained[1]
    raise_alpha(trained[1])
    with pytest.raises(ModelError, match="bfloat16 rounds what was trained in float32 by more: .*dtype='float32'$"):
        load_model(model_folder, adapter=trained[1], dtype="bfloat16")


@pytest.mark.parametrize(("ours", "theirs"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_weights_are_the_same_in_another_precision_and_others_are_not(
    ours: str, theirs: str, model_folder: Path, new_model
) -> None:
    lm = load_model(model_folder, dtype=ours)
    record = handshake.describe_base(lm, handshake.weights_digest(lm.model))
    assert handshake.same_weights(record, load_model(model_folder, dtype=theirs))
    new_model(seed=1).save_pretrained(model_folder)
    assert not handshake.same_weights(record, load_model(model_folder, dtype=theirs))


def test_the_probe_sees_theta_and_not_only_weights(new_model) -> None:
    one, other = new_model(), new_model()
    extend_context(one, Extend(length=128))
    extend_context(other, Extend(length=128, theta=20_000.0))
    expected = probe_logits(one, 128)
    assert float((probe_logits(other, 128) - expected).norm() / expected.norm()) > 10 * TOLERANCE_FLOAT32


def test_an_adapter_without_a_record_of_its_base_is_refused(trained, model_folder: Path) -> None:
    (trained[1] / "base.json").unlink()
    with pytest.raises(ExtensionError, match="nothing says which RoPE base"):
        load_model(model_folder, adapter=trained[1])


@pytest.mark.parametrize("lost", ["adapter_model.safetensors", "adapter_config.json"])
def test_an_adapter_that_lacks_a_file_is_told(trained, model_folder: Path, lost: str) -> None:
    (trained[1] / lost).unlink()
    with pytest.raises(ModelError, match="expected (an adapter folder|the adapter's weights)"):
        load_model(model_folder, adapter=trained[1])


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path, model_folder: Path) -> None:
    with pytest.raises(ModelError, match="expected an adapter folder"):
        load_model(model_folder, adapter=tmp_path)


def test_an_adapter_given_as_the_model_is_explained(trained) -> None:
    with pytest.raises(ModelError, match="this is an adapter; give its base model"):
        load_model(trained[1])


def test_a_copied_adapter_loads(trained, model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(trained[1], tmp_path / "elsewhere")
    assert load_model(model_folder, adapter=tmp_path / "elsewhere").context == 128


def test_an_unknown_token_that_is_unknown_itself_is_told(model_folder: Path) -> None:
    path = model_folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unk_token": ""}))
    with pytest.raises(ModelError, match="tokenizer: its unk_token '' is not in its vocabulary"):
        load_model(model_folder)
