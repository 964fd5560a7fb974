"""The demo's wall time: `study run miniature` with the local runner beside one process, by turns.

    python benchmarks/engine_demo.py [--turns 3] [--neighbour] [--set train.steps=10 ...]

Every turn runs all of them, each into a new folder; told are seconds and their ratio. For figures that count, a quiet
machine; with --neighbour another process keeps one core busy meanwhile.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import median

RUNNERS = (("local",), ("serial",), ("serial", "--set", "runner.threads=2"))


def seconds(words: tuple[str, ...], overrides: list[str]) -> float:
    """Wall time of one whole study, its start included."""
    changed = [part for override in overrides for part in ("--set", override)]
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "haymaker", "study", "run", "miniature", "--out", home, "--runner", *words]
        began = time.perf_counter()
        subprocess.run([*command, *changed], check=True, capture_output=True)
        return time.perf_counter() - began


@contextmanager
def neighbour() -> Iterator[None]:
    """A process of its own session that counts for ever; a scheduler weighs sessions, as it does another user's."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--neighbour", action="store_true")
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    took: dict[tuple[str, ...], list[float]] = {words: [] for words in RUNNERS}
    for _ in range(arguments.turns):
        for words, found in took.items():
            with neighbour() if arguments.neighbour else nullcontext():
                found.append(seconds(words, arguments.set))
            print(" ".join(words), f"{found[-1]:.1f} s", flush=True)
    first = median(took[RUNNERS[0]])
    for words, found in took.items():
        print(f"{' '.join(words)}: median {median(found):.1f} s, {median(found) / first:.2f} times the local runner's")


if __name__ == "__main__":
    main()
