"""`haymaker extend`. Laws: others read the same function; a changed file is noticed; a mistake leaves nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import fails, passes, run
from safetensors.torch import load_file, save_file
from tiny_rows import CONTEXT, random_rows
from transformers import AutoModelForCausalLM, AutoTokenizer

from haymaker.config import Extend, TrainConfig
from haymaker.errors import ModelError
from haymaker.models.handshake import probe_logits
from haymaker.models.load import load_model
from haymaker.training.loop import train

LONG = 4 * CONTEXT


def read_plainly(folder: Path) -> Any:
    """What somebody reads who knows nothing of Haymaker."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def probed(folder: Path) -> torch.Tensor:
    """The travelling probe, repeated by its file alone."""
    probe, model = json.loads((folder / "probe.json").read_text())["probe"], read_plainly(folder)
    ids, positions = (torch.tensor([probe[name]]) for name in ("input_ids", "position_ids"))
    with torch.no_grad():
        logits = model(input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids)).logits
    found = logits[0, -1, probe["entries"]]
    torch.testing.assert_close(found, torch.tensor(probe["logits"]), rtol=1e-4, atol=1e-4)
    return found


@pytest.fixture(params=["llama", "mistral"])
def base(request: pytest.FixtureRequest, tmp_path: Path, new_model, tokenizer) -> Path:
    folder = tmp_path / request.param
    new_model(request.param).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", [("--theta", 70_000), (), ("--method", "linear"), ("--method", "yarn")])
def test_transformers_reads_the_same_function(base: Path, tmp_path: Path, method: tuple[Any, ...]) -> None:
    shown = json.loads(passes("extend", base, "--length", LONG, *method, "--out", tmp_path / "out", "--json"))
    assert shown["context"] == LONG
    values = dict(zip([name.removeprefix("--") for name in method[::2]], method[1::2], strict=True))
    lm = load_model(base, extend=Extend(length=LONG, **values))
    ids = torch.arange(3, 60)[None]
    with torch.no_grad():
        torch.testing.assert_close(read_plainly(tmp_path / "out")(ids).logits, lm.model(ids).logits)
    torch.testing.assert_close(probed(tmp_path / "out"), probe_logits(lm.model, LONG))


def test_weights_are_linked_and_names_old_and_new_stand_in_the_config(base: Path, tmp_path: Path) -> None:
    passes("extend", base, "--length", LONG, "--method", "yarn", "--out", tmp_path / "out")
    assert os.path.samefile(base / "model.safetensors", tmp_path / "out" / "model.safetensors")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["rope_parameters"]["rope_type"] == config["rope_scaling"]["type"] == "yarn"
    assert (config["rope_theta"], config["rope_scaling"]["factor"]) == (10_000.0, 4.0)
    assert (config["max_position_embeddings"], config["sliding_window"] if "mistral" in base.name else None) == (
        LONG,
        None,
    )
    assert AutoTokenizer.from_pretrained(tmp_path / "out").is_fast
    assert str(tmp_path) not in (tmp_path / "out" / "config.json").read_text()


def test_an_adapter_is_merged_with_the_extension_that_it_brings(base: Path, tmp_path: Path) -> None:
    lm = load_model(base, extend=Extend(length=LONG))
    train(lm, random_rows(4), TrainConfig(steps=3, batch=2, rate=0.1), tmp_path / "adapter")
    ended = run("-q", "extend", base, "--adapter", tmp_path / "adapter", "--out", tmp_path / "out")
    assert (ended.exit_code, ended.stderr) == (0, "")
    record = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert (record["adapter"]["name"], record["context"], record["extend"]["length"]) == ("adapter", LONG, LONG)
    torch.testing.assert_close(probed(tmp_path / "out"), probe_logits(lm.model, LONG), rtol=1e-4, atol=1e-4)
    assert not os.path.samefile(base / "model.safetensors", tmp_path / "out" / "model.safetensors")


RULES = {
    "default": {},
    "llama3": {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 16},
    "linear": {"factor": 2.0},
}


@pytest.mark.parametrize("rule", RULES)
def test_an_adapter_of_the_extended_base_stands_on_the_written_folder_too(
    rule: str, tmp_path: Path, new_model, tokenizer
) -> None:
    """On disk a rule has its old name beside the new one, which is no other position."""
    model = new_model()
    model.config.rope_parameters = {"rope_type": rule, "rope_theta": 10_000.0, **RULES[rule]}
    type(model)(model.config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    lm = load_model(tmp_path / "base", extend=Extend(length=LONG))
    train(lm, random_rows(4), TrainConfig(steps=2, batch=2), tmp_path / "adapter", on_progress=lambda steps: None)
    passes("extend", tmp_path / "base", "--length", LONG, "--out", tmp_path / "out")
    read, ids = load_model(tmp_path / "out", adapter=tmp_path / "adapter"), torch.arange(3, 60)[None]
    torch.testing.assert_close(read.model(ids).logits, lm.model(ids).logits, rtol=0, atol=0)


def test_a_changed_file_is_noticed_on_loading(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    passes("extend", base, "--length", LONG, "--out", folder)
    assert load_model(folder).context == LONG
    assert load_model(folder, extend=Extend(length=2 * LONG)).context == 2 * LONG  # checked before it is extended
    config = json.loads((folder / "config.json").read_text())
    original = config["rope_parameters"] | {"rope_theta": 10_000.0}
    (folder / "config.json").write_text(json.dumps(config | {"rope_parameters": original, "rope_theta": 10_000.0}))
    with pytest.raises(ModelError, match="logits on the probe prompt differ from those in probe.json"):
        load_model(folder)
    for wrong in ([], ["a"], [None], [[1.0]], [10**400]):
        (folder / "probe.json").write_text(json.dumps({"probe": {"logits": wrong}}))
        with pytest.raises(ModelError, match="probe.json: expected .* logits of the probe prompt"):
            load_model(folder)
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [{"a": 1}]}))
    with pytest.raises(ModelError, match="cannot load its config"):
        load_model(folder)


def test_weights_of_another_model_are_noticed(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    passes("extend", base, "--length", LONG, "--out", folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()  # it is a link to the base's
    save_file(tensors | {"model.norm.weight": tensors["model.norm.weight"] * -1}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="a file of the checkpoint was changed"):
        load_model(folder)


def test_a_mistake_is_one_sentence_and_leaves_nothing(base: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    fails(2, "--length: give the tokens that the model shall read, or an --adapter", "extend", base, *out)
    fails(1, "the model already reads", "extend", base, "--length", CONTEXT // 2, *out)
    fails(2, "theta", "extend", base, "--length", LONG, "--method", "theta", *out)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    fails(2, "exists; give another --out", "extend", base, "--length", LONG, *out)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
