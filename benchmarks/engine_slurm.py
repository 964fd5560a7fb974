"""Studies on a real Slurm: an array, a cancelled job, a requeued one, a node drained in the middle, a killed command.

    benchmarks/engine_slurm.sh start /tmp/slurm 2
    SLURM_CONF=/tmp/slurm/slurm.conf python benchmarks/engine_slurm.py
    benchmarks/engine_slurm.sh stop /tmp/slurm

Each case runs a study of toy cells and does something to it once some of them are made. Exit code 1 where a case ends
otherwise than it says.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from toy_stages import ladder

from haymaker.study import Store, Summary, execute
from haymaker.study.runners import open_runner
from haymaker.study.runners.config import RunnerConfig

RUNGS, SECONDS = 4, 3.0
CELLS = 2 * RUNGS + 1
Do = Callable[[], object]


def slurm(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def running() -> list[str]:
    return slurm("squeue", "-h", "-t", "R", "-o", "%i").split()


def cancel() -> None:
    slurm("scancel", "--signal=KILL", "--full", running()[0])
    slurm("scancel", *running()[:1])


def requeue() -> None:
    slurm("scontrol", "requeue", running()[0])


def drain() -> None:
    slurm("scontrol", "update", "NodeName=node2", "State=DRAIN", "Reason=benchmark")
    slurm("scontrol", "requeue", ",".join(slurm("squeue", "-h", "-t", "R", "-w", "node2", "-o", "%i").split()))


def undrain() -> None:
    slurm("scontrol", "update", "NodeName=node2", "State=RESUME")


def study(home: Path, record: Path, do: Do | None) -> Summary:
    """Run the study, and do something once three cells are under way."""

    def wait_and_do() -> None:
        while not record.exists() or len(record.read_text().splitlines()) < 3 or not running():
            time.sleep(0.2)
        if do:
            do()

    doer = threading.Thread(target=wait_and_do)
    doer.start()
    store = Store(home / "store")
    plan = ladder(RUNGS, seconds=SECONDS, record=str(record))
    summary = execute(plan, store, open_runner(RunnerConfig(name="slurm", device="cpu"), {}, store.root))
    doer.join()
    return summary


def case(name: str, do: Do | None, failed: int) -> bool:
    """A study in which that happens: as many failures as it says, and all cells once the command is given again."""
    with tempfile.TemporaryDirectory() as home:
        record, began = Path(home) / "record", time.perf_counter()
        first = study(Path(home), record, do)
        calls = len(record.read_text().splitlines())
        seconds = time.perf_counter() - began
        again = study_again(Path(home), record)
        made = len(list((Path(home) / "store" / "cells").glob("*")))
    right = len(first.failed) == failed and again.complete and made == CELLS
    print(
        f"{name}: {len(first.ran)} of {CELLS} cells in {seconds:.0f} s by {calls} calls, {len(first.failed)} failed "
        f"({'; '.join(first.failed.values())}), then {len(again.ran)} more: {'right' if right else 'WRONG'}",
        flush=True,
    )
    return right


def study_again(home: Path, record: Path) -> Summary:
    store = Store(home / "store")
    plan = ladder(RUNGS, seconds=SECONDS, record=str(record))
    return execute(plan, store, open_runner(RunnerConfig(name="slurm", device="cpu"), {}, store.root))


def killed_command() -> bool:
    """SIGKILL the command while its jobs run; the same command waits for them and makes no cell twice."""
    with tempfile.TemporaryDirectory() as home:
        record = Path(home) / "record"
        command = [sys.executable, __file__, "--one", home]
        victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not record.exists() or len(record.read_text().splitlines()) < 3:
            time.sleep(0.2)
        victim.kill()
        victim.wait()
        again = study_again(Path(home), record)
        values = [line.split()[0] for line in record.read_text().splitlines()]
    right = again.complete and len(values) == len(set(values)) == CELLS
    print(f"killed command: {len(values)} calls for {CELLS} cells: {'right' if right else 'WRONG'}", flush=True)
    return right


def main() -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    if "--one" in sys.argv:
        home = Path(sys.argv[-1])
        study_again(home, home / "record")
        return
    found = [case("array", None, 0), case("requeued", requeue, 0), case("cancelled", cancel, 1)]
    found.append(case("drained", drain, 0))
    undrain()
    found.append(killed_command())
    raise SystemExit(0 if all(found) else 1)


if __name__ == "__main__":
    main()
