"""What 1,000 cells cost that do nothing, cold and all made before, beside exca, joblib.Memory and plain Ray tasks.

    python benchmarks/engine_overhead.py [--cells 1000] [--workers 2]

Each row is a process of its own: wall seconds of the first pass and of a second one, and the process's peak memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

Pass = Callable[[], object]


def haymaker_pass(cells: int, home: Path, workers: int) -> Pass:
    from toy_stages import WORK, Toy

    from haymaker.study import Plan, Store, execute
    from haymaker.study.cell import Cell
    from haymaker.study.runners import SerialRunner
    from haymaker.study.runners.local import local_pool

    plan = Plan.of("empty", [Cell(f"cell/{i}", WORK, Toy(value=i)) for i in range(cells)])

    def once() -> None:
        runner = local_pool(workers) if workers else SerialRunner()
        assert execute(plan, Store(home), runner).complete

    return once


def exca_pass(cells: int, home: Path) -> Pass:
    import exca
    import pydantic

    class Empty(pydantic.BaseModel):
        value: int = 0
        infra: exca.TaskInfra = exca.TaskInfra(folder=str(home))

        @infra.apply
        def run(self) -> int:
            return self.value

    return lambda: [Empty(value=i).run() for i in range(cells)]


def joblib_pass(cells: int, home: Path) -> Pass:
    import joblib

    memory = joblib.Memory(home, verbose=0)
    empty = memory.cache(lambda_free)
    return lambda: [empty(i) for i in range(cells)]


def lambda_free(value: int) -> int:
    return value


def ray_pass(cells: int, workers: int) -> Pass:
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    empty = ray.remote(lambda_free)
    return lambda: ray.get([empty.remote(i) for i in range(cells)])


def pass_of(name: str, cells: int, home: Path, workers: int) -> Pass:
    return {
        "haymaker serial": lambda: haymaker_pass(cells, home, 0),
        "haymaker local": lambda: haymaker_pass(cells, home, workers),
        "exca": lambda: exca_pass(cells, home),
        "joblib.Memory": lambda: joblib_pass(cells, home),
        "ray tasks (nothing kept)": lambda: ray_pass(cells, workers),
    }[name]()


NAMES = ("haymaker serial", "haymaker local", "exca", "joblib.Memory", "ray tasks (nothing kept)")


def one(name: str, cells: int, workers: int) -> None:
    """Measure in this process, and print JSON."""
    with tempfile.TemporaryDirectory() as home:
        run, seconds = pass_of(name, cells, Path(home), workers), []
        for _ in range(2):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cold": seconds[0], "cached": seconds[1], "mebibytes": mebibytes}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one")
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments.one, arguments.cells, arguments.workers)
        return
    print(f"{arguments.cells} empty cells, {arguments.workers} workers where there are any")
    print(f"{'':<26}{'cold, s':>9}{'cached, s':>11}{'MiB':>7}")
    for name in NAMES:
        words = [sys.executable, __file__, "--one", name, "--cells", str(arguments.cells)]
        told = subprocess.run([*words, "--workers", str(arguments.workers)], capture_output=True, text=True)
        if told.returncode:
            print(f"{name:<26} failed: {told.stderr.strip().splitlines()[-1]}")
            continue
        row = json.loads(told.stdout.splitlines()[-1])
        print(f"{name:<26}{row['cold']:>9.2f}{row['cached']:>11.2f}{row['mebibytes']:>7.0f}", flush=True)


if __name__ == "__main__":
    main()
