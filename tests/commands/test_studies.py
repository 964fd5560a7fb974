"""What `study plan` and `study run` take: some cells, some hours, a device, nothing at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import fails, passes, run
from toy_stages import WORK, Toy

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
    page = passes("study", "plan", "miniature", "--out", out, "--device", "h100", "--price", 2)
    line = next(line.split() for line in page.splitlines() if line.startswith("work"))
    # cells, done, missing, failed, rows, tokens; 3 of 5 cells are left, half an hour each, at 2 dollars
    assert line[1:7] == ["5", "2", "3", "0", "20", "2.0k"]
    assert (line[7], line[-1]) == ("1.50", "$3")
    assert "on h100 (H100 SXM 80 GB, bfloat16)" in page
    assert run("study", "plan", "miniature", "--out", out, "--device", "abacus").exit_code == 2
