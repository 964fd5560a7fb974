"""`haymaker write` as people run it: killed, interrupted, replayed, against a real model, and on to `build`."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import run as call
from misbehaving_server import Server, always, first, serving
from real_rows import mdqa_row, musique_row, topic, write_jsonl

from haymaker.models.packaged import MINIATURES
from haymaker.realism.written import read_written
from haymaker.writing import limits
from haymaker.writing.cache import Cache

KEY = "sk-another-secret"
ROWS = 6


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment, and waits of milliseconds."""
    monkeypatch.setattr(limits, "BASE_SECONDS", 0.002)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for name in ("OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def source(tmp_path: Path) -> str:
    return write_jsonl(tmp_path / "rows.jsonl.gz", [mdqa_row(number) for number in range(ROWS)])


def words(server: Server | None, source: str, out: Path, task: str = "mdqa", **values: object) -> list[str]:
    """The command's words; `values` are the config's."""
    config = out.with_suffix(".yaml")
    config.write_text(json.dumps({"model": "m", "base_url": server.url if server else None, **values}))
    return ["write", "--task", task, "--source", source, "--config", str(config), "--out", str(out)]


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen]:
    """The command in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "haymaker", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_served(server: Server, requests: int) -> None:
    deadline = time.monotonic() + 60
    while server.served.total() < requests and time.monotonic() < deadline:
        time.sleep(0.002)
    assert server.served.total() >= requests


def test_a_run_says_what_it_did_and_builds(source: str, tmp_path: Path) -> None:
    out = tmp_path / "written.jsonl"
    with serving() as server:
        result = call(*words(server, source, out), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["rows"], told["written"], told["failed"], told["answers"]) == (ROWS, ROWS, 0, 4 * ROWS)
    assert len(read_written(out)) == ROWS
    assert sorted(path.name for path in tmp_path.glob("written*")) == [
        "written.jsonl", "written.sqlite", "written.yaml"
    ]  # fmt: skip
    again = call(*words(None, source, out))
    assert again.exit_code == 2
    assert "exists; give another --out, or --overwrite" in again.output
    recipe = ("--task", "mdqa", "--setting", "high-low", "--source", source, "--length", 900, "--rows", 3)
    built = call("build", *recipe, "--set", f"written={out}", "--out", tmp_path / "data")
    assert built.exit_code == 0, built.output
    shown = json.loads(call("show", tmp_path / "data", "--row", 0, "--json").stdout)
    start, stop = shown["spans"]["answer"][0]
    texts = {written.answer: written for written in read_written(out).values()}
    assert shown["text"][start:stop] == shown["answers"][0]
    assert texts[shown["answers"][0]].passages[0] in shown["text"]


@pytest.mark.parametrize("task", ["musique", "summhay"])
def test_the_other_tasks_are_written_too(task: str, tmp_path: Path) -> None:
    source = tmp_path / "rows.json"
    if task == "musique":
        write_jsonl(source, [musique_row(number, hops=2 + number) for number in range(3)])
    else:
        source.write_text(json.dumps(topic()))
    with serving() as server:
        result = call(*words(server, str(source), tmp_path / "written.jsonl", task), "--json")
    assert result.exit_code == 0, result.output
    found = read_written(tmp_path / "written.jsonl").values()
    assert all(written.fault is None and len(set(written.passages)) == len(written.passages) for written in found)
    assert sorted(len(written.passages) for written in found) == ([2, 3, 4] if task == "musique" else [4] * 4)


def test_rows_that_failed_are_listed_and_the_exit_code_is_3(source: str, tmp_path: Path) -> None:
    out = tmp_path / "written.jsonl"
    with serving(always("sorry", "who won the prize of year 3")) as server:
        result = call(*words(server, source, out), "--json")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert (told["written"], told["failed"]) == (ROWS - 1, 1)
    assert told["reasons"] == {"passage 0: the model refused": 1}
    (failed,) = map(json.loads, (tmp_path / "written.failed.jsonl").read_text().splitlines())
    assert failed["question"] == "who won the prize of year 3"
    assert not {failed["key"]} & set(read_written(out))
    with serving() as server:  # mended, from the start
        result = call(*words(server, source, out), "--mode", "refresh", "--overwrite")
    assert result.exit_code == 0
    assert len(read_written(out)) == ROWS
    assert not (tmp_path / "written.failed.jsonl").exists()


def test_a_run_that_wrote_nothing_leaves_no_file_and_the_same_command_goes_on(source: str, tmp_path: Path) -> None:
    out, refused = tmp_path / "written.jsonl", tmp_path / "written.failed.jsonl"
    with serving(always("sorry", "")) as server:
        command = words(server, source, out)
        assert call(*command).exit_code == 3
        assert (out.exists(), len(refused.read_text().splitlines())) == (False, ROWS)
        assert call(*command).exit_code == 3
    with serving() as server:
        assert call(*words(server, source, out), "--mode", "refresh").exit_code == 0
    assert len(read_written(out)) == ROWS
    assert not refused.exists()
    out.unlink()
    refused.write_text('{"mine": 1}\n')
    result = call(*words(None, source, out))
    assert (result.exit_code, refused.read_text()) == (2, '{"mine": 1}\n')


def test_a_refused_import_makes_no_cache(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"key": 1}\n')
    result = call("cache", "import", tmp_path / "new.sqlite", tmp_path / "answers.jsonl")
    assert (result.exit_code, "line 1: expected key, request" in result.output) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]


def test_a_killed_run_goes_on_and_nothing_is_paid_for_twice(source: str, tmp_path: Path) -> None:
    """kill -9 after 8, then after 14 answers: only what was under way is sent again, under its idempotency key."""
    out, concurrency = tmp_path / "written.jsonl", 3
    with serving(delay_seconds=0.01) as server:
        command = words(server, source, out, concurrency=concurrency)
        for answers in (8, 14):
            with running(*command) as process:
                wait_until_served(server, answers)
                process.send_signal(signal.SIGKILL)
                process.wait()
            assert not out.exists()
            with Cache(tmp_path / "written.sqlite", "read-only") as cache:
                kept = [entry.key for entry in cache.entries()]
            assert len(kept) >= answers - 2 * concurrency  # those under way at either kill
            asked = server.asked.copy()
            assert sum(asked.values()) - len(asked) <= concurrency * 2
        result = call(*command, "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["answers_from_cache"] == len(kept)
        again = {content[-64:]: server.asked[content] - asked[content] for content in server.asked}
        assert not [key for key in kept if again[key]]  # none that was in the cache
        assert len(server.asked) == 4 * ROWS  # no other requests than those of an unbroken run
    with serving() as server:
        call(*words(server, source, tmp_path / "unbroken.jsonl", concurrency=concurrency))
    assert out.read_bytes() == (tmp_path / "unbroken.jsonl").read_bytes()


def test_ctrl_c_lets_requests_under_way_end_and_keeps_their_answers(source: str, tmp_path: Path) -> None:
    with serving(delay_seconds=0.15) as server:
        command = words(server, source, tmp_path / "written.jsonl", concurrency=3)
        with running(*command) as process:
            wait_until_served(server, 3)
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert f"of {ROWS} rows are done, and the cache keeps every answer" in said
        with Cache(tmp_path / "written.sqlite", "read-only") as cache:
            assert cache.statistics()["answers"] == server.asked.total() == server.served.total()
    assert KEY not in said
    assert not (tmp_path / "written.jsonl").exists()


def test_a_dry_run_counts_and_sends_nothing(source: str, tmp_path: Path) -> None:
    with serving() as server:
        command = words(server, source, tmp_path / "written.jsonl")
        result = call(*command, "--dry-run", "--json", "--set", "dollars_per_million_output_tokens=2.5")
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert (told["rows"], told["requests"], server.asked.total()) == (ROWS, 4 * ROWS, 0)
        assert told["dollars"] == pytest.approx(told["output_tokens"] * 2.5e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl.gz", "written.yaml"]


def test_a_cache_moves_as_text_and_replays_offline_without_a_key(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(first("429 0", "broken", share=0.3)) as server:
        assert call(*words(server, source, tmp_path / "a.jsonl")).exit_code == 0
    exported = call("cache", "export", tmp_path / "a.sqlite", "--out", tmp_path / "answers.jsonl")
    assert exported.exit_code == 0, exported.output
    assert call("cache", "import", tmp_path / "b.sqlite", tmp_path / "answers.jsonl").exit_code == 0
    assert json.loads(call("cache", "stats", tmp_path / "b.sqlite", "--json").stdout)["answers"] == 4 * ROWS
    monkeypatch.delenv("OPENAI_API_KEY")
    replayed = call(*words(None, source, tmp_path / "b.jsonl"), "--mode", "offline")
    assert replayed.exit_code == 0, replayed.output
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--mode", "ofline"], "expected normal, refresh, offline, read-only"),
        (["--rows", "99"], f"gives {ROWS}; ask for fewer"),
        (["--set", "modell=x"], "unknown key modell"),
        (["--mode", "offline"], "there is no such cache"),
        ([], "no endpoint"),
        (["--task", "kv"], "mdqa, musique, summhay or qa"),
    ],
)
def test_mistakes_are_one_sentence(source: str, tmp_path: Path, extra: list[str], message: str) -> None:
    result = call(*words(None, source, tmp_path / "written.jsonl"), *extra)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


# ---- a real server


@contextmanager
def transformers_serve(folder: Path) -> Iterator[str]:
    """`transformers serve` of the miniature model, which needs a chat template to be served; its address."""
    shutil.copytree(MINIATURES / "llama", folder)
    (folder / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--host", "127.0.0.1",
         "--port", str(port), "--device", "cpu"],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(10)


def wait_for(url: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert server.poll() is None, "transformers serve ended by itself"
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("transformers serve did not come up")


@pytest.mark.slow
def test_a_real_server_with_a_real_model(source: str, tmp_path: Path) -> None:
    """The miniature model writes no encyclopedia: what it writes is found unusable, listed with reasons, and kept."""
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package)
    with transformers_serve(tmp_path / "model") as url:
        command = words(None, source, tmp_path / "a.jsonl", max_tokens=16, attempts=2, temperature=0.7)
        command += ["--rows", "2", "--set", f"base_url={url}", "--set", f"model={tmp_path / 'model'}"]
        result = call(*command, "--json")
    assert result.exit_code == 3, result.output
    told = json.loads(result.stdout)
    assert (told["written"], told["failed"], told["retries"]) == (0, 2, 0)
    assert all(re.match(r"passage 0: (cut off|does not|is )", reason) for reason in told["reasons"])
    assert told["answers"] == 4  # two rows, two samples each
    with Cache(tmp_path / "a.sqlite", "read-only") as cache:
        entries = list(cache.entries())
    assert all(entry.input_tokens > 50 and entry.output_tokens >= 1 for entry in entries)
    assert {entry.status for entry in entries} <= {"ok", "length", "empty"}
    again = call(
        *command, "--mode", "offline", "--json", "--out", tmp_path / "b.jsonl", "--cache", tmp_path / "a.sqlite"
    )
    assert json.loads(again.stdout)["reasons"] == told["reasons"]
    assert (tmp_path / "a.failed.jsonl").read_bytes() == (tmp_path / "b.failed.jsonl").read_bytes()
