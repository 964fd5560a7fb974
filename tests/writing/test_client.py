"""A network that misbehaves: no row lost, nothing paid for twice, no error's text among the data."""

import asyncio
import time
from pathlib import Path

import pytest
from misbehaving_server import Plan, always, first, serving, well
from writer_runs import KEY, REQUESTS, ROWS, failures, run, text_of

from haymaker.errors import ConfigError, DataError, ModelError
from haymaker.realism.written import Asked
from haymaker.writing import client as client_module
from haymaker.writing.cache import Cache, read_exported
from haymaker.writing.client import Client
from haymaker.writing.config import WriterConfig
from haymaker.writing.endpoint import Endpoint
from haymaker.writing.records import Answer, Request

pytestmark = pytest.mark.usefixtures("quick")


def test_offline_gives_the_same_rows_and_asks_nobody(tmp_path: Path) -> None:
    with serving(first("finish length", share=0.4)) as server:
        results, _ = run(server.url, tmp_path / "cache.sqlite")
    with Cache(tmp_path / "cache.sqlite", "read-only") as cache:
        cache.export(tmp_path / "cache.jsonl")
    with Cache(tmp_path / "moved.sqlite") as cache:
        cache.add(read_exported(tmp_path / "cache.jsonl"))
    again, client = run(None, tmp_path / "moved.sqlite", "offline")
    assert text_of(again) == text_of(results)
    assert client.counts.answers == 0
    with pytest.raises(DataError, match="no answer for row extra, passage 0, sample 0"):
        run(None, tmp_path / "moved.sqlite", "offline", [Asked("extra", "who", (("who", "x"),), ())])


def test_a_second_run_asks_nothing_and_refresh_asks_everything(tmp_path: Path) -> None:
    with serving() as server:
        results, _ = run(server.url, tmp_path / "cache.sqlite")
        for mode, requests in (("normal", 0), ("read-only", 0), ("refresh", REQUESTS)):
            before = server.asked.total()
            assert text_of(run(server.url, tmp_path / "cache.sqlite", mode)[0]) == text_of(results)  # type: ignore[arg-type]
            assert server.asked.total() - before == requests, mode


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(first("429 0", "429 0.02", "429", share=0.7), id="storm of 429"),
        pytest.param(first("status 500", "status 503", share=0.5), id="5xx"),
        pytest.param(first("half", share=0.5), id="half-written"),
        pytest.param(first("broken", "html", "latin", share=0.4), id="not JSON"),
        pytest.param(first("odd", share=0.4), id="JSON that is no completion"),
        pytest.param(first("empty", "sorry", share=0.4), id="empty and declined"),
        pytest.param(first("refusal", "finish length", share=0.4), id="refused and cut off"),
        pytest.param(first("finish content_filter", "status 400 content_filter", share=0.4), id="filtered"),
    ],
)
def test_what_passes_loses_no_row_and_leaves_no_trace(plan: Plan, tmp_path: Path) -> None:
    with serving(plan) as server:
        results, _ = run(server.url, tmp_path / "cache.sqlite", timeout_seconds=60.0)
        assert [asked for asked, _ in results] == ROWS
        assert failures(results) == []
        assert "ERROR" not in text_of(results)
        assert server.asked.total() > REQUESTS  # it did misbehave
        assert all(count == 1 for count in server.served.values() if count)  # nothing was paid for twice
        asked = server.asked.total()
        run(server.url, tmp_path / "cache.sqlite")
        assert server.asked.total() == asked


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_a_server_that_never_ends_is_waited_for_no_longer_than_the_timeout(behaviour: str) -> None:
    """Silent for 30 seconds, or a byte now and then for ever."""
    with serving(first(behaviour, share=0.2)) as server:
        began = time.monotonic()
        results, client = run(server.url, timeout_seconds=0.5)
    assert failures(results) == []
    assert client.counts.retries >= 2
    assert time.monotonic() - began < 25


def test_an_error_is_asked_for_again_by_the_next_run_and_a_refusal_is_not(tmp_path: Path) -> None:
    for behaviour, more in (("status 400 bad_request", 4), ("sorry", 0)):
        cache = tmp_path / f"{behaviour[:5]}.sqlite"
        with serving(always(behaviour, "book number 3")) as server:
            run(server.url, cache)
        with serving() as server:
            results, _ = run(server.url, cache)
            assert server.asked.total() == more  # the four requests of the row that failed
            assert len(failures(results)) == (0 if more else 1)


def test_requests_that_no_retry_can_mend_are_sent_once() -> None:
    with serving(always("status 422 bad", "book number 3")) as server:
        run(server.url)
    assert max(server.asked.values()) == 1


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("status 401 invalid_api_key", "401, the key is refused; the key is read from OPENAI_API_KEY"),
        ("status 402 no_credit", "402, the account must be paid for"),
        ("status 404 model_not_found", "no such model"),
        ("status 429 insufficient_quota", "quota is used up"),
        ("429 86400", "asks to wait 86400 seconds, longer than longest_wait_seconds"),
    ],
)
def test_what_would_fail_every_row_stops_the_run_and_keeps_what_is_paid_for(
    behaviour: str, message: str, tmp_path: Path
) -> None:
    with serving(always(behaviour, "book number 3")) as server:
        with pytest.raises(ConfigError, match=message) as caught:
            run(server.url, tmp_path / "cache.sqlite", concurrency=4)
        assert KEY not in str(caught.value)
        served = set(server.served)
        server.plan = well
        results, _ = run(server.url, tmp_path / "cache.sqlite")
        assert failures(results) == []
    assert served
    assert max(server.served[content] for content in served) == 1


def test_a_server_that_always_fails_stops_the_run_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FREE_RETRIES", 5)
    with serving(always("status 500")) as server, pytest.raises(ModelError, match="fails too often .* for 0 answers"):
        run(server.url)
    assert server.asked.total() <= 6 + 8  # five retries, and what was under way


def test_no_server_at_all_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FREE_RETRIES", 3)
    with serving() as server:
        url = server.url
    with pytest.raises(ModelError, match="no connection to the endpoint"):
        run(url)


def test_retry_after_holds_all_requests() -> None:
    with serving(first("429 0.3")) as server:
        run(server.url, rows=ROWS[:1], concurrency=1)
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert len(server.times) == 6  # a passage, a question and a reading (there is no other row), each refused once
    assert all(gap >= 0.3 for gap in gaps[::2])


def test_a_wait_for_our_own_limits_does_not_count_as_the_servers() -> None:
    """Four requests a second, the first four at once: the fifth waits 0.25 seconds here, and is refused once there."""
    with serving(first("429 0")) as server:
        results, _ = run(server.url, rows=ROWS[:1], requests_per_minute=240, longest_wait_seconds=0.1)
    assert failures(results) == []
    assert server.times[4] - server.times[3] > 0.1


def test_a_server_that_says_it_has_no_room_is_not_asked_until_it_has() -> None:
    with serving(first("last 300ms")) as server:
        run(server.url, rows=ROWS[:1])
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert len(gaps) == 2
    assert all(gap >= 0.3 for gap in gaps)


def test_requests_a_minute_are_kept() -> None:
    with serving() as server:
        run(server.url, rows=ROWS[:1], requests_per_minute=120)  # two at once, the third half a second later
    assert server.times[2] - server.times[0] >= 0.45


def test_tokens_a_minute_are_kept_by_what_the_server_counts() -> None:
    """6,000 a minute are 100 a second. A request is given leave for 60 and more (its answer may have 20), and uses 50.

    Three requests use 150, of which 100 are there at once: the last one waits until its own leave is covered.
    """
    with serving() as server:
        run(server.url, rows=ROWS[:1], tokens_per_minute=6_000, max_tokens=20)
    assert server.times[2] - server.times[0] > 0.2


def ask_at_once(url: str, requests: list[Request], concurrency: int) -> list[Answer]:
    """The answers of a client to requests that are all made at the same time."""
    config = WriterConfig(model="m", base_url=url, concurrency=concurrency)

    async def go() -> list[Answer]:
        async with Endpoint(config) as endpoint:
            client = Client(config, Cache(":memory:"), endpoint)
            return list(await asyncio.gather(*(client.ask(request) for request in requests)))

    return asyncio.run(go())


def passage_requests(count: int) -> list[Request]:
    prompts = [f'style of an encyclopedia: the thing of "A{i}" is "B{i}"' for i in range(count)]
    messages = [({"role": "user", "content": f"Write one paragraph in the {prompt}"},) for prompt in prompts]
    return [Request(f"row {i}", "passage", "m", said, {"max_tokens": 9}) for i, said in enumerate(messages)]


def test_concurrency_starts_low_grows_slowly_and_is_bounded() -> None:
    """Four at first; four answers make it five, five more six: twelve requests are never more than six together."""
    with serving(delay_seconds=0.05) as server:
        ask_at_once(server.url, passage_requests(12), concurrency=12)
    assert 4 <= server.most_flying <= 6
    with serving(delay_seconds=0.02) as server:
        ask_at_once(server.url, passage_requests(12), concurrency=2)
    assert server.most_flying == 2


def test_equal_requests_made_at_once_are_sent_once() -> None:
    with serving(delay_seconds=0.05) as server:
        answers = ask_at_once(server.url, passage_requests(1) * 3, concurrency=4)
    assert server.asked.total() == 1
    assert len({answer.text for answer in answers}) == 1


# ---- money


def test_the_cap_is_never_passed_and_what_fits_under_it_is_written(tmp_path: Path) -> None:
    """40 prompt tokens at 100 $ and 10 answer tokens at 1,000 $ a million: 0.014 $ a request."""
    prices = {"dollars_per_million_input_tokens": 100.0, "dollars_per_million_output_tokens": 1_000.0}
    with serving() as server:
        values = {**prices, "max_tokens": 20, "spend_cap_dollars": 0.3, "concurrency": 2}
        results, client = run(server.url, tmp_path / "cache.sqlite", **values)
        assert 0.15 < client.spend.paid_dollars <= 0.3
        assert client.spend.paid_dollars == pytest.approx(0.014 * server.asked.total())
        assert set(failures(results)) == {"the spend cap is reached"}
        assert len(failures(results)) < len(ROWS)
        sent = server.asked.total()
        again, client = run(server.url, tmp_path / "cache.sqlite", **values)  # the same cap: nothing more is spent
        assert server.asked.total() - sent <= 2
        assert client.spend.total_dollars <= 0.3
        rest, _ = run(server.url, tmp_path / "cache.sqlite", **prices | {"max_tokens": 20})
        assert failures(rest) == []
        assert server.asked.total() == REQUESTS  # each paid for once in three runs
