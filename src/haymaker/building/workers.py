"""A pool of processes that end at once when their parent dies or gives up, and leave Ctrl-C to it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


@contextmanager
def worker_pool(
    workers: int, initialise: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each. An exception in the block ends them in the middle of what they do."""
    # Spawned, not forked: a tokenizer's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    line, ours = context.Pipe(duplex=False)  # nothing is sent: that it breaks is the message
    with one_thread():
        pool = ProcessPoolExecutor(workers, context, begin, (line, initialise, arguments))
        try:
            yield pool
            pool.shutdown()
        finally:
            ours.close()
            pool.shutdown(cancel_futures=True)
            line.close()


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes that are started in the block use one thread each."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def begin(line: Connection, initialise: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the work
    threading.Thread(target=leave_with_parent, args=(line,), daemon=True).start()
    initialise(*arguments)


def leave_with_parent(line: Connection) -> None:
    """End this process when the line to its parent breaks: a killed parent cannot say so."""
    try:
        line.recv()
    except (EOFError, OSError):
        os._exit(1)
