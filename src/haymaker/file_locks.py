"""Lock files: held until they are let go, or until the process ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from haymaker.errors import HaymakerError
from haymaker.files import naming


def take_lock(path: Path, refusal: HaymakerError) -> BaseFileLock:
    """Hold the lock file at `path` until `drop_lock`, or until this process ends, however it ends.

    Raises `refusal` where another process, or another lock of this one, holds it.
    """
    lock = FileLock(path, blocking=False, thread_local=False)
    try:
        with naming(path, path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout:
        raise refusal from None
    return lock


@contextmanager
def alone(path: Path, refusal: HaymakerError) -> Iterator[None]:
    """Hold the lock file at `path` for a block. Raises `refusal` where somebody else holds it."""
    lock = take_lock(path, refusal)
    try:
        yield
    finally:
        drop_lock(lock)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Hold the lock file at `path` for a block, after all that hold it before."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        drop_lock(lock)


def drop_lock(lock: BaseFileLock) -> None:
    """Let go of a lock; its file goes with it."""
    # While it is held: who opened the file before finds that it has no name any more, and asks again.
    with suppress(OSError):  # Windows removes no open file; there the library does, once it is closed
        os.unlink(lock.lock_file)
    lock.release()
