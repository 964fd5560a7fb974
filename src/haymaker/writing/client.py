"""Requests answered from the cache or by the endpoint: limited, retried by class of error, counted, drained at the end.

Whatever the server does, a request ends as one Answer; only what would fail every request stops the run. Two counts of
tries, waits that all requests share and a clock that starts at the first refusal: docs/writer.md says why tenacity and
stamina do not carry them.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NoReturn

from haymaker.errors import ConfigError, DataError, HaymakerError, ModelError
from haymaker.randomness import keyed
from haymaker.records import canonical_json
from haymaker.writing.cache import Cache, Entry
from haymaker.writing.config import WriterConfig
from haymaker.writing.endpoint import Endpoint, Fault, Reply, read_reply
from haymaker.writing.limits import Drained, Pace, Throttle, backoff_seconds, retry_after
from haymaker.writing.records import Answer, Request
from haymaker.writing.spend import PromptTokens, Spend, counted_tokens

FREE_RETRIES, RETRIES_PER_ANSWER = 20, 2  # of a whole run; a server that fails more often stops it


@dataclass
class Tries:
    """What one request has been through."""

    retries: int = 0  # after errors that may pass
    refused: int = 0  # times the server said: too fast
    since: float = 0.0  # when it first said so (seconds of the monotonic clock)


@dataclass
class Counts:
    """What a run did, for people and for the spending of retries."""

    answers: int = 0
    replayed: int = 0
    retries: int = 0
    refused: int = 0  # 429
    statuses: Counter[str] = field(default_factory=Counter)


class Client:
    """One endpoint and one cache. `endpoint=None` serves from the cache alone.

    `ask` raises DataError for an answer that is not in an offline cache, OverCap at the spend cap, Drained after
    `drain`, and Drained too once an error has stopped the run; `stopped_by` holds that error.
    """

    def __init__(self, config: WriterConfig, cache: Cache, endpoint: Endpoint | None) -> None:
        self.config, self.cache, self.endpoint = config, cache, endpoint
        limits = config.requests_per_minute, config.tokens_per_minute, config.tokens_in_flight
        self.throttle = Throttle(Pace(config.concurrency, *limits, longest_wait=config.longest_wait_seconds))
        self.prompt_tokens, self.spend, self.counts = PromptTokens(), Spend(config), Counts()
        self.underway: dict[str, asyncio.Task[Answer]] = {}
        self.stopped_by: HaymakerError | None = None

    def drain(self) -> None:
        """Send nothing more; what is under way may end."""
        self.throttle.drain()

    async def ask(self, request: Request) -> Answer:
        """The answer to a request: the cache's, the one that is under way for an equal request, or a new one."""
        known = self.known(request)
        if known is not None:
            return known
        task = self.underway.get(request.key)
        if task is None:
            task = asyncio.create_task(self.fetch(request))
            self.underway[request.key] = task
            task.add_done_callback(lambda _: self.underway.pop(request.key, None))
        return await task

    def known(self, request: Request) -> Answer | None:
        """The cache's answer. An error is one only where nothing can be asked."""
        entry = None if self.cache.mode == "refresh" else self.cache.get(request.key)
        offline = self.cache.mode == "offline" or self.endpoint is None
        if entry is None or (entry.asked_again and not offline):
            if offline:
                raise DataError(f"{self.cache.path}: no answer for row {request.row}, {request.purpose}, sample "
                                f"{request.sample}; ask once without --mode offline")  # fmt: skip
            return None
        answer = answer_of(entry)
        self.spend.replay(request, answer)
        self.counts.replayed += 1
        return answer

    async def fetch(self, request: Request) -> Answer:
        """Ask the endpoint until there is an answer or no hope of one, and keep it."""
        tries = Tries()
        while True:
            reply = await self.once(request)
            if isinstance(reply.outcome, Answer):
                return self.keep(request, reply.outcome, reply.raw)
            hopeless = await self.wait_or_give_up(request, reply.outcome, reply, tries)
            if hopeless:
                return self.keep(request, Answer("error", reason=hopeless), "")

    async def once(self, request: Request) -> Reply:
        """Send the request when the limits allow it."""
        assert self.endpoint is not None
        given = self.prompt_tokens.of(request)
        async with self.throttle.turn(given + request.max_tokens) as turn:
            reservation = self.spend.reserve(given, request.max_tokens)
            reply = Reply(Fault("retry", "interrupted"), maybe_charged=True)
            try:
                reply = await self.endpoint.send(request, idempotent=self.cache.mode != "refresh")
            finally:
                self.account(request, reply, reservation)
            now = time.monotonic()
            if isinstance(reply.outcome, Answer):
                turn.used = sum(counted_tokens(request, reply.outcome))
                self.throttle.pace.widen()
            elif reply.outcome.kind == "limited":
                self.throttle.pace.halve(turn, now)
            self.throttle.pace.read_headers(reply.headers, given + request.max_tokens, now)
            return reply

    def account(self, request: Request, reply: Reply, reservation: int) -> None:
        if isinstance(reply.outcome, Answer):
            self.spend.settle(reservation, request, reply.outcome)
            self.prompt_tokens.learn(request, reply.outcome)
        else:
            self.spend.release(reservation, reply.maybe_charged)

    async def wait_or_give_up(self, request: Request, fault: Fault, reply: Reply, tries: Tries) -> str | None:
        """Wait as the fault asks for; why there is no hope, where there is none. A fatal one stops the run."""
        if fault.kind == "fatal":
            self.stop(ConfigError(f"{self.where()}: {fault.reason}; the key is read from {self.config.key_variable}"))
        if fault.kind == "permanent":
            return fault.reason
        if fault.kind == "limited":
            return await self.wait_for_server(request, reply, tries)
        return await self.wait_after_error(request, fault, tries)

    async def wait_after_error(self, request: Request, fault: Fault, tries: Tries) -> str | None:
        """Back off before one more try; why there is none. Too many retries for the answers that came stop the run."""
        tries.retries += 1
        if tries.retries > self.config.retries:
            return f"{fault.reason}, {tries.retries} times"
        self.counts.retries += 1
        if self.counts.retries > FREE_RETRIES + RETRIES_PER_ANSWER * self.counts.answers:
            self.stop(ModelError(f"{self.where()} fails too often ({self.counts.retries} retries for "
                                 f"{self.counts.answers} answers; the last: {fault.reason}); run again later: "
                                 "what is finished is kept"))  # fmt: skip
        await self.throttle.sleep(self.jitter(request, tries.retries, fault.kind))
        return None

    async def wait_for_server(self, request: Request, reply: Reply, tries: Tries) -> str | None:
        """Wait as a 429 asks for, all requests together; why there is no hope, where it takes too long."""
        now = time.monotonic()
        tries.since = tries.since or now
        tries.refused += 1
        self.counts.refused += 1
        asked, longest = retry_after(reply.headers) or 0.0, self.config.longest_wait_seconds
        if asked > longest:
            self.stop(ConfigError(f"{self.where()} asks to wait {asked:g} seconds, longer than longest_wait_seconds "
                                  f"({longest:g}); run again later: what is finished is kept"))  # fmt: skip
        if now + asked - tries.since > longest:
            return f"too many requests (429), for {longest:g} seconds"
        self.throttle.pace.pause(asked, now)
        await self.throttle.sleep(asked + self.jitter(request, tries.refused, "limited"))
        return None

    def jitter(self, request: Request, attempt: int, why: str) -> float:
        rng = keyed(self.config.seed, request.row, request.purpose, request.sample, why, attempt)
        return backoff_seconds(rng, attempt)

    def stop(self, error: HaymakerError) -> NoReturn:
        """End the run: what is under way may end, then the error is raised by whoever runs it."""
        self.stopped_by = self.stopped_by or error
        self.drain()
        raise Drained

    def where(self) -> str:
        assert self.endpoint is not None
        return f"{self.endpoint.client.base_url} ({self.config.model})"

    def keep(self, request: Request, answer: Answer, raw: str) -> Answer:
        """Put an answer into the cache before anyone sees it."""
        self.counts.answers += answer.status != "error"
        self.counts.statuses[answer.status] += 1
        entry = Entry(
            key=request.key,
            request=canonical_json(request.content),
            response=raw,
            status=answer.status,
            reason=answer.reason,
            finish_reason=answer.finish_reason,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.cache.put(entry)
        return answer


def answer_of(entry: Entry) -> Answer:
    """The answer that an entry holds, read anew from its raw reply where there is one."""
    if not entry.response:
        return Answer(entry.status, reason=entry.reason, finish_reason=entry.finish_reason, replayed=True)
    read = read_reply(entry.response)
    if isinstance(read, Fault):
        return Answer("error", reason=read.reason, replayed=True)
    return replace(read, replayed=True)
