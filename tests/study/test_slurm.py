"""Slurm's runner: what it asks for, and what becomes of a job; benchmarks/engine_slurm.py has Slurm itself."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_stages import WORK, Toy, ladder

from haymaker.errors import ConfigError, StudyError
from haymaker.study import Store, execute
from haymaker.study.cell import Cell
from haymaker.study.runners import Work, open_runner
from haymaker.study.runners import slurm as slurm_runner
from haymaker.study.runners.config import RunnerConfig
from haymaker.study.runners.work import Request

pytest.importorskip("submitit")


def runner(tmp_path: Path, request: Request | None = None, **values: Any) -> slurm_runner.SlurmRunner:
    found = open_runner(RunnerConfig(name="slurm", **values), {"cell": request or Request()}, tmp_path)
    assert isinstance(found, slurm_runner.SlurmRunner)
    return found


def work(tmp_path: Path) -> Work:
    return Work(Cell("cell", WORK, Toy()), "key", {}, {}, tmp_path)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit leaves its log open
@pytest.mark.parametrize("cluster", ["debug", "local"])
def test_submitit_s_stand_ins_make_every_cell_once(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # a job finds modules by it alone
    record = tmp_path / "record"
    plan, store = ladder(1, record=str(record)), Store(tmp_path / "store")
    summary = execute(plan, store, open_runner(RunnerConfig(name="slurm", cluster=cluster), {}, store.root))
    assert (len(summary.ran), summary.failed) == (3, {})
    assert sorted(line.split()[0] for line in record.read_text().splitlines()) == ["0", "100", "1000"]


def test_a_job_asks_for_what_its_cell_needs(tmp_path: Path) -> None:
    needs = Request(gpus=1.0, memory_bytes=30_500_000_000, minutes=100.0)
    asked = runner(tmp_path, needs).options(work(tmp_path))
    # 30.5 GB are 31 whole ones, 100 minutes seven quarters of an hour
    assert {key: asked[key] for key in ("mem_gb", "timeout_min", "gpus_per_node")} == {
        "mem_gb": 31,
        "timeout_min": 105,
        "gpus_per_node": 1,
    }
    said = runner(tmp_path, needs, minutes=500.0, memory_gb=8.0, gpus=0.0).options(work(tmp_path))
    assert (said["mem_gb"], said["timeout_min"], said["gpus_per_node"]) == (8, 540, 0)
    without = runner(tmp_path, Request(), gpus=2.0).options(work(tmp_path))
    assert without["gpus_per_node"] == 0, "a cell without a model takes no GPU"


def test_what_only_slurm_understands_is_passed_on(tmp_path: Path) -> None:
    options = {"nice": 10, "requeue": False}
    found = runner(tmp_path, partition="gpu", account="me", options=options, workers=4, setup=("module load x",))
    assert found.of_slurm() == {
        "slurm_partition": "gpu",
        "slurm_account": "me",
        "slurm_setup": ["module load x"],
        "slurm_array_parallelism": 4,
        "slurm_additional_parameters": {"requeue": False, "nice": 10},
        "slurm_stderr_to_stdout": True,
    }


@pytest.mark.parametrize(
    ("state", "status", "again"),
    [
        ("RUNNING", None, True),
        ("PENDING", None, True),
        ("NODE_FAIL", "lost", True),
        ("GONE", "lost", True),
        ("CANCELLED", "lost", False),
        ("TIMEOUT", "lost", False),
        ("OUT_OF_MEMORY", "lost", False),
    ],
)
def test_what_becomes_of_a_job_without_a_result(state: str, status: str | None, again: bool, tmp_path: Path) -> None:
    job = SimpleNamespace(job_id="7_0", paths=SimpleNamespace(result_pickle=tmp_path / "none"))
    outcome = runner(tmp_path).outcome(job, {"7_0": state})
    assert (outcome and outcome.status, outcome.again if outcome else True) == (status, again)


def test_jobs_that_slurm_does_not_take_end_the_run_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = runner(tmp_path)

    def refuse(options: dict[str, Any]) -> None:
        raise RuntimeError("sbatch: error: invalid partition specified: gpu")

    monkeypatch.setattr(refusing, "executor", refuse)
    with pytest.raises(StudyError, match="could not be sent .*: sbatch: error: invalid partition"):
        execute(ladder(1), Store(tmp_path / "store"), refusing)


def test_slurm_s_words_for_an_array_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "JobId=12 ArrayJobId=12 ArrayTaskId=2,4-5%3 JobName=x JobState=PENDING\n"
        "JobId=13 ArrayJobId=12 ArrayTaskId=0 JobState=RUNNING Command=a=b\n"
        "JobId=14 ArrayJobId=12 ArrayTaskId=1 JobState=CANCELLED Reason=None\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: SimpleNamespace(stdout=lines))
    assert slurm_runner.job_states("12") == {
        **{f"12_{task}": "PENDING" for task in (2, 4, 5)},
        "12_0": "RUNNING",
        "12_1": "CANCELLED",
    }


@pytest.mark.parametrize(("minutes", "asked"), [(1, 15), (15, 15), (16, 30), (240, 240), (241, 300), (1000, 1020)])
def test_time_limits_go_in_steps(minutes: float, asked: int) -> None:
    assert slurm_runner.stepped(float(minutes)) == asked


@pytest.mark.parametrize(("name", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_package_is_one_sentence(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"runner {name}: needs .*pip install 'haymaker\[{name}\]'"):
        open_runner(RunnerConfig(name=name), {}, tmp_path)  # type: ignore[arg-type]


def test_nothing_of_ray_or_submitit_is_imported_unless_asked_for() -> None:
    code = (
        "import sys, haymaker.cli; from haymaker.study.runners import open_runner\n"
        "assert not {'ray', 'submitit', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
