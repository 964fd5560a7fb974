"""A prompt, and a file of rows, of one's own on the command line: scored as a dataset is, or told what is missing."""

import json
from pathlib import Path

import pytest
from command_line import run

import haymaker as hm

TEXT = "The bridge is of stone. Ada Reyes founded the mill."
NEEDLE = ("--needle", "Ada Reyes founded the mill.", "--answer", "Ada Reyes")


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    path = tmp_path / "prompt.txt"
    path.write_text(TEXT)
    return path


def test_heads_of_a_prompt_are_those_of_its_example(prompt: Path, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "heads.safetensors"
    asked = ("--question", "Who founded the mill?", "--plot", tmp_path / "heads.html")
    assert run("heads", "--model", model_folder, "--prompt", prompt, *asked, *NEEDLE, "--out", out).exit_code == 0
    assert "<svg" in (tmp_path / "heads.html").read_text() or "vega" in (tmp_path / "heads.html").read_text()
    example = hm.example(TEXT, NEEDLE[1], "Who founded the mill?", "Ada Reyes")
    scores = hm.detect_heads(hm.load_model(model_folder), example)
    assert (hm.HeadScores.load(out).mean == scores.mean.astype("float32")).all()


def test_a_json_prompt_is_a_chat(model_folder: Path, tmp_path: Path) -> None:
    chat, out = tmp_path / "chat.json", tmp_path / "heads.safetensors"
    chat.write_text(json.dumps([{"role": "user", "content": f"{TEXT} Who did?"}]))
    assert run("heads", "--model", model_folder, "--prompt", chat, *NEEDLE, "--out", out).exit_code == 0
    assert len(hm.HeadScores.load(out).values) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "give --data"),
        (("--data", "d", "--prompt", "p.txt"), "give --data"),
        (("--data", "d", "--needle", "x"), "--needle and --question go with --prompt"),
        (("--prompt", "prompt.txt", "--answer", "x"), "--prompt: give its --needle"),
        (("--prompt", "prompt.txt", "--needle", "x"), "--prompt: give its --needle"),
        (("--prompt", "prompt.txt", "--needle", "e", "--answer", "x"), "stands in the text more than once"),
        (("--prompt", "prompt.txt", "--needle", "dam", "--answer", "x"), "'dam' stands nowhere"),
        (("--data", "d", "--plot", "map.gif"), "--plot map.gif: expected a name that ends in .html"),
        (("--data", "d", "--plot", "other/map.png"), "expected a name in the folder of"),
        (("--data", "mine.csv", "--map", "question"), "--map question: expected NAME=COLUMN"),
        (("--prompt", "nowhere.txt", "--needle", "x", "--answer", "x"), "nowhere.txt: cannot be read"),
    ],
)
def test_half_a_prompt_is_told_in_one_sentence(
    given: tuple[str, ...], message: str, prompt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("heads", "--model", "none", *given, "--out", "heads.safetensors")
    assert found.exit_code in (1, 2)
    assert message in found.stderr.replace("\n", " ")
    assert len(found.stderr.strip().splitlines()) == 1


def test_rows_of_a_file_are_data_and_columns_may_have_other_names(tmp_path: Path, model_folder: Path) -> None:
    mine, out = tmp_path / "mine.jsonl", tmp_path / "heads.safetensors"
    turns = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": "Ada Reyes"}]
    mine.write_text(json.dumps({"messages": turns, "evidence": ["Ada Reyes founded"]}))
    assert run("heads", "--model", model_folder, "--data", mine, "--out", out).exit_code == 0
    rows = tmp_path / "rows.csv"
    rows.write_text(f"prompt,answers,context\nWho founded the mill?,Ada Reyes,{TEXT}\n")
    build = ("build", "--task", "qa", "--length", 73, "--rows", 1, "--source", rows)
    assert run(*build, "--map", "question=prompt", "--out", tmp_path / "built").exit_code == 0
    assert hm.load_dataset(tmp_path / "built")[0].question == "Who founded the mill?"
    assert "--map question: expected NAME=COLUMN" in run(*build, "--map", "question", "--out", tmp_path / "b").stderr


def test_heads_are_named_one_by_one(tmp_path: Path, model_folder: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text(
        json.dumps({"messages": [{"role": "user", "content": TEXT}, {"role": "assistant", "content": "Ada"}]})
    )
    words = ("ablate", "--model", model_folder, "--data", mine, "--draws", 1, "--new-tokens", 2, "--heads")
    assert run(*words, "2-1,0-3", "--out", tmp_path / "out").exit_code == 0
    frame = hm.load_results(tmp_path / "out")["ablation"]
    assert list(frame.head_list[frame.heads == "retrieval"]) == ["2-1", "2-1 0-3"]
    assert "not of a model" in run(*words, "9-1", "--out", tmp_path / "other").stderr


COMMANDS = {
    "ablate": ("ablate", "--heads", "2-1", "--draws", 1, "--new-tokens", 12),
    "causal-map": ("causal-map",),
    "attribute": ("attribute",),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_prompt_goes_where_data_goes(name: str, prompt: Path, model_folder: Path, tmp_path: Path) -> None:
    words = (*COMMANDS[name], "--model", model_folder)
    asked = ("--question", "Who founded the mill?", *NEEDLE)
    assert run(*words, "--prompt", prompt, *asked, "--out", tmp_path / "first").exit_code == 0
    # the same as the prompt's row in a file
    turns = [{"role": "user", "content": f"{TEXT}\n\nQuestion: Who founded the mill?\nAnswer:"}]
    row = {"messages": [*turns, {"role": "assistant", "content": "Ada Reyes"}], "evidence": [NEEDLE[1]]}
    (tmp_path / "mine.jsonl").write_text(json.dumps({"chat": row["messages"], "evidence": row["evidence"]}))
    mine = ("--data", tmp_path / "mine.jsonl", "--map", "messages=chat")
    assert run(*words, *mine, "--out", tmp_path / "second").exit_code == 0
    if name == "ablate":
        first, second = (hm.load_results(tmp_path / out)["ablation"] for out in ("first", "second"))
        assert first.score.tolist() == second.score.tolist()
    else:
        first, second = (hm.HeadScores.load(tmp_path / out) for out in ("first", "second"))
        assert (first.mean == second.mean).all()
    given = run(*words, "--data", tmp_path / "mine.jsonl", "--answer", "x", "--out", tmp_path / "third")
    assert "--answer goes with --prompt" in given.stderr
    assert "give --data" in run(*words, "--out", tmp_path / "third").stderr


def test_columns_of_other_names_are_told_to_every_command(tmp_path: Path, model_folder: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text(f"Asked;Reply;Passage\nWho founded the mill?;Ada Reyes;{TEXT}\n")
    told = [word for pair in ("question=Asked", "answer=Reply", "context=Passage") for word in ("--map", pair)]
    assert "--map question=prompt" in run("stats", rows).stderr
    assert '"tokens": null' in run("stats", rows, *told, "--json").stdout
    counted = json.loads(run("stats", rows, *told, "--tokenizer", model_folder, "--json").stdout)
    assert counted["tokens"] > 10
    assert json.loads(run("show", rows, *told, "--json").stdout)["answers"] == ["Ada Reyes"]
    assert run("export", rows, *told, "--format", "openai", "--out", tmp_path / "out.csv").exit_code == 0
    assert hm.read_examples(tmp_path / "out.csv")[0].target == "Ada Reyes"
    scored = ("heads", "--model", model_folder, "--data", rows, *told, "--out", tmp_path / "h.safetensors")
    assert run(*scored).exit_code == 0
    trained = ("train", "--model", model_folder, "--data", rows, *told, "--set", "steps=1", "--out", tmp_path / "a")
    assert run(*trained).exit_code == 0
    saved = hm.read_examples(tmp_path / "out.csv").save(tmp_path / "data")
    assert "is a dataset, built with both; leave --map out" in run("stats", saved, *told).stderr
