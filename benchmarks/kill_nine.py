"""SIGKILL a build at random moments, finish it with the same command, and hold every byte against an uninterrupted one.

    python benchmarks/kill_nine.py [--kills 20] [--rows 400] [--length 512] [--workers 1] [--seed 0] [--json FILE]

The command is `haymaker build`, in processes of its own. Kills are spread evenly over the parts that rows are built in,
at a random moment of each; what is left is finished by the same command, and compared. Exit code 1 where a byte
differs, a file is left over, or fewer than nine tenths of the builds were still running when they were killed.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def build_command(arguments: argparse.Namespace, out: Path) -> list[str]:
    recipe = ["--task", arguments.task, "--setting", arguments.setting, "--length", arguments.length]
    words = [*recipe, "--rows", arguments.rows, "--workers", arguments.workers, "--out", out]
    return [sys.executable, "-m", "haymaker", "build", *map(str, words)]


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def work_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.parts")


def parts_in(work: Path) -> int:
    return len(list(work.glob("part-*.parquet")))


def wait_for_parts(process: subprocess.Popen, work: Path, parts: int) -> None:
    """Until the build has begun, and finished so many parts of its rows; or has ended."""
    while process.poll() is None and not (work.exists() and parts_in(work) >= parts):
        time.sleep(0.002)


def uninterrupted(command: list[str], out: Path) -> tuple[int, float]:
    """Build all of it: how many parts that takes, and seconds for each."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_parts(process, work_of(out), 0)
    began, most = time.perf_counter(), 1
    while process.poll() is None:
        most = max(most, parts_in(work_of(out)))
        time.sleep(0.002)
    if process.returncode:
        raise SystemExit("the uninterrupted build failed")
    return most, (time.perf_counter() - began) / most


def kill_at(command: list[str], out: Path, moment: float, seconds: float) -> tuple[int, int, bool]:
    """Kill a build within part number `moment`: its exit code, parts kept, and whether the folder stood already."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_parts(process, work_of(out), int(moment))
    time.sleep(moment % 1 * seconds)
    os.kill(process.pid, signal.SIGKILL)
    return process.wait(), parts_in(work_of(out)), out.exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 20), ("rows", 400), ("length", 512), ("workers", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--task", default="mdqa")
    parser.add_argument("--setting", default="low-high")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        rows = measure(arguments, Path(home))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    equal, killed = sum(row["equal"] for row in rows), sum(row["killed"] for row in rows)
    print(f"{killed} of {len(rows)} builds were killed; {equal} of {len(rows)} are byte-equal once finished")
    raise SystemExit(0 if equal == len(rows) and killed >= 0.9 * len(rows) else 1)


def measure(arguments: argparse.Namespace, home: Path) -> list[dict]:
    """One row per kill."""
    rng = random.Random(arguments.seed)
    whole = home / "whole" / "data"
    parts, seconds = uninterrupted(build_command(arguments, whole), whole)
    expected = digests(whole)
    print(f"uninterrupted: {parts} parts, {seconds:.3f} s each")
    print(f"{'kill':>4} {'in part':>7} {'parts kept':>10} {'folder':>7} equal")
    rows = []
    for kill in range(arguments.kills):
        out = home / str(kill) / "data"
        command = build_command(arguments, out)
        moment = (kill + rng.random()) / arguments.kills * parts
        code, kept, stood = kill_at(command, out, moment, seconds)
        run(command)
        left = [path.name for path in out.parent.iterdir()]
        row = {"in_part": moment, "killed": code == -signal.SIGKILL, "parts_kept": kept, "folder_stood": stood}
        rows.append({**row, "equal": digests(out) == expected and left == [out.name]})
        print(f"{kill + 1:>4} {moment:>7.2f} {kept:>10} {stood!s:>7} {rows[-1]['equal']}", flush=True)
    return rows


if __name__ == "__main__":
    main()
