"""Rows for a writer, and runs of one against a server: what came of each row, and the client that asked."""

import asyncio
import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from haymaker.realism.written import Asked, Written
from haymaker.writing.cache import Cache, Mode
from haymaker.writing.client import Client
from haymaker.writing.config import WriterConfig
from haymaker.writing.endpoint import Endpoint
from haymaker.writing.writer import Failure, Writer, write_rows

KEY = "sk-a-secret-that-must-stay-where-it-is"
Results = list[tuple[Asked, Written | Failure]]


def one_hop(number: int) -> Asked:
    question = f"who wrote book number {number}"
    return Asked(f"row-{number}", question, ((question, f"Author {number}"),), (f"Real passage {number}.",))


def two_hops(number: int) -> Asked:
    steps = ((f"Book {number} >> author", f"Author {number}"), ("#1 >> spouse", f"Spouse {number}"))
    return Asked(f"pair-{number}", f"whom did the author of book {number} marry", steps, (f"A{number}.", f"B{number}."))


ROWS = [one_hop(number) for number in range(4)] + [two_hops(number) for number in range(2)]
REQUESTS = 4 * 4 + 2 * 5  # a passage a hop, a question, a reading and a blind one
INSIGHT = Asked("point", "Pay fell by 3 percent.", (("Pay fell by 3 percent.", ""),), ("A.", "B.", "C."))


def run(
    url: str | None, cache: Path | str = ":memory:", mode: Mode = "normal", rows: list[Asked] = ROWS, **values: object
) -> tuple[Results, Client]:
    """Write rows with a cache and a server; what came of each, and the client that did it."""
    config = WriterConfig(**{"model": "m", "base_url": url, "timeout_seconds": 5.0, **values})

    async def go() -> tuple[Results, Client]:
        with Cache(cache, mode) as open_cache:
            async with Endpoint(config) if url else nullcontext() as endpoint:
                client = Client(config, open_cache, endpoint)
                return await write_rows(rows, Writer(config, client, rows), client), client

    return asyncio.run(go())


def failures(results: Results) -> list[str]:
    return [result.reason for _, result in results if isinstance(result, Failure)]


def text_of(results: Results) -> str:
    return json.dumps([asdict(result) for _, result in results])
