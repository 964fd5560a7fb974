"""One wiring for a study's cells and the command line; keys that no path, host or order of a set changes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import passes

from haymaker.config import Extend, Recipe
from haymaker.config_files import load_config
from haymaker.data.dataset import Folder
from haymaker.errors import DataError
from haymaker.heads.scores import HeadScores
from haymaker.models.packaged import MINIATURES
from haymaker.study import Store, StudyConfig, plan_study, stages
from haymaker.study.stages import CompareParams, EvaluateParams, build_data, compare_heads, evaluate_model
from haymaker.study.store import plain
from haymaker.study.survey import Survey

ROOT = Path(__file__).parents[2]
PACKAGED = ROOT / "src" / "haymaker" / "studies" / "miniature.yaml"


def keys(model: str, store: Path, *overrides: str) -> dict[str, str | None]:
    config = load_config(PACKAGED, StudyConfig, [f"model={model}", *overrides])
    return {name: standing.key for name, standing in Survey(plan_study(config), Store(store)).all().items()}


def test_a_key_is_of_contents_not_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys("miniature-llama", tmp_path / "store")
    assert before["data/mdqa/real"] is not None
    shutil.copytree(MINIATURES / "llama", tmp_path / "copied")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert keys("./copied", tmp_path / "other") == before
    (tmp_path / "copied" / "tokenizer.json").write_text("{}")
    assert keys("./copied", tmp_path / "other")["data/mdqa/real"] != before["data/mdqa/real"]


def test_a_key_is_the_same_in_every_process(tmp_path: Path) -> None:
    script = (
        "import sys; from haymaker.cli import app\napp(['study', 'plan', 'miniature', '--json'], standalone_mode=False)"
    )
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "2"}  # this one's is drawn
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    found = {row["cell"]: row["key"] for row in json.loads(printed.stdout)["cells"]}
    assert found == keys("miniature-llama", tmp_path / "store")


def test_a_command_gives_what_the_stage_gives(tmp_path: Path) -> None:
    recipe = Recipe(task="mdqa", setting="low-low", length=96, rows=3)
    build_data(recipe, {"tokenizer": Path("miniature-llama")}, tmp_path / "rows")
    flags = ("--task", "mdqa", "--setting", "low-low", "--length", 96, "--rows", 3)
    passes("build", "--out", tmp_path / "built", *flags)
    shards = [sorted(folder.glob("*.parquet")) for folder in (tmp_path / "rows", tmp_path / "built")]
    assert [path.read_bytes() for path in shards[0]] == [path.read_bytes() for path in shards[1]]
    assert Folder(tmp_path / "rows").manifest["tokenizer_name"] == "miniature-llama"

    inputs = {"model": Path("miniature-llama"), "data": tmp_path / "rows"}
    params = EvaluateParams(extend=Extend(length=256), rows=2, new_tokens=4)
    (row,) = evaluate_model(params, inputs, tmp_path / "cell")["evaluation"]
    about = ("--extend", 256, "--rows", 2, "--new-tokens", 4, "--json")
    said = passes("eval", "--model", "miniature-llama", "--data", tmp_path / "built", "--out", tmp_path / "out", *about)
    assert json.loads(said) == {**plain(row), "out": str(tmp_path / "out")}
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["evaluation.json", "predictions.jsonl"]
    predictions = [folder / "predictions.jsonl" for folder in (tmp_path / "cell", tmp_path / "out")]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()


def test_comparing_gives_one_row_from_files_and_from_cells(tmp_path: Path) -> None:
    for name, top in (("own", 0.9), ("reference", 0.2)):
        values = np.array([[[top, 0.1], [0.0, 0.4]]])
        HeadScores(values, ("e",), "copy", {"model": "m"}).save(tmp_path / name / stages.SCORES_FILE)
    inputs = {"heads": tmp_path / "own", "reference": tmp_path / "reference"}
    (row,) = compare_heads(CompareParams(k=1, threshold=0.3), inputs, tmp_path)["similarity"]
    files = [path / stages.SCORES_FILE for path in inputs.values()]
    said = json.loads(passes("compare", *files, "--k", 1, "--threshold", 0.3, "--json"))
    assert {key: said[key] for key in row} == plain(row)
    assert (row["active"], row["active_reference"], row["overlap"]) == (2, 1, 0.0)


@pytest.mark.parametrize("run", [stages.ablate_heads, stages.patch_heads, stages.patch_parts], ids=lambda f: f.__name__)
def test_a_broken_file_of_heads_is_told_before_the_model_is_read(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {stages.ablate_heads: stages.AblateParams(), stages.patch_heads: stages.PatchParams()}
    monkeypatch.setattr(stages, "rows_of", lambda inputs, rows: [])
    HeadScores(np.zeros((1, 4, 8)), ("e",), "copy").save(tmp_path / "right.safetensors")
    (tmp_path / "broken.safetensors").write_text("once upon a time")
    files = {name: tmp_path / f"{kind}.safetensors" for name, kind in (("donor_heads", "right"), ("heads", "broken"))}
    with pytest.raises(DataError, match="broken.safetensors"):
        run(params.get(run, stages.PartsParams()), {**files, "model": tmp_path / "none"}, tmp_path)
