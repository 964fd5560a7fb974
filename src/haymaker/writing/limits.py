"""How fast requests may go out: buckets per minute, a window that grows slowly and halves, and what servers say.

`Pace` is told the time and never looks at a clock, so that it can be tested without one; `Throttle` waits by it.
The bucket is our own, since aiolimiter's refuses amounts above its size and takes nothing back (docs/writer.md).
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random

FIRST_WINDOW = 4.0  # requests in flight at the start
BASE_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 60.0
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class Bucket:
    """`per_minute` units a minute, a second's worth of them at once. More than that at once leaves a debt to wait off.

    In any minute it lets out at most per_minute * 61 / 60 units and one request's more.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_second = per_minute / 60
        self.size = max(1.0, self.per_second)
        self.level, self.at = self.size, 0.0

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` may be taken."""
        self.fill(now)
        return max(0.0, (min(amount, self.size) - self.level) / self.per_second)

    def take(self, amount: int, now: float) -> None:
        """Take an amount; a negative one gives back what was not used."""
        self.fill(now)
        self.level -= amount

    def fill(self, now: float) -> None:
        self.level = min(self.size, self.level + max(0.0, now - self.at) * self.per_second)
        self.at = max(now, self.at)


@dataclass
class Turn:
    """Leave for one request of so many tokens (prompt and longest answer), given at a time (seconds).

    Who holds it sets `used` to the tokens that the server counted, where it did.
    """

    tokens: int
    began: float
    used: int | None = None


class Pace:
    """When the next request may go. All times are seconds of one clock, all tokens those of prompt and answer."""

    def __init__(
        self,
        concurrency: int,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        tokens_in_flight: int | None = None,
        longest_wait: float = 600.0,
    ) -> None:
        self.longest_wait = longest_wait
        self.widest, self.window = float(concurrency), min(FIRST_WINDOW, float(concurrency))
        self.most_tokens = tokens_in_flight
        self.requests = Bucket(requests_per_minute) if requests_per_minute else None
        self.tokens = Bucket(tokens_per_minute) if tokens_per_minute else None
        self.in_flight, self.tokens_in_flight = 0, 0
        self.paused_until, self.halved_at = 0.0, float("-inf")

    def delay(self, tokens: int, now: float) -> float | None:
        """Seconds until a request of `tokens` may go; None: not before another one ends."""
        if self.in_flight and (self.in_flight + 1 > self.window or not self.room(tokens)):
            return None
        waits = [self.paused_until - now]
        waits += [self.requests.wait(1, now)] if self.requests else []
        waits += [self.tokens.wait(tokens, now)] if self.tokens else []
        return max(0.0, *waits)

    def room(self, tokens: int) -> bool:
        """Whether the tokens in flight stay under their limit, which shrinks and grows with the window."""
        if self.most_tokens is None:
            return True
        return self.tokens_in_flight + tokens <= self.most_tokens * self.window / self.widest

    def begin(self, tokens: int, now: float) -> Turn:
        self.in_flight += 1
        self.tokens_in_flight += tokens
        if self.requests:
            self.requests.take(1, now)
        if self.tokens:
            self.tokens.take(tokens, now)
        return Turn(tokens, now)

    def end(self, turn: Turn, now: float) -> None:
        """A request is over: what it did not use of its leave goes back."""
        self.in_flight -= 1
        self.tokens_in_flight -= turn.tokens
        if self.tokens and turn.used is not None:
            self.tokens.take(turn.used - turn.tokens, now)

    def widen(self) -> None:
        """An answer came: a window full of them makes room for one more request."""
        self.window = min(self.widest, self.window + 1 / self.window)

    def halve(self, turn: Turn, now: float) -> None:
        """Too fast: half the window, once for all the requests that were under way together."""
        if turn.began > self.halved_at:
            self.window, self.halved_at = max(1.0, self.window / 2), now

    def pause(self, seconds: float, now: float) -> None:
        """Nothing goes out for so long."""
        self.paused_until = max(self.paused_until, now + seconds)

    def read_headers(self, headers: Mapping[str, str], tokens: int, now: float) -> None:
        """Wait for the server's reset where its headers say that the next request, of `tokens`, would be refused.

        Not for one that is further away than anyone waits (a day's limit, a date): a 429 then says what holds.
        """
        for unit, needed in (("requests", 1), ("tokens", tokens)):
            left = number_of(headers.get(f"x-ratelimit-remaining-{unit}"))
            reset = seconds_of(headers.get(f"x-ratelimit-reset-{unit}"))
            if left is not None and reset is not None and left < needed and reset <= self.longest_wait:
                self.pause(reset, now)


def number_of(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def seconds_of(text: str | None) -> float | None:
    """A duration as servers write it: 12, 1.5, 20ms, 1m30s."""
    plain = number_of(text)
    if plain is not None or text is None:
        return plain
    parts = DURATION.findall(text)
    whole = "".join(number + unit for number, unit in parts) == text.strip()
    return sum(float(number) * UNITS[unit] for number, unit in parts) if parts and whole else None


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a server asks to wait: retry-after-ms, or Retry-After in seconds or as a date. `now`: Unix time."""
    precise = number_of(headers.get("retry-after-ms"))
    if precise is not None:
        return max(0.0, precise / 1000)
    said = headers.get("retry-after")
    plain = number_of(said)
    if plain is not None or said is None:
        return None if plain is None else max(0.0, plain)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - (time.time() if now is None else now))
    except ValueError:
        return None


def backoff_seconds(rng: Random, attempt: int) -> float:
    """Full jitter: uniform from 0 to a bound that doubles with every attempt (Brooker 2015, AWS architecture blog)."""
    return rng.uniform(0.0, min(LONGEST_BACKOFF_SECONDS, BASE_SECONDS * 2**attempt))


class Drained(Exception):
    """The run is ending: this request was not sent."""


class Throttle:
    """Lets requests out in the order they came, as fast as the pace allows; after `drain`, none any more."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.queue, self.changed, self.ended = asyncio.Lock(), asyncio.Event(), asyncio.Event()

    def drain(self) -> None:
        self.ended.set()
        self.changed.set()

    @asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[Turn]:
        """Wait for leave, then hold it for the block. Raises Drained where there will be none."""
        async with self.queue:
            await self.wait_for_leave(tokens)
            turn = self.pace.begin(tokens, time.monotonic())
        try:
            yield turn
        finally:
            self.pace.end(turn, time.monotonic())
            self.changed.set()

    async def wait_for_leave(self, tokens: int) -> None:
        while not self.ended.is_set():
            delay = self.pace.delay(tokens, time.monotonic())
            if delay == 0.0:
                return
            self.changed.clear()
            await set_within(self.changed, delay)
        raise Drained

    async def sleep(self, seconds: float) -> None:
        """A wait between tries, cut short by the end of the run."""
        if await set_within(self.ended, seconds):
            raise Drained


async def set_within(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until an event is set, or for so long; whether it is."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
