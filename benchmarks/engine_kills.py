"""SIGKILL a study at random moments, give the same command again, and hold results.json against an uninterrupted one.

    python benchmarks/engine_kills.py [--kills 50] [--study toy] [--runner local] [--workers 2] [--seed 0] [--json FILE]
    ... --runner slurm --set runner.cluster=local      # or with SLURM_CONF: --set runner.device=cpu

Every second kill is of the whole process group, the others of one worker of `local` or `ray`. A moment is a number of
finished cells and up to 0.3 s more, both at random, so that it is one of the study however busy the machine is.
The study is `miniature`, cut down to two trained settings, or `toy`, of the same shape without a model. Told is how
often results.json is equal apart from times, whether a cell that was finished when the kill came was made again, and
whether anything half-written was left.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

DELAY = 0.3  # seconds
SMALL = (
    *("train.steps=4", "train.save_every=1", "tasks.mdqa.train.rows=8", "tasks.mdqa.test.rows=4", "length=192"),
    *("settings=[base,real,low-low]", "evaluation.untrained_lengths=[]", "heads.rows=2", "ablation.rows=2"),
    *("ablation.k=[1]", "ablation.draws=1", "patching.rows=2", "patching.draws=1"),
)


def command(arguments: argparse.Namespace, out: Path) -> list[str]:
    toy = arguments.study == "toy"
    words = [sys.executable, *([__file__, "--one"] if toy else ["-m", "haymaker"])]
    words += ["study", "run", "miniature", "--no-report", "--out", str(out), "--json", "--runner", arguments.runner]
    words += [part for value in (*arguments.set, *(() if toy else SMALL)) for part in ("--set", value)]
    return words + (["--workers", str(arguments.workers)] if arguments.runner != "serial" else [])


def run_toy(words: list[str]) -> None:
    """The command line with a study of toy cells in place of the miniature."""
    from toy_stages import toy_study

    from haymaker.cli import main
    from haymaker.commands import study_opened

    study_opened.plan_study = toy_study
    sys.argv = ["haymaker", *words]
    main()


def plain(results: Path) -> dict[str, Any]:
    """results.json without what is a time."""
    found = json.loads(results.read_text())
    del found["tables"]["timings"], found["meta"]["created"]
    for row in found["tables"]["evaluation"]:
        row.pop("seconds", None)
    return found


def finished(out: Path) -> set[str]:
    return {path.parent.name for path in (out / "store" / "cells").glob("*/manifest.json")}


def stamps(out: Path) -> dict[str, int]:
    """When each finished cell's manifest was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (out / "store" / "cells").glob("*/manifest.json")}


def workers_of(pid: int) -> list[int]:
    """The processes below a process that perform cells: those of `local`, and Ray's actors."""
    parents, words = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields, said = path.read_text().rpartition(")")[2].split(), (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(path.parent.name)], words[int(path.parent.name)] = int(fields[1]), said
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return [child for child in below - {pid} if b"spawn_main" in words[child] or b"ray::CellActor" in words[child]]


def strike(victim: subprocess.Popen, whole: bool) -> str:
    """Kill everything, or one worker where there is one."""
    workers = workers_of(victim.pid)
    if whole or not workers:
        os.killpg(victim.pid, signal.SIGKILL)
        return "group"
    os.kill(random.choice(workers), signal.SIGKILL)
    return "worker"


def wait_for(victim: subprocess.Popen, out: Path, cells: int, delay: float) -> bool:
    """Wait until so many cells are finished, and a delay more; whether the command still runs then."""
    while victim.poll() is None and len(finished(out)) < cells:
        time.sleep(0.01)
    time.sleep(delay)
    return victim.poll() is None


def kill_once(arguments: argparse.Namespace, out: Path, cells: int, delay: float, whole: bool) -> dict[str, Any]:
    victim = subprocess.Popen(
        command(arguments, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    struck = strike(victim, whole) if wait_for(victim, out, cells, delay) else ""
    before = stamps(out)
    victim.wait()
    again = subprocess.run(command(arguments, out), capture_output=True, text=True)
    after = stamps(out)
    left = [path.name for part in ("tmp", "work", "leases") for path in (out / "store" / part).glob("[!.]*")]
    return {
        "after": cells,
        "delay": round(delay, 2),
        "struck": struck,
        "kept": len(before),
        "again": again.returncode,
        "remade": sum(after.get(key) != stamp for key, stamp in before.items()),
        "left": left,
    }


def main() -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # of Ray's workers
    if sys.argv[1:2] == ["--one"]:
        run_toy(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--study", choices=("toy", "miniature"), default="toy")
    parser.add_argument("--runner", default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="as of `study run`, such as runner.device=cpu")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        rows = measure(arguments, Path(home))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    struck = [row for row in rows if row["struck"]]
    equal, clean = sum(row["equal"] for row in rows), sum(not row["left"] and not row["remade"] for row in rows)
    print(f"{len(struck)} of {len(rows)} struck; {equal} equal; {clean} without a cell made again or anything left")
    raise SystemExit(0 if equal == clean == len(rows) else 1)


def measure(arguments: argparse.Namespace, home: Path) -> list[dict[str, Any]]:
    rng, whole = random.Random(arguments.seed), home / "whole"
    began = time.perf_counter()
    subprocess.run(command(arguments, whole), check=True, capture_output=True)
    seconds, expected = time.perf_counter() - began, plain(whole / "results.json")
    cells = len(finished(whole))
    print(f"uninterrupted: {cells} cells in {seconds:.1f} s", flush=True)
    rows = []
    for number in range(arguments.kills):
        out = home / str(number)
        moment = rng.randrange(cells), rng.uniform(0.0, DELAY)
        row = kill_once(arguments, out, *moment, number % 2 == 0)
        row["equal"] = row["again"] == 0 and plain(out / "results.json") == expected
        rows.append(row)
        print(" ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows


if __name__ == "__main__":
    main()
