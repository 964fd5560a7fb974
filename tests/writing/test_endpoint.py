"""The key goes to the server and nowhere else; whatever comes back is an answer or a fault."""

import json
from pathlib import Path
from typing import Any

import pytest
from misbehaving_server import always, first, serving
from writer_runs import KEY, run, text_of

from haymaker.errors import ConfigError
from haymaker.writing.cache import Cache
from haymaker.writing.config import WriterConfig
from haymaker.writing.endpoint import Endpoint, Fault, read_reply
from haymaker.writing.records import Answer

pytestmark = pytest.mark.usefixtures("quick")


def test_the_key_is_sent_and_stands_nowhere_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    plan = first("echo", share=0.5)
    with serving(plan) as server:
        results, _ = run(server.url, tmp_path / "cache.sqlite")
        assert server.keys == {f"Bearer {KEY}"}
    with serving(always("status 400 bad", "book number 3")) as server:
        results += run(server.url, tmp_path / "other.sqlite")[0]
    with Cache(tmp_path / "cache.sqlite", "read-only") as cache:
        cache.export(tmp_path / "cache.jsonl")
    assert b"debug" in (tmp_path / "cache.jsonl").read_bytes()  # the echo was stored, without the key
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in text_of(results)
    assert KEY not in caplog.text


def test_without_an_address_nothing_is_assumed() -> None:
    with pytest.raises(ConfigError, match="no endpoint; set it in the config or set OPENAI_BASE_URL"):
        Endpoint(WriterConfig(model="m"))


def reply(text: Any = "Ada", finish: Any = "stop", **usage: Any) -> str:
    message = {"role": "assistant", "content": text}
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage})


@pytest.mark.parametrize(
    "raw",
    [
        "[" * 100_000,
        reply("half of a letter: \ud83d"),
        reply(finish="\ud83d"),
        reply(prompt_tokens=10**30),
        reply(completion_tokens=-1),
        reply(completion_tokens=True),
        reply(completion_tokens=3.0),
        reply(["Ada"]),
        json.dumps({**json.loads(reply()), "error": {"message": "overloaded"}}),
        json.dumps({"choices": [{**json.loads(reply())["choices"][0], "error": {"code": 502}}]}),
        json.dumps({"choices": {}}),
        "null",
    ],
)
def test_a_reply_that_no_cache_could_hold_is_a_fault_that_may_pass(raw: str) -> None:
    found = read_reply(raw)
    assert isinstance(found, Fault)
    assert found.kind == "retry"
    assert read_reply(reply(completion_tokens=3)).text == "Ada"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ("<think>Ada? Yes.</think> Ada", "ok", "Ada"),
        ("Ada? Yes.\n</think>\n\nAda", "ok", "Ada"),  # the server's template had opened the block
        ("<think>Ada? Perhaps", "empty", ""),
        ("Ada", "ok", "Ada"),
    ],
)
def test_thoughts_are_no_part_of_an_answer(said: str, status: str, text: str) -> None:
    found = read_reply(reply(said))
    assert isinstance(found, Answer)
    assert (found.status, found.text) == (status, text)
