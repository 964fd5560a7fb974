"""The runner of processes: the same cells as in one process, whatever happens to one of them."""

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import pytest
from toy_stages import FAIL, MEMORY, PANIC, STATE, WORK, Toy, ladder

from haymaker.errors import ConfigError, DataError, Interrupted, OutputError, StudyError
from haymaker.study import Plan, Store, execute
from haymaker.study.cell import Cell, Outside, Stage
from haymaker.study.runners import Work
from haymaker.study.runners.config import RunnerConfig
from haymaker.study.runners.local import LocalPlace, ended, local_pool, visible_devices
from haymaker.study.runners.pool import Loaded, Pool, Waiting, suits
from haymaker.study.runners.sending import (
    last_attempt,
    last_line,
    log_path,
    outcome_of,
    packed,
    perform_packed,
    stage_at,
    unpacked,
)
from haymaker.study.runners.work import Outcome, Request
from haymaker.study.survey import Survey


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def contents(plan: Plan, store: Store) -> dict[str, str]:
    """What every finished cell holds, with its key and content digest."""
    found = {}
    for name, standing in Survey(plan, store).all().items():
        text = (store.output(str(standing.key)) / "value.txt").read_text()
        found[name] = f"{text} {standing.key} {(standing.manifest or {})['content']}"
    return found


def calls(record: Path) -> list[list[str]]:
    return [line.split() for line in record.read_text().splitlines()]


def test_processes_make_the_same_cells_as_one_process_each_once(store: Store, tmp_path: Path) -> None:
    record = tmp_path / "record"
    plan = ladder(4, record=str(record))
    summary = execute(plan, store, local_pool(2))
    assert (len(summary.ran), summary.failed) == (9, {})
    by_value = sorted(int(value) for value, _ in calls(record))
    assert by_value == [0, 1, 2, 3, 100, 101, 102, 103, 1000]
    processes = {process for _, process in calls(record)}
    assert os.getpid() not in map(int, processes)
    assert 1 <= len(processes) <= 2, "a place keeps its process from cell to cell"
    alone = Store(tmp_path / "alone")
    execute(plan, alone)
    assert contents(plan, store) == contents(plan, alone)


def test_a_killed_worker_is_told_and_its_cell_tried_again(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [Cell("dies", WORK, Toy(value=1, once=str(tmp_path / "once"))), Cell("lives", WORK, Toy(value=2))]
    assert execute(Plan.of("toy", cells), store, local_pool(1)).complete
    assert "dies: worker 1 (process" in capsys.readouterr().err
    assert not list((store.root / "failures").glob("*"))


def test_a_cell_whose_worker_always_dies_fails_and_the_others_go_on(store: Store, tmp_path: Path) -> None:
    cells = [Cell("dies", WORK, Toy(value=1, once=str(tmp_path / "once"))), Cell("lives", WORK, Toy(value=2))]
    plan = Plan.of("toy", [*cells, Cell("after", WORK, Toy(), {"source": "dies"})])
    summary = execute(plan, store, local_pool(1), retries=0)
    assert "was killed, perhaps for want of memory" in summary.failed["dies"]
    assert (list(summary.ran), summary.blocked) == (["lives"], {"after": "dies"})
    standing = Survey(plan, store).all()["dies"]
    assert (standing.state, (standing.manifest or {})["cell"]) == ("failed", "dies")
    assert execute(plan, store, local_pool(1)).complete  # told, never taken for a result


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (FAIL, "ValueError: the stage broke"),
        (PANIC, "PanicException: the stage broke"),
        (MEMORY, "memory ran out; fewer --workers"),
    ],
)
def test_a_failed_cell_does_not_stop_the_others(stage: Stage, said: str, store: Store) -> None:
    plan = Plan.of("toy", [Cell("bad", stage, Toy()), *(Cell(f"good/{i}", WORK, Toy(value=i)) for i in range(2))])
    summary = execute(plan, store, local_pool(1))
    assert said in summary.failed["bad"]
    assert len(summary.ran) == 2


def test_a_cell_that_hangs_is_stopped_at_its_limit_and_not_tried_again(store: Store, tmp_path: Path) -> None:
    record = tmp_path / "record"
    plan = Plan.of("toy", [Cell("hangs", WORK, Toy(seconds=60, record=str(record))), Cell("quick", WORK, Toy(value=1))])
    summary = execute(plan, store, local_pool(1, minutes=4 / 60))
    assert "ran longer than its limit of 0.0666667 minutes" in summary.failed["hangs"]
    assert list(summary.ran) == ["quick"]
    assert len(calls(record)) == 1


def test_ctrl_c_lets_a_stage_save_its_state_and_the_next_run_goes_on(store: Store, tmp_path: Path) -> None:
    mark = tmp_path / "begun"
    plan = Plan.of("toy", [Cell("state", STATE, Toy(record=str(mark)))])

    def interrupt() -> None:
        while not mark.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Interrupted, match="0 of 1 cells finished; the same command goes on"):
        execute(plan, store, local_pool(1))
    assert not list((store.root / "leases").glob("*.json"))
    assert list(execute(plan, store, local_pool(1)).ran) == ["state"]
    assert contents(plan, store)["state"].startswith("went on from half")


def test_what_only_this_process_can_do_is_done_here(store: Store) -> None:
    def here(params: Toy, inputs: Mapping[str, Path], output: Path) -> None:
        (output / "value.txt").write_text(str(os.getpid()))

    plan = Plan.of("toy", [Cell("here", Stage("here", Toy, here), Toy())])
    execute(plan, store, local_pool(1))
    assert contents(plan, store)["here"].split()[0] == str(os.getpid())


def test_a_request_is_json_and_comes_back_whole(store: Store) -> None:
    work = Work(Cell("name", WORK, Toy(value=3, seconds=0.1)), "key", {"stage": "work"}, {"a": Path("b")}, store.root)
    back = unpacked(packed(work))
    assert (back.cell.params, back.cell.stage, back.key, back.paths) == (work.cell.params, WORK, "key", work.paths)
    parts = {"cell", "stage", "params", "key", "action", "paths", "store", "piece", "folder"}
    assert set(json.loads(packed(work))) == parts


# ---- logs


def test_logs_hold_what_a_cell_said(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    plan = Plan.of("toy", [Cell("says", WORK, Toy(value=7))])
    execute(plan, store, local_pool(1))
    log = log_path(store, str(Survey(plan, store).all()["says"].key))
    assert ": says\nvalue 7\ndone after 0.0 s" in log.read_text()
    assert last_line(log).startswith("done after")
    with log.open("a") as file:
        file.write("---- later: says\nagain\n")
    assert last_attempt(log) == "---- later: says\nagain\n"
    assert "value 7" not in capfd.readouterr().out


def test_a_failure_that_cannot_be_recorded_is_told_and_the_worker_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Store, key: str, record: dict) -> None:
        raise OutputError("no room")

    monkeypatch.setattr(Store, "record_failure", full)
    work = Work(Cell("bad", FAIL, Toy()), "a" * 64, {}, {}, store.root)
    outcome = outcome_of(perform_packed(packed(work)))
    assert (outcome.status, outcome.message) == ("failed", "no room")


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "", "a" * 63, "a" * 63 + "/", "A" * 64])
def test_a_key_that_is_none_makes_no_path(key: str, store: Store) -> None:
    with pytest.raises(DataError, match="expected the key of a cell"):
        log_path(store, key)


def test_names_of_cells_and_values_of_data_are_never_paths(store: Store, tmp_path: Path) -> None:
    names = ["../../outside", "/tmp/outside", "a\nb", ". ", "x" * 400]
    plan = Plan.of("toy", [Cell(name, WORK, Toy(value=i)) for i, name in enumerate(names)])
    assert execute(plan, store, local_pool(1)).complete
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    assert all(len(path.name) == 64 for path in (store.root / "cells").iterdir())


@pytest.mark.parametrize(
    "address", ["os:system", "haymaker.study.stages:TRAIN.run", "haymaker.study.stages:build_data"]
)
def test_a_request_names_stages_alone(address: str) -> None:
    with pytest.raises((StudyError, AttributeError)):
        stage_at(address)


# ---- which work a place takes


def work_on(store: Store, name: str, base: str = "", **adapters: str) -> Work:
    paths = {"model": base, **adapters} if base else {}
    return Work(Cell(name, WORK, Toy()), name, {}, {key: Path(path) for key, path in paths.items()}, store.root)


def test_a_place_takes_what_reads_its_base_model_and_of_that_the_longest_chain(store: Store) -> None:
    works = [
        work_on(store, "other base", "b"),
        work_on(store, "short", "a", adapter="x"),
        work_on(store, "long", "a", adapter="y"),
        work_on(store, "no model"),
    ]
    ranks = {"other base": 9.0, "short": 1.0, "long": 2.0, "no model": 0.0}
    pool = Pool(lambda number: LocalPlace(number, {}), 1, {name: Request(rank=rank) for name, rank in ranks.items()})
    pool.waiting = [Waiting(work, Future()) for work in works]
    held = Loaded.by(works[1])
    taken = [pool.take(held) for _ in works]
    assert [one and one.work.cell.name for one in taken] == ["long", "short", "no model", "other base"]
    assert suits(Loaded.by(works[0]), Loaded())


@pytest.mark.parametrize(
    ("code", "said"), [(1, "ended with exit code 1"), (-9, "was killed, perhaps"), (-15, "was ended by signal 15")]
)
def test_how_a_process_ended_is_said_in_words(code: int, said: str) -> None:
    assert said in ended(code)


def test_visible_devices_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, devices in {"": [], "-1": [], "0": ["0"], "2,5": ["2", "5"], "GPU-ab": ["GPU-ab"]}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert visible_devices() == devices


def test_a_runner_refuses_what_it_would_not_look_at() -> None:
    with pytest.raises(ConfigError, match=r"runner.workers: the runner serial has none; it is of local, slurm, ray"):
        RunnerConfig(name="serial", workers=2)
    with pytest.raises(ConfigError, match="minutes"):
        RunnerConfig(minutes=0)
    with pytest.raises(ConfigError, match="threads: .*4096, found 1000000000"):
        RunnerConfig(threads=10**9)


def test_a_missing_file_is_told_before_any_process_starts(store: Store, tmp_path: Path) -> None:
    plan = Plan.of("toy", [Cell("reads", WORK, Toy(), outside={"rows": Outside("file", str(tmp_path / "none"))})])
    pool = local_pool(1)
    with pytest.raises(ConfigError, match="no such file"):
        execute(plan, store, pool)
    assert pool.places == []


def test_a_lost_outcome_counts_its_tries(store: Store) -> None:
    class Losing:
        slots = 1

        def submit(self, work: Work) -> "Future[Outcome]":
            future: Future[Outcome] = Future()
            future.set_result(Outcome("lost", message="a node failed"))
            return future

    summary = execute(Plan.of("toy", [Cell("x", WORK, Toy())]), store, Losing(), retries=2)
    assert summary.failed == {"x": "lost 3 times; the last time a node failed"}


def test_the_configs_of_other_runners_are_not_taken() -> None:
    assert RunnerConfig(name="slurm", partition="gpu").partition == "gpu"
    with pytest.raises(ConfigError, match=r"runner.partition: the runner local has none; it is of slurm"):
        RunnerConfig(partition="gpu")
