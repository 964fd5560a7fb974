"""Quantised bases: one sentence where a library is missing, and where nothing can be trained on them."""

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from quantised_bases import METHODS, quantise, say_quantised
from safetensors.torch import load_file, save_file
from tiny_rows import random_rows
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

from haymaker.config import Extend, TrainConfig
from haymaker.errors import ModelError, ProbeError
from haymaker.heads.detection import detect_heads
from haymaker.interventions.attribution import attribute
from haymaker.interventions.pairs import adapter_obstacle, same_weights
from haymaker.models.checkpoint import write_checkpoint
from haymaker.models.handshake import weights_digest
from haymaker.models.load import LanguageModel, load_model
from haymaker.models.lora import add_lora
from haymaker.models.quantised import NEVER_READ, OWN_ORDER, unpack
from haymaker.records import Example, Label, Message, Segment
from haymaker.training.checks import check_first_gradients
from haymaker.training.loop import train

KINDS: list[tuple[dict[str, Any], str]] = [
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
    ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, "torchao"),
    ({"quant_method": "gptq", "bits": 4}, "optimum"),
    ({"quant_method": "awq", "bits": 4}, "gptqmodel"),
]


@pytest.mark.parametrize(("about", "library"), KINDS, ids=[library for _, library in KINDS])
def test_a_missing_library_is_named_in_one_sentence(model_folder: Path, about: dict[str, Any], library: str) -> None:
    if find_spec(library) is not None:
        pytest.skip(f"{library} is installed")
    say_quantised(model_folder, about)
    with pytest.raises(ModelError, match=f"quantised by {about['quant_method']}, .*pip install .*{library}"):
        load_model(model_folder)


@pytest.mark.parametrize("method", NEVER_READ)
def test_no_library_is_asked_for_that_would_not_help(
    model_folder: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("haymaker.models.quantised.find_spec", lambda module: object())  # all is installed
    say_quantised(model_folder, {"quant_method": method})
    with pytest.raises(ModelError, match=f"quantised by {method}, of which transformers reads no checkpoint; take"):
        load_model(model_folder)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # what bitnet's kernels are compiled with
@pytest.mark.parametrize("method", sorted({name.partition("_4bit")[0] for name in AUTO_QUANTIZER_MAPPING}))
def test_a_checkpoint_of_any_method_loads_or_is_one_sentence(model_folder: Path, new_model, method: str) -> None:
    """The weights are plain in truth: where a method passes over that, as on a CPU fp8 does, they are what is read."""
    say_quantised(model_folder, {"quant_method": method, "bits": 4, "group_size": 32})
    try:
        lm = load_model(model_folder, dtype="float32")
    except ModelError as error:
        said = str(error)
        assert said.startswith(f"{model_folder}: ")
        assert "\n" not in said
        assert "above" not in said  # transformers' own report, which is not there
    else:
        ids = torch.arange(10, 40)[None]
        assert torch.equal(lm.model(ids).logits, new_model()(ids).logits)


@pytest.mark.parametrize("method", METHODS)
def test_a_quantised_base_is_what_its_codes_mean_and_trains(
    model_folder: Path, new_model, tmp_path: Path, method: str
) -> None:
    if method == "fp8" and torch.cuda.is_available():
        pytest.skip("on a GPU fp8 is computed by kernels of its own")
    for module in {"gptq": ("optimum", "gptqmodel"), "awq": ("gptqmodel",)}.get(method, ()):
        pytest.importorskip(module)
    if method == "compressed-tensors":
        pytest.importorskip("compressed_tensors")
    meant = new_model()
    meant.load_state_dict(quantise(model_folder, method))
    lm, ids = load_model(model_folder, dtype="float32"), torch.arange(10, 40)[None]
    found, expected = lm.model(ids).logits, meant(ids).logits.detach()
    assert float((found - expected).norm() / expected.norm()) < 5e-3  # GPTQ and AWQ multiply in 16 bits
    result = train(
        lm, random_rows(4), TrainConfig(steps=2, batch=2, rank=2), tmp_path / "out", on_progress=lambda n: None
    )
    assert len(result.metrics) == 2
    assert load_model(model_folder, adapter=tmp_path / "out", dtype="float32").adapter == tmp_path / "out"


def test_four_bits_stay_what_they_were_read_as(model_folder: Path, new_model, tmp_path: Path) -> None:
    """bitsandbytes would reorder them on some processors, and not find back: digests read the state dict."""
    functional = pytest.importorskip("bitsandbytes").functional
    about = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
    AutoModelForCausalLM.from_pretrained(model_folder, quantization_config=about).save_pretrained(model_folder)
    lm, meant, ids = load_model(model_folder, dtype="float32"), new_model(), torch.arange(10, 40)[None]
    for name, module in lm.model.named_modules():
        if state := getattr(getattr(module, "weight", None), "quant_state", None):
            weight = functional.dequantize_4bit(module.weight.data, state)
            meant.get_submodule(name).weight = nn.Parameter(weight.float())
    for _ in range(2):
        assert torch.allclose(lm.model(ids).logits, meant(ids).logits, atol=1e-4)
        assert weights_digest(lm.model) == weights_digest(lm.model)
    config = TrainConfig(steps=2, batch=2, rank=2)
    assert len(train(lm, random_rows(4), config, tmp_path / "out", on_progress=lambda n: None).metrics) == 2


def test_no_layer_may_reorder_its_weights(lm: LanguageModel) -> None:
    lm.model.hf_quantizer = SimpleNamespace()
    layers = [module for module in lm.model.modules() if isinstance(module, nn.Linear)]
    for layer in layers:
        setattr(layer, OWN_ORDER, True)
    unpack(lm.model)
    assert not any(getattr(layer, OWN_ORDER) for layer in layers)
    state: Any = layers[0].weight
    state.quant_state = SimpleNamespace(packing_format_for_cpu=True)  # another's model, after a forward pass
    with pytest.raises(ModelError, match="4-bit weights into the processor's order, .*load_model"):
        weights_digest(lm.model)


@pytest.mark.parametrize("quantised", [False, True])
def test_why_a_matrix_gets_no_gradient_is_said(lm: LanguageModel, quantised: bool) -> None:
    model = add_lora(lm.model, rank=2, alpha=4.0, seed=0)
    lm.model.hf_quantizer = SimpleNamespace() if quantised else None
    said = "quantised weights may have no gradient on this device" if quantised else "not on the way"
    with pytest.raises(ModelError, match=f"get no gradient at step 1, .*{said}"):
        check_first_gradients(model)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.int64], ids=str)
def test_codes_of_which_no_config_says_what_they_mean_are_refused(model_folder: Path, dtype: torch.dtype) -> None:
    path, name = model_folder / "model.safetensors", "model.layers.1.mlp.up_proj.weight"
    weights = load_file(path)
    codes = (weights[name] / weights[name].abs().amax() * 100).to(dtype)
    save_file(weights | {name: codes}, path, {"format": "pt"})
    with pytest.raises(ModelError, match=rf"{name} holds whole numbers \([IU]\d+\), and its config names no method"):
        load_model(model_folder)


SMALL = {torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"}


@pytest.mark.parametrize("dtype", SMALL, ids=str)
def test_floats_of_8_bits_are_numbers_only_where_the_config_says_so(model_folder: Path, dtype: torch.dtype) -> None:
    path, config = model_folder / "model.safetensors", model_folder / "config.json"
    name, told = "model.layers.1.mlp.up_proj.weight", json.loads(config.read_text())
    weights = load_file(path)
    small = weights[name].to(dtype)
    save_file(weights | {name: small}, path, {"format": "pt"})
    with pytest.raises(
        ModelError, match=rf"{name} holds floats of so few bits .*\({SMALL[dtype]}\), and its config nam"
    ):
        load_model(model_folder)
    config.write_text(json.dumps(told | {"dtype": str(dtype).removeprefix("torch.")}))
    found = load_model(model_folder, dtype="float32").base.get_parameter(name)
    assert torch.equal(found, small.float())


def test_codes_without_their_scales_are_refused_also_where_the_method_is_named(model_folder: Path) -> None:
    """transformers takes them for numbers then, and says nothing."""
    quantise(model_folder, "fp8")
    path = model_folder / "model.safetensors"
    weights = load_file(path)
    for lost in [name for name in weights if name.endswith("scale_inv")][::5]:
        save_file({name: weight for name, weight in weights.items() if name != lost}, path, {"format": "pt"})
        product = lost.removesuffix("_scale_inv")
        with pytest.raises(ModelError, match=rf"{product} holds floats .*\(F8_E4M3\), and no scale stands beside them"):
            load_model(model_folder, dtype="float32")


def test_a_linked_quantised_checkpoint_says_how_it_is_quantised(model_folder: Path, tmp_path: Path) -> None:
    """transformers unpacks fp8 on a CPU, and its config then says nothing of it; the linked weights are codes still."""
    if torch.cuda.is_available():
        pytest.skip("on a GPU fp8 is computed by kernels of its own")
    quantise(model_folder, "fp8")
    (tmp_path / "out").mkdir()
    write_checkpoint(model_folder, tmp_path / "out", Extend(length=256))
    lm, ids = load_model(model_folder, extend=Extend(length=256), dtype="float32"), torch.arange(10, 40)[None]
    assert torch.equal(load_model(tmp_path / "out", dtype="float32").model(ids).logits, lm.model(ids).logits)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]["quant_method"] == "fp8"


class Codes(nn.Module):
    """A layer as GPTQ's and AWQ's are: buffers alone."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("codes", layer.weight.detach().T.contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.get_buffer("codes")


def test_write_is_read_through_layers_without_parameters(lm: LanguageModel) -> None:
    plain = detect_heads(lm, [row()], "write").values
    for layer in lm.model.model.layers:
        layer.self_attn.o_proj = Codes(layer.self_attn.o_proj)
    np.testing.assert_allclose(detect_heads(lm, [row()], "write").values, plain, atol=1e-5)


def test_a_layer_without_a_gradient_is_one_sentence(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchao's 8 bits of weights and activations are."""
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: forward(self, x.detach()))
    with pytest.raises(ProbeError, match="tiny: no gradient comes back to the heads of layer 0: .* use causal_map"):
        attribute(lm, [row()])


def test_rows_of_layers_that_take_one_adapter_alone_are_not_mixed(lm: LanguageModel) -> None:
    model = add_lora(lm.model, rank=2, alpha=4.0, seed=0)
    assert adapter_obstacle(model) is None
    layer: Any = model.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
    layer.forward = lambda x: x
    assert adapter_obstacle(model) == (
        "has its adapter on quantised layers, whose rows cannot have adapters of their own (Linear)"
    )


def test_two_quantised_bases_of_other_codes_are_not_the_same(new_model) -> None:
    models = [new_model(), new_model()]
    for model in models:
        model.hf_quantizer = SimpleNamespace()
        model.model.layers[0].mlp.down_proj = Codes(model.model.layers[0].mlp.down_proj)
    assert same_weights(*models)
    models[1].model.layers[0].mlp.down_proj.codes += 1
    assert not same_weights(*models)


def row() -> Example:
    gold = Segment("Tami").within(Label("evidence", 1), Label("answer"))
    parts = (Segment("[1] Dito lives in "), gold, Segment(".\nQuestion: Where?\nAnswer:"))
    return Example("e", "mdqa", (Message("user", parts),), "Where?", ("Tami",))


def test_what_cannot_be_trained_on_is_refused_before_anything_is_written(lm: LanguageModel, tmp_path: Path) -> None:
    method = SimpleNamespace(quant_method=SimpleNamespace(value="awq"))
    lm.model.hf_quantizer = SimpleNamespace(is_trainable=False, quantization_config=method)
    with pytest.raises(ModelError, match=r"tiny is quantised \(awq\) in a way that nothing can be trained on"):
        train(lm, random_rows(2), TrainConfig(steps=1, batch=2), tmp_path / "out")
    assert not (tmp_path / "out").exists()
