"""A Ray cluster of three nodes on this machine, one of which is killed in the middle: every cell ends right, each once.

python benchmarks/engine_ray.py [--rungs 6] [--seconds 1]
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from toy_stages import ladder

from haymaker.study import Store, execute
from haymaker.study.runners import open_runner
from haymaker.study.runners.config import RunnerConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rungs", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # of the nodes' processes, too
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    try:
        with tempfile.TemporaryDirectory() as home:
            raise SystemExit(measure(arguments, cluster, nodes[0], Path(home)))
    finally:
        ray.shutdown()
        cluster.shutdown()


def measure(arguments: argparse.Namespace, cluster: Cluster, victim: object, home: Path) -> int:
    record, store = home / "record", Store(home / "store")
    plan = ladder(arguments.rungs, seconds=arguments.seconds, record=str(record))

    def kill() -> None:
        while not record.exists() or len(record.read_text().splitlines()) < 5:
            time.sleep(0.05)
        cluster.remove_node(victim)
        print(f"node killed after {len(record.read_text().splitlines())} calls", flush=True)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    began = time.perf_counter()
    runner = open_runner(RunnerConfig(name="ray", retries=3), {}, store.root)
    summary = execute(plan, store, runner, retries=3)
    killer.join(timeout=60)
    calls = [line.split()[0] for line in record.read_text().splitlines()]
    made = [int(path.read_text()) for path in store.root.glob("cells/*/output/value.txt")]
    alone = Store(home / "alone")
    execute(plan, alone)
    same = sorted(made) == sorted(int(path.read_text()) for path in alone.root.glob("cells/*/output/value.txt"))
    print(f"{len(summary.ran)} of {len(plan.cells)} cells in {time.perf_counter() - began:.1f} s; {len(calls)} calls")
    print(f"failed: {summary.failed}; the same outputs as in one process: {same}")
    return 0 if summary.complete and same else 1


if __name__ == "__main__":
    main()
