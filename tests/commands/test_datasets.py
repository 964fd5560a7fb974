"""The data commands: what they print, write and leave alone, and their exit codes."""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import WORLD, fails, passes, run
from killed import forking
from real_rows import mdqa_row, write_jsonl

import haymaker as hm
from haymaker.cli import app
from haymaker.config import Recipe
from haymaker.data import parallel
from haymaker.data.dataset import Dataset, Folder
from haymaker.data.schema import SCHEMA


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "data"
    passes("build", *WORLD, "--out", folder)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Six usable rows, one of them with long evidence, and one without an answer."""
    rows = [mdqa_row(n) for n in range(7)]
    rows[2]["ctxs"][0]["text"] += " It rained." * 600
    rows[5]["answers"] = []
    return write_jsonl(tmp_path / "rows.jsonl", rows)


# ---- build


def test_build_prints_the_folder_and_what_was_rejected(source: str, tmp_path: Path) -> None:
    flags = ("build", "--task", "mdqa", "--source", source, "--length", 4096, "--rows", 5)
    result = run(*flags, "--limit", 3, "--out", tmp_path / "a")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'a'}\n"
    assert "3 rows of " in result.stderr
    assert "rejected rows of the source: 1 (the question or all answers are empty: line 6)" in result.stderr
    passes(*flags, "--out", tmp_path / "b")
    assert list(Folder(tmp_path / "a").rows) == list(Folder(tmp_path / "b").rows)[:3]


def test_rows_that_hold_a_document_more_than_once_are_told(tmp_path: Path) -> None:
    for count, told in ((3, "2 of 2 rows hold a document more than once, as source and pool have too few"), (40, "")):
        source = write_jsonl(tmp_path / f"{count}.jsonl", [mdqa_row(n, 3) for n in range(count)])
        asked = ("--task", "mdqa", "--source", source, "--length", 2048, "--rows", 2, "--out", tmp_path / f"{count}")
        found = run("build", *asked)
        assert found.exit_code == 0, found.output
        assert told in found.stderr
        assert bool(told) == ("more than once" in found.stderr)


def test_rows_that_fail_stop_the_build_or_are_told(source: str, tmp_path: Path) -> None:
    flags = ("build", "--task", "mdqa", "--source", source, "--length", 1024, "--rows", 6, "--out", tmp_path / "data")
    fails(1, "raise the length", *flags)
    assert not (tmp_path / "data").exists()
    result = run(*flags, "--skip-failed")
    assert result.exit_code == 3
    assert "row " in result.stderr
    assert "was left out: length: 1024 tokens are too few" in result.stderr
    assert len(Folder(tmp_path / "data")) == 5
    again = run(*flags, "--skip-failed", "--json")
    assert again.exit_code == 3
    assert [failure["row"] for failure in json.loads(again.stdout)["failed"]] == [
        failure["row"] for failure in Folder(tmp_path / "data").manifest["failed"]
    ]


def test_the_same_command_again_changes_nothing(data: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
    assert json.loads(passes("build", *WORLD, "--out", data, "--json"))["rows"] == 4
    assert {path.name: path.stat().st_mtime_ns for path in data.iterdir()} == before
    fails(1, "another dataset (seed: 0, here 1)", "build", *WORLD, "--seed", 1, "--out", data)


def test_overwrite_is_explicit(tmp_path: Path) -> None:
    passes("build", *WORLD, "--out", tmp_path / "data")
    passes("build", *WORLD, "--seed", 1, "--out", tmp_path / "data", "--overwrite")
    assert Folder(tmp_path / "data").recipe.seed == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    fails(1, "not a dataset", "build", *WORLD, "--out", tmp_path / "mine", "--overwrite")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


def test_a_dry_run_writes_nothing_and_comes_near(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = ("build", "--task", "mdqa", "--source", source, "--length", 4096, "--rows", 6)
    found = json.loads(passes(*flags, "--dry-run", "--json"))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]
    assert (found["rows"], found["rows_available"], found["failed"]) == (6, 6, 0)
    assert found["rejected"] == {"the question or all answers are empty": 1}
    assert found["seconds"] > 0
    passes(*flags, "--out", "data")
    made = Folder("data")
    assert found["tokens"] == made.manifest["checks"]["tokens"], "fewer than eight rows: all of them were sampled"
    assert found["bytes"] == pytest.approx(sum(path.stat().st_size for path in Path("data").glob("*.parquet")), rel=0.2)
    assert "rejected" in passes(*flags, "--dry-run")


def test_build_needs_a_folder() -> None:
    fails(2, "--out: give the folder to write", "build", *WORLD)


def run_alone(words: list[str], said: Path) -> None:
    """The command in a process of its own, what it says on stderr in a file. Its parts are small."""
    parallel.MOST_ROWS_PER_PART = 8
    os.dup2(os.open(said, os.O_CREAT | os.O_WRONLY), 2)
    app(words)


def test_ctrl_c_gives_one_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    out, said = tmp_path / "data", tmp_path / "said"
    words = ["build", "--task", "mdqa", "--length", "128", "--rows", "4000", "--out", str(out)]
    process = forking().Process(target=run_alone, args=(words, said))
    process.start()
    try:
        deadline = time.monotonic() + 300  # on a busy machine; it ends as soon as a part is there
        while not list(tmp_path.glob(".data.parts/part-*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid or 0, signal.SIGINT)
        process.join(300)
    finally:
        process.kill()
    assert process.exitcode == 130
    sentence = r"haymaker: stopped after \d+ of 4000 rows; the same command goes on from there\n"
    assert re.fullmatch(sentence, said.read_text())
    assert not out.exists()
    assert list(tmp_path.glob(".data.parts/part-*.parquet"))


# ---- validate, stats, data


def changed(folder: Path, to: Path, **changes: Any) -> Path:
    """A copy whose row 1 differs, with a manifest that fits its bytes."""
    loaded = hm.load_dataset(folder)
    rows = list(loaded.rows)
    rows[1] |= changes
    return Dataset(loaded.table.from_pylist(rows, schema=SCHEMA), loaded.manifest).save(to)


def test_validate_passes_or_lists_problems(data: Path, tmp_path: Path) -> None:
    assert passes("validate", data) == "4 rows hold\n"
    broken = changed(data, tmp_path / "broken", n_target_tokens=99)
    result = run("validate", broken)
    assert result.exit_code == 1
    assert "recorded" in result.stdout
    as_json = run("validate", broken, "--no-rebuild", "--json")
    assert as_json.exit_code == 1
    found = json.loads(as_json.stdout)
    assert (found["passed"], found["rows"], len(found["problems"])) == (False, 4, 1)


def test_validate_takes_the_tokenizer_that_the_dataset_names(data: Path, tmp_path: Path, tokenizer: Any) -> None:
    nameless = hm.build(Recipe(task="mdqa", length=64, rows=1), tokenizer).save(tmp_path / "data")
    fails(2, "does not name its tokenizer; give --tokenizer", "validate", nameless)
    passes("validate", nameless, "--tokenizer", "miniature-llama")


def test_stats_for_people_and_machines(data: Path, tmp_path: Path) -> None:
    found = json.loads(passes("stats", data, "--json"))
    assert (found["rows"], found["tokens_most"] <= 128) == (4, True)
    said = passes("stats", data)
    assert re.search(r"^rows +4$", said, re.MULTILINE)
    shared = json.loads(passes("stats", data, "--against", data, "--json"))
    assert shared["rows_sharing_question"] == shared["rows_sharing_evidence"] == 4


def test_data_verify(data: Path, tmp_path: Path) -> None:
    assert "every file is as the manifest records" in passes("data", "verify", data)
    broken = hm.load_dataset(data).save(tmp_path / "broken")
    next(broken.glob("data-*")).unlink()
    result = run("data", "verify", broken, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"][0].endswith(": missing")


def test_data_diff(data: Path, tmp_path: Path) -> None:
    assert passes("data", "diff", data, data).startswith("4 rows are the same, 0 differ")
    other = changed(data, tmp_path / "other", question="who?")
    fails(2, "leave --map out", "data", "diff", data, other, "--map", "question=prompt")
    result = run("data", "diff", data, other)
    assert result.exit_code == 1
    assert "3 rows are the same, 1 differ\n  1 in question" in result.stdout
    assert json.loads(run("data", "diff", data, other, "--json").stdout)["columns"] == {"question": 1}


def test_data_overlap_is_recorded(data: Path, tmp_path: Path) -> None:
    copied = hm.load_dataset(data).save(tmp_path / "test")
    identity = Folder(copied).manifest["identity"]
    found = json.loads(passes("data", "overlap", copied, data, "--json"))
    assert found == {"rows_sharing_question": 4, "rows_sharing_pair": 4, "rows_sharing_evidence": 4}
    assert Folder(copied).manifest["overlap"] == {"data": found}
    assert Folder(copied).manifest["identity"] == identity
    assert f"## Rows shared with other datasets\n- data: {found}" in (copied / "README.md").read_text()
    passes("data", "verify", copied)


def test_data_pool_and_unpool(data: Path, tmp_path: Path) -> None:
    pooled, again = tmp_path / "pooled", tmp_path / "again"
    assert passes("data", "pool", data, pooled) == f"{pooled}\n"
    passes("data", "unpool", pooled, again)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in data.iterdir()
    }
    for command in (("validate", pooled), ("stats", pooled), ("data", "verify", pooled), ("show", pooled)):
        passes(*command)
    fails(2, "exists; give another --out, or --overwrite", "data", "pool", data, pooled)
