"""The study engine: every cell once, nothing half-written, and failures told but never kept as results."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from haymaker.config import Frozen
from haymaker.errors import ConfigError, DataError, Interrupted
from haymaker.records import digest
from haymaker.study import Plan, Store, execute
from haymaker.study.cell import Cell, Outside, Stage, action
from haymaker.study.lease import create, lease
from haymaker.study.runners import Work, perform
from haymaker.study.survey import Survey, find_garbage, remove_garbage, why

CALLS: list[str] = []


class Number(Frozen):
    """Parameters of the toy stages."""

    value: int = 0
    label: str = ""


def write_value(params: Number, inputs: Mapping[str, Path], output: Path) -> None:
    CALLS.append(f"value {params.value}")
    (output / "value.txt").write_text(str(params.value))
    (output / "clock.txt").write_text(str(time.time_ns()))


def round_down(params: Number, inputs: Mapping[str, Path], output: Path) -> None:
    CALLS.append("tens")
    value = int((inputs["source"] / "value.txt").read_text())
    (output / "value.txt").write_text(str(value // 10 * 10))


def add_up(params: Number, inputs: Mapping[str, Path], output: Path) -> None:
    CALLS.append("sum")
    total = sum(int((path / "value.txt").read_text()) for path in inputs.values())
    (output / "value.txt").write_text(str(total + params.value))


def fail(params: Number, inputs: Mapping[str, Path], output: Path) -> None:
    CALLS.append("fail")
    (output / "half.txt").write_text("half")
    raise ValueError("the stage broke")


VALUE = Stage("value", Number, write_value, volatile=("clock.txt",))
TENS = Stage("tens", Number, round_down)
SUM = Stage("sum", Number, add_up)
FAIL = Stage("fail", Number, fail)


def toy_plan(left: int = 11, right: int = 5, added: int = 0, left_stage: Stage = VALUE) -> Plan:
    """left -> tens -> sum <- right"""
    return Plan.of(
        "toy",
        [
            Cell("left", left_stage, Number(value=left)),
            Cell("tens", TENS, Number(), inputs={"source": "left"}),
            Cell("right", VALUE, Number(value=right)),
            Cell("sum", SUM, Number(value=added), inputs={"a": "tens", "b": "right"}),
        ],
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    CALLS.clear()
    return Store(tmp_path / "store")


def result(plan: Plan, store: Store, cell: str) -> str:
    key = Survey(plan, store).all()[cell].key
    assert key is not None
    return (store.output(key) / "value.txt").read_text()


def test_a_plan_runs_in_order_and_a_second_run_makes_nothing(store: Store) -> None:
    first = execute(toy_plan(), store)
    assert list(first.ran) == ["left", "tens", "right", "sum"]
    assert result(toy_plan(), store, "sum") == "15"  # 11 rounded down to 10, and 5
    CALLS.clear()
    second = execute(toy_plan(), store)
    assert (CALLS, second.ran, second.kept) == ([], {}, ["left", "tens", "right", "sum"])


def test_a_changed_parameter_reruns_its_cell_and_what_reads_it(store: Store) -> None:
    execute(toy_plan(), store)
    again = execute(toy_plan(right=6), store)
    assert (list(again.ran), again.kept) == (["right", "sum"], ["left", "tens"])
    assert result(toy_plan(right=6), store, "sum") == "16"
    # What was there before is still there.
    assert not execute(toy_plan(), store).ran


def test_a_rebuilt_but_identical_input_reruns_nothing_after_it(store: Store) -> None:
    execute(toy_plan(), store)
    again = execute(toy_plan(left=19), store)  # rounds down to 10 as 11 does
    assert list(again.ran) == ["left", "tens"]
    assert "sum" in again.kept


def test_volatile_files_do_not_count_and_others_do(store: Store) -> None:
    execute(toy_plan(), store)
    renewed = Stage("value", Number, write_value, version=2, volatile=("clock.txt",))
    assert list(execute(toy_plan(left_stage=renewed), store).ran) == ["left"]
    unstable = Stage("value", Number, write_value, version=3)
    assert list(execute(toy_plan(left_stage=unstable), store).ran) == ["left", "tens"]


def test_a_key_holds_all_defaults_and_the_version() -> None:
    plain, spelled = (Cell("a", VALUE, params) for params in (Number(), Number(value=0, label="")))
    assert action(plain, {}) == action(spelled, {})
    assert action(Cell("other name", VALUE, Number(), columns={"x": 1}), {}) == action(plain, {})
    newer = Stage("value", Number, write_value, version=2)
    others = [Cell("a", newer, Number()), Cell("a", VALUE, Number(label="x")), Cell("a", SUM, Number())]
    made = [*(action(cell, {}) for cell in others), action(plain, {"in": "digest"}), action(plain, {})]
    keys = {digest(one) for one in made}
    assert len(keys) == 5


def test_the_manifest_says_what_a_cell_was_made_from(store: Store) -> None:
    execute(toy_plan(), store)
    standings = Survey(toy_plan(), store).all()
    manifest = standings["sum"].manifest
    assert manifest is not None
    assert manifest["params"] == {"value": 0, "label": ""}
    assert manifest["inputs"]["a"] == (standings["tens"].manifest or {})["content"]
    assert {"key", "cell", "stage", "version", "seconds", "started", "host", "libraries"} <= set(manifest)


# ---- failures


def failing_plan(stage: Stage = FAIL) -> Plan:
    return Plan.of(
        "toy",
        [
            Cell("bad", stage, Number()),
            Cell("after", TENS, Number(), inputs={"source": "bad"}),
            Cell("good", VALUE, Number(value=3)),
        ],
    )


def test_a_failure_is_recorded_blocks_its_readers_and_is_tried_again(store: Store) -> None:
    summary = execute(failing_plan(), store)
    assert summary.failed == {"bad": "ValueError: the stage broke"}
    assert (summary.blocked, list(summary.ran), summary.complete) == ({"after": "bad"}, ["good"], False)
    standing = Survey(failing_plan(), store).all()["bad"]
    assert standing.state == "failed"
    assert "raise ValueError" in (standing.manifest or {})["traceback"]
    assert not list((store.root / "tmp").glob("*"))
    CALLS.clear()
    assert execute(failing_plan(), store).failed
    assert CALLS == ["fail"]


def test_a_cell_that_succeeds_after_failing_is_done(store: Store) -> None:
    execute(failing_plan(), store)
    mended = Stage("fail", Number, write_value)
    assert execute(failing_plan(mended), store).complete
    assert not list((store.root / "failures").glob("*"))


def test_a_stage_that_writes_nothing_fails(store: Store) -> None:
    def idle(params: Number, inputs: Mapping[str, Path], output: Path) -> None: ...

    summary = execute(Plan.of("toy", [Cell("idle", Stage("idle", Number, idle), Number())]), store)
    assert "wrote nothing" in summary.failed["idle"]


def test_a_missing_file_is_told_before_anything_runs(store: Store, tmp_path: Path) -> None:
    outside = {"source": Outside("file", str(tmp_path / "rows.jsonl"))}
    plan = Plan.of("toy", [Cell("first", VALUE, Number()), Cell("reads", VALUE, Number(value=2), outside=outside)])
    assert Survey(plan, store).all()["reads"].state == "absent"
    with pytest.raises(ConfigError, match=r"reads: .*rows\.jsonl: no such file"):
        execute(plan, store)
    assert CALLS == []


def test_an_outside_file_counts_by_content_not_by_place(store: Store, tmp_path: Path) -> None:
    def plan(path: Path) -> Plan:
        return Plan.of("toy", [Cell("reads", VALUE, Number(), outside={"source": Outside("file", str(path))})])

    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("same")
    other.write_text("same")
    assert execute(plan(one), store).ran
    assert not execute(plan(other), store).ran
    one.write_text("changed")
    assert execute(plan(one), store).ran


# ---- interruption


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted("stopped after step 3; the state is saved")])
def test_ctrl_c_keeps_what_is_finished_and_the_work_of_a_resumable_stage(store: Store, stop: BaseException) -> None:
    def train(params: Number, inputs: Mapping[str, Path], output: Path) -> None:
        state = output / "value.txt"
        if not state.exists():
            state.write_text("half")
            raise stop
        CALLS.append(f"resumed from {state.read_text()}")
        state.write_text("whole")

    stage = Stage("train", Number, train, resumable=True)
    plan = Plan.of("toy", [Cell("first", VALUE, Number()), Cell("train", stage, Number(), inputs={"data": "first"})])
    with pytest.raises(Interrupted, match="1 of 2 cells finished; the same command goes on"):
        execute(plan, store)
    assert not list((store.root / "leases").glob("*.json"))
    assert Survey(plan, store).all()["train"].state == "missing"
    assert list(execute(plan, store).ran) == ["train"]
    assert CALLS == ["value 0", "resumed from half"]
    assert not list((store.root / "work").glob("*"))


SLOW = """
import sys, time
from pathlib import Path
from haymaker.config import Frozen
from haymaker.study import Plan, Store, execute
from haymaker.study.cell import Cell, Stage

class Params(Frozen):
    value: int = 0

def slow(params, inputs, output):
    (output / "half.txt").write_text("half")
    with open(sys.argv[2], "a") as log:
        log.write(f"{params.value}\\n")
    time.sleep(float(sys.argv[3]))
    (output / "value.txt").write_text(str(params.value))

stage = Stage("slow", Params, slow)
plan = Plan.of("slow", [Cell(f"cell {i}", stage, Params(value=i)) for i in range(4)])
if __name__ == "__main__":
    print(sorted(execute(plan, Store(Path(sys.argv[1]))).ran))
"""


@pytest.fixture
def slow(tmp_path: Path) -> Callable[[float], subprocess.Popen[str]]:
    """Starts a process that makes four cells, each taking some seconds."""
    script = tmp_path / "slow.py"
    script.write_text(SLOW)

    def start(seconds: float) -> subprocess.Popen[str]:
        command = [sys.executable, str(script), str(tmp_path / "store"), str(tmp_path / "log"), str(seconds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    return start


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def whole(store: Path) -> bool:
    """Every cell in the store has its manifest and its whole output."""
    cells = list((store / "cells").glob("*"))
    return all((cell / "manifest.json").exists() and (cell / "output" / "value.txt").exists() for cell in cells)


def test_a_kill_leaves_no_half_cell_and_the_next_run_finishes(slow: Callable, tmp_path: Path) -> None:
    victim = slow(0.3)
    wait_for(lambda: len(lines(tmp_path / "log")) == 2)
    victim.kill()
    victim.communicate()
    assert len(list((tmp_path / "store" / "cells").glob("*"))) == 1
    assert whole(tmp_path / "store")
    assert list((tmp_path / "store" / "leases").glob("*.json")), "the killed runner's lease should still lie there"
    printed, _ = slow(0.0).communicate(timeout=30)
    assert printed.strip() == "['cell 1', 'cell 2', 'cell 3']"
    assert lines(tmp_path / "log") == ["0", "1", "1", "2", "3"]
    assert whole(tmp_path / "store")
    assert not list((tmp_path / "store" / "tmp").glob("*"))


def test_what_a_killed_worker_left_of_a_finished_cell_goes_with_the_next_run(store: Store) -> None:
    execute(toy_plan(), store)
    left = store.lease_path(str(Survey(toy_plan(), store).all()["left"].key))
    dead = subprocess.Popen(["true"])
    dead.wait()
    assert create(left, "token")
    left.write_text(json.dumps(json.loads(left.read_text()) | {"pid": dead.pid}))
    execute(toy_plan(), store)
    assert not left.exists()


def test_two_runners_share_a_store_and_make_no_cell_twice(slow: Callable, tmp_path: Path) -> None:
    runners = [slow(0.15), slow(0.15)]
    printed = [runner.communicate(timeout=30)[0] for runner in runners]
    assert sorted(lines(tmp_path / "log")) == ["0", "1", "2", "3"]
    assert "".join(printed).count("cell") == 4
    assert len(list((tmp_path / "store" / "cells").glob("*"))) == 4


def test_a_lease_is_exclusive_until_its_owner_dies_or_falls_silent(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "key.json"
    with lease(path) as held:
        assert held
        with lease(path) as second:
            assert not second
        assert path.exists()
    assert not path.exists()
    path.write_text(json.dumps({"token": "x", "pid": os.getpid(), "host": "elsewhere"}))
    with lease(path) as held:
        assert not held
    os.utime(path, (0, 0))  # no heartbeat since 1970
    with lease(path) as held:
        assert held


def test_a_lease_that_cannot_be_written_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(value: object, file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "leases" / "key.json"
    with monkeypatch.context() as broken:
        broken.setattr("haymaker.study.lease.json.dump", full)
        with pytest.raises(OSError, match="No space"), lease(path):
            pass
    with lease(path) as held:
        assert held


def test_a_lease_of_this_machine_needs_no_heartbeat_but_its_own_process(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "key.json"
    with lease(path):
        os.utime(path, (0, 0))  # a machine so busy that the heart did not beat
        with lease(path) as second:
            assert not second
        held = json.loads(path.read_text())
    path.write_text(json.dumps(held | {"began": "1"}))  # the number of a process that died was given to this one
    with lease(path) as taken:
        assert taken


def test_a_cell_finished_between_looking_and_leasing_is_not_made_again(store: Store) -> None:
    plan = toy_plan()
    standing = Survey(plan, store).all()["left"]
    assert standing.state == "missing"
    execute(plan, store)
    CALLS.clear()
    work = Work(standing.cell, standing.key or "", standing.action or {}, {}, store.root)
    assert (perform(work).status, CALLS) == ("kept", [])


def test_a_cell_that_somebody_else_published_first_is_kept(store: Store) -> None:
    execute(toy_plan(), store)
    key = Survey(toy_plan(), store).all()["left"].key
    assert key is not None
    before = store.manifest(key)
    draft = store.draft(key, "late", resumable=False)
    (draft / "output" / "value.txt").write_text("12")
    store.publish(draft, key, {"cell": "late"})
    assert (store.manifest(key), result(toy_plan(), store, "left")) == (before, "11")
    assert not draft.exists()


def test_a_runner_whose_lease_was_taken_leaves_the_new_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "key.json"
    with lease(path):
        path.write_text(json.dumps({"token": "thief", "pid": 1, "host": "elsewhere"}))
    assert json.loads(path.read_text())["token"] == "thief"


# ---- why and gc


def test_why_names_the_changed_parameter_and_the_changed_input(store: Store) -> None:
    execute(toy_plan(), store)
    report = why(Survey(toy_plan(left=25), store), "left")
    assert (report["state"], report["changed"]) == ("missing", {"params.value": [11, 25]})
    assert why(Survey(toy_plan(left=25), store), "sum")["waits_for"] == {"left": "missing"}
    plan = toy_plan(right=6)
    execute(Plan.of("toy", list(plan.cells.values())[:3]), store)
    assert list(why(Survey(plan, store), "sum")["changed"]) == ["inputs.b"]
    with pytest.raises(ConfigError, match="close names are right"):
        why(Survey(plan, store), "rihgt")


def test_gc_removes_what_no_plan_refers_to(store: Store) -> None:
    execute(toy_plan(right=5), store)
    execute(toy_plan(right=6), store)
    other = Plan.of("other", [Cell("mine", VALUE, Number(value=5)), Cell("own", VALUE, Number(value=99))])
    execute(other, store)
    survey = Survey(toy_plan(right=6), store)
    garbage = find_garbage(survey)
    # right=5 is also a cell of the other study; only the sum made from it is nobody's.
    assert [entry.cell for entry in garbage] == ["sum"]
    remove_garbage(survey, garbage)
    assert not find_garbage(survey)
    assert not execute(toy_plan(right=6), store).ran
    assert not execute(other, store).ran
    assert list(execute(toy_plan(right=5), store).ran) == ["sum"]


def test_what_others_keep_in_the_folder_of_a_store_is_never_removed(tmp_path: Path) -> None:
    """Not in folders of the store's own names, where somebody gave a folder in use, or / itself, for a store."""
    strangers = [tmp_path / place / name for place in ("cells", "tmp", "work", "failures", "leases", "plans")
                 for name in ("mine", "mine.json", "mine-1", "a" * 63, f"{'a' * 65}.json")]  # fmt: skip
    for path in strangers:
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}") if path.suffix else path.mkdir()
        path.suffix or (path / "manifest.json").write_text("[]")
    store = Store(tmp_path)
    half = tmp_path / "tmp" / f"{'a' * 64}-host-1"  # what a killed runner left
    half.mkdir()
    assert execute(toy_plan(), store).ran
    survey = Survey(toy_plan(), store)
    assert not find_garbage(survey)
    remove_garbage(survey, [])
    assert not half.exists()
    assert [path for path in strangers if not path.exists()] == []
    (tmp_path / "plans" / "theirs.json").write_text("[1]")
    with pytest.raises(DataError, match=r"theirs\.json: expected the keys of a study's cells"):
        find_garbage(survey)  # better than to take another study's cells for nobody's


def test_gc_keeps_what_may_still_be_right_after_an_input_is_made_again(store: Store) -> None:
    execute(toy_plan(), store)
    renewed = toy_plan(left_stage=Stage("value", Number, write_value, version=2, volatile=("clock.txt",)))
    survey = Survey(renewed, store)
    remove_garbage(survey, find_garbage(survey))
    # Only `left` itself is of an old version: what reads it waits, and turns out as it was.
    assert list(execute(renewed, store).ran) == ["left"]


def test_a_term_signal_is_an_interruption(tmp_path: Path) -> None:
    """As `haymaker study run` installs it, so that a scheduler's stop keeps the work."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:

        def stop(params: Number, inputs: Mapping[str, Path], output: Path) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

        with pytest.raises(Interrupted):
            execute(Plan.of("toy", [Cell("stops", Stage("stop", Number, stop), Number())]), Store(tmp_path))
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert not list((tmp_path / "tmp").glob("*"))
