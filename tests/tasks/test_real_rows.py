"""Real rows flow: a lost-in-the-middle file goes through build, heads and eval, and a broken one is refused by line."""

import gzip
import json
from pathlib import Path

import pytest
from command_line import run as call
from typer.testing import Result

PEOPLE = ["Ada", "Bob", "Cleo", "Dan", "Eve", "Finn"]


def official_row(number: int) -> dict:
    """A row in the format of nelson-liu/lost-in-the-middle, gold first."""
    gold = {
        "title": f"Bridge {number}",
        "text": f"The bridge was built by {PEOPLE[number]} Stone in 18{number}0.",
        "isgold": True,
    }
    others = [
        {"title": f"River {i}", "text": f"River {i} flows past {i} old mills and a quiet field. " * 3, "isgold": False}
        for i in range(8)
    ]
    return {
        "question": f"who built bridge number {number}",
        "answers": [f"{PEOPLE[number]} Stone"],
        "ctxs": [
            {**passage, "hasanswer": passage["isgold"], "id": str(i)} for i, passage in enumerate([gold, *others])
        ],
        "nq_annotated_gold": {"title": gold["title"], "long_answer": gold["text"]},
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(official_row(number)) + "\n" for number in range(6))
    return path


def build(source: Path, out: Path, rows: int) -> Result:
    recipe = ("--task", "mdqa", "--source", source, "--length", 1024, "--rows", rows)
    return call("build", *recipe, "--tokenizer", "miniature-llama", "--out", out)


def test_build_heads_and_eval_run_through(source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    built = build(source, data, rows=3)
    assert built.exit_code == 0, built.output
    model = ("--model", "miniature-llama", "--extend", 1024, "--data", data)
    heads = call("heads", *model, "--out", tmp_path / "heads.safetensors", "--json")
    assert heads.exit_code == 0, heads.output
    assert json.loads((tmp_path / "heads.json").read_text())["example_ids"]
    found = call("eval", *model, "--out", tmp_path / "predictions", "--json")
    assert found.exit_code == 0, found.output
    assert len((tmp_path / "predictions" / "predictions.jsonl").read_text().splitlines()) == 3


def test_a_broken_row_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(official_row(0)) + "\n" + '{"question": "broken\n')
    result = build(path, tmp_path / "data", rows=1)
    assert result.exit_code == 1
    assert "rows.jsonl, line 2" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
