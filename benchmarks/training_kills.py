"""SIGKILL a training run at random moments, finish it with the same command, compare every bit of the adapter.

    python benchmarks/training_kills.py [--kills 20] [--steps 12] [--seed 0] [--processes 2]

The command is `haymaker train` in a process of its own, on one thread; with `--processes` torchrun starts as many that
share rows and weights, one of which is killed. Each run of `--steps` is killed once, at a
random moment after a step; kills are spread evenly over the steps. Exit code 1 where a bit differs or fewer than nine
tenths of the runs were still at work.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = ("adapter_model.safetensors", "adapter_config.json", "base.json")


def command(arguments: argparse.Namespace, data: Path, out: Path) -> list[str]:
    sets = [f"steps={arguments.steps}", "batch=2", "save_every=2", "rate=0.003", "rank=4"]
    words = ["train", "--model", "miniature-llama", "--data", data, "--out", out, *(f"--set={one}" for one in sets)]
    start = [sys.executable]
    if arguments.processes > 1:
        words += [f"--set=context_parallel={arguments.processes}", "--set=shard=true"]
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={arguments.processes}"]
    return [*start, "-m", "haymaker", *map(str, words)]


def run(words: list[str]) -> None:
    subprocess.run(words, check=True, capture_output=True)


def digests(folder: Path) -> list[str]:
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES]


def steps_taken(out: Path) -> int:
    path = out / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.is_file() else 0


def workers_of(launcher: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]


def kill_after(words: list[str], out: Path, step: int, rng: random.Random) -> tuple[bool, int]:
    """Kill a run, or one of its workers, a moment after a step: whether it was at work, and steps that it finished."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and steps_taken(out) < step:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.05))
    if process.poll() is None:
        os.kill(rng.choice(workers_of(process.pid) or [process.pid]), signal.SIGKILL)
    return process.wait() != 0, steps_taken(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 20), ("steps", 12), ("seed", 0), ("processes", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as home:
        data = Path(home) / "data"
        run([sys.executable, "-m", "haymaker", "build", "--task", "mdqa", "--setting", "low-low", "--length", "120",
             "--rows", "8", "--out", str(data)])  # fmt: skip
        whole = Path(home) / "whole"
        run(command(arguments, data, whole))
        expected, killed, equal = digests(whole), 0, 0
        for kill in range(arguments.kills):
            out = Path(home) / str(kill)
            at, words = kill * arguments.steps // arguments.kills, command(arguments, data, out)
            at_work, taken = kill_after(words, out, at, rng)
            run(words)
            same = digests(out) == expected
            killed, equal = killed + at_work, equal + same
            print(f"kill {kill + 1:>2} after step {taken:>2}: at work {at_work}, equal {same}", flush=True)
    print(f"{killed} of {arguments.kills} runs were killed at work; {equal} of {arguments.kills} end in the same bits")
    raise SystemExit(0 if equal == arguments.kills and killed >= 0.9 * arguments.kills else 1)


if __name__ == "__main__":
    main()
