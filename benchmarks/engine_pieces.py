"""A dataset's build in pieces by the local runner's workers, beside one process: the same bytes, and the ratio.

    python benchmarks/engine_pieces.py [--rows 600] [--length 4096] [--workers 2] [--turns 2]

The pieces are made small, so that a build of seconds divides as one of hours does.
"""

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

from haymaker.config import Recipe
from haymaker.study import Plan, Store, execute, stages
from haymaker.study.cell import Cell, Outside
from haymaker.study.runners import Runner, SerialRunner
from haymaker.study.runners.local import local_pool


def build(plan: Plan, runner: Runner) -> tuple[float, str]:
    """Seconds, and the digest of all shards."""
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        assert execute(plan, Store(Path(home)), runner).complete
        took = time.perf_counter() - began
        shards = sorted(Path(home).glob("cells/*/output/**/*.parquet"))
        return took, hashlib.sha256(b"".join(path.read_bytes() for path in shards)).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 600), ("length", 4096), ("workers", 2), ("turns", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    stages.PIECE_TOKENS = max(1, arguments.rows * arguments.length // 8)  # eight pieces
    recipe = Recipe(task="mdqa", setting="low-low", length=arguments.length, rows=arguments.rows)
    outside = {"tokenizer": Outside("tokenizer", "miniature-llama")}
    plan = Plan.of("build", [Cell("data", stages.DATA, recipe, outside=outside)])
    for _ in range(arguments.turns):
        alone, one = build(plan, SerialRunner())
        together, other = build(plan, local_pool(arguments.workers))
        print(
            f"one process {alone:.1f} s, {arguments.workers} workers {together:.1f} s in pieces: "
            f"{alone / together:.2f} times as fast; equal bytes: {one == other}",
            flush=True,
        )


if __name__ == "__main__":
    main()
