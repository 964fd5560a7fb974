"""Processes that work for this one: how many threads they get, and that they end when it ends. Imports no torch."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

MEMORY_SHARE = "HAYMAKER_MEMORY_SHARE"  # of the free memory, or a GPU's, that a process may plan with
CGROUP = Path("/sys/fs/cgroup")
MEMORY = Path("/proc/meminfo")
PROCESSOR = Path("/proc/cpuinfo")


def threads_of(threads: int) -> dict[str, str]:
    """Variables under which a process that starts computes with so many threads."""
    return {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": str(threads)}  # MKL and OpenBLAS follow it


def launched() -> int:
    """How many processes a launcher (torchrun, accelerate) says that there are, this one among them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Processes that are started in the block have these variables; afterwards all is as it was."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def cores() -> int:
    """Cores that this process may use: those it is bound to, within a container's quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return max(1, min(bound, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        return bound


def processor_says(what: str) -> str:
    """What the kernel says of this machine's first processor ("model name", "flags"); empty where it does not."""
    try:
        lines = PROCESSOR.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(what)), "")


def free_memory() -> int:
    """Bytes of memory that this machine can still give, within a container's limit."""
    return min(available_bytes(), limit_bytes())


def available_bytes() -> int:
    """What the kernel says is available; without such a kernel, half of a machine of 16 GB."""
    if not MEMORY.is_file():
        return 8 * 2**30
    lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0])


def limit_bytes() -> int:
    """What a container may still take."""
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if not limit.is_file() or not used.is_file() or limit.read_text().strip() == "max":
        return sys.maxsize
    return int(limit.read_text()) - int(used.read_text())


def memory_share() -> float:
    """The share of the free memory that this process may plan with: one of several on a device has its part."""
    return float(os.environ.get(MEMORY_SHARE, "1"))


def leave_with(line: Connection) -> None:
    """End this process when the line to its parent breaks: a killed parent cannot say so."""
    threading.Thread(target=watch, args=(line,), daemon=True).start()


def watch(line: Connection) -> None:
    try:
        line.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)


def leave_interrupts_to_parent() -> None:
    """Ctrl-C reaches every process of a terminal; the parent alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
