"""Metrics of a run in a tracker: as in metrics.jsonl, at their steps, and nothing else changes."""

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_rows import random_rows

import haymaker.training.trackers as trackers
from haymaker.choices import TRACKERS
from haymaker.config import TrainConfig
from haymaker.errors import ConfigError, Interrupted
from haymaker.models.load import LanguageModel
from haymaker.models.lora import remove_lora
from haymaker.training.loop import train

CONFIG = TrainConfig(steps=5, batch=2, rank=2, rate=0.01, save_every=2)

WANDB = """
import builtins
calls = []
builtins.haymaker_calls = calls

class config:
    @staticmethod
    def update(values, allow_val_change):
        calls.append(("config", values))

class Run:
    def log(self, values, step):
        calls.append((step, values))
    def finish(self):
        calls.append(("finish", {}))

def init(**options):
    calls.append(("init", options))
    return Run()
"""
MLFLOW = """
import builtins
from types import SimpleNamespace
calls = []
builtins.haymaker_calls = calls
utils = SimpleNamespace(validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100))

def search_experiments(filter_string):
    return []

def create_experiment(**options):
    return "experiment"

def start_run(**options):
    calls.append(("init", options))
    return SimpleNamespace(info=SimpleNamespace(run_id="the-servers-own-id"))

def log_params(values):
    calls.append(("config", values))

def log_metrics(values, step):
    calls.append((step, values))

def end_run():
    calls.append(("finish", {}))
"""
STAND_INS = {"wandb": WANDB, "trackio": WANDB, "mlflow": MLFLOW}


def stand_in(name: str, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)


def quiet(steps: int) -> None:
    """Takes the metrics, so that no progress bar is drawn."""


def stopped_after(steps: int, lm: LanguageModel, config: TrainConfig, out: Path) -> None:
    """A run that the user stops there."""

    def stop(done: int) -> None:
        left[0] -= done
        if left[0] == 0:
            raise KeyboardInterrupt

    left = [steps]
    with pytest.raises(Interrupted):
        train(lm, random_rows(4), config, out, on_progress=stop)


def lines(folder: Path) -> dict[int, dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line.pop("step"): line for line in found}


def events(folder: Path) -> Iterator[Any]:
    """The events of a folder's files, oldest first: each a length, its checksum, a message, and its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.*"), key=lambda path: path.stat().st_mtime_ns):
        content, place = path.read_bytes(), 0
        while place < len(content):
            (size,) = struct.unpack_from("<Q", content, place)
            yield Event.FromString(content[place + 12 : place + 12 + size])
            place += 16 + size


def shown(folder: Path) -> dict[int, dict[str, float]]:
    """What TensorBoard shows: a later writer's start hides all from its step on."""
    found: dict[int, dict[str, float]] = {}
    for event in events(folder):
        if event.HasField("session_log"):
            found = {step: values for step, values in found.items() if step < event.step}
        for value in event.summary.value:
            found.setdefault(event.step, {})[value.tag] = value.simple_value
    return found


def test_tensorboard_shows_every_step_once_also_behind_a_stop(lm: LanguageModel, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    config, out = CONFIG.changed(tracker="tensorboard"), tmp_path / "out"
    stopped_after(3, lm, config, out)
    train(lm, random_rows(4), config, out, on_progress=quiet)
    found = {step: values for step, values in shown(out / "tensorboard").items() if step}
    assert found.keys() == lines(out).keys() == set(range(1, 6))
    for step, values in lines(out).items():
        assert found[step] == pytest.approx(values, rel=1e-6)  # of 32 bits there


@pytest.mark.parametrize("name", STAND_INS)
def test_a_service_gets_what_the_file_gets_and_goes_on_in_its_run(
    name: str, lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(name, STAND_INS[name], tmp_path, monkeypatch)
    config, out = CONFIG.changed(tracker=name), tmp_path / "out"
    stopped_after(3, lm, config, out)
    train(lm, random_rows(4), config, out, on_progress=quiet)
    calls = sys.modules[name].calls
    assert [step for step, _ in calls] == ["init", "config", 1, 2, 3, "finish", "init", 4, 5, "finish"]
    assert {step: values for step, values in calls if isinstance(step, int)} == lines(out)
    opened = [options for what, options in calls if what == "init"]
    key = {"wandb": "id", "trackio": "name", "mlflow": "run_id"}[name]
    if name == "mlflow":
        assert [options[key] for options in opened] == [None, "the-servers-own-id"]
    else:
        assert opened[0] == opened[1]
        assert opened[0][key]
        assert opened[0]["resume"] == "allow"
    told = dict(calls)["config"]
    assert (told["rank"], told["unit.loss"]) == ("2", "nats per answer token")
    assert all(f"unit.{key}" in told for key in lines(out)[1])


@pytest.mark.parametrize("place", ["log", "finish"])
@pytest.mark.parametrize("name", STAND_INS)
def test_what_a_tracker_fails_at_is_told_once_and_ends_no_run(
    name: str, place: str, lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A server that goes down hours into a run, or at its very end, must not take the adapter with it."""
    broken = {"log": "calls.append((step, values))", "finish": 'calls.append(("finish", {}))'}[place]
    stand_in(name, STAND_INS[name].replace(broken, "raise OSError('gone\\naway')"), tmp_path, monkeypatch)
    train(lm, random_rows(4), CONFIG.changed(tracker=name), tmp_path / "out", on_progress=quiet)
    when = {"log": "at step 1", "finish": "at the end"}[place]
    said = " ".join(capsys.readouterr().err.split())
    assert said.count(f"tracker: {name} failed {when} (OSError: gone away); it may lack what came from there on") == 1
    assert said.count("failed") == 1
    assert lines(tmp_path / "out").keys() == set(range(1, 6))
    assert (tmp_path / "out" / "training.json").is_file()
    assert ("finish" in dict(sys.modules[name].calls)) == (place == "log")  # it is closed all the same


@pytest.mark.parametrize("name", STAND_INS)
def test_a_tracker_that_cannot_begin_is_one_sentence(
    name: str, lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(
        name,
        STAND_INS[name].replace('calls.append(("init", options))', "raise OSError('no key')"),
        tmp_path,
        monkeypatch,
    )
    with pytest.raises(
        ConfigError, match=rf"tracker: {name} cannot begin \(OSError: no key\); .* leave --tracker away"
    ):
        train(lm, random_rows(4), CONFIG.changed(tracker=name), tmp_path / "out", on_progress=quiet)


def test_a_tracker_decides_no_number(lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run begun with one ends without, on the bits of a run that never had any; and no cell's key knows of it."""
    pytest.importorskip("tensorboardX")
    stopped_after(3, lm, CONFIG.changed(tracker="tensorboard"), tmp_path / "out")
    monkeypatch.setattr(trackers, "opened", lambda *_: pytest.fail("nobody asked for a tracker"))
    for folder in ("out", "plain"):
        train(lm, random_rows(4), CONFIG, tmp_path / folder, on_progress=quiet)
        lm.model = remove_lora(lm.model)
    first, second = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("out", "plain"))
    assert first == second
    assert "tracker" not in CONFIG.model_dump()
    assert CONFIG.changed(tracker="wandb").changed(steps=2).tracker == "wandb"


@pytest.mark.parametrize("name", TRACKERS)
def test_a_package_that_is_missing_is_named_before_anything_is_trained(
    name: str, lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=rf"tracker: {name} is not installed; pip install 'haymaker\[\w+\]'"):
        train(lm, random_rows(4), CONFIG.changed(tracker=name), tmp_path / "out", on_progress=quiet)
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_a_name_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"tracker: expected one of tensorboard, .*, found 'excel'"):
        TrainConfig(tracker="excel")
