"""Pools of processes end with their parent, whichever way it goes."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from haymaker.data.parallel import ONE_THREAD, worker_pool


def nothing() -> None:
    """Workers need no preparation here."""


def beat(path: str) -> None:
    """Write the time, over and over."""
    while True:
        Path(path).write_text(str(time.monotonic()))
        time.sleep(0.02)


def settings() -> tuple[bool, list[str | None]]:
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return ignored, [os.environ.get(name) for name in ONE_THREAD]


def hold(path: str) -> None:
    """A parent that waits for a worker without end."""
    with worker_pool(1, nothing, ()) as pool:
        pool.submit(beat, path).result()


def interrupt(path: Path) -> None:
    """Press Ctrl-C while a worker works without end."""
    with worker_pool(1, nothing, ()) as pool:
        pool.submit(beat, str(path))
        wait_for(path)
        raise KeyboardInterrupt


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


def stops(path: Path) -> bool:
    """Whether the file is written no more, within ten seconds."""
    for _ in range(20):
        before = path.read_text()
        time.sleep(0.5)
        if path.read_text() == before:
            return True
    return False


def test_workers_leave_ctrl_c_to_the_parent_and_use_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    with worker_pool(1, nothing, ()) as pool:
        assert pool.submit(settings).result() == (True, ["false", "1"])
    assert [os.environ.get(name) for name in ONE_THREAD] == [None, "7"]


def test_an_exception_ends_workers_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    with pytest.raises(KeyboardInterrupt):
        interrupt(path)
    assert stops(path)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "beat"
    parent = multiprocessing.get_context("spawn").Process(target=hold, args=(str(path),))
    parent.start()
    wait_for(path)
    parent.kill()
    parent.join()
    assert stops(path)
