"""The demo's wall time: `study run miniature` with the local runner beside one process, by turns.

    python benchmarks/engine_demo.py [--turns 3] [--set train.steps=10 ...]

Every turn runs both, each into a new folder; told are seconds and their ratio. For figures that count, a quiet machine.
"""

import argparse
import subprocess
import sys
import tempfile
import time
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    took: dict[tuple[str, ...], list[float]] = {words: [] for words in RUNNERS}
    for _ in range(arguments.turns):
        for words, found in took.items():
            found.append(seconds(words, arguments.set))
            print(" ".join(words), f"{found[-1]:.1f} s", flush=True)
    first = median(took[RUNNERS[0]])
    for words, found in took.items():
        print(f"{' '.join(words)}: median {median(found):.1f} s, {median(found) / first:.2f} times the local runner's")


if __name__ == "__main__":
    main()
