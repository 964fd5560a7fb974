"""What `study plan` and `study run` take: some cells, some hours, a device, nothing at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import fails, passes, run
from toy_stages import SCORE, WORK, Toy

from haymaker.commands import studies, study_opened
from haymaker.study import Plan, StudyConfig
from haymaker.study.cell import Cell
from haymaker.study.costs import Prediction


def toy_plan(config: StudyConfig) -> Plan:
    """first -> second of two settings, and what reads both."""
    cells = []
    for i, setting in enumerate(("real", "low-low")):
        about = {"model": config.model, "task": "mdqa", "setting": setting, "seed": 0}
        cells.append(Cell(f"first/{setting}", WORK, Toy(value=i), columns=about))
        cells.append(Cell(f"second/{setting}", WORK, Toy(value=10 + i), {"of": f"first/{setting}"}, columns=about))
    inputs = {setting: f"second/{setting}" for setting in ("real", "low-low")}
    return Plan.of(config.name, [*cells, Cell("sum", WORK, Toy(value=100), inputs)])


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A study of five cells, of which each is predicted to take half an hour."""
    monkeypatch.setattr(study_opened, "plan_study", toy_plan)
    half = Prediction(4, 400, 1800.0, 0, 0, uses_model=False)
    monkeypatch.setattr(studies, "predictions", lambda costs, standings: dict.fromkeys(standings, half))
    return tmp_path / "out"


def study(command: str, out: Path, *more: object) -> Any:
    report = ["--no-report", "--runner", "serial"] if command == "run" else []
    return json.loads(passes("study", command, "miniature", "--out", out, *report, "--json", *more))


@pytest.mark.parametrize(
    ("hours", "made"),
    [
        (0, []),
        (0.49, []),
        (0.5, ["first/real"]),
        (1.6, ["first/real", "second/real", "first/low-low"]),
        (2.5, ["first/real", "second/real", "first/low-low", "second/low-low", "sum"]),
    ],
)
def test_so_many_cells_are_made_as_fit_into_some_hours(hours: float, made: list[str], out: Path) -> None:
    assert [row["cell"] for row in study("plan", out, "--max-hours", hours)["cells"]] == made
    assert list(study("run", out, "--max-hours", hours)["ran"]) == made


def test_finished_cells_take_no_hours_and_the_next_run_makes_the_next_ones(out: Path) -> None:
    study("run", out, "--max-hours", 1)
    again = study("run", out, "--max-hours", 1)
    assert (again["kept"], list(again["ran"])) == (["first/real", "second/real"], ["first/low-low", "second/low-low"])
    assert list(study("run", out)["ran"]) == ["sum"]


def test_some_cells_and_some_hours_go_together(out: Path) -> None:
    found = study("run", out, "--only", "second/*", "--max-hours", 1.5)
    assert list(found["ran"]) == ["first/real", "second/real", "first/low-low"]
    assert list(study("run", out, "--only", "second/low-low")["ran"]) == ["second/low-low"]
    fails(2, "no cell of miniature is called so", "study", "run", "miniature", "--out", out, "--only", "third/*")


def test_a_dry_run_runs_nothing_and_leaves_nothing(out: Path) -> None:
    rows = study("run", out, "--dry-run", "--max-hours", 1)["cells"]
    assert [(row["cell"], row["state"], row["hours"]) for row in rows] == [
        ("first/real", "missing", 0.5),
        ("second/real", "waiting", 0.5),
    ]
    assert not out.exists()


def test_a_page_has_a_line_a_stage_and_says_the_price(out: Path) -> None:
    study("run", out, "--only", "first/*")
    fails(2, "sum: no log; it was not made yet", "study", "log", "miniature", "sum", "--out", out)
    page = passes("study", "plan", "miniature", "--out", out, "--device", "h100", "--price", 2)
    line = next(line.split() for line in page.splitlines() if line.startswith("work"))
    # cells, done, missing, failed, rows, tokens; 3 of 5 cells are left, half an hour each, at 2 dollars
    assert line[1:7] == ["5", "2", "3", "0", "20", "2.0k"]
    assert (line[7], line[-1]) == ("1.50", "$3")
    assert "Patching takes at least" not in page, "there is none"
    assert "on h100 (H100 SXM 80 GB, bfloat16)" in page
    assert run("study", "plan", "miniature", "--out", out, "--device", "abacus").exit_code == 2


def scored(config: StudyConfig) -> Plan:
    """Two cells a setting: rows, and a score of them."""
    cells = []
    for i, setting in enumerate(config.settings):
        about = {"model": config.model, "task": "mdqa", "setting": setting, "seed": 0, "length": 512, "split": "test"}
        cells.append(Cell(f"data/{setting}", WORK, Toy(value=i)))
        cells.append(Cell(f"evaluate/{setting}", SCORE, Toy(value=i), {"data": f"data/{setting}"}, columns=about))
    return Plan.of(config.name, cells)


def test_a_part_that_is_run_takes_nothing_from_the_results_nor_from_the_store(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results are of all that is finished and sound; another study's gc spares all that this one has."""
    monkeypatch.setattr(study_opened, "plan_study", scored)
    part = ("--set", "settings=[real,low-low,symbolic]", "--only", "data/low-low", "--only", "evaluate/real")
    assert "results" not in study("run", out, *part[:4])
    assert not (out / "results.json").exists(), "of nothing that was measured"
    study("run", out, *part)
    assert rows_of(out) == ["evaluate/real"]
    study("run", out, *part[:2])
    study("run", out, *part)
    assert rows_of(out) == ["evaluate/real", "evaluate/low-low", "evaluate/symbolic"]
    other = out.parent / "other.yaml"
    other.write_text((study_opened.PACKAGED / "miniature.yaml").read_text().replace("name: miniature", "name: other"))
    alone = ("settings=[real]", "similarity=null", "ablation=null", "patching=null")
    words = ("--store", out / "store", "--json", *(f"--set={change}" for change in alone))
    assert json.loads(passes("study", "gc", other, "--out", out.parent / "elsewhere", *words))["entries"] == []
    keys = {row["cell"]: row["key"] for row in study("plan", out, *part[:2])["cells"]}
    (out / "store" / "cells" / keys["data/symbolic"] / "output" / "value.txt").write_text("changed")
    told = run("study", "run", "miniature", "--out", out, "--no-report", "--runner", "serial", *part)
    assert (told.exit_code, "left out data/symbolic" in told.stderr) == (0, True)
    assert rows_of(out) == ["evaluate/real", "evaluate/low-low"]


def rows_of(out: Path) -> list[str]:
    return [row["cell"] for row in json.loads((out / "results.json").read_text())["tables"]["evaluation"]]


@pytest.mark.parametrize(("more", "device"), [((), "cpu"), (("slurm",), "a100-80gb"), (("ray",), "a100-80gb")])
def test_what_would_be_done_is_reckoned_where_it_would_be_done(more: tuple[str, ...], device: str, out: Path) -> None:
    named = [f"--set=runner.{key}" for key in (*(f"name={name}" for name in more), *(("device=h200",) * bool(more)))]
    runner = [f"--runner={name}" for name in more]
    dry = json.loads(passes("study", "run", "miniature", "--out", out, "--dry-run", "--json", *runner))
    plan = json.loads(passes("study", "plan", "miniature", "--out", out, "--json", *named))
    assert (dry["device"], plan["device"]) == (device, "h200" if more else device)
