"""What it saves that a process keeps its base model and swaps adapters: a load beside a swap, and whole cells.

    python benchmarks/engine_bases.py [miniature-llama smollm2-135m] [--turns 5] [--rows 8] [--length 512]

Two adapters are trained for a step. Told are medians over turns: seconds of a load with an adapter and of a swap to it,
their ratio, whether the probe's logits are equal bit for bit, and the process's memory before and after all swaps; and
seconds of the cells evaluate and heads of both adapters, each with a load of its own and on the base that is kept.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import haymaker as hm
from haymaker.console import said
from haymaker.models.handshake import probe_logits
from haymaker.study import stages
from haymaker.study.bases import Base
from haymaker.study.held import forget, model_with


def seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def resident() -> float:
    """MiB of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) / 1024


def adapters_of(base: Base, data: Path, home: Path) -> list[Path]:
    """Two adapters of the base, each trained for a step."""
    for seed in (0, 1):
        params = stages.TrainParams(extend=base.extend, train=hm.TrainConfig(steps=1, batch=1, seed=seed))
        stages.train_adapter(params, {"model": Path(base.name), "data": data}, home / f"adapter-{seed}")
    return [home / f"adapter-{seed}" for seed in (0, 1)]


def swaps(base: Base, adapters: list[Path], turns: int) -> None:
    loads, changes, equal = [], [], True
    model_with(base, adapters[1])
    before = resident()
    for _ in range(turns):
        for adapter in adapters:
            fresh: list[hm.LanguageModel] = []
            loads.append(seconds(lambda a=adapter, f=fresh: f.append(hm.load_model(base.name, a, base.extend))))
            expected = probe_logits(fresh[0].model, fresh[0].context)
            fresh.clear()
            changes.append(seconds(lambda a=adapter: model_with(base, a)))
            found = model_with(base, adapter)
            equal &= bool((probe_logits(found.model, found.context) == expected).all())
    load, swap = median(loads), median(changes)
    print(f"{base.name}: load {load:.2f} s, swap {swap:.3f} s, {load / swap:.1f} times; equal bits: {equal}; ", end="")
    print(f"{before:.0f} MiB before, {resident():.0f} after {len(changes)} swaps", flush=True)


def cells(base: Base, adapters: list[Path], data: Path, turns: int) -> None:
    """Seconds of the same cells with a load each, and on a base that is kept, by turns."""

    def once(keep: bool) -> None:
        for adapter in adapters:
            inputs = {"model": Path(base.name), "data": data, "adapter": adapter}
            for stage, params in ((stages.EVALUATE, stages.EvaluateParams()), (stages.HEADS, stages.HeadsParams())):
                if not keep:
                    forget()
                with tempfile.TemporaryDirectory() as output:
                    (Path(output) / "output").mkdir()
                    stage.run(params, inputs, Path(output) / "output")

    once(keep=True)
    took = {keep: [] for keep in (True, False)}
    for _ in range(turns):
        for keep, found in took.items():
            found.append(seconds(lambda k=keep: once(k)))
    with_it, without = median(took[True]), median(took[False])
    print(f"{base.name}: evaluate and heads of two adapters: {with_it:.2f} s on a base that is kept, ", end="")
    print(f"{without:.2f} s with a load for each, {without / with_it:.2f} times", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["miniature-llama"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    arguments = parser.parse_args()
    said["quiet"] = True
    for name in arguments.models:
        context = hm.load_model(name).context
        extend = hm.Extend(length=arguments.length) if arguments.length > context else None
        recipe = hm.Recipe(task="mdqa", setting="low-low", length=arguments.length, rows=arguments.rows)
        with tempfile.TemporaryDirectory() as home:
            data = Path(home) / "data"
            stages.build_data(recipe, {"tokenizer": Path(name)}, data)
            base = Base(name, extend, "auto")
            adapters = adapters_of(base, data, Path(home))
            swaps(base, adapters, arguments.turns)
            cells(base, adapters, data, arguments.turns)


if __name__ == "__main__":
    main()
