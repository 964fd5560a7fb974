"""The command line: exit codes, one sentence for a user's mistake, and no torch where none is needed."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_line import run

from haymaker.commands import study_opened
from haymaker.commands.output import fresh_file, fresh_folder
from haymaker.config import Frozen
from haymaker.config_files import load_config
from haymaker.errors import ConfigError, DataError, OutputError
from haymaker.heads.scores import HeadScores
from haymaker.study import Plan, StudyConfig, plan_study
from haymaker.study.cell import Cell, Stage, Tables

ROOT = Path(__file__).parents[2]
PACKAGED = ROOT / "src" / "haymaker" / "studies" / "miniature.yaml"
STUDIES = sorted([*(ROOT / "studies").glob("*.yaml"), *PACKAGED.parent.glob("*.yaml")])


def fails(code: int, message: str, *arguments: str | Path) -> None:
    """The command exits with `code` and one sentence on stderr; nothing on stdout, no traceback."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


# ---- no torch


ASKING = """
import sys
from haymaker.cli import app

for command in ("--help", "study plan miniature", "study status miniature", "study why miniature train/mdqa/real"):
    app(command.split(), standalone_mode=False)
    heavy = {"torch", "transformers", "peft", "scipy", "altair"} & set(sys.modules)
    assert not heavy, f"{command} imports {heavy}"
"""


def test_asking_imports_no_torch_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    command, env = [sys.executable, "-c", ASKING], os.environ | {"PYTHONPATH": path}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert result.returncode == 0, result.stderr
    assert " cells: " in result.stdout
    assert not list(tmp_path.iterdir())


# ---- study files


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_loads_and_plans(path: Path) -> None:
    config = load_config(path, StudyConfig)
    plan = plan_study(config)
    stages = {cell.stage.name for cell in plan.cells.values()}
    parts = {"ablate": config.ablation, "patch": config.patching, "parts": config.parts}
    assert stages == {"data", "train", "evaluate", "heads", "compare"} | {name for name, part in parts.items() if part}
    assert path.stem.startswith("open-question") or config.ablation and config.patching
    assert config.name == path.stem
    trained = sum(len(config.trained(task)) * len(config.seeds) for task in config.tasks)
    assert sum(cell.stage.name == "train" for cell in plan.cells.values()) == trained


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("study", ["miniature", "smollm2"])
def test_the_study_that_a_gpu_is_measured_by_plans(study: str, tiny: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    small = importlib.import_module("gpu_study")
    changed = small.SMALL + small.TINY if tiny else small.SMALL
    plan = plan_study(load_config(PACKAGED.with_stem(study), StudyConfig, list(changed)))
    assert {"train", "evaluate", "heads", "patch"} <= {cell.stage.name for cell in plan.cells.values()}


def test_the_miniature_has_the_cells_of_the_paper() -> None:
    plan = plan_study(load_config(PACKAGED, StudyConfig))
    assert plan.cells["patch/mdqa/symbolic"].inputs == {
        "data": "data/mdqa/test/512",
        "heads": "heads/mdqa/symbolic",
        "donor_heads": "heads/mdqa/real",
        "recipient": "train/mdqa/symbolic",
        "donor": "train/mdqa/real",
    }
    assert plan.cells["evaluate/mdqa/base/64"].inputs == {"data": "data/mdqa/test/64"}
    assert plan.cells["evaluate/mdqa/extended"].params.model_dump()["extend"]["length"] == 512
    assert plan.cells["evaluate/mdqa/real"].inputs["adapter"] == "train/mdqa/real"
    assert "patch/mdqa/real" in plan.cells, "the identity check"
    assert "patch/mdqa/extended" not in plan.cells
    order = list(plan.cells)
    assert order.index("heads/mdqa/real") < order.index("compare/mdqa/high-high")


def test_seeds_train_more_models_and_keep_the_keys_of_the_first() -> None:
    one = load_config(PACKAGED, StudyConfig)
    two = plan_study(load_config(PACKAGED, StudyConfig, ["seeds=[0, 1]"]))
    assert two.cells["train/mdqa/real@0"].params == plan_study(one).cells["train/mdqa/real"].params
    assert two.cells["train/mdqa/real@1"].params.model_dump()["train"]["seed"] == 1
    assert two.cells["patch/mdqa/low-low@1"].inputs["donor"] == "train/mdqa/real@1"
    assert "evaluate/mdqa/base" in two.cells


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=4", "unknown key train.stepz"),
        ("tasks.mdqa.train.rowz=4", "tasks.mdqa.train: Recipe: unknown key rowz"),
        ("tasks.mdqa.train.length=4", "tasks.mdqa.train.length: the study fills this in"),
        ("lengthh=4", "unknown key lengthh"),
        ("length=128", "length: expected more than the context of 128 tokens, found 128"),
        ("train.seed=3", "train.seed: seeds of a study stand in `seeds`"),
        ("settings=[base, low-low]", "similarity.reference: 'real' is not among the settings of mdqa: base, low-low"),
        ("settings=[real, real]", "settings: real stands more than once"),
        ("heads=null", "similarity: needs head scores"),
        ("settings=[riil]", "settings.0: no setting 'riil'; there are real, "),
        ("heads.metric=cpoy", "heads.metric: no detector 'cpoy'; there are copy, "),
        ("tasks={mdqaa: {train: {}, test: {}}}", "tasks.mdqaa: no task 'mdqaa'; there are mdqa, "),
        ("similarity.reference=base", "similarity.reference: no setting 'base'; there are real, "),
        ("ablation.settings=[base]", "ablation.settings: base cannot read rows of 512 tokens"),
    ],
)
def test_a_mistake_in_a_study_file_is_one_sentence_with_file_and_key(override: str, message: str) -> None:
    fails(2, message, "study", "plan", "miniature", "--set", override)
    fails(2, "miniature.yaml: ", "study", "plan", "miniature", "--set", override)


def test_an_unknown_study_or_cell_is_named_with_those_there_are() -> None:
    fails(
        2,
        "nosuch: no such study file; give the path of a YAML file, or a packaged study: miniature",
        "study",
        "run",
        "nosuch",
    )
    fails(2, "close names are train/mdqa/real", "study", "why", "miniature", "train/mdqa/reel")
    assert run("study", "frobnicate").exit_code == 2


# ---- running a study, with toy stages in place of the real ones


class Toy(Frozen):
    f1: float = 0.0


def evaluate_toy(params: Toy, inputs: Mapping[str, Path], output: Path) -> Tables:
    if params.f1 < 0:
        raise DataError("row 3 of rows.jsonl is broken")
    row = {
        "n": 4,
        "metric": "squad_f1",
        "score": params.f1,
        "score_low": 0.0,
        "score_high": 1.0,
        "cut_off": 0,
    }
    return {"evaluation": [row]}


def compare_toy(params: Toy, inputs: Mapping[str, Path], output: Path) -> Tables:
    similar = {"cosine": params.f1**2, "recall": float("nan"), "subset": 1.0, "overlap": 1 - params.f1}
    return {"similarity": [{**similar, "k": 1, "active": 1, "active_reference": 1}]}


def toy_plan(config: StudyConfig, broken: str = "") -> Plan:
    cells = []
    for i, setting in enumerate(config.settings):
        about = {"model": config.model, "task": "mdqa", "setting": setting, "seed": 0}
        params = Toy(f1=-1.0 if broken in (setting, "all") else i / 10)
        columns = {**about, "split": "test", "length": config.length}
        cells.append(Cell(f"evaluate/{setting}", Stage("evaluate", Toy, evaluate_toy), params, columns=columns))
        if setting not in ("base", "extended"):
            inputs, beside = {"of": f"evaluate/{setting}"}, {**about, "reference": "real"}
            cells.append(Cell(f"compare/{setting}", Stage("compare", Toy, compare_toy), params, inputs, columns=beside))
    return Plan.of(config.name, cells)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(study_opened, "plan_study", toy_plan)
    return tmp_path / "out"


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_run_writes_results_and_says_where_they_are(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "haymaker.report", None)  # a machine that computes needs no charts
    result = run("study", "run", "miniature", "--out", toy, "--no-report")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(toy / "results.json")]
    tables = results_of(toy)["tables"]
    assert [row["setting"] for row in tables["evaluation"]][:3] == ["base", "extended", "real"]
    assert {"model", "task", "setting", "split", "length", "metric", "score", "seconds"} <= set(tables["evaluation"][0])
    # Settings after the reference: F1 rises with cosine and falls with overlap; subset is constant, recall unknown.
    found = {row["measure"]: (row["spearman"] and round(row["spearman"], 9), row["n"]) for row in tables["correlation"]}
    assert found == {"cosine": (1.0, 5), "recall": (None, 0), "subset": (None, 5), "overlap": (-1.0, 5)}
    assert [row["score"] for row in tables["similarity"]] == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert len(tables["timings"]) == 14


def test_the_report_is_drawn_from_what_a_study_writes(toy: Path) -> None:
    result = run("study", "run", "miniature", "--out", toy)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(toy / "results.json"), str(toy / "report.html")]
    assert "Miniature study" in (toy / "report.html").read_text()
    (toy / "report.html").unlink()
    assert run("report", toy).exit_code == 0
    assert (toy / "report.html").exists()


@pytest.mark.parametrize("place", ["haymaker.report.write_report", "haymaker.study.tables.write_table_files"])
def test_results_of_which_a_part_cannot_be_written_are_no_success(
    place: str, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(place, full)
        for _ in range(2):
            fails(1, "no room", "-q", "study", "run", "miniature", "--out", toy)
    assert run("study", "run", "miniature", "--out", toy).exit_code == 0
    assert (toy / "report.html").is_file()
    assert (toy / "tables" / "evaluation.csv").is_file()
    with monkeypatch.context() as patched:
        patched.setattr(place, full)  # a finished study on a disk that takes nothing more
        assert run("study", "run", "miniature", "--out", toy).exit_code == 0


def test_a_second_run_makes_nothing_and_gives_the_same_numbers(toy: Path) -> None:
    first = run("study", "run", "miniature", "--out", toy, "--no-report", "--json")
    before = results_of(toy)
    second = run("study", "run", "miniature", "--out", toy, "--no-report", "--json")
    assert len(json.loads(first.stdout)["ran"]) == 14
    assert (json.loads(second.stdout)["ran"], len(json.loads(second.stdout)["kept"])) == ({}, 14)
    after = results_of(toy)
    assert all(row["cached"] for row in after["tables"].pop("timings"))
    before["tables"].pop("timings")
    assert after == before
    again = run("study", "run", "miniature", "--out", toy, "--no-report", "--json", "--overwrite")
    assert len(json.loads(again.stdout)["ran"]) == 14


def test_a_failed_cell_is_told_and_the_rest_is_kept(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_opened, "plan_study", lambda config: toy_plan(config, broken="low-low"))
    result = run("study", "run", "miniature", "--out", toy, "--no-report")
    assert result.exit_code == 3
    assert "failed evaluate/low-low: row 3 of rows.jsonl is broken (traceback: " in result.stderr
    assert "blocked compare/low-low: needs evaluate/low-low" in result.stderr
    assert len(results_of(toy)["tables"]["evaluation"]) == 7
    status = json.loads(run("study", "status", "miniature", "--out", toy, "--json").stdout)
    assert status["cells"] == {"done": 12, "failed": 1, "waiting": 1}
    plan = json.loads(run("study", "plan", "miniature", "--out", toy, "--json").stdout)
    rows = {row["cell"]: row for row in plan["cells"]}
    assert rows["evaluate/low-low"]["state"] == "failed"
    why = run("study", "why", "miniature", "compare/low-low", "--out", toy)
    assert "failed evaluate/low-low" in why.stdout


def test_results_of_another_config_are_never_replaced_without_a_word(toy: Path) -> None:
    def told(*more: str) -> str:
        result = run("study", "run", "miniature", "--out", toy, "--no-report", *more)
        assert result.exit_code == 0
        return " ".join(result.stderr.split())

    assert "another config" not in told()
    assert "another config" not in told("--workers", "1")  # where cells run changes no number
    first = told("--set", "train.rate=0.125", "--set", "tasks.mdqa.train.pool=a.txt")
    assert "is of another config (tasks.mdqa.train.pool None, now a.txt; train.rate " in first
    assert "now 0.125); this run replaces it. To keep both, stop it and give the run --set name=OTHER --out " in first
    assert "another config" not in told("--set", "train.rate=0.125", "--set", "tasks.mdqa.train.pool=a.txt")
    assert "train.rate 0.125, now " in told()


def test_a_run_that_measured_nothing_writes_no_results_and_blocks_in_one_line(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_opened, "plan_study", lambda config: toy_plan(config, broken="all"))
    result = run("study", "run", "miniature", "--out", toy)
    assert result.exit_code == 3
    assert (result.stdout, (toy / "results.json").exists(), (toy / "report.html").exists()) == ("", False, False)
    assert "nothing was measured, so no results are written" in result.stderr
    assert len(re.findall("^blocked, .* cells", result.stderr, re.MULTILINE)) == 1
    assert "more" in result.stderr


def test_gc_says_what_it_would_remove_and_removes_it(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("study", "run", "miniature", "--out", toy, "--no-report")
    shorter = ["--set", "settings=[real, low-low]", "--out", str(toy), "--json"]
    # Their F1 follows from their place in the list: real's cells are new ones too.
    dry = json.loads(run("study", "gc", "miniature", *shorter, "--dry-run").stdout)
    assert (dry["removed"], len(dry["entries"]) > 0) == (False, True)
    assert len(json.loads(run("study", "gc", "miniature", *shorter).stdout)["entries"]) == len(dry["entries"])
    assert json.loads(run("study", "gc", "miniature", *shorter).stdout)["entries"] == []


# ---- single commands


def test_version_is_the_package_s() -> None:
    from haymaker import __version__

    assert run("--version").stdout == f"haymaker {__version__}\n"


def test_a_recipe_comes_from_file_set_and_flags_in_this_order(tmp_path: Path) -> None:
    from haymaker.commands.datasets import recipe_of

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"task": "mdqa", "length": 64, "rows": 1, "seed": 1}))
    recipe = recipe_of(path, ["rows=2", "seed=2"], {"seed": 3, "setting": None})
    assert (recipe.length, recipe.rows, recipe.seed, recipe.setting) == (64, 2, 3, "real")


def test_building_refuses_bad_keys_missing_files_and_existing_output(tmp_path: Path) -> None:
    out = tmp_path / "rows"
    flags = ["--task", "mdqa", "--length", "128", "--rows", "2"]
    fails(2, "Recipe: unknown key rowz", "build", "--out", out, *flags, "--set", "rowz=3")
    fails(2, "setting: ", "build", "--out", out, *flags, "--setting", "hihg-low")
    fails(1, "nowhere.jsonl", "build", "--out", out, *flags, "--source", tmp_path / "nowhere.jsonl")
    fails(2, "no such model folder", "build", "--out", out, *flags, "--tokenizer", "nowhere")
    assert not list(tmp_path.iterdir())
    out.mkdir()
    (out / "file").write_text("mine")
    fails(2, "exists; give another --out, or --overwrite", "build", "--out", out, *flags)
    assert (out / "file").read_text() == "mine"


def test_build_then_show(tmp_path: Path) -> None:
    out = tmp_path / "rows"
    made = run("build", "--out", out, "--task", "mdqa", "--length", "128", "--rows", "2", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["rows"] == 2
    shown = json.loads(run("show", out, "--row", "1", "--json").stdout)
    ((start, stop),) = shown["spans"]["answer"]
    assert shown["text"][start:stop] in shown["answers"]
    assert shown["answers"][0] in run("show", out, "--row", "1").stdout
    fails(2, "has rows 0 to 1", "show", out, "--row", "2")
    fails(1, "no dataset here", "show", tmp_path)


def test_compare_prints_how_alike_two_score_files_are(tmp_path: Path) -> None:
    # Two heads of four: a = (1, 0.5, 0, 0), b = (1, 0, 0, 0); cosine 1 / sqrt(1.25).
    for name, values in {"a": [1, 0.5, 0, 0], "b": [1, 0, 0, 0]}.items():
        HeadScores(np.array(values, dtype=float).reshape(1, 2, 2), ("row",), "copy").save(
            tmp_path / f"{name}.safetensors"
        )
    result = run("compare", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--k", "1", "--json")
    found = json.loads(result.stdout)
    assert found["cosine"] == pytest.approx(0.894427, abs=1e-6)
    assert (found["recall"], found["subset"], found["overlap"], found["active"]) == (1.0, 0.5, 1.0, 2)
    fails(1, "cannot be read", "compare", tmp_path / "a.safetensors", tmp_path / "c.safetensors")


def test_score_judges_saved_answers_again(tmp_path: Path) -> None:
    about = {"scores": {}, "finish_reason": "stop", "prompt_tokens": 9, "generated_tokens": 2}
    rows = [
        {"example_id": "1", "text": "a red fox", "answers": ["red fox"], **about},  # the article does not count: 1
        {"example_id": "2", "text": "blue", "answers": ["red fox"], **about},  # 0
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads(run("score", tmp_path, "--json").stdout)
    assert (found["n"], found["squad_f1"], found["squad_em"]) == (2, 0.5, 0.5)
    fails(2, "no metric 'squad_f2'", "score", path, "--metric", "squad_f2")
    path.write_text("{broken\n")
    fails(1, "predictions.jsonl, line 1", "score", path)


def test_models_and_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fails(1, "no dataset here", "eval", "--model", "miniature-llama", "--data", tmp_path / "rows", "--out", out)
    fails(
        1, "no dataset here", "heads", "--model", "x", "--data", tmp_path / "rows", "--out", out / "heads.safetensors"
    )
    fails(2, "give a name in .safetensors", "heads", "--model", "x", "--data", tmp_path, "--out", tmp_path / "a.json")
    fails(2, "unknown key stepz", "train", "--model", "x", "--data", tmp_path, "--out", out, "--set", "stepz=3")
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("command", ["eval", "heads", "train"])
def test_a_context_of_no_length_is_refused_and_not_left_as_it_is(command: str, tmp_path: Path) -> None:
    fails(
        2,
        "Extend: length",
        command,
        "--model",
        "miniature-llama",
        "--data",
        tmp_path,
        "--out",
        tmp_path / "out.safetensors",
        "--extend",
        0,
    )


def test_nothing_is_left_where_a_command_fails(tmp_path: Path) -> None:
    for fresh in (fresh_folder, fresh_file):
        with pytest.raises(DataError), fresh(tmp_path / "out", overwrite=False) as work:  # noqa: PT012
            (work / "half" if work.is_dir() else work).write_text("half")
            raise DataError("broken row")
    assert not list(tmp_path.iterdir())
    with fresh_folder(tmp_path / "out", overwrite=False) as work:
        (work / "file").write_text("old")
    with pytest.raises(ConfigError, match="exists"), fresh_folder(tmp_path / "out", overwrite=False):
        pass
    with fresh_folder(tmp_path / "out", overwrite=True) as work:
        (work / "file").write_text("new")
    assert (tmp_path / "out" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# ---- the real stages


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with the miniature's tokenizer, as a folder."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny") / "model"
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "src" / "haymaker" / "miniature" / "models" / "llama")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    # Large weights, so that heads differ in what they attend to.
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": 96, "initializer_range": 0.5}
    config = LlamaConfig(rope_parameters=rope, **sizes, **shape, **ends)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


SMALL = {
    **{"name": "small", "context": 96, "length": 192, "settings": ["base", "extended", "real", "low-low"]},
    "tasks": {"mdqa": {"train": {"rows": 2}, "test": {"rows": 2}}},
    "train": {"steps": 1, "batch": 2},
    "evaluation": {"new_tokens": 6, "untrained_lengths": [96]},
    "heads": {"metric": "mass"},
    "similarity": {"k": 1, "threshold": 0.01},
    "ablation": {"k": [1], "draws": 1},
    "patching": {"k": 1, "draws": 1},
}


def test_a_whole_study_of_a_tiny_model(tiny: Path, tmp_path: Path) -> None:
    study, out = tmp_path / "small.yaml", tmp_path / "out"
    study.write_text(yaml.safe_dump(SMALL | {"model": str(tiny)}))
    result = run("study", "run", study, "--out", out, "--json", "--runner", "serial")
    assert result.exit_code == 0, result.output
    tables = results_of(out)["tables"]
    assert (out / "report.html").stat().st_size > 10_000
    assert {(row["setting"], row["length"]) for row in tables["evaluation"]} == {
        *((setting, 192) for setting in SMALL["settings"]),
        *((setting, 96) for setting in ("base", "extended")),
    }
    assert len(tables["heads"]) == 4 * 2 * 4  # settings x layers x heads
    assert [row["cosine"] for row in tables["similarity"] if row["setting"] == "real"] == [pytest.approx(1.0)]
    assert {row["heads"] for row in tables["ablation"]} == {"none", "retrieval", "random"}
    identity = [row for row in tables["patching"] if row["setting"] == "real"]
    assert [row["delta"] for row in identity if row["heads"] == "identity"] == [0.0]
    asked = tables["examples"]  # both test rows of every setting at the study's length
    assert [row["setting"] for row in asked] == [name for name in SMALL["settings"] for _ in range(2)]
    assert all(row["question"] and row["evidence"] and row["answers"] for row in asked)
    read = {(row["setting"], row["example_id"]) for row in tables["reads"]}
    assert {(row["setting"], row["example_id"]) for row in asked if row["setting"] != "base"} <= read
    assert {row["layer"] for row in tables["reads"]} <= {0, 1}
    assert all(0 < row["weight"] <= 1 and row["step"] < 12 for row in tables["reads"])
    again = json.loads(run("study", "run", study, "--out", out, "--json", "--no-report").stdout)
    assert again["ran"] == {}
