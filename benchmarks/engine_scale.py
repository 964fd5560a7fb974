"""Scale on paper: the hours that studies take on so many GPUs, by the cost model and the order of cells.

python benchmarks/engine_scale.py studies/paper-llama3-8b.yaml studies/paper-mistral-7b.yaml [--device h100]
"""

import argparse
import heapq
from collections.abc import Mapping

from haymaker.commands.study_opened import Opened
from haymaker.study import Plan
from haymaker.study.costs import predictions, requests
from haymaker.study.machines import machine_of


def hours_on(places: int, plans: list[tuple[Plan, Mapping[str, float], Mapping[str, float]]]) -> float:
    """Hours until the last cell is made, the longest chain first, on places that all cells may take."""
    cells = {(i, name): cell for i, (plan, _, _) in enumerate(plans) for name, cell in plan.cells.items()}
    waits = {key: {(key[0], source) for source in cell.inputs.values()} for key, cell in cells.items()}
    readers: dict[tuple[int, str], list[tuple[int, str]]] = {key: [] for key in cells}
    for key, sources in waits.items():
        for source in sources:
            readers[source].append(key)
    ready = [(-plans[i][2][name], (i, name)) for (i, name), sources in waits.items() if not sources]
    heapq.heapify(ready)
    running: list[tuple[float, tuple[int, str]]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < places:
            _, (i, name) = heapq.heappop(ready)
            heapq.heappush(running, (now + plans[i][1][name], (i, name)))
        now, done = heapq.heappop(running)
        for key in readers[done]:
            waits[key].discard(done)
            if not waits[key]:
                heapq.heappush(ready, (-plans[key[0]][2][key[1]], key))
    return now / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--device", default="h100")
    arguments = parser.parse_args()
    machine, plans = machine_of(arguments.device), []
    for study in arguments.studies:
        opened = Opened(study, None, None, None)
        found = predictions(opened.costs(machine), opened.survey().all())
        asked = requests(found, opened.plan, True)
        seconds = {name: prediction.seconds or 0.0 for name, prediction in found.items()}
        plans.append((opened.plan, seconds, {name: request.rank for name, request in asked.items()}))
    cells = sum(len(plan.cells) for plan, _, _ in plans)
    longest = max(max(ranks.values()) for _, _, ranks in plans) / 3600
    print(f"{cells} cells, {sum(sum(seconds.values()) for _, seconds, _ in plans) / 3600:.0f} h in all, ", end="")
    print(f"the longest chain {longest:.1f} h")
    for places in (1, 8, 64, 512):
        print(f"{places:>4} {arguments.device}: {hours_on(places, plans):.1f} h")


if __name__ == "__main__":
    main()
