"""How fast requests go out: laws of the pace, told the time by hand."""

import asyncio
import time
from random import Random

import pytest

from haymaker.randomness import keyed
from haymaker.writing.limits import (
    Bucket,
    Drained,
    Pace,
    Throttle,
    Turn,
    backoff_seconds,
    retry_after,
    seconds_of,
)


@pytest.mark.parametrize("per_minute", [1, 7, 60, 3000])
def test_a_bucket_lets_out_its_rate_and_no_more(per_minute: int) -> None:
    bucket, now, times = Bucket(per_minute), 0.0, []
    while now < 300:
        now += bucket.wait(1, now) + 1e-9
        bucket.take(1, now)
        times.append(now)
    for start in times[:: max(1, len(times) // 50)]:
        inside = sum(start <= time < start + 60 for time in times)
        assert inside <= per_minute * 61 / 60 + 1
    assert len(times) >= 5 * per_minute  # 300 seconds are five minutes


def test_what_was_given_back_is_gone_after_an_idle_hour() -> None:
    """Requests that took more than they used leave the bucket full, never fuller: later its rate holds."""
    bucket = Bucket(6_000)
    for _ in range(16):
        bucket.take(1_000, 0.0)
    for _ in range(16):
        bucket.take(-900, 1.0)
    now, out = 3_600.0, 0
    while now < 3_660.0:
        now += bucket.wait(100, now) + 1e-6
        bucket.take(100, now)
        out += 100
    assert out <= 6_000 * 61 / 60 + 100


def test_a_request_larger_than_the_bucket_waits_off_its_debt() -> None:
    bucket = Bucket(6_000)  # 100 tokens a second
    assert bucket.wait(30_000, 0.0) == 0.0
    bucket.take(30_000, 0.0)
    assert bucket.wait(100, 0.0) == pytest.approx(300.0)  # 29,900 of debt and 100 more, at 100 a second
    bucket.take(-29_000, 0.0)  # only 1,000 were used
    assert bucket.wait(100, 0.0) == pytest.approx(10.0)


def test_tokens_in_flight_stay_under_their_limit_unless_one_request_alone_is_larger() -> None:
    pace, rng, flying = Pace(16, tokens_in_flight=1_000), Random(0), []
    pace.window = 16.0
    seen = 0
    for _ in range(2_000):
        tokens = rng.choice((50, 200, 700, 1_500))
        if pace.delay(tokens, 0.0) is None:
            pace.end(flying.pop(rng.randrange(len(flying))), 0.0)
        else:
            flying.append(pace.begin(tokens, 0.0))
        assert pace.tokens_in_flight <= 1_000 or len(flying) == 1
        seen = max(seen, len(flying))
    assert seen > 4  # small ones go together


def test_the_window_halves_once_for_requests_that_were_under_way_together() -> None:
    pace = Pace(16)
    pace.window = 16.0
    turns = [pace.begin(10, 1.0) for _ in range(8)]
    for turn in turns:
        pace.halve(turn, 2.0)
    assert pace.window == 8.0
    pace.halve(Turn(10, began=3.0), 4.0)  # began after the halving: the rate is still too high
    assert pace.window == 4.0


def test_the_window_grows_by_one_for_a_window_full_of_answers() -> None:
    pace = Pace(64)
    assert pace.window == 4.0
    for _ in range(4):
        pace.widen()
    assert 4.8 < pace.window <= 5.0  # 4 + 1/4 + 1/4.25 + 1/4.49 + 1/4.71 = 4.92
    for _ in range(10_000):
        pace.widen()
    assert pace.window == 64.0


def test_a_shrunken_window_still_lets_one_through() -> None:
    pace = Pace(2)
    for now in range(1, 9):
        pace.halve(Turn(1, began=now - 0.5), float(now))
    assert pace.delay(10, 9.0) == 0.0
    pace.begin(10, 9.0)
    assert pace.delay(10, 9.0) is None


def test_a_pause_holds_everything() -> None:
    pace = Pace(4)
    pace.pause(12.0, now=100.0)
    pace.pause(2.0, now=100.0)
    assert pace.delay(10, 100.0) == 12.0
    assert pace.delay(10, 112.0) == 0.0


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1.5s"}, 1.5),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "9s"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "99", "x-ratelimit-reset-tokens": "1m2s"}, 62.0),
        ({"x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "1m2s"}, 0.0),
        ({"x-ratelimit-remaining-tokens": "some", "x-ratelimit-reset-tokens": "soon"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1d"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1795842232"}, 0.0),  # a date
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "inf"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "nan"}, 0.0),
    ],
)
def test_headers_are_heeded_before_the_server_has_to_refuse(headers: dict[str, str], wait: float) -> None:
    pace = Pace(4)
    pace.read_headers(headers, tokens=100, now=50.0)
    assert pace.delay(1, 50.0) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("6m0s", 360.0), ("1h", 3600.0), ("12", 12.0), ("0.25", 0.25), ("soon", None), ("5 apples", None)],
)
def test_durations_as_servers_write_them(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_retry_after_in_its_three_forms() -> None:
    assert retry_after({"retry-after": "7"}) == 7.0
    assert retry_after({"retry-after": "7", "retry-after-ms": "250"}) == 0.25
    # 784,111,777 is the Unix time of this date, the example of RFC 9110, section 5.6.7.
    assert retry_after({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, now=784_111_770.0) == 7.0
    assert retry_after({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, now=784_111_790.0) == 0.0
    assert retry_after({"retry-after": "later"}) is None
    assert retry_after({}) is None


def test_jitter_is_full_and_its_bound_doubles() -> None:
    for attempt, bound in ((1, 1.0), (3, 4.0), (20, 60.0)):  # half a second doubled 1, 3 and (capped) 20 times
        draws = [backoff_seconds(keyed(0, "row", i), attempt) for i in range(400)]
        assert 0 <= min(draws) < 0.05 * bound
        assert 0.95 * bound < max(draws) <= bound
    assert backoff_seconds(keyed(0, "a"), 2) == backoff_seconds(keyed(0, "a"), 2)


@pytest.mark.parametrize("waiting", ["for leave", "between tries"])
def test_the_end_of_a_run_cuts_every_wait_short(waiting: str) -> None:
    """With waits of an hour; without the cut this test would not end."""

    async def wait(throttle: Throttle) -> None:
        async with asyncio.timeout(5):
            if waiting == "between tries":
                await throttle.sleep(3_600.0)
            async with throttle.turn(10):
                pytest.fail("no leave was to be had")

    async def go() -> None:
        throttle = Throttle(Pace(4))
        throttle.pace.pause(3_600.0, time.monotonic())
        task = asyncio.create_task(wait(throttle))
        await asyncio.sleep(0.01)
        throttle.drain()
        with pytest.raises(Drained):
            await task

    asyncio.run(go())
