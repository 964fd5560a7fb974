"""Adapters that other people made with PEFT alone: their own logits, or a sentence that says why not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, PeftType, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from haymaker.config import Extend
from haymaker.errors import ExtensionError, HaymakerError, ModelError
from haymaker.evaluation.predictions import Evaluation, evaluate
from haymaker.heads.detection import detect_heads
from haymaker.interventions.ablation import ablate
from haymaker.interventions.patching import patch
from haymaker.models.checkpoint import write_checkpoint
from haymaker.models.handshake import base_of, weights_digest
from haymaker.models.load import load_model
from haymaker.models.lora import quiet_peft
from haymaker.models.other_adapters import NEVER_MERGED, adapter_files
from haymaker.provenance import adapter_in_use
from haymaker.records import Example, Label, Message, Segment

IDS = torch.arange(10, 60)[None]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "rank 1, one projection": {"r": 1, "target_modules": ["v_proj"]},
    "all projections": {"r": 16, "lora_alpha": 32, "target_modules": ALL},
    "all-linear": {"r": 3, "target_modules": "all-linear"},
    "a pattern": {"r": 2, "target_modules": r".*layers\.[01]\.self_attn\.(q|o)_proj"},
    "ranks by pattern": {"r": 2, "rank_pattern": {"q_proj": 5}, "alpha_pattern": {"q_proj": 3}, "target_modules": ALL},
    "one layer": {"r": 2, "layers_to_transform": [2], "target_modules": ["q_proj"]},
    "rsLoRA": {"r": 8, "use_rslora": True, "target_modules": ["q_proj", "v_proj"]},
    "DoRA": {"r": 4, "use_dora": True, "target_modules": ["q_proj", "o_proj", "up_proj"]},
    "dropout": {"r": 2, "lora_dropout": 0.5, "target_modules": ["q_proj"]},
    "the head": {"r": 2, "target_modules": ["lm_head", "q_proj"]},
    "embeddings": {"r": 2, "target_modules": ["embed_tokens", "q_proj"]},
    "random starts": {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": "orthogonal"},
    "biases of its own": {"r": 2, "target_modules": ["q_proj"], "lora_bias": True},
    "parameters": {"r": 2, "target_modules": [], "target_parameters": ["q_proj.weight"]},
    "some tokens": {"r": 2, "target_modules": ["q_proj"], "trainable_token_indices": [3, 20]},
}
pytestmark = pytest.mark.filterwarnings("ignore:Adapter 'default'. 3 LoRA tensor")  # PEFT's, of biases that it saves
APART = {"DoRA": "use_dora", "parameters": "target_parameters"}  # what rows of one batch cannot have apart


@pytest.fixture
def made(new_model, tmp_path: Path) -> Callable[..., Path]:
    """Writes an adapter folder by PEFT alone, with random weights and a base's name."""

    def write(config: Any, base: str = "org/model", seed: int = 1, *, on: Any = None) -> Path:
        torch.manual_seed(seed)
        with quiet_peft():
            model = get_peft_model(on or new_model(), config)
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                torch.nn.init.normal_(weight, mean=float("magnitude" in name), std=0.3)
        model.peft_config["default"].base_model_name_or_path = base
        folder = tmp_path / f"adapter {seed}"
        # as PEFT does by itself where an adapter stands on them: the file then holds the base's own weights too
        ends = {"lm_head", "embed_tokens"} & set(getattr(config, "target_modules", None) or ())
        model.save_pretrained(folder, save_embedding_layers=bool(ends))
        return folder

    return write


def examples(count: int = 2) -> list[Example]:
    return [row(number) for number in range(1, count + 1)]


def row(number: int) -> Example:
    """One prompt whose gold answer stands in evidence."""
    gold = (
        Segment("Dito lives in ").within(Label("evidence", 2)),
        Segment("Tami").within(Label("evidence", 2), Label("answer")),
    )
    parts = (Segment("[1] " + "The river waited. " * number + "\n[2] "), *gold, Segment("\nQuestion: Where?\nAnswer:"))
    return Example(f"e{number}", "mdqa", (Message("user", parts),), "Where?", ("Tami",))


def texts(found: Evaluation) -> list[str]:
    return [prediction.text for prediction in found.predictions]


def lora(**options: Any) -> LoraConfig:
    return LoraConfig(task_type="CAUSAL_LM", **options)


def plain_logits(base: torch.nn.Module, folder: Path) -> torch.Tensor:
    with quiet_peft():
        return PeftModel.from_pretrained(base, folder).eval()(input_ids=IDS).logits


@pytest.mark.parametrize("kind", KINDS)
def test_its_logits_are_those_of_plain_peft(kind: str, made, model_folder: Path, new_model, capsys) -> None:
    folder = made(lora(**KINDS[kind]))
    lm = load_model(model_folder, adapter=folder)
    assert torch.equal(lm.model(input_ids=IDS).logits, plain_logits(new_model(), folder))
    assert not torch.allclose(lm.model(input_ids=IDS).logits, new_model()(input_ids=IDS).logits, atol=1e-3)
    said = " ".join(capsys.readouterr().err.split())
    assert "nothing says which weights, RoPE base and window" in said
    assert "unverified" in said
    assert "config names the base" not in said
    assert lm.unverified
    assert lm.adapter == folder
    assert not any(weight.requires_grad for weight in lm.model.parameters())
    assert weights_digest(lm.model) == weights_digest(new_model())


@pytest.mark.parametrize("kind", ["rsLoRA", "DoRA", "all projections"])
def test_it_is_evaluated_read_and_edited(kind: str, made, model_folder: Path) -> None:
    lm, rows = load_model(model_folder, adapter=made(lora(**KINDS[kind]))), examples()
    answers = evaluate(lm, rows, 4, metrics=["squad_f1"])
    assert texts(ablate(lm, rows, [], 4)) == texts(answers)
    scores = detect_heads(lm, rows, "copy")
    assert scores.provenance["adapter_base"] == "unverified"
    assert np.isfinite(scores.mean).all()
    assert "adapter_base" not in detect_heads(load_model(model_folder), rows, "copy").provenance


def test_the_digest_in_provenance_is_of_all_its_weights(made, model_folder: Path) -> None:
    folder = made(lora(**KINDS["DoRA"]))
    before = adapter_in_use(load_model(model_folder, adapter=folder).model)
    change(folder, "lora_magnitude_vector", lambda weight: weight * 2)
    assert adapter_in_use(load_model(model_folder, adapter=folder).model) != before


@pytest.mark.parametrize(
    "kind",
    ["rank 1, one projection", "all projections", "rsLoRA", "biases of its own", "DoRA", "parameters", "the head"],
)
def test_it_is_patched_as_a_model_and_from_its_folder(kind: str, made, model_folder: Path) -> None:
    folder, heads = made(lora(**KINDS[kind])), [(0, 1), (1, 2), (2, 3)]
    donor, recipient = load_model(model_folder, adapter=folder), load_model(model_folder)
    expected = patch(donor, recipient, examples(), heads, 4, mode="two models")
    if kind in APART:
        with pytest.raises(ModelError, match=rf"{APART[kind]}.*load both as models"):
            patch(folder, recipient, examples(), heads, 4)
        return
    found = patch(folder, recipient, examples(), heads, 4)
    assert found.mode == "one batch"
    assert texts(found) == texts(expected)
    assert torch.equal(recipient.model(input_ids=IDS).logits, load_model(model_folder).model(input_ids=IDS).logits)


def test_a_donor_of_more_modules_than_the_recipient_is_refused_and_leaves_nothing(made, model_folder: Path) -> None:
    narrow, wide = made(lora(**KINDS["rank 1, one projection"])), made(lora(**KINDS["all projections"]), seed=2)
    recipient = load_model(model_folder, adapter=narrow)
    names = [name for name, _ in recipient.model.named_parameters()]
    with pytest.raises(ModelError, match="adapts 18 modules that the recipient does not"):  # 3 layers of 7, less v
        patch(wide, recipient, examples(), [(0, 0)], 4)
    assert [name for name, _ in recipient.model.named_parameters()] == names


# ---- what is told, and what is refused


def test_a_base_of_another_name_is_told(made, model_folder: Path, capsys) -> None:
    load_model(model_folder, adapter=made(lora(**KINDS["rsLoRA"]), base="org/another"))
    assert "its config names the base 'another', and this is 'model'" in " ".join(capsys.readouterr().err.split())


def test_an_adapter_of_an_extended_base_needs_its_length(made, model_folder: Path) -> None:
    folder = made(lora(**KINDS["rsLoRA"]), base="model-extended-128")
    with pytest.raises(ExtensionError, match="trained at 128 tokens"):
        load_model(model_folder, adapter=folder)
    assert load_model(model_folder, adapter=folder, extend=Extend(length=128)).context == 128


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another type": ({"peft_type": "IA3"}, "expected a LoRA adapter, found PEFT's type IA3"),
    "before prompts": ({"peft_type": "PREFIX_TUNING"}, "type PREFIX_TUNING, which no checkpoint can take up"),
    "PiSSA": (
        {"init_lora_weights": "pissa_niter_4"},
        r"takes a part out of the base's weights.*\(init_lora_weights: pissa",
    ),
    "OLoRA": ({"init_lora_weights": "olora"}, "init_lora_weights: olora"),
    "KaSA": ({"kasa_config": {"beta": 0.1}}, r"\(kasa_config\)"),
    "another task": ({"task_type": "SEQ_CLS"}, "causal language model, found one for the task SEQ_CLS"),
    "biases": ({"bias": "all"}, "it trained biases"),
    "activated": ({"alora_invocation_tokens": [1, 2]}, "activated LoRA"),
    "repeated layers": ({"layer_replication": [[0, 2], [1, 3]]}, "repeats layers"),
    "another rank": ({"r": 5}, "cannot load its adapter.*size mismatch"),
    "fewer targets": ({"target_modules": ["q_proj"]}, "its file holds 6 weights that its config does not name"),
    "more targets": (
        {"target_modules": ["q_proj", "v_proj", "k_proj"]},
        "its config asks for 6 weights that its file lacks",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_taken_as_it_was_trained_is_one_sentence(case: str, made, model_folder: Path) -> None:
    changes, message = REFUSED[case]
    folder = made(lora(r=4, target_modules=["q_proj", "v_proj"]))
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=message) as caught:
        load_model(model_folder, adapter=folder)
    assert str(folder) in str(caught.value)


def test_an_adapter_that_peft_cannot_merge_is_one_sentence(made, model_folder: Path, tmp_path: Path) -> None:
    folder = made(lora(**KINDS["biases of its own"]))
    with pytest.raises(ModelError, match="adapter 1: PEFT cannot merge this adapter into its base .*no bias"):
        write_checkpoint(model_folder, tmp_path / "out", Extend(length=128), adapter=folder)


def test_a_real_adapter_of_another_type_is_refused(made, model_folder: Path) -> None:
    config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj"], feedforward_modules=[])
    with pytest.raises(ModelError, match="found PEFT's type IA3"):
        load_model(model_folder, adapter=made(config))


def test_what_this_peft_does_not_know_of_an_adapter_is_told(made, model_folder: Path, capsys) -> None:
    folder = made(lora(r=2, target_modules=["q_proj"]))
    path = folder / "adapter_config.json"
    before = json.loads(path.read_text())
    for written, told in (
        ({"peft_version": "9.0", "enable_lora": None, "merge_weights": False, "lora_dtype": ""}, False),  # PEFT 0.3
        ({"enable_lora": [True, False, True], "use_later": True}, True),
    ):
        path.write_text(json.dumps(before | written))
        lm = load_model(model_folder, adapter=folder)
        assert torch.equal(lm.model(input_ids=IDS).logits, plain_logits(load_model(model_folder).model, folder))
        said = "its config says enable_lora, use_later, which this PEFT does not know" in capsys.readouterr().err
        assert said is told


def test_names_of_another_tool_are_told_beside_those_wanted(made, model_folder: Path) -> None:
    folder = made(lora(r=2, target_modules=["q_proj"]))
    path = folder / "adapter_model.safetensors"
    named = {name.replace(".weight", ".default.weight"): weight for name, weight in load_file(path).items()}
    save_file(named, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"6 weights .*lora_A\.weight; it holds 6 others, .*\.default\."):
        load_model(model_folder, adapter=folder)


def test_modules_that_do_not_exist_are_named(made, model_folder: Path, new_model) -> None:
    folder = made(lora(r=2, target_modules=["q_proj"]))
    new_model(layers=2).save_pretrained(model_folder)
    with pytest.raises(
        ModelError, match=r"adapts 1 modules that model does not have, such as model.layers.2.self_attn"
    ):
        load_model(model_folder, adapter=folder)


def test_an_embedding_of_another_base_is_refused(made, model_folder: Path) -> None:
    folder = made(lora(**KINDS["embeddings"]))
    change(folder, "base_layer", lambda weight: weight + 1e-3)
    with pytest.raises(ModelError, match="that are not this base's, such as model.embed_tokens.weight"):
        load_model(model_folder, adapter=folder)


@pytest.mark.parametrize("end", ["lm_head", "embed_tokens"])
def test_a_head_that_is_the_embedding_is_written_apart_from_it(
    end: str, made, model_folder: Path, new_model, tmp_path: Path
) -> None:
    config = new_model().config
    config.tie_word_embeddings = True
    LlamaForCausalLM(config).save_pretrained(model_folder)
    folder = made(lora(r=2, target_modules=[end]), on=LlamaForCausalLM.from_pretrained(model_folder))
    write_checkpoint(model_folder, tmp_path / "out", Extend(length=128), adapter=folder)
    lm = load_model(model_folder, adapter=folder, extend=Extend(length=128))
    found = load_model(tmp_path / "out").model(input_ids=IDS).logits
    torch.testing.assert_close(found, lm.model(input_ids=IDS).logits, rtol=0, atol=1e-4)


def test_every_other_type_of_peft_is_named_with_what_to_do(made) -> None:
    folder = made(lora(r=2, target_modules=["q_proj"]))
    path = folder / "adapter_config.json"
    values = json.loads(path.read_text())
    for kind in PeftType:
        if kind == PeftType.LORA:
            continue
        path.write_text(json.dumps(values | {"peft_type": kind.value}))
        advice = "which no checkpoint can take up" if kind.value in NEVER_MERGED else "merge it into a checkpoint"
        with pytest.raises(ModelError, match=f"expected a LoRA adapter, found PEFT's type {kind.value}[,;] {advice}"):
            adapter_files(folder)
    assert {kind.value for kind in PeftType} >= set(NEVER_MERGED) - {"SHADOW", "LILY", "CARTRIDGE"}  # of newer PEFTs


def test_whole_weights_beside_lora_are_refused(made, model_folder: Path) -> None:
    folder = made(lora(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]))
    with pytest.raises(
        ModelError, match="holds whole weights beside LoRA that are not this base's, such as lm_head.weight"
    ):
        load_model(model_folder, adapter=folder)


def test_pickled_weights_are_refused(made, model_folder: Path) -> None:
    folder = made(lora(r=2, target_modules=["q_proj"]))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="as safetensors, found adapter_model.bin"):
        load_model(model_folder, adapter=folder)


def test_a_refused_adapter_leaves_the_recipient_as_it_was(made, model_folder: Path) -> None:
    folder, recipient = made(lora(r=4, target_modules=["q_proj"])), load_model(model_folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target_modules": ["q_proj", "k_proj"]}))
    with pytest.raises(ModelError, match="its file lacks"):
        patch(folder, recipient, examples(), [(0, 0)], 4)
    assert not recipient.unverified
    assert recipient.adapter is None
    assert torch.equal(base_of(recipient.model)(input_ids=IDS).logits,
                       load_model(model_folder).model(input_ids=IDS).logits)  # fmt: skip


@pytest.mark.parametrize(
    "config", ["", "{", "[]", "{}", '{"peft_type": "LORA", "": 1}', '{"peft_type": "LORA", "target_modules": true}']
)
@pytest.mark.parametrize("adapted", [False, True])
def test_a_donor_s_broken_config_is_one_sentence_and_leaves_the_recipient(
    config: str, adapted: bool, made, model_folder: Path
) -> None:
    own = made(lora(r=2, target_modules=["q_proj"]), seed=2) if adapted else None
    folder, recipient = made(lora(r=4, target_modules=["q_proj"])), load_model(model_folder, adapter=own)
    before = recipient.model(input_ids=IDS).logits
    (folder / "adapter_config.json").write_text(config)
    with pytest.raises(HaymakerError, match=str(folder)):
        patch(folder, recipient, examples(), [(0, 0)], 4)
    assert torch.equal(recipient.model(input_ids=IDS).logits, before)


def change(folder: Path, part: str, to: Callable[[torch.Tensor], torch.Tensor]) -> None:
    path = folder / "adapter_model.safetensors"
    weights = {name: to(weight) if part in name else weight for name, weight in load_file(path).items()}
    save_file(weights, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("config", "said"),
    [("[]", "expected a mapping"), ('{"peft_type": "LORA"}', "the adapter's weights as safetensors")],
)
def test_a_broken_one_is_told_before_the_model_is_read(
    config: str, said: str, model_folder: Path, tmp_path: Path
) -> None:
    (model_folder / "model.safetensors").write_bytes(b"no weights")
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(ModelError, match=said):
        load_model(model_folder, adapter=tmp_path)
