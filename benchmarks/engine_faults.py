"""Two commands of different runners on one store, and a disk that is full: what is told, and what the next run makes.

python benchmarks/engine_faults.py      # the full disk needs root, for a small tmpfs

`slurm` is submitit's local executor, or with SLURM_CONF set (engine_slurm.sh) Slurm itself.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from toy_stages import ladder

from haymaker.study import Store, execute
from haymaker.study.runners import open_runner
from haymaker.study.runners.config import RunnerConfig

RUNGS, SECONDS = 6, 3.0  # of a cell: long enough that both commands find some to make
CELLS = 2 * RUNGS + 1
RUNNERS = {
    "local": {"workers": 2},
    "serial": {},
    "slurm": {"device": "cpu"} if "SLURM_CONF" in os.environ else {"cluster": "local"},
    "ray": {"workers": 2},
}


def one(runner: str, home: Path) -> None:
    plan, store = ladder(RUNGS, seconds=SECONDS, record=str(home / "record")), Store(home / "store")
    config = RunnerConfig(name=runner, **RUNNERS[runner])
    summary = execute(plan, store, open_runner(config, {}, store.root))
    print(len(summary.ran), len(summary.kept), summary.complete)


def together(first: str, second: str) -> bool:
    with tempfile.TemporaryDirectory() as home:
        commands = [[sys.executable, __file__, name, home] for name in (first, second)]
        running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for words in commands]
        told = [process.communicate()[0].split()[-3:] for process in running]
        values = [line.split()[0] for line in (Path(home) / "record").read_text().splitlines()]
    right = len(values) == len(set(values)) == CELLS and all(words[-1] == "True" for words in told)
    print(f"{first} and {second}: {told[0][0]} and {told[1][0]} of {CELLS} cells, {len(values)} calls: {said(right)}")
    return right


def full_disk() -> bool:
    """A study whose disk is full in the middle; then room is made and the command is given again."""
    with tempfile.TemporaryDirectory() as home:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", home], check=True)
        try:
            ballast = Path(home) / "ballast"
            ballast.write_bytes(bytes(430 * 1024))
            words = [sys.executable, __file__, "local", home]
            first = subprocess.run(words, capture_output=True, text=True)
            made = len(list((Path(home) / "store" / "cells").glob("*/manifest.json")))
            ballast.unlink()
            again = subprocess.run(words, capture_output=True, text=True)
            values = len(list((Path(home) / "store" / "cells").glob("*/output/value.txt")))
        finally:
            subprocess.run(["umount", "-l", home], check=True)
    told = (first.stdout + first.stderr).strip().splitlines()[-1:]
    right = made < CELLS and values == CELLS and again.stdout.split()[-1:] == ["True"]
    print(f"full disk: {made} of {CELLS} cells, told: {told}; with room again {values}: {said(right)}")
    return right


def said(right: bool) -> str:
    return "right" if right else "WRONG"


def main() -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if len(sys.argv) > 1:
        one(sys.argv[1], Path(sys.argv[2]))
        return
    pairs = (("local", "serial"), ("local", "slurm"), ("local", "ray"), ("slurm", "ray"), ("local", "local"))
    found = [together(*pair) for pair in pairs]
    found.append(full_disk())
    raise SystemExit(0 if all(found) else 1)


if __name__ == "__main__":
    main()
