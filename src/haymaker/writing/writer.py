"""Concept realism, high: a language model writes the passages and the question, and reads them to see that they do.

The facts are invented here and only worded by the model, so the answer is known by construction. Every text is checked
twice: by rule where it comes in, and by a reading of the model's own: the answer must follow from the passages, and
must not follow without the last one among other passages.
"""

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from haymaker.errors import HaymakerError, Interrupted
from haymaker.miniature.world import Split, World
from haymaker.randomness import keyed, shuffle
from haymaker.realism.answers import holds
from haymaker.realism.written import Asked, Written
from haymaker.writing import prompts
from haymaker.writing.client import Client
from haymaker.writing.config import WriterConfig
from haymaker.writing.invented import Invented, invented_chain, model_questions
from haymaker.writing.limits import Drained
from haymaker.writing.records import Model, Request
from haymaker.writing.spend import OverCap

STATUS_IN_WORDS = {
    "refused": "the model refused",
    "length": "cut off at max_tokens",
    "filtered": "filtered by the server",
    "empty": "an empty answer",
}


@dataclass(frozen=True)
class Failure:
    """A row that was not written: what it asked for and why nothing came of it."""

    key: str
    question: str
    reason: str


class Unusable(Exception):
    """No text that can be used came of all attempts; the message says of which step, and why."""


class RowRequests:
    """The requests of one row. Every one of a purpose has a sample number of its own, in order."""

    def __init__(self, asked: Asked, config: WriterConfig, model: Model) -> None:
        self.asked, self.config, self.model = asked, config, model
        self.samples: Counter[str] = Counter()
        self.calls: list[dict[str, Any]] = []

    async def text(self, wanted: prompts.Wanted) -> str:
        """The first sample without a fault. Raises Unusable where no attempt gives one."""
        problem = ""
        for _ in range(self.config.attempts):
            request = self.next_request(wanted)
            answer = await self.model.ask(request)
            self.calls.append(
                {"purpose": wanted.purpose, "cache_key": request.key, "sample": request.sample,
                 "status": answer.status, "finish_reason": answer.finish_reason}
            )  # fmt: skip
            if answer.status == "error":
                raise Unusable(f"{wanted.purpose}: {answer.reason}")
            problem = STATUS_IN_WORDS[answer.status] if answer.status != "ok" else wanted.fault(answer.text)
            if problem is None:
                return answer.text
        raise Unusable(f"{wanted.purpose}: {problem}")

    def next_request(self, wanted: prompts.Wanted) -> Request:
        """The request for the next sample of what is wanted."""
        config, sample = self.config, self.samples[wanted.purpose]
        self.samples[wanted.purpose] += 1
        return Request(
            row=self.asked.key,
            purpose=wanted.purpose,
            model=config.model,
            messages=({"role": "user", "content": wanted.prompt},),
            parameters=config.parameters | {config.max_tokens_name: config.max_tokens},
            sample=sample,
            expected=wanted.likely,
        )

    def provenance(self, facts: Sequence[Invented]) -> dict[str, Any]:
        """Where the row's texts come from: the model, what it was told, and every request by its key in the cache."""
        return {
            "kind": "written",
            "model": self.config.model,
            "parameters": self.config.parameters,
            "facts": [[fact.relation, fact.subject, fact.object] for fact in facts],
            "question": self.asked.question,
            "calls": self.calls,
        }


class Writer:
    """Writes rows with a model. `everything` are the rows of the source, whose passages serve as a haystack."""

    def __init__(self, config: WriterConfig, model: Model, everything: Sequence[Asked], split: Split = "train") -> None:
        self.config, self.model, self.world = config, model, World(split, config.seed)
        self.haystack = sorted({text for asked in everything for text in asked.passages})

    async def write(self, asked: Asked) -> Written | Failure:
        """One row, or why there is none. Raises what the model raises to end the run."""
        requests = RowRequests(asked, self.config, self.model)
        work = self.chain if asked.steps[0][1] else self.carriers
        try:
            return await work(requests)
        except Unusable as unusable:
            return Failure(asked.key, asked.question, str(unusable))
        except OverCap:
            return Failure(asked.key, asked.question, "the spend cap is reached")

    async def chain(self, requests: RowRequests) -> Written:
        """A question of one hop or several: a passage for each, the question, two readings of them."""
        asked, words = requests.asked, self.config.words
        facts = invented_chain(asked.steps, self.world, keyed(self.config.seed, asked.key, "invented"))
        models, doubt = model_questions(asked.steps), ""
        for _ in range(self.config.attempts):
            wanted = (prompts.passage(facts, hop, model, words) for hop, model in enumerate(models))
            passages = [await requests.text(one) for one in wanted]
            question = await requests.text(prompts.question(facts, passages, asked.question))
            doubt = await self.doubt(requests, facts[-1].object, passages, question)
            if not doubt:
                bridges = tuple(fact.object for fact in facts[:-1])
                titles = tuple(fact.subject for fact in facts)
                return Written(tuple(passages), question, facts[-1].object, requests.provenance(facts), bridges, titles)
        raise Unusable(doubt)

    async def doubt(self, requests: RowRequests, answer: str, passages: Sequence[str], question: str) -> str:
        """Why the answer does not follow from the passages, or follows without the last; empty where neither is so."""
        read = await requests.text(prompts.reading("reading", question, passages, answer))
        if not holds(read, [answer]):
            return "reading: the answer does not follow from the passages"
        others = self.others(requests.asked)
        if not others and len(passages) == 1:
            return ""
        around = [*passages[:-1], *others]
        keyed(self.config.seed, requests.asked.key, "order").shuffle(around)
        blind = await requests.text(prompts.reading("blind reading", question, around, prompts.NOT_STATED))
        return "blind reading: the answer follows without its passage" if holds(blind, [answer]) else ""

    def others(self, asked: Asked) -> list[str]:
        """Passages of other rows, some of those that the row may stand among."""
        wanted = self.config.haystack_passages
        order = shuffle(len(self.haystack), keyed(self.config.seed, asked.key, "haystack"))
        return list(islice((self.haystack[i] for i in order if self.haystack[i] not in asked.passages), wanted))

    async def carriers(self, requests: RowRequests) -> Written:
        """Texts that make one point, each in its own words: as many as the row has carriers."""
        insight = requests.asked.question
        passages: list[str] = []
        for _ in requests.asked.passages:
            passages.append(await self.carrier(requests, insight, passages))
        return Written(tuple(passages), insight, "", requests.provenance([]))

    async def carrier(self, requests: RowRequests, insight: str, before: Sequence[str]) -> str:
        """One text that says the insight, by the model's own reading, and is none of those before it."""
        for _ in range(self.config.attempts):
            text = await requests.text(prompts.carrier(insight, before, self.config.words))
            said = await requests.text(prompts.agreement(len(before), text, insight))
            if said.strip(" .*\"'").upper() == "YES":
                return text
        raise Unusable("agreement: a carrier does not make the point")


async def write_rows(
    rows: Sequence[Asked], writer: Writer, client: Client, advance: Callable[[int], None] = lambda steps: None
) -> list[tuple[Asked, Written | Failure]]:
    """Every row with what came of it, in order. Ctrl-C lets the requests under way end, and keeps their answers.

    Raises Interrupted then, or the error that stopped the run.
    """
    done: dict[int, Written | Failure] = {}
    waiting = iter(enumerate(rows))

    async def work() -> None:
        for number, asked in waiting:
            try:
                done[number] = await writer.write(asked)
            except Drained:
                return
            except HaymakerError as error:
                client.stopped_by = client.stopped_by or error
                return client.drain()
            advance(1)

    with drained_by_signals(client):
        await asyncio.gather(*(work() for _ in range(writer.config.concurrency)))
    if client.stopped_by is not None:
        raise client.stopped_by
    if len(done) < len(rows):
        raise Interrupted(f"{len(done)} of {len(rows)} rows are done, and the cache keeps every answer; run it again")
    return [(asked, done[number]) for number, asked in enumerate(rows)]


@contextmanager
def drained_by_signals(client: Client) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) inside drains the client; the second one interrupts as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, before = asyncio.get_running_loop(), {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def put_back() -> None:
        for number, handler in before.items():
            if loop.remove_signal_handler(number):  # which knows Python's own handlers alone
                signal.signal(number, handler)

    def drain() -> None:
        client.drain()
        put_back()

    for number in before:
        loop.add_signal_handler(number, drain)
    try:
        yield
    finally:
        put_back()
