"""Heads read while a model is trained: at the steps that were asked for, once each, and compared with the end."""

import json
from pathlib import Path

import numpy as np
import pytest

import haymaker as hm
from haymaker.errors import ConfigError, DataError
from haymaker.heads.detection import detect_heads
from haymaker.heads.scores import HeadScores
from haymaker.heads.tracking import HeadTracker
from haymaker.models.load import LanguageModel, load_model
from haymaker.records import Encoded


@pytest.fixture(scope="module")
def rows() -> list[hm.Example]:
    lm = load_model("miniature-llama")
    return list(hm.build(hm.Recipe(task="mdqa", setting="low-low", length=120, rows=4), lm.tokenizer))


def config(**track: object) -> hm.TrainConfig:
    return hm.TrainConfig(steps=5, batch=2, rate=1e-2, save_every=2, track={"every": 2, "rows": 3, "k": 4} | track)


def train(lm: LanguageModel, rows: list, out: Path, stop: int | None = None, **track: object) -> hm.TrainConfig:
    told: list[int] = []

    def count(steps: int) -> None:
        told.append(steps)
        if sum(told) == stop:
            raise RuntimeError("stopped")

    hm.train(lm, rows, config(**track), out, on_progress=count)
    return config(**track)


def test_the_table_has_a_row_for_each_reading(rows: list[hm.Example], tmp_path: Path) -> None:
    lm = load_model("miniature-llama")
    train(lm, rows, tmp_path)
    table = json.loads((tmp_path / "tracking.json").read_text())
    assert [row["step"] for row in table] == [0, 2, 4, 5]  # the first, every second, the last
    assert table[-1]["cosine"] == pytest.approx(1.0)  # the end is the reference
    assert table[-1]["recall"] == table[-1]["overlap"] == 1.0
    assert {row["n"] for row in table} == {3}
    lines = [json.loads(line) for line in (tmp_path / "tracking.jsonl").read_text().splitlines()]
    after = detect_heads(lm, rows[:3], "copy").mean
    np.testing.assert_allclose(np.array(lines[-1]["scores"], dtype=float), after, atol=1e-6)
    record = json.loads((tmp_path / "training.json").read_text())["tracking"]
    assert (record["readings"], record["seconds"] > 0) == (4, True)


def test_a_stopped_run_reads_no_step_twice_and_a_file_can_be_the_reference(
    rows: list[hm.Example], tmp_path: Path
) -> None:
    base = load_model("miniature-llama")
    detect_heads(base, rows[:3], "copy").save(tmp_path / "base.safetensors")
    reference = str(tmp_path / "base.safetensors")
    with pytest.raises(RuntimeError):
        train(base, rows, tmp_path / "run", stop=3, reference=reference)
    train(base, rows, tmp_path / "run", reference=reference)
    table = json.loads((tmp_path / "run" / "tracking.json").read_text())
    assert [row["step"] for row in table] == [0, 2, 4, 5]
    assert table[0]["cosine"] == pytest.approx(1.0)  # a new adapter changes nothing
    assert {row["reference"] for row in table} == {reference}


@pytest.mark.parametrize(
    ("origin", "metric", "told"),
    [({}, "copy", ""), ({"weights": "x"}, "copy", "of other weights"), ({}, "causal_zero", "by causal_zero, not copy")],
)
def test_a_reference_of_another_model_or_metric_is_told(
    origin: dict, metric: str, told: str, rows: list[hm.Example], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = HeadScores(np.ones((1, 4, 8)), ("row",), metric, origin)
    scores.save(tmp_path / "base.safetensors")
    track = config(reference=str(tmp_path / "base.safetensors")).track
    assert track is not None
    HeadTracker(load_model("miniature-llama"), rows, track, tmp_path)
    said = capsys.readouterr().err
    assert (bool(said), told in said) == (bool(told), True)


def test_what_cannot_be_tracked_is_said_before_training(rows: list[hm.Example], tmp_path: Path) -> None:
    lm = load_model("miniature-llama")
    with pytest.raises(ConfigError, match="track.k: expected at most the 32 heads there are, found 33"):
        train(lm, rows, tmp_path / "a", k=33)
    with pytest.raises(DataError, match="track: expected Examples with spans"):
        train(lm, [Encoded("row", (5, 6, 7), 2)], tmp_path / "b")
    with pytest.raises(ConfigError, match="metric"):
        config(metric="nonsense")
    assert not any(tmp_path.iterdir())


def test_a_line_that_a_kill_cut_short_is_read_again_and_lost_ones_are_told(
    rows: list[hm.Example], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm, path = load_model("miniature-llama"), tmp_path / "tracking.jsonl"
    tracker = HeadTracker(lm, rows, config().track, tmp_path)
    zeros = np.zeros((lm.base.config.num_hidden_layers, lm.base.config.num_attention_heads)).tolist()
    line = {"step": 0, "seconds": 0.1, "n": 3, "scores": zeros}
    path.write_text(json.dumps(line) + '\n{"step": 2, "sco')
    tracker.keep(2)
    assert [found["step"] for found in tracker.lines()] == [0]
    assert "holds 1 of the 2 readings until step 2; the others are lost" in " ".join(capsys.readouterr().err.split())
    path.write_text(json.dumps(line) + "\n{}\n")
    with pytest.raises(DataError, match="tracking.jsonl: line 2 has no step, seconds, n, scores"):
        tracker.lines()


def test_maps_without_a_score_have_no_likeness(rows: list[hm.Example], tmp_path: Path) -> None:
    lm = load_model("miniature-llama")
    tracker = HeadTracker(lm, rows, config().track, tmp_path)
    zeros = np.zeros((lm.base.config.num_hidden_layers, lm.base.config.num_attention_heads)).tolist()
    (tmp_path / "tracking.jsonl").write_text(json.dumps({"step": 0, "seconds": 0.1, "n": 3, "scores": zeros}) + "\n")
    tracker.finish()  # at the end of a run: NaN is no JSON
    assert json.loads((tmp_path / "tracking.json").read_text())[0]["cosine"] is None
