"""What a run keeps: the last good state survives kills, full disks and broken files, and a sentence says so."""

import errno
import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from killed import end_of, training_killed
from safetensors.torch import load_file
from tiny_rows import random_rows
from torch import equal

import haymaker.files as files
import haymaker.models.handshake as handshake
import haymaker.training.folder as folder
import haymaker.training.loop as loop
import haymaker.training.state as state
from haymaker.config import TrainConfig
from haymaker.errors import DataError, Interrupted, ModelError, OutputError
from haymaker.models.load import LanguageModel, load_model
from haymaker.models.lora import remove_lora
from haymaker.training.loop import train

CONFIG = TrainConfig(steps=5, batch=2, rank=2, rate=0.01, save_every=2)


def stop_after_three(told: list[int]):
    def count(steps: int) -> None:
        told.append(steps)
        if sum(told) == 3:
            raise KeyboardInterrupt

    return count


def adapters_equal(one: Path, other: Path) -> bool:
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    return first.keys() == second.keys() and all(equal(first[name], second[name]) for name in first)


def fresh(lm: LanguageModel, new_model) -> LanguageModel:
    return LanguageModel(new_model().requires_grad_(False), lm.tokenizer, "tiny")


def test_a_killed_run_ends_on_the_same_bits(model_folder: Path, tmp_path: Path) -> None:
    given = (model_folder, tmp_path / "killed", CONFIG, torch.get_num_threads())  # bits are of a number of threads
    assert end_of(training_killed, *given) == -signal.SIGKILL
    assert any(path.suffix == ".tmp" for path in (tmp_path / "killed").iterdir())  # half of a state lies about
    first, second = (load_model(model_folder, dtype="float32") for _ in range(2))
    result = train(first, random_rows(4), CONFIG, tmp_path / "killed", on_progress=lambda steps: None)
    assert result.record["resumed_from"] == 2
    train(second, random_rows(4), CONFIG, tmp_path / "straight", on_progress=lambda steps: None)
    assert adapters_equal(tmp_path / "killed", tmp_path / "straight")


def test_a_full_disk_keeps_the_last_state(
    lm: LanguageModel, new_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = state.save_file

    def full(tensors: dict, path: Path, header: dict) -> None:
        calls.append(1)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(tensors, path, header)

    monkeypatch.setattr(state, "save_file", full)
    with pytest.raises(OutputError, match="cannot be written .No space left on device.; .*make room"):
        train(lm, random_rows(4), CONFIG, tmp_path / "full", on_progress=lambda steps: None)
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["metrics.jsonl", "state.safetensors"]
    result = train(lm, random_rows(4), CONFIG, tmp_path / "full", on_progress=lambda steps: None)
    assert result.record["resumed_from"] == 2
    train(fresh(lm, new_model), random_rows(4), CONFIG, tmp_path / "straight", on_progress=lambda steps: None)
    assert adapters_equal(tmp_path / "full", tmp_path / "straight")


@pytest.mark.parametrize("what", ["adapter", "record"])
def test_a_disk_that_is_full_at_the_end_loses_nothing(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    name = {"adapter": "adapter_model.safetensors", "record": "training.json"}[what]
    original = files.os.replace

    def full(source: str, target: str) -> None:
        if str(target).endswith(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        original(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", full)
        with pytest.raises(OutputError, match="make room"):
            train(lm, random_rows(4), CONFIG, tmp_path, on_progress=lambda steps: None)
    assert not (tmp_path / "training.json").exists()
    assert not any("lora" in name for name, _ in lm.model.named_parameters())
    assert train(lm, random_rows(4), CONFIG, tmp_path, on_progress=lambda steps: None).record["resumed_from"] == 4


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda whole: whole[: len(whole) // 2], "not a training state"),
        (lambda whole: whole[:-8] + bytes(255 - byte for byte in whole[-8:]), "not those that were saved"),
        (lambda whole: whole.replace(b'"step":"3"', b'"step":"2"'), "its header is not the one that was saved"),
        (lambda whole: b"", "not a training state"),
    ],
)
def test_a_broken_state_is_named_and_left_alone(lm: LanguageModel, tmp_path: Path, damage, said: str) -> None:
    with pytest.raises(Interrupted):
        train(lm, random_rows(4), CONFIG, tmp_path, on_progress=stop_after_three([]))
    path = tmp_path / "state.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    broken = path.read_bytes()
    with pytest.raises(DataError, match=f"state.safetensors: .*{said}.*train with overwrite"):
        train(lm, random_rows(4), CONFIG, tmp_path, on_progress=lambda steps: None)
    assert path.read_bytes() == broken
    assert not any("lora" in name for name, _ in lm.model.named_parameters())
    train(lm, random_rows(4), CONFIG, tmp_path, overwrite=True, on_progress=lambda steps: None)


@pytest.mark.parametrize("library", ["torch", "transformers", "peft"])
def test_a_state_of_other_versions_is_refused(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    original = handshake.version
    with monkeypatch.context() as patched:
        patched.setattr(handshake, "version", lambda name: "0.0.1" if name == library else original(name))
        with pytest.raises(Interrupted):
            train(lm, random_rows(4), CONFIG, tmp_path, on_progress=stop_after_three([]))
    left = (tmp_path / "state.safetensors").read_bytes()
    said = re.escape(f"left by {library} 0.0.1 (here {original(library)}): ")
    with pytest.raises(DataError, match=f"{said}.*overwrite"):
        train(lm, random_rows(4), CONFIG, tmp_path, on_progress=lambda steps: None)
    assert (tmp_path / "state.safetensors").read_bytes() == left
    assert not any("lora" in name for name, _ in lm.model.named_parameters())


@pytest.mark.parametrize("change", [{"haymaker": "0.0.1"}, {"threads": 64}, {"processor": "another"}])
def test_a_state_of_another_machine_goes_on_and_says_so(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: dict
) -> None:
    original = folder.computed_by
    with monkeypatch.context() as patched:
        patched.setattr(folder, "__version__", change.get("haymaker", folder.__version__))
        patched.setattr(folder, "computed_by", lambda model: {**original(model), **change})
        with pytest.raises(Interrupted):
            train(lm, random_rows(4), CONFIG, tmp_path, on_progress=stop_after_three([]))
    record = train(lm, random_rows(4), CONFIG, tmp_path, on_progress=lambda steps: None).record
    (name, value), (before, now) = *change.items(), record["computers"]
    assert before == {**now, **change}
    said = " ".join(capsys.readouterr().err.split())
    assert f"left by {name} {value} (here {now[name]}); it may end in other bits" in said


def test_a_state_that_does_not_say_what_computed_it_is_refused(
    lm: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(loop, "computers", lambda *state, **tells: [])
        with pytest.raises(Interrupted):
            train(lm, random_rows(4), CONFIG, tmp_path, on_progress=stop_after_three([]))
    with pytest.raises(DataError, match="does not say which versions computed it"):
        train(lm, random_rows(4), CONFIG, tmp_path, on_progress=lambda steps: None)


def test_two_calls_do_not_train_into_one_folder(lm: LanguageModel, new_model, tmp_path: Path) -> None:
    def second(steps: int) -> None:
        with pytest.raises(DataError, match="out: another process is training into it; wait"):
            train(fresh(lm, new_model), random_rows(4), CONFIG, tmp_path / "out", on_progress=lambda steps: None)

    train(lm, random_rows(4), CONFIG.changed(steps=1), tmp_path / "out", on_progress=second)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # the lock went with the run


def test_a_state_of_another_precision_does_not_go_on(lm: LanguageModel, tmp_path: Path) -> None:
    lm.model.bfloat16().float()  # as a checkpoint of 16 bits, whose digest is the same in both
    with pytest.raises(Interrupted):
        train(lm, random_rows(4), CONFIG, tmp_path / "out", on_progress=stop_after_three([]))
    lm.model.bfloat16()
    with pytest.raises(DataError, match="holds a run with another dtype"):
        train(lm, random_rows(4), CONFIG, tmp_path / "out", on_progress=lambda steps: None)


LINES = [
    (b"\xff\xfe\n{}\n", "metrics.jsonl: line 1 is not JSON"),
    (b"null\n", "line 1 is not JSON"),
    (
        b'{"step": 1, "loss": 1' + b"0" * 400 + b', "seconds": true, "peak_bytes": Infinity}\n',
        "line 1 has no loss, seconds, peak_bytes that can be read",
    ),
    (b'{"step": 1}\n', "line 1 has no loss, seconds, peak_bytes that can be read"),
]


def changed(name: str, value: Any) -> Callable[[bytes], bytes]:
    return lambda whole: json.dumps(json.loads(whole) | {name: value}).encode()


FINISHED = [
    ("training.json", lambda whole: b"[]", "training.json: not the record of a run .it is no mapping"),
    ("training.json", lambda whole: b"{}", "not the record of a run .it has no identity"),
    ("training.json", changed("identity", None), "it has no identity that can be read"),
    ("training.json", changed("final_loss", "2"), "it has no final_loss that can be read"),
    (
        "training.json",
        changed("memory", {"peak_bytes": None}),
        "no memory.predicted_peak_bytes, memory.peak_bytes that",
    ),
    ("training.json", changed("tracking", []), "it has no tracking that can be read"),
    ("base.json", lambda whole: whole.replace(b"theta", b"thetb"), "base.json: not the record that training wrote"),
    (
        "base.json",
        changed("positions", False),
        "base.json: not the record that training wrote .positions: expected an obj",
    ),
    ("base.json", changed("extend", 0), "base.json: not the record that training wrote"),
    ("adapter_model.safetensors", lambda whole: whole[:-9], "cannot load its adapter"),
    ("adapter_model.safetensors", lambda whole: None, "expected the adapter's weights as safetensors, found none"),
]


def test_lines_of_a_run_that_are_none_are_named_and_lost_ones_are_told(
    lm: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted):
        train(lm, random_rows(4), CONFIG, tmp_path, on_progress=stop_after_three([]))
    for content, said in LINES:
        (tmp_path / "metrics.jsonl").write_bytes(content)
        with pytest.raises(DataError, match=f"{said}; delete the file or train with overwrite"):
            train(lm, random_rows(4), CONFIG, tmp_path, on_progress=lambda steps: None)
    (tmp_path / "metrics.jsonl").unlink()
    result = train(lm, random_rows(4), CONFIG, tmp_path, on_progress=lambda steps: None)
    assert "metrics.jsonl: holds the metrics of 0 of the 3 steps that are done" in " ".join(
        capsys.readouterr().err.split()
    )
    assert [line["step"] for line in result.metrics] == [4, 5]


def test_files_of_a_finished_run_that_are_broken_are_named(lm: LanguageModel, tmp_path: Path) -> None:
    train(lm, random_rows(4), CONFIG.changed(steps=1), tmp_path, on_progress=lambda steps: None)
    lm.model = remove_lora(lm.model)
    for name, damage, said in FINISHED:
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        if (broken := damage(whole)) is not None:
            (tmp_path / name).write_bytes(broken)
        with pytest.raises((DataError, ModelError), match=said):
            train(lm, random_rows(4), CONFIG.changed(steps=1), tmp_path, on_progress=lambda steps: None)
        (tmp_path / name).write_bytes(whole)
    (tmp_path / "metrics.jsonl").unlink()
    result = train(lm, random_rows(4), CONFIG.changed(steps=1), tmp_path, on_progress=lambda steps: None)
    assert result.final_loss == result.record["final_loss"]
