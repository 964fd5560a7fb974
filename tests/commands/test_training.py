"""`haymaker train CONFIG`: packaged configs are read whole, and say what they would take without a model's weights."""

import json
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
from command_line import run

from haymaker.commands.training import READY, chosen_job
from haymaker.config import Extend
from haymaker.errors import ConfigError, ModelError
from haymaker.models.names import find_model
from haymaker.models.packaged import packaged_folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "data"
    recipe = ("--task", "mdqa", "--setting", "low-low", "--length", "120", "--rows", "3")
    assert run("build", *recipe, "--out", folder).exit_code == 0
    return folder


def is_here(model: str) -> bool:
    try:
        return find_model(model) is not None
    except ModelError:
        return False


@pytest.mark.parametrize("name", READY)
def test_a_packaged_config_says_model_and_training_and_leaves_the_data_to_the_user(name: str) -> None:
    with pytest.raises(ConfigError, match="--data: required"):
        chosen_job(name, None, None)
    job = chosen_job(name, None, ["steps=3"], data="rows", model=None)
    assert (job.model is not None, job.data, job.train.steps) == (True, "rows", 3)


def test_the_8b_models_go_to_32k_and_mistrals_window_is_off() -> None:
    extensions = {name: chosen_job(name, None, None, data="rows").extend for name in READY}
    assert extensions["llama3-8b"] == Extend(length=32_768)
    assert extensions["mistral-7b"] == Extend(length=32_768, theta=1e6, keep_window=False)
    assert extensions["smollm2"] is None


@pytest.mark.parametrize("model", ["miniature-llama", "smollm2-135m"])
def test_a_dry_run_says_what_a_packaged_config_takes_on_a_device_that_is_not_here(data: Path, model: str) -> None:
    if not is_here(model):
        pytest.skip(f"{model} is not here: haymaker fetch {model}")
    words = ("train", "smollm2", "--model", model, "--data", data, "--dry-run", "--device", "h100", "--json")
    said = run(*words)
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert (found["model"], found["device"], found["steps"], found["rows"]) == (model, "h100", 100, 800)
    assert found["fits"]
    assert 0 < found["hours"] < 1


def test_what_a_model_would_take_is_said_before_its_weights_are_here(data: Path, tmp_path: Path) -> None:
    whole, described = packaged_folder("miniature-llama"), tmp_path / "miniature-llama"
    assert whole is not None
    copytree(whole, described, ignore=ignore_patterns("*.safetensors"))
    words = ("train", "--data", data, "--set", "steps=2", "--set", "batch=2")
    found = [run(*words, "--model", model, "--dry-run", "--device", "h100", "--json") for model in (whole, described)]
    said = [json.loads(each.stdout) | {"model": ""} for each in found]
    assert said[0] == said[1]
    assert said[0]["hours"] > 0
    refused = run(*words, "--model", described, "--out", tmp_path / "out")
    assert (refused.exit_code, "no weights" in refused.output) == (1, True)
    refused = run("study", "plan", "miniature", "--set", f"model={described}", "--set", "context=256")
    assert "context: the study says 256 tokens, the config of miniature-llama says 128" in refused.output


def test_a_name_that_is_no_config_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="nothing: no such config.*llama3-8b, mistral-7b, smollm2"):
        chosen_job("nothing", None, None)
