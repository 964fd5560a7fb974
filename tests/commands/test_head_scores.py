"""`haymaker compare` on every pair of formats, its map, and `haymaker heads` writing them."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from any_architecture import tiny
from command_line import run

from haymaker.commands import head_files
from haymaker.errors import ConfigError
from haymaker.heads.compare import comparable, comparison, shade, side_by_side
from haymaker.heads.formats import HeadList, KVScores, write_scores
from haymaker.heads.scores import HeadScores
from haymaker.records import Head


def scores(values: object) -> HeadScores:
    return HeadScores(np.array([values], dtype=np.float64), ("e",), "copy", {"model": "m"})


# Two layers of four query heads on two KV heads each.
A = scores([[0.9, 0.1, 0.0, 0.0], [0.0, 0.4, 0.0, 0.0]])
B = scores([[0.8, 0.0, 0.2, 0.0], [0.0, 0.0, 0.0, 0.6]])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    A.save(tmp_path / "own.safetensors")
    write_scores(B, tmp_path / "wu.json", "wu")
    write_scores(B, tmp_path / "qr.yaml", "qrhead", k=3)
    write_scores(B, tmp_path / "duo.tsv", "duo", kv_heads=2)
    return {path.suffix: path for path in tmp_path.iterdir()}


def test_comparing_with_wu_json_by_hand(files: dict[str, Path]) -> None:
    found = json.loads(
        run("compare", files[".safetensors"], files[".json"].with_name("wu.json"), "--k", 2, "--json").stdout
    )
    # <A, B> = 0.72; |A|^2 = 0.98, |B|^2 = 1.04. Active: A 0-0 0-1 1-1, B 0-0 0-2 1-3: one in common.
    assert found["cosine"] == pytest.approx(0.72 / (0.98 * 1.04) ** 0.5, abs=1e-6)
    assert found["recall"] == found["subset"] == pytest.approx(1 / 3)
    assert found["overlap"] == 0.5  # {0-0, 1-1} and {0-0, 1-3}
    assert (found["top"], found["top_reference"]) == (["0-0", "1-1"], ["0-0", "1-3"])
    # Ranks: five zeros share rank 3; A has 0-1, 1-1, 0-0 at 6, 7, 8 and B 0-2, 1-3, 0-0. With mean 4.5 the deviations
    # are -1.5 (five times), 1.5, 2.5, 3.5: squares sum to 32, products to 12.25 - 2 * 1.5 * (1.5 + 2.5) + 3 * 2.25 = 7.
    assert found["spearman"] == pytest.approx(7 / 32)
    assert found["unit"] == "query head"


def test_comparing_with_a_list(files: dict[str, Path]) -> None:
    found = json.loads(run("compare", files[".safetensors"], files[".yaml"], "--k", 2, "--json").stdout)
    assert (found["active_reference"], found["overlap"], found["recall"]) == (3, 0.5, pytest.approx(1 / 3))


def test_comparing_with_kv_heads(files: dict[str, Path]) -> None:
    # By max: A is (0.9, 0), (0.4, 0), B (0.8, 0.2), (0, 0.6).
    found = json.loads(run("compare", files[".safetensors"], files[".tsv"], "--json").stdout)
    assert found["unit"] == "kv head"
    assert found["cosine"] == pytest.approx(0.72 / (0.97 * 1.04) ** 0.5, abs=1e-6)
    assert (found["active"], found["active_reference"]) == (2, 3)
    by_mean = json.loads(run("compare", files[".safetensors"], files[".tsv"], "--kv-rule", "mean", "--json").stdout)
    # By mean A is (0.5, 0), (0.2, 0).
    assert by_mean["cosine"] == pytest.approx(0.4 / (0.29 * 1.04) ** 0.5, abs=1e-6)
    wrong = run("compare", files[".safetensors"], files[".tsv"], "--kv-rule", "median")
    assert wrong.exit_code == 2


def test_a_list_beside_kv_heads_needs_the_number_of_query_heads(files: dict[str, Path]) -> None:
    assert run("compare", files[".yaml"], files[".tsv"]).exit_code == 2
    found = json.loads(run("compare", files[".yaml"], files[".tsv"], "--query-heads", 4, "--json").stdout)
    assert found["recall"] == found["subset"] == 1.0  # the list was made from the same scores
    with pytest.raises(ConfigError, match="how many query heads"):
        comparable(HeadList((Head(0, 0),)), KVScores(np.ones((2, 2))))


def test_two_lists_take_the_smallest_grid_of_both() -> None:
    own, other, _ = comparable(HeadList((Head(0, 3),)), HeadList((Head(1, 0), Head(0, 3))))
    assert own.mean.shape == other.mean.shape == (2, 4)
    found = comparison(own, other, 0.0, 1)
    assert (found["recall"], found["subset"], found["overlap"]) == (0.5, 1.0, 0.0)


def test_what_is_not_a_number_is_null(tmp_path: Path) -> None:
    for name in "ab":
        scores([[0.0, 0.0]]).save(tmp_path / f"{name}.safetensors")
    found = json.loads(run("compare", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--json").stdout)
    assert found["cosine"] is found["recall"] is found["spearman"] is None


def test_the_map_stands_side_by_side(files: dict[str, Path]) -> None:
    shown = run("compare", files[".safetensors"], files[".json"].with_name("wu.json")).stdout
    assert "cosine" in shown
    assert "own.safetensors" in shown
    assert "wu.json" in shown
    (first,) = [line for line in shown.splitlines() if line.lstrip("│ ").startswith("0 ")]
    assert "█·  " in first
    assert "█ ░ " in first


@pytest.mark.parametrize("rows", [1, 3])
def test_what_one_example_cannot_tell_is_left_out_and_said_so(rows: int, tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        values = np.random.default_rng(seed).random((rows, 2, 4))
        HeadScores(values, tuple(map(str, range(rows))), "copy").save(tmp_path / f"{name}.safetensors")
    shown = run("compare", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--k", 2).stdout
    assert "nan" not in shown
    assert ("left out" in shown) == (rows == 1)
    header, cosine, *_ = shown.splitlines()
    assert ("low" in header.split()) == (rows > 1)
    assert cosine.startswith("cosine")


def test_shades_are_equal_steps_and_blindness_is_a_question_mark() -> None:
    assert [shade(value, 1.0) for value in (-0.5, 0.0, 0.1, 0.3, 0.5, 0.7, 1.0)] == list("  ·░▒▓█")
    assert shade(0.0, 0.0) == " "
    blind = scores([[0.5, float("nan")]])
    cells = list(side_by_side(blind, blind, ("a", "b")).columns[1].cells)
    assert str(cells[0]) == "█?"
    assert [str(span.style) for span in cells[0].spans] == ["green", "dim"]  # type: ignore[union-attr]


# --- haymaker heads -------------------------------------------------------------------------------------------------


@pytest.fixture
def detected(monkeypatch: pytest.MonkeyPatch) -> Callable[[HeadScores], list[dict[str, Any]]]:
    """`haymaker heads` with a detector that finds the scores given; the calls are kept."""
    import haymaker.heads.detection as detection
    from haymaker.study import held, stages

    class Model:
        """Nobody asks it anything."""

    calls: list[dict[str, Any]] = []

    def find(found: HeadScores) -> list[dict[str, Any]]:
        def detect(lm: Any, dataset: Any, metrics: tuple[str, ...], **options: Any) -> dict[str, HeadScores]:
            calls.append({"metrics": metrics, **options})
            return {name: HeadScores(found.values, found.example_ids, name, found.provenance) for name in metrics}

        monkeypatch.setattr(detection, "detect_all", detect)
        monkeypatch.setattr(stages, "rows_of", lambda inputs, rows: [None])
        monkeypatch.setattr(held, "model_with", lambda *given: Model)
        monkeypatch.setattr(stages, "computing", lambda lm: "")
        monkeypatch.setattr(head_files, "kv_heads_of", lambda lm: 2)
        return calls

    return find


@pytest.mark.parametrize(("kind", "kv_heads"), [("qwen2", 2), ("gpt_bigcode", 1), ("deepseek_v3", 4)])
def test_kv_heads_are_counted_in_the_model(kind: str, kv_heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs say them under other names (GPT BigCode), or say those of a latent that has none (DeepSeek)."""
    from haymaker.attention import canary

    lm: Any = SimpleNamespace(model=tiny(kind), name="tiny")
    assert head_files.kv_heads_of(lm) == kv_heads
    layers = dict(enumerate([canary.LayerShape(4, 2, 8, "a"), canary.LayerShape(4, 1, 8, "b")]))
    monkeypatch.setattr(canary, "check_architecture", lambda model: SimpleNamespace(layers=layers))
    with pytest.raises(ConfigError, match="layers of tiny have 1 or 2 KV heads"):
        head_files.kv_heads_of(lm)


def test_heads_writes_other_formats(detected: Callable[..., Any], tmp_path: Path) -> None:
    calls = detected(A)
    given = ("heads", "--model", "m", "--data", tmp_path, "--metric", "copy")
    assert run(*given, "--out", tmp_path / "a.json", "--format", "wu", "--own-answers").exit_code == 0
    assert calls[0]["answer"] == "own"
    assert json.loads((tmp_path / "a.json").read_text())["0-0"] == [0.9]
    assert run(*given, "--out", tmp_path / "a.yaml", "--format", "qrhead", "--top", 2).exit_code == 0
    assert (tmp_path / "a.yaml").read_text().startswith("attn_head_set: 0-0,1-1\n")
    assert run(*given, "--out", tmp_path / "a.tsv", "--format", "duo", "--kv-rule", "mean").exit_code == 0
    assert np.allclose(np.loadtxt(tmp_path / "a.tsv"), [[0.5, 0.0], [0.2, 0.0]])
    assert run(*given, "--out", tmp_path / "b", "--format", "xml").exit_code == 2
    for name, form in {"b.txt": "haymaker", "b.html": "haymaker", "b.safetensors": "wu"}.items():
        refused = run(*given, "--out", tmp_path / name, "--format", form)
        assert (refused.exit_code, "give a name" in refused.stderr, name in refused.stderr) == (2, True, True)
    assert len(calls) == 3, "an unknown format, or a name of another one, is refused before anything runs"


def test_heads_scores_several_metrics_in_one_call(detected: Callable[..., Any], tmp_path: Path) -> None:
    calls = detected(A)
    given = ("heads", "--model", "m", "--data", tmp_path, "--out", tmp_path / "h.safetensors", "--json")
    result = run(*given, "--metric", "copy", "--metric", "mass")
    assert [one["metric"] for one in json.loads(result.stdout)["scores"]] == ["copy", "mass"]
    assert [call["metrics"] for call in calls] == [("copy", "mass")]
    assert HeadScores.load(tmp_path / "h.mass.safetensors").metric == "mass"
    assert run(*given, "--metric", "copy", "--metric", "mass").exit_code == 2, "files are there"


def test_heads_that_no_example_scores_are_an_error(detected: Callable[..., Any], tmp_path: Path) -> None:
    detected(scores([[float("nan")] * 4]))
    result = run("heads", "--model", "m", "--data", tmp_path, "--out", tmp_path / "h.safetensors")
    assert result.exit_code == 1
    assert "none of the 1 examples gives a head a score" in " ".join(result.output.split())
    again = ("heads", "--model", "m", "--data", tmp_path, "--out", tmp_path / "h.safetensors", "--overwrite")
    assert json.loads(run(*again, "--json").stdout)["counted"] == 0, "one object, and no second one for the error"


@pytest.mark.parametrize(
    ("values", "told", "top"),
    [
        ([[0.5, 0.0], [-0.1, 0.25]], ["head 0-0", "head 1-1", "other heads"], {"0-0": 0.5, "1-1": 0.25}),
        ([[0.5, 0.75], [0.125, 0.25]], ["head 0-1", "head 0-0", "head 1-1"], {"0-1": 0.75, "0-0": 0.5, "1-1": 0.25}),
        ([[0.0, 0.0], [0.0, 0.0]], ["all heads"], {}),
        ([[0.5, float("nan")], [float("nan"), float("nan")]], ["head 0-0", "without a score"], {"0-0": 0.5}),
    ],
)
def test_heads_above_zero_alone_are_told_and_drawn(
    detected: Callable[..., Any], tmp_path: Path, values: Any, told: list[str], top: dict[str, float]
) -> None:
    detected(scores(values))
    given = ("heads", "--model", "m", "--data", tmp_path, "--out", tmp_path / "h.safetensors", "--top", 3)
    shown = run(*given, "--plot", tmp_path / "h.svg").stdout
    lines = shown.splitlines()
    assert [line.split("  ")[0] for line in lines[: len(told) + 1]] == [*told, "out"]
    assert ("3 of 4 heads" in shown) == (told[-1] == "without a score")
    assert any(line.split() == ["plot", str(tmp_path / "h.svg")] for line in lines), "where the picture is"
    assert json.loads(run(*given, "--overwrite", "--json").stdout)["top"] == top
    saved = json.loads((tmp_path / "h.json").read_text())["top"]
    assert top.items() <= saved.items()
    assert all(score > 0 for score in saved.values())
