"""What benchmarks share that leave a page behind: the machine in words, tables in Markdown, peak memory, turns."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def machine(packages: Sequence[str] = ()) -> str:
    """Processor, cores, memory, threads, and versions of Python, torch, transformers, peft and other packages."""
    from importlib.metadata import version

    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    kib = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    versions = ", ".join(f"{name} {version(name)}" for name in ["torch", "transformers", "peft", *packages])
    return (
        f"{date.today()}. {names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores, "
        f"{kib[0] / 2**20 if kib else 0:.0f} GiB, {torch.get_num_threads()} threads. "
        f"Python {platform.python_version()}, {versions}."
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as a Markdown table; numbers are written as they were formatted."""
    lines = [list(header), ["---"] * len(header), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_page(path: Path, text: str) -> None:
    """Leaves a page by atomic rename, and prints it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)
    print(text)


def seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def in_turns(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each way, which take turns, the first one changing with every turn."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken[name].append(seconds(ways[name]))
    return taken


def median_ratio(some: Sequence[float], others: Sequence[float]) -> float:
    """The median over turns of some / others."""
    return statistics.median(a / b for a, b in zip(some, others, strict=True))


def peak_mib_of(act: Callable[[], Any]) -> tuple[float, float]:
    """MiB resident before, and at most during, one call (Linux). Run it in a process of its own."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _resident("VmRSS")
    act()
    return before, _resident("VmHWM")


def _resident(name: str) -> float:
    return next(int(line.split()[1]) / 1024 for line in _lines("/proc/self/status") if line.startswith(name))
