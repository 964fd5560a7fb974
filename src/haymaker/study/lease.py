"""Leases: of several runners that share a store, one works on a cell, and a dead one's cell is taken over.

A lock of the system does not serve here: it is held for hours, on file systems shared by machines where locks may do
nothing or outlive their holder. So a lease is a file with its owner's name and a heartbeat; a lock guards its change.
"""

import json
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock

from haymaker.errors import DataError
from haymaker.file_reading import read_json_if_there

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
SAID = {"token": (str,), "pid": (int,), "host": (str,), "since": (int, float)}  # by a lease
MOST_PID = 2**31 - 1
KEY = re.compile("[0-9a-f]{64}(?![0-9a-f])")  # a sha256, with which all names in a store begin


@contextmanager
def lease(path: Path) -> Iterator[bool]:
    """Hold the lease at `path` for the block; False, and nothing held, where another live runner has it."""
    token = uuid.uuid4().hex
    if not take(path, token):
        yield False
        return
    stop = threading.Event()
    beating = threading.Thread(target=beat, args=(path, stop), daemon=True)
    beating.start()
    try:
        yield True
    finally:
        stop.set()
        beating.join()
        with locked(path.parent):
            if owner(path).get("token") == token:  # else a runner took us for dead: the lease is its own now
                path.unlink()


def take(path: Path, token: str) -> bool:
    """Create the lease file, over a stale one if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        if path.exists():
            if alive(path):
                return False
            path.unlink()
        return create(path, token)


def create(path: Path, token: str) -> bool:
    # O_EXCL decides also on a file system whose locks do nothing.
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    pid = os.getpid()
    held = {"token": token, "pid": pid, "began": process_began(pid), "host": machine(), "since": time.time()}
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(held, file)
    except OSError:  # no room: a lease without an owner would hold others up until it is stale
        path.unlink(missing_ok=True)
        raise
    return True


def key_in(name: str) -> str:
    """The key with which the name of a file or folder of a store begins; "" where it is none of a store's names."""
    found = KEY.match(name)
    return found.group() if found else ""


def alive(path: Path) -> bool:
    """Whether the lease's owner still works: a process of this machine lives, another machine's heart beats."""
    held = owner(path)
    if held.get("host") == machine():
        return lives(int(held["pid"]), held.get("began"))
    # A heart that beats in the future beats no more: a clock was set back, or is another machine's and wrong.
    return abs(age(path)) < STALE_SECONDS


def age(path: Path) -> float:
    """Seconds since the last heartbeat, endless without one."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return inf


def dated_ahead(path: Path) -> bool:
    """Whether a lease of another machine is of a time that is yet to come."""
    return owner(path).get("host") != machine() and age(path) < -STALE_SECONDS


def lives(pid: int, began: str | None) -> bool:
    """Whether the process that had this number is still there, and not another one that was given it since."""
    if began is not None:
        return process_began(pid) == began
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def process_began(pid: int) -> str | None:
    """When a living process began, in the system's ticks; None where there is none or the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, began = fields[0], fields[19]
    return None if state == "Z" else began


def clear_stale(folder: Path) -> None:
    """Remove the leases of dead owners."""
    if not any(folder.glob("*.json")):
        return
    with locked(folder):
        for path in folder.glob("*.json"):
            if key_in(path.name) and not alive(path):
                path.unlink(missing_ok=True)


def owner(path: Path) -> dict[str, Any]:
    """Who holds the lease; empty where nobody does, its file is still being written, or says something else."""
    try:
        found = read_json_if_there(path, "")
    except DataError:
        return {}
    found = {"since": time.time(), **found} if isinstance(found, dict) else {}
    right = all(type(found.get(name)) in kinds for name, kinds in SAID.items())
    return found if right and 0 < found["pid"] <= MOST_PID else {}


def beat(path: Path, stop: threading.Event) -> None:
    while not stop.wait(BEAT_SECONDS):
        try:
            os.utime(path)
        except FileNotFoundError:  # taken over; publishing settles who was first
            return


def locked(folder: Path) -> BaseFileLock:
    """One process at a time changes leases; the system lets go of the lock when its holder dies."""
    return FileLock(folder / ".lock")


def machine() -> str:
    """This machine and, in a container, its process numbers' namespace: where a pid means something."""
    try:
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def writer() -> str:
    """A name for this process's drafts."""
    return f"{platform.node()}-{os.getpid()}"
