"""The recommender on the miniature, in steps as few as can be; laws of its rows, not what it finds."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import fails, passes

import haymaker as hm
from haymaker.errors import ConfigError, Interrupted, ModelError
from haymaker.recommender import short_training

LENGTH = 128
CONFIG = hm.TrainConfig(steps=1, batch=2, rate=5e-3)
CANDIDATES = {name: hm.Recipe(task="mdqa", setting=name, length=LENGTH, rows=8) for name in ("high-high", "symbolic")}
REAL = hm.Recipe(task="mdqa", setting="real", length=LENGTH, rows=8, split="dev")


@pytest.fixture(scope="module")
def lm() -> hm.LanguageModel:
    return hm.load_model("miniature-llama")


@pytest.fixture(scope="module")
def ranking(lm: hm.LanguageModel) -> list[dict]:
    rows = list(hm.build(REAL, lm.tokenizer))
    twin = {"as real": rows[::2]}  # what the reference itself is trained on
    return hm.recommend(
        lm, CANDIDATES | twin, rows, by="cosine", config=CONFIG, full_rows=100, full_steps=50, full_length=4 * LENGTH
    )


def test_the_reference_s_own_rows_come_first(ranking: list[dict]) -> None:
    first = ranking[0]
    assert (first["rank"], first["candidate"]) == (1, "as real")
    assert (first["cosine"], first["recall"], first["shift"]) == pytest.approx((1.0, 1.0, 1.0))
    assert first["first"] > 0.9  # drawn rows may be all alike, and equal cosines differ in their last bits
    assert sum(row["first"] for row in ranking if row["rank"]) == pytest.approx(1.0)


def test_every_measure_has_bounds_and_what_stands_between_has_no_rank(ranking: list[dict]) -> None:
    assert [row["rank"] for row in ranking] == [1, 2, 3, None, None]
    assert [row["candidate"] for row in ranking[3:]] == ["untrained", "real"]
    for row in ranking[:3]:
        for name in ("cosine", "recall", "loss", "score", "ladm", "longattn"):
            assert row[f"{name}_low"] - 1e-9 <= row[name] <= row[f"{name}_high"] + 1e-9, name
    assert all(row["n"] == 4 for row in ranking)
    assert np.isnan(ranking[3]["shift"])  # the untrained model has not moved


def test_costs_are_of_the_whole_training(ranking: list[dict]) -> None:
    by_name = {row["candidate"]: row for row in ranking}
    assert by_name["high-high"]["writer_tokens"] > 100  # a hundred rows of a passage each
    assert by_name["symbolic"]["writer_tokens"] == by_name["as real"]["writer_tokens"] == 0
    assert by_name["as real"]["build_seconds"] == 0 < by_name["symbolic"]["build_seconds"]
    assert all(row["full_length"] == 512 for row in ranking[:3])
    (hours,) = {row["training_hours"] for row in ranking[:3]}  # of as many operations, whatever else the machine did
    assert hours > 0


def test_the_model_is_as_it_was(lm: hm.LanguageModel, ranking: list[dict]) -> None:
    fresh = hm.load_model("miniature-llama")
    ids = torch.arange(5, 40)[None]
    assert lm.adapter is None
    assert torch.equal(lm.model(input_ids=ids).logits, fresh.model(input_ids=ids).logits)


def test_what_cannot_be_ranked_is_refused(lm: hm.LanguageModel) -> None:
    rows = list(hm.build(REAL, lm.tokenizer))
    with pytest.raises(ConfigError, match="at least 2 to rank, found 1"):
        hm.recommend(lm, [CANDIDATES["symbolic"]], rows)
    with pytest.raises(ConfigError, match="symbolic stands more than once"):
        hm.recommend(lm, [CANDIDATES["symbolic"]] * 2, rows)
    with pytest.raises(ConfigError, match="by: expected cosine"):
        hm.recommend(lm, CANDIDATES, rows, "f1")
    with pytest.raises(ConfigError, match="needs answers"):
        hm.recommend(lm, CANDIDATES, rows, "score", answers=False)
    with pytest.raises(ConfigError, match="config: track: a probe's heads are read once"):
        hm.recommend(lm, CANDIDATES, rows, config=hm.TrainConfig(track={"every": 1}))
    with pytest.raises(ConfigError, match="at least 8 rows, half of them to compare with, found 3"):
        hm.recommend(lm, CANDIDATES, rows[:3])
    with pytest.raises(ConfigError, match="candidate none: holds no rows"):
        hm.recommend(lm, CANDIDATES | {"none": []}, rows)


def test_a_trained_model_is_refused(lm: hm.LanguageModel, tmp_path: Path) -> None:
    trained = hm.load_model("miniature-llama")
    hm.train(
        trained, hm.build(CANDIDATES["symbolic"], trained.tokenizer), CONFIG, tmp_path / "a", on_progress=lambda n: None
    )
    with pytest.raises(ModelError, match="an adapter is on"):
        hm.recommend(trained, CANDIDATES, list(hm.build(REAL, lm.tokenizer)))


MEASURES = ("cosine", "recall", "loss_low", "score", "score_high", "ladm", "active")


def test_a_stopped_ranking_goes_on_behind_the_probes_that_are_done(
    lm: hm.LanguageModel, ranking: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, trainings, train = list(hm.build(REAL, lm.tokenizer)), [], short_training.train

    def counted(*given: Any, **options: Any) -> Any:
        trainings.append(1)
        if len(trainings) == stop:
            raise Interrupted("what was done is in a folder that goes")
        return train(*given, **options)

    monkeypatch.setattr(short_training, "train", counted)
    call = partial(hm.recommend, lm, CANDIDATES | {"as real": rows[::2]}, rows, config=CONFIG, keep=tmp_path / "kept")
    stop = 3  # the reference's is the first, then one of each candidate
    with pytest.raises(Interrupted, match=r"stopped with 3 of 5 probes done; they are kept in .*kept"):
        call()
    trainings.clear()
    again = call(by="cosine")
    assert len(trainings) == 2
    told = [[row.get(name) for name in ("candidate", *MEASURES)] for row in ranking]
    assert [[row.get(name) for name in ("candidate", *MEASURES)] for row in again] == told
    assert call(by="loss")[0]["loss"] == min(row["loss"] for row in again if row["rank"])
    assert len(trainings) == 2  # none is made again for another measure
    with pytest.raises(Interrupted, match="stopped with 1 of 5"):
        call(config=CONFIG.changed(seed=1))  # of other trainings nothing is taken


def test_the_command_ranks_folders_files_and_recipes(lm: hm.LanguageModel, tmp_path: Path) -> None:
    hm.build(CANDIDATES["symbolic"], lm.tokenizer).save(tmp_path / "symbolic")
    for name, recipe in {"low": CANDIDATES["high-high"].changed(setting="low-low"), "real": REAL}.items():
        told = {"task": "mdqa", "setting": recipe.setting, "length": LENGTH, "rows": 8, "split": recipe.split}
        (tmp_path / f"{name}.yaml").write_text(json.dumps(told))
    (tmp_path / "train.yaml").write_text("{steps: 1, batch: 2}")
    paths = ("--candidate", tmp_path / "symbolic", "--candidate", f"cheap={tmp_path / 'low.yaml'}")
    about = ("--model", "miniature-llama", "--real", tmp_path / "real.yaml", "--config", tmp_path / "train.yaml")
    said = json.loads(passes("recommend", *about, *paths, "--no-answers", "--by", "loss", "--json"))["ranking"]
    assert {row["candidate"] for row in said[:2]} == {"symbolic", "cheap"}
    assert said[0]["loss"] <= said[1]["loss"]
    fails(2, "two of", "recommend", *about, *paths[:2], *paths[:2])
