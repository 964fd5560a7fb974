"""Candidates of one's own: every form of rows, in files and in hand, without evidence, ranked on a few real rows."""

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from command_line import fails, passes

import haymaker as hm
from haymaker.errors import ConfigError, DataError
from haymaker.recommender import ranking
from haymaker.recommender.candidates import examples_of, named

NAMES = ("Ada", "Ines", "Omar", "Vera", "Ivo", "Lena", "Noor", "Timo")
FACTS = [(f"{name} built the mill of {i}. ", f"Who built the mill of {i}?", name) for i, name in enumerate(NAMES)]
REAL = [
    {"question": asked, "answers": [name], "documents": [{"text": said, "gold": True}, {"text": "A dam."}]}
    for said, asked, name in FACTS
]
FORMS: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {"messages": [{"role": "user", "content": said + asked}, {"role": "assistant", "content": name}]}
        for said, asked, name in FACTS
    ],
    "alpaca": [{"instruction": asked, "input": said, "output": "No idea."} for said, asked, _ in FACTS],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": name}]}
        for _, asked, name in FACTS
    ],
    "completion": [{"prompt": said + asked, "completion": f" {name}"} for said, asked, name in FACTS],
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_hand_are_candidates_as_files_are(form: str, lm: hm.LanguageModel, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(FORMS[form]))
    expected = hm.read_examples(tmp_path / "rows.json")
    for given in (FORMS[form], iter(FORMS[form]), pd.DataFrame(FORMS[form]), list(expected), expected):
        assert examples_of(given, lm, 3)[:2] == (list(expected)[:3], 0.0)
    assert not any("evidence" in example.spans for example in expected)
    with pytest.raises(DataError, match="row 0: an Example is data already|expected an object of columns"):
        examples_of([*list(expected), 3], lm, 3)


def test_forms_of_three_makers_are_ranked_into_a_table(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text(json.dumps(REAL))
    words = ["recommend", "--model", "miniature-llama", "--real", tmp_path / "real.json", "--no-answers"]
    for form, rows in FORMS.items():
        (tmp_path / f"{form}.json").write_text(json.dumps(rows))
        words += ["--candidate", tmp_path / f"{form}.json"]
    (tmp_path / "probe.yaml").write_text("steps: 1\nbatch: 2\n")
    words += ["--config", tmp_path / "probe.yaml", "--rows", 4, "--real-rows", 8]
    fails(2, "expected a name that ends in .json, .csv, .parquet", *words, "--out", tmp_path / "ranking.xlsx")
    fails(2, "no detector 'copied'", *words, "--metric", "copied")
    passes(*words, "--out", tmp_path / "ranking.csv")
    with (tmp_path / "ranking.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["candidate"] for row in rows if row["rank"]) == sorted(FORMS)
    assert all(float(row["loss"]) > 0 for row in rows)


def test_probe_trainings_are_the_recommender_s_own_a_file_s_or_changed_by_set(tmp_path: Path) -> None:
    from haymaker.commands.recommendation import probe_training

    assert probe_training(None, None) == hm.TrainConfig(steps=20, batch=8)
    assert probe_training(None, ["steps=4", "rate=0.006"]) == hm.TrainConfig(steps=4, batch=8, rate=0.006)
    (tmp_path / "probe.yaml").write_text("steps: 3\n")
    assert probe_training(tmp_path / "probe.yaml", ["batch=2"]) == hm.TrainConfig(steps=3, batch=2)
    with pytest.raises(ConfigError, match="candidate untrained"):
        named({"untrained": [], "other": []})


@pytest.mark.parametrize("answer", ["Ada.\nInes.", " ".join(["Ada Reyes"] * 20)])
def test_real_rows_that_cannot_be_answered_are_told_before_anything_is_trained(
    answer: str, lm: hm.LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm.base.config.max_position_embeddings = 512
    monkeypatch.setattr(ranking, "probed", None)
    rows = [{"prompt": f"{number}. Who?", "completion": answer} for number in range(8)]
    with pytest.raises(
        ConfigError, match=r"^real: (stop|new_tokens): .*; or rank without answers \(answers=False, --no"
    ):
        hm.recommend(lm, {"one": rows, "two": rows}, rows)


def test_real_rows_are_answered_in_the_room_that_they_were_built_with(
    lm: hm.LanguageModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lm.base.config.max_position_embeddings = 128
    recipe = hm.Recipe(task="mdqa", length=128, rows=8, split="dev", answer_room=24)
    built = hm.build(recipe, lm.tokenizer)
    found = []
    monkeypatch.setattr(ranking, "probed", lambda lm, read, plan, **rest: found.append(plan.new_tokens))
    monkeypatch.setattr(ranking, "ranked", lambda *given: None)
    for real in (recipe, built, built.save(tmp_path / "real")):
        hm.recommend(lm, {"one": built, "two": built}, real)
    hm.recommend(lm, {"one": built, "two": built}, built, answers=False)
    assert found == [24, 24, 24, None]
    assert hm.evaluate(lm, built).predictions[0].generated_tokens <= 24
