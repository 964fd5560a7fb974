"""Locks that end with their holder."""

import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest

from haymaker.errors import ConfigError
from haymaker.file_locks import drop_lock, take_lock

BUSY = ConfigError("somebody else is at it")


def hold(path: Path, ready: Any) -> None:
    lock = take_lock(path, BUSY)
    assert lock.is_locked
    ready.set()
    signal.pause()


def test_a_lock_is_exclusive_and_ends_with_a_killed_holder(tmp_path: Path) -> None:
    path, context = tmp_path / "folder" / "lock", multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=hold, args=(path, ready), daemon=True)
    holder.start()
    assert ready.wait(30)
    with pytest.raises(ConfigError, match="somebody else"):
        take_lock(path, BUSY)
    holder.kill()
    holder.join()
    drop_lock(take_lock(path, BUSY))


def test_a_lock_is_exclusive_in_one_process_and_leaves_no_file(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "lock", BUSY)
    with pytest.raises(ConfigError):
        take_lock(tmp_path / "lock", BUSY)
    drop_lock(lock)
    assert not list(tmp_path.iterdir())
    drop_lock(take_lock(tmp_path / "lock", BUSY))
