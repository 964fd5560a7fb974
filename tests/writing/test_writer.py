"""Rows written by a model that does well, and what is listed where it does not."""

import asyncio
import signal
from pathlib import Path
from unittest.mock import Mock

import pytest
from misbehaving_server import always, serving
from writer_runs import REQUESTS, ROWS, failures, run, text_of

from haymaker.realism.written import Written
from haymaker.writing.writer import Failure, drained_by_signals

pytestmark = pytest.mark.usefixtures("quick")


def test_every_row_is_written_and_every_passage_holds_its_answer() -> None:
    with serving() as server:
        results, client = run(server.url)
    assert [asked for asked, _ in results] == ROWS
    for asked, written in results:
        assert isinstance(written, Written)
        assert written.fault is None
        assert len(written.passages) == len(asked.steps)
        assert written.answer not in written.question
        assert asked.steps[-1][1] not in text_of([(asked, written)])  # the real answer stands nowhere
    assert server.asked.total() == REQUESTS == client.counts.answers
    assert client.spend.total_dollars == 0.0


def test_the_haystack_reading_sees_other_rows_passages_and_never_the_last_own() -> None:
    seen: list[str] = []

    def plan(content: str, before: int) -> str:
        seen.append(content)
        return "ok"

    with serving(plan) as server:
        results, _ = run(server.url, rows=ROWS[:4])
    blind = [text for text in seen if "Real passage" in text]
    assert len(blind) == 4
    for _, written in results:
        assert isinstance(written, Written)
        assert not any(written.answer in text for text in blind)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("status 500", "status 500, 3 times"),
        ("status 400 context_length_exceeded", "the prompt is longer than the model's context: ERROR: context_length"),
        ("status 400 bad_request", "status 400: ERROR: bad_request for Bearer [key]"),
        ("empty", "an empty answer"),
        ("sorry", "the model refused"),
        ("finish length", "cut off at max_tokens"),
        ("finish content_filter", "filtered by the server"),
        ("finish tool_calls", "finish_reason tool_calls"),
        ("broken", "the reply is not JSON, 3 times"),
        ("latin", "the reply is not text, 3 times"),
        ("half_a_letter", "status 400: ERROR: ?"),
    ],
)
def test_what_stays_is_a_failure_with_its_reason(behaviour: str, reason: str, tmp_path: Path) -> None:
    """One row fails for good; it is listed, the others are written, and nothing is made up."""
    with serving(always(behaviour, "book number 3")) as server:
        results, _ = run(server.url, tmp_path / "cache.sqlite", retries=2)
    assert len(results) == len(ROWS)
    assert [asked.key for asked, result in results if isinstance(result, Failure)] == ["row-3"]
    assert failures(results)[0].startswith(f"passage 0: {reason}")
    assert "ERROR" not in text_of([pair for pair in results if isinstance(pair[1], Written)])
    again, _ = run(None, tmp_path / "cache.sqlite", "offline", retries=2)
    assert text_of(again) == text_of(results)  # failures are replayed too


@pytest.mark.parametrize("sent", [None, signal.SIGINT, signal.SIGTERM])
def test_what_a_signal_did_before_it_does_behind_the_first_one(sent: signal.Signals | None) -> None:
    """asyncio knows Python's own handlers alone: behind a run SIGTERM would end a command while it writes its file."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, Mock()) for one in numbers]
    ours, client = [signal.getsignal(one) for one in numbers], Mock()

    async def go() -> None:
        with drained_by_signals(client):
            if sent is not None:
                signal.raise_signal(sent)
                await asyncio.sleep(0.01)
                assert [signal.getsignal(one) for one in numbers] == ours
        assert [signal.getsignal(one) for one in numbers] == ours

    try:
        asyncio.run(go())
    finally:
        for one, handler in zip(numbers, before, strict=True):
            signal.signal(one, handler)
    assert client.drain.call_count == (sent is not None)
