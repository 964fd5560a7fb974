"""A store looks at what it gives out: nothing edited, flipped, lost or dated ahead passes into results unsaid."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import run

from haymaker import files
from haymaker.commands import study_opened
from haymaker.config import Frozen
from haymaker.errors import OutputError
from haymaker.study import Plan, Store, StudyConfig, execute
from haymaker.study.cell import Cell, Stage, Tables
from haymaker.study.lease import STALE_SECONDS, alive, create, dated_ahead
from haymaker.study.survey import Survey, find_broken

ROOT = Path(__file__).parents[2]


class Nothing(Frozen):
    pass


def one(params: Nothing, inputs: Mapping[str, Path], output: Path) -> Tables:
    (output / "weights.bin").write_bytes(bytes(100))
    row = {"n": 4, "metric": "squad_f1", "score": 0.5, "score_low": 0.0, "score_high": 1.0, "cut_off": 0}
    return {"evaluation": [row]}


def two(params: Nothing, inputs: Mapping[str, Path], output: Path) -> None:
    (output / "sum.txt").write_text(str(sum((inputs["one"] / "weights.bin").read_bytes())))


ABOUT = {"model": "m", "task": "mdqa", "setting": "real", "seed": 0, "split": "test", "length": 512}


def plan(config: StudyConfig | None = None, version: int = 1) -> Plan:
    """one -> two, beside a cell that reads nothing."""
    return Plan.of(
        "miniature",
        [
            Cell("one", Stage("evaluate", Nothing, one), Nothing(), columns=ABOUT),
            Cell("two", Stage("two", Nothing, two, version), Nothing(), {"one": "one"}),
            Cell("other", Stage("evaluate", Nothing, one, 2), Nothing(), columns=ABOUT | {"setting": "base"}),
        ],
    )


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(study_opened, "plan_study", plan)
    assert study("run", tmp_path).exit_code == 0
    return tmp_path


def study(command: str, out: Path, *more: str) -> Any:
    report = ["--no-report"] if command == "run" else []
    return run("study", command, "miniature", "--out", out / "out", *report, *more)


def output(out: Path, cell: str) -> Path:
    store = Store(out / "out" / "store")
    return store.output(str(Survey(plan(), store).all()[cell].key))


def edit_table(folder: Path) -> None:
    path = folder / "tables" / "evaluation.json"
    path.write_text(path.read_text().replace('"score": 0.5', '"score": 0.9'))


def edit_table_without_trace(folder: Path) -> None:
    about = (folder / "tables" / "evaluation.json").stat()
    edit_table(folder)  # as many bytes as before
    os.utime(folder / "tables" / "evaluation.json", ns=(about.st_atime_ns, about.st_mtime_ns))


def flip_a_bit(folder: Path) -> None:
    path = folder / "weights.bin"
    about = path.stat()
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))


def lose(folder: Path) -> None:
    (folder / "weights.bin").unlink()


def add(folder: Path) -> None:
    (folder / "tables" / "more.json").write_text("[]")


def edit_manifest(folder: Path) -> None:
    path = folder.parent / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 7'))


def tear(folder: Path) -> None:
    (folder.parent / "manifest.json").write_bytes((folder.parent / "manifest.json").read_bytes()[:60])


def half_copy(folder: Path) -> None:
    (folder.parent / "manifest.json").unlink()


def lose_stamps(folder: Path) -> None:
    path = folder.parent / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": ["tables"]}))


CHANGES = [edit_table, edit_table_without_trace, flip_a_bit, lose, add, edit_manifest, tear, half_copy, lose_stamps]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_output_is_told_refused_and_made_again(change: Callable[[Path], None], out: Path) -> None:
    change(output(out, "one"))
    ended = study("run", out)
    assert ended.exit_code == 3
    assert "failed one: " in ended.stderr
    assert "study verify miniature --repair" in ended.stderr
    assert "blocked two: needs one" in ended.stderr
    kept = json.loads((out / "out" / "results.json").read_text())["tables"]["evaluation"]
    assert [row["setting"] for row in kept] == ["base"]
    told = study("verify", out)
    assert (told.exit_code, told.stdout.startswith("one: ")) == (1, True)
    assert study("verify", out, "--repair").exit_code == 0
    assert study("verify", out).stdout == "1 finished cells are as they were made\n"  # two waits for one
    again = study("run", out, "--json")
    assert list(json.loads(again.stdout)["ran"]) == ["one"]
    assert study("verify", out, "--json").exit_code == 0


def test_a_flipped_bit_that_left_no_trace_is_found_when_it_is_read(out: Path) -> None:
    path = output(out, "one") / "weights.bin"
    about = path.stat()
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    store = Store(out / "out" / "store")
    assert [broken.cell for broken in find_broken(Survey(plan(), store))] == ["one"]
    summary = execute(plan(version=2), store)
    assert (list(summary.failed), "weights.bin was changed" in summary.failed["two"]) == (["two"], True)


def test_a_copied_store_is_as_good(out: Path) -> None:
    for path in (out / "out" / "store" / "cells").rglob("*"):
        os.utime(path, (1, 1))
    assert (study("run", out).exit_code, study("verify", out).exit_code) == (0, 0)


def test_a_finished_study_on_a_read_only_disk_is_told_as_finished(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise OSError(30, "Read-only file system", str(out))

    for name in ("mkstemp", "TemporaryFile"):
        monkeypatch.setattr(files.tempfile, name, refused)
    monkeypatch.setattr(files.os, "replace", refused)
    before = (out / "out" / "results.json").read_bytes()
    ended = study("run", out)
    assert (ended.exit_code, "Read-only file system" in ended.stderr) == (0, True), ended.output
    assert (out / "out" / "results.json").read_bytes() == before
    for command in ("plan", "status", "verify"):
        assert study(command, out).exit_code == 0
    elsewhere = run("study", "run", "miniature", "--out", out / "new", "--no-report")
    assert elsewhere.exit_code == 1
    assert "cannot be written (Read-only file system)" in elsewhere.stderr
    with pytest.raises(OutputError):
        execute(plan(version=3), Store(out / "out" / "store"))


# ---- clocks


def test_what_is_dated_ahead_is_told_and_holds_nothing_up(out: Path) -> None:
    store = Store(out / "out" / "store")
    key = str(Survey(plan(version=4), store).all()["two"].key)
    store.record_failure(key, {"key": key, "cell": "two", "message": "broke", "failed": "2999-01-01T00:00:00+00:00"})
    lease = store.lease_path(key)
    lease.parent.mkdir(exist_ok=True)
    assert create(lease, "token")
    lease.write_text(json.dumps(json.loads(lease.read_text()) | {"host": "elsewhere"}))
    assert alive(lease)
    later = time.time() + 2 * STALE_SECONDS
    os.utime(lease, (later, later))
    assert (alive(lease), dated_ahead(lease)) == (False, True)
    assert "dated ahead" in Survey(plan(version=4), store).all()["two"].note
    assert list(execute(plan(version=4), store).ran) == ["two"]


# ---- keys that do not depend on chance

SMALL = {
    **{"name": "small", "context": 64, "length": 192, "settings": ["real"]},
    "tasks": {"mdqa": {"train": {"rows": 2}, "test": {"rows": 2}}},
    "train": {"steps": 2, "batch": 2},
    "evaluation": {"new_tokens": 6},
    "heads": {"metric": "mass"},
    **{"similarity": {"k": 1, "threshold": 0.05}, "ablation": {"k": [1], "draws": 1}, "patching": {"k": 1, "draws": 1}},
}


ELSEWHERE = {
    **{"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "2", "LC_ALL": "POSIX", "TZ": "Asia/Tokyo"},
    **{"HOME": "/nowhere", "USER": "nobody", "LOGNAME": "nobody"},
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait for a core which another test has would keep it busy
}


@pytest.mark.slow
def test_every_stage_gives_the_same_digests_under_other_seeds_threads_places_and_locales(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in this process, whose hash seed is drawn, with a thread; one in a process that differs in all of these."""
    assert os.environ.get("PYTHONHASHSEED") != ELSEWHERE["PYTHONHASHSEED"]
    commands = [given_study(tmp_path / f"home {number}", model_folder, number) for number in (1, 2)]
    monkeypatch.chdir(tmp_path / "home 1")
    here = run(*commands[0])
    assert here.exit_code == 0, here.output
    env = os.environ | ELSEWHERE | {"PYTHONPATH": str(ROOT / "src")}
    words = [sys.executable, "-m", "haymaker", *commands[1]]
    there = subprocess.run(
        words, cwd=tmp_path / "home 2", env=env, capture_output=True, text=True, check=False, umask=0o077
    )
    assert there.returncode == 0, there.stderr
    first, second = (digests(tmp_path / f"home {number}" / "out" / "store") for number in (1, 2))
    assert {name.split("/")[0] for name in first} == set("data train evaluate heads compare ablate patch".split())
    assert first == second


def given_study(home: Path, model: Path, threads: int) -> list[str]:
    """A study file in a folder of its own, with the model under a name of its own; the command that runs it."""
    home.mkdir()
    link = home / f"model-{threads}"
    link.symlink_to(model)
    (home / "small.yaml").write_text(yaml.safe_dump(SMALL | {"model": str(link)}))
    runner = f"runner={{name: serial, threads: {threads}}}"
    return ["study", "run", "small.yaml", "--out", "out", "--no-report", "--set", runner]


def digests(store: Path) -> dict[str, list[str]]:
    """Key, content, and the digests of the files that others read, of every cell by name."""
    read = ["adapter_config.json", "adapter_model.safetensors", "heads.safetensors", "predictions.jsonl"]
    same_bits = torch.backends.mkl.is_available()  # elsewhere the threads choose the last ones
    names = read if same_bits else read[:1]
    found = list(Store(store).manifests())
    bytes_of = {one["cell"]: [one["files"][name][0] for name in names if name in one["files"]] for one in found}
    return {one["cell"]: [one["key"], one["content"], *bytes_of[one["cell"]]] for one in found}
