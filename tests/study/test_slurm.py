"""Slurm's runner: what it asks for, and what becomes of a job; benchmarks/engine_slurm.py has Slurm itself."""

import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
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
@pytest.mark.parametrize(("cluster", "together"), [("debug", 1), ("local", 2)])
def test_submitit_s_stand_ins_make_every_cell_once(
    cluster: str, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # a job finds modules by it alone
    record = tmp_path / "record"
    plan, store = ladder(together, record=str(record)), Store(tmp_path / "store")
    config = RunnerConfig(name="slurm", cluster=cluster, cells=together)  # type: ignore[arg-type]
    summary = execute(plan, store, open_runner(config, {}, store.root))
    assert (len(summary.ran), summary.failed) == (len(plan.cells), {})
    calls = [line.split() for line in record.read_text().splitlines()]
    assert sorted(value for value, _ in calls) == sorted(["0", "100", "1000", "1", "101"][: len(plan.cells)])
    assert cluster == "debug" or len({process for _, process in calls}) == 3  # two cells, their readers, the sum


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
    outcome = runner(tmp_path).outcome(slurm_runner.Sent(work(tmp_path), Future(), job), {"7_0": state})
    assert (outcome and outcome.status, outcome.again if outcome else True) == (status, again)


def sent(tmp_path: Path, name: str, base: str) -> slurm_runner.Sent:
    paths = {"model": Path(base)} if base else {}
    return slurm_runner.Sent(Work(Cell(name, WORK, Toy()), name, {}, paths, tmp_path), Future())


def test_cells_of_one_base_model_share_a_job_up_to_a_number(tmp_path: Path) -> None:
    bases = {"a": "x", "b": "y", "c": "x", "d": "x", "e": ""}
    new = [sent(tmp_path, name, base) for name, base in bases.items()]

    def jobs(**values: Any) -> list[list[str]]:
        return [[one.work.key for one in group] for group in runner(tmp_path, **values).jobs_of(new)]

    assert jobs() == [["a"], ["c"], ["d"], ["b"], ["e"]]
    assert jobs(cells=2) == [["a", "c"], ["d"], ["b"], ["e"]]
    two = runner(tmp_path, minutes=100.0, cells=2)
    assert two.options(*(one.work for one in new[:2]))["timeout_min"] == 210  # 200 minutes in quarters of an hour


def test_a_cell_of_a_shared_job_ends_when_it_is_made_and_has_its_own_answer(tmp_path: Path) -> None:
    results = tmp_path / "results"
    answers = ['{"status": "done", "seconds": 1.0}', '{"status": "failed", "message": "broke"}']
    job = SimpleNamespace(job_id="7", paths=SimpleNamespace(result_pickle=results), result=lambda: answers)
    first, second = (slurm_runner.Sent(work(tmp_path), Future(), job, i, shared=True) for i in range(2))
    ask = runner(tmp_path).outcome
    assert (ask(first, {}), ask(second, {})) == (None, None)
    results.touch()
    assert [(one.status, one.message) for one in (ask(first, {}), ask(second, {})) if one] == [
        ("done", ""),
        ("failed", "broke"),
    ]
    results.unlink()
    store = Store(tmp_path)
    told = dict.fromkeys(("key", "cell", "stage", "content", "started"), "") | {
        "params": {},
        "inputs": {},
        "libraries": {},
    }
    store.publish(store.draft("key", "me", resumable=False), "key", told | {"seconds": 7.5})
    made = ask(first, {"7": "RUNNING"})
    assert (made and made.status, made and made.seconds) == ("done", 7.5)


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ("invalid partition specified: gpu", "invalid partition specified: gpu$"),
        ("Invalid generic resource (gres) specification", ".*or --set runner.device=cpu$"),
    ],
)
def test_jobs_that_slurm_does_not_take_end_the_run_in_a_sentence(
    refused: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = runner(tmp_path)

    def refuse(options: dict[str, Any]) -> None:
        raise RuntimeError(f"sbatch: error: {refused}")

    monkeypatch.setattr(refusing, "executor", refuse)
    with pytest.raises(StudyError, match=f"could not be sent .*: sbatch: error: {told}"):
        execute(ladder(1), Store(tmp_path / "store"), refusing)


class Queue:
    """Slurm as it is while its controller is away for the first `away` calls of both commands; jobs end at once."""

    def __init__(self, folder: Path, away: int) -> None:
        self.folder, self.away, self.sent, self.cancelled = folder, away, 0, 0

    def reach(self) -> None:
        self.away -= 1
        if self.away >= 0:
            raise RuntimeError("sbatch: error: Batch job submission failed: Unable to contact slurm controller")

    @contextmanager
    def batch(self) -> Iterator[None]:
        yield
        self.reach()

    def submit(self, job: slurm_runner.CellJob, *requests: str) -> SimpleNamespace:
        self.sent += 1
        made = self.folder / f"{self.sent}"
        made.touch()
        answers = functools.partial(job, *requests)
        return SimpleNamespace(
            job_id="7", paths=SimpleNamespace(result_pickle=made), result=answers, cancel=self.cancel
        )

    def cancel(self, check: bool) -> None:
        self.cancelled += 1

    def states(self) -> dict[str, str]:
        self.reach()
        return {"7": "RUNNING"}


def test_a_controller_that_is_away_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queue, waiting = Queue(tmp_path, away=3), runner(tmp_path)
    monkeypatch.setattr(slurm_runner, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(slurm_runner, "QUEUE_POLLS", 1)
    monkeypatch.setattr(waiting, "executor", lambda options: queue)
    monkeypatch.setattr(waiting, "states", queue.states)
    summary = execute(ladder(1), Store(tmp_path / "store"), waiting)
    assert (len(summary.ran), summary.complete) == (3, True)
    assert capsys.readouterr().err.count("controller is away") == 1


def test_jobs_in_the_queue_are_cancelled_when_others_cannot_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, failing = Queue(tmp_path, away=0), runner(tmp_path)
    monkeypatch.setattr(slurm_runner, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(failing, "executor", lambda options: queue)
    monkeypatch.setattr(failing, "outcome", lambda one, states: None)
    first, second = failing.submit(cell_of(tmp_path, "first")), None
    while not failing.sent:
        time.sleep(0.01)
    monkeypatch.setattr(queue, "submit", None)
    second = failing.submit(cell_of(tmp_path, "second"))
    for future in (first, second):
        with pytest.raises(StudyError, match="could not be sent"):
            future.result(timeout=30)
    failing.stop()
    assert queue.cancelled == 1


def cell_of(tmp_path: Path, name: str) -> Work:
    return Work(Cell(name, WORK, Toy()), name, {}, {}, tmp_path)


@pytest.mark.parametrize(
    ("code", "said", "lost"),
    [(0, "", True), (1, "slurm_load_jobs error: Invalid job id specified", True),
     (1, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", False)],
)  # fmt: skip
def test_a_job_is_gone_where_the_controller_says_so_and_not_where_it_says_nothing(
    code: int, said: str, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = SimpleNamespace(stdout="", stderr=said, returncode=code)
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: told)
    with nullcontext() if lost else pytest.raises(StudyError, match="Unable to contact"):
        assert slurm_runner.job_states("12") == {}


def test_slurm_s_words_for_an_array_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "JobId=12 ArrayJobId=12 ArrayTaskId=2,4-5%3 JobName=x JobState=PENDING\n"
        "JobId=13 ArrayJobId=12 ArrayTaskId=0 JobState=RUNNING Command=a=b\n"
        "JobId=14 ArrayJobId=12 ArrayTaskId=1 JobState=CANCELLED Reason=None\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: SimpleNamespace(stdout=lines, returncode=0))
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
