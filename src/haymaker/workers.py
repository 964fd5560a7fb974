"""A pool of processes that ends when its parent does, and leaves Ctrl-C to it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


@contextmanager
def worker_pool(
    workers: int, initialise: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each; work that has not begun is dropped when the block ends."""
    # Spawned, not forked: a tokenizer's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    pool = ProcessPoolExecutor(workers, context, begin, (initialise, arguments))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def begin(initialise: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """What a worker does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the work
    threading.Thread(target=leave_with_parent, daemon=True).start()
    initialise(*arguments)


def leave_with_parent() -> None:
    """End this process when its parent has died: a killed parent cannot say so."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
