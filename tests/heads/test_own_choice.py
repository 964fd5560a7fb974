"""Heads by name or from a file of any format, as scores of a model; tables and splits of scores."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import haymaker as hm
from haymaker.errors import ConfigError, DataError
from haymaker.heads.own_choice import chosen_heads, sizes_of

CONFIG = SimpleNamespace(num_hidden_layers=2, num_attention_heads=4)
VALUES = np.array([[[0.1, 0.9, 0.0, 0.2], [0.3, 0.4, 0.8, 0.05]], [[0.3, 0.7, 0.0, 0.2], [0.3, 0.2, 0.6, 0.05]]])
SCORES = hm.HeadScores(VALUES, ("a", "b"), "copy")


@pytest.mark.parametrize("told", ["1-2,0-1", " 1-2 , 0-1 ", Path("1-2,0-1")])
def test_heads_by_name_keep_their_order(told: str | Path) -> None:
    scores = chosen_heads(told, CONFIG)
    assert scores.top(2) == [hm.Head(1, 2), hm.Head(0, 1)]
    assert scores.active() == {hm.Head(1, 2), hm.Head(0, 1)}
    assert sizes_of(scores, (1, 2, 5)) == (1, 2)  # no head beyond the list
    assert sizes_of(SCORES, (1, 2, 5)) == sizes_of(SCORES, (1, 2, 5), asked=True) == (1, 2, 5)
    assert sizes_of(scores, (1,), asked=True) == (1,)
    with pytest.raises(ConfigError, match="5 heads are asked for, and 2 are listed"):
        sizes_of(scores, (1, 5), asked=True)


@pytest.mark.parametrize("form", ["haymaker", "wu", "qrhead", "duo", "csv"])
def test_files_of_every_format_choose_heads(form: str, tmp_path: Path) -> None:
    path = tmp_path / ("heads.safetensors" if form == "haymaker" else "heads.file")
    if form == "haymaker":
        SCORES.save(path)
    else:
        hm.write_scores(SCORES, path, form, k=2, kv_heads=2)
    best = chosen_heads(path, CONFIG).top(1)[0]
    assert best in ({hm.Head(0, 0)} if form == "duo" else {hm.Head(0, 1)})  # the first of the best KV head's group


def test_wrong_choices_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0-1,0-1: a head stands twice"):
        chosen_heads("0-1,0-1", CONFIG)
    with pytest.raises(DataError, match="^9-1, 1-4: no such head; the model has 2 layers of 4 heads, 0-0 to 1-3"):
        chosen_heads("9-1,0-3,1-4", CONFIG)
    for told in ("heads.txt", "L18H6", "18:6,17:3", "18-6;17-3", "1-2," * 300):
        with pytest.raises(DataError, match="no such file of head scores; heads by name are written 18-6,17-3"):
            chosen_heads(told, CONFIG)
    SCORES.save(tmp_path / "heads.safetensors")
    with pytest.raises(DataError, match=r"scores of \(2, 4\) \(layers, heads\), and the model has \(3, 4\)"):
        chosen_heads(tmp_path / "heads.safetensors", SimpleNamespace(num_hidden_layers=3, num_attention_heads=4))
    with pytest.raises(DataError, match="and holds none; give heads.safetensors"):
        chosen_heads(tmp_path / "heads.json", CONFIG)
    many = ",".join(f"{i}-{j}" for i in range(30) for j in range(9))  # longer than a file's name may be
    assert len(chosen_heads(many, SimpleNamespace(num_hidden_layers=30, num_attention_heads=9)).top(270)) == 270


def test_a_table_of_heads_reads_back(tmp_path: Path) -> None:
    hm.write_scores(SCORES, tmp_path / "heads.csv", "csv")
    again = hm.read_scores(tmp_path / "heads.csv")
    assert np.array_equal(again.mean, SCORES.mean)
    lines = (tmp_path / "heads.csv").read_text().splitlines()
    assert lines[0] == "layer,head,score,low,high,n"
    assert len(lines) == 9
    (tmp_path / "heads.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="once, found 7 lines"):
        hm.read_scores(tmp_path / "heads.csv")
    (tmp_path / "heads.csv").write_text("layer,head,score\n0,x,1\n")
    with pytest.raises(DataError, match="expected a line per head"):
        hm.read_scores(tmp_path / "heads.csv")


@pytest.mark.parametrize(("fraction", "retrieval"), [(0.0, []), (0.25, ["0-0"]), (0.5, ["0-0", "1-1"]), (1.0, None)])
def test_kv_heads_split_into_those_that_retrieve_and_those_that_stream(
    fraction: float, retrieval: list[str] | None, tmp_path: Path
) -> None:
    # KV heads are the larger of two query heads' means: 0-0 0.8, 0-1 0.2, 1-0 0.3, 1-1 0.7
    hm.write_scores(SCORES, tmp_path / "split.json", "split", kv_heads=2, fraction=fraction)
    told = json.loads((tmp_path / "split.json").read_text())
    assert told["retrieval"] == (["0-0", "1-1", "1-0", "0-1"] if retrieval is None else retrieval)
    assert sorted(told["retrieval"] + told["streaming"]) == ["0-0", "0-1", "1-0", "1-1"]
    assert np.array(told["retrieval_mask"]).sum() == len(told["retrieval"])
    with pytest.raises(DataError, match="split.json: a split of KV heads in two kinds, which holds no scores"):
        hm.read_scores(tmp_path / "split.json")


def test_splits_need_kv_heads_and_a_share(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="format split holds KV heads: give kv_heads"):
        hm.write_scores(SCORES, tmp_path / "split.json", "split")
    with pytest.raises(ConfigError, match="expected a share of heads, 0 to 1, found 1.5"):
        hm.write_scores(SCORES, tmp_path / "split.json", "split", kv_heads=2, fraction=1.5)


def test_layers_may_have_their_own_numbers_of_heads() -> None:
    uneven = SimpleNamespace(num_hidden_layers=2, num_attention_heads=[2, 4])
    assert chosen_heads("1-3", uneven).mean.shape == (2, 4)
    with pytest.raises(DataError, match="2-0"):
        chosen_heads("2-0", uneven)
