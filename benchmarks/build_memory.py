"""Peak memory of building a folder, by number of rows: it should not grow with them.

    python benchmarks/build_memory.py [--rows 200 2000] [--length 256] [--setting low-high] [--task mdqa]

Each build runs in a process of its own; its peak is ru_maxrss, in MiB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

BUILD = """
import json, resource, sys
from transformers import AutoTokenizer
from haymaker.config import Recipe
from haymaker.models.packaged import MINIATURES
from haymaker.data.parallel import build_folder

values, out = json.loads(sys.argv[1]), sys.argv[2]
tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
build_folder(Recipe(**{**values, "rows": 8}), tokenizer, out + "-first")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
build_folder(Recipe(**values), tokenizer, out)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([before / 1024, after / 1024]))
"""


def peak_of(values: dict, folder: Path) -> tuple[float, float]:
    """MiB at most: after a build of eight rows, and after that of all."""
    command = [sys.executable, "-c", BUILD, json.dumps(values), str(folder / "data")]
    before, after = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return before, after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--task", default="mdqa")
    parser.add_argument("--setting", default="low-high")
    parser.add_argument("--source", default=None)
    arguments = parser.parse_args()
    print(f"{'rows':>8} {'8 rows MiB':>11} {'peak MiB':>9}")
    for rows in arguments.rows:
        values = {name: getattr(arguments, name) for name in ("length", "task", "setting", "source")}
        with tempfile.TemporaryDirectory() as folder:
            before, after = peak_of({**values, "rows": rows}, Path(folder))
        print(f"{rows:>8} {before:>11.0f} {after:>9.0f}", flush=True)


if __name__ == "__main__":
    main()
