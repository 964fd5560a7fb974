"""Many rows at once, in order, and an end that loses nothing."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from haymaker.errors import HaymakerError, Interrupted
from haymaker.realism.written import Asked, Written
from haymaker.writing.client import Client
from haymaker.writing.limits import Drained
from haymaker.writing.writer import Failure, Writer


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

    with draining(client):
        await asyncio.gather(*(work() for _ in range(writer.config.concurrency)))
    if client.stopped_by is not None:
        raise client.stopped_by
    if len(done) < len(rows):
        raise Interrupted(f"{len(done)} of {len(rows)} rows are done, and the cache keeps every answer; run it again")
    return [(asked, done[number]) for number, asked in enumerate(rows)]


@contextmanager
def draining(client: Client) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) inside drains the client; the second one interrupts as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, signals = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)

    def drain() -> None:
        client.drain()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, drain)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
