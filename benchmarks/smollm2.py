"""SmolLM2-135M on a CPU: seconds of a training row, an answer and a head map, by precision, threads and length.

`haymaker fetch smollm2-135m` first. All ways take turns and medians are compared, since an ordinary machine has other
work: `python benchmarks/smollm2.py --lengths 512 1024 --repeats 5`. Leaves benchmarks/results/smollm2.md.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from tables import RESULTS, machine, seconds, table, write_page

import haymaker as hm
from haymaker.models.generation import generate
from haymaker.models.lora import remove_lora
from haymaker.tokens import encode_many

DTYPES, NEW_TOKENS = ("float32", "bfloat16"), 8
Way = tuple[str, int]  # precision and threads
Act = Callable[[hm.LanguageModel, hm.Dataset], float]  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--page", type=Path, default=RESULTS / "smollm2.md")
    chosen = parser.parse_args()
    models = {dtype: hm.load_model(chosen.model, dtype=dtype, device="cpu") for dtype in DTYPES}
    busy, found = os.getloadavg()[0], {}
    for length in chosen.lengths:
        recipe = hm.Recipe(task="mdqa", setting="low-high", length=length, rows=1)
        rows = hm.build(recipe, models["float32"].tokenizer)
        for what, act in ACTS.items():
            taken = turns(act, models, rows, chosen)
            found[what, length] = {way: median(some) for way, some in taken.items()}
            print(what, length, {way: round(value, 2) for way, value in found[what, length].items()}, flush=True)
    write_page(chosen.page, page(found, chosen, busy))


def turns(act: Act, models: dict[str, hm.LanguageModel], rows: hm.Dataset, chosen: Any) -> dict[Way, list[float]]:
    """Seconds of every precision and number of threads, which take turns."""
    taken: dict[Way, list[float]] = {(dtype, threads): [] for dtype in models for threads in chosen.threads}
    ways = list(taken)
    for turn in range(chosen.repeats):
        for dtype, threads in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
            torch.set_num_threads(threads)
            taken[dtype, threads].append(act(models[dtype], rows))
    return taken


def training_row(lm: hm.LanguageModel, rows: hm.Dataset) -> float:
    """The second step of two: the first also checks every gradient."""
    with tempfile.TemporaryDirectory() as folder:
        result = hm.train(lm, rows, hm.TrainConfig(steps=2, batch=1), folder, on_progress=lambda steps: None)
    lm.model, lm.adapter = remove_lora(lm.model), None
    return result.metrics[-1]["seconds"]


def answer(lm: hm.LanguageModel, rows: hm.Dataset) -> float:
    encoded = encode_many(list(rows), lm.tokenizer)
    return seconds(lambda: generate(lm, encoded, NEW_TOKENS, stop=None))


def head_map(lm: hm.LanguageModel, rows: hm.Dataset) -> float:
    return seconds(lambda: hm.detect_heads(lm, rows, metric="copy"))


ACTS: dict[str, Act] = {"training row": training_row, "answer": answer, "head map": head_map}


def page(found: dict[tuple[str, int], dict[Way, float]], chosen: Any, busy: float) -> str:
    ways = list(next(iter(found.values())))
    header = ["what", "tokens", *(f"{dtype}, {threads} thread{'s' * (threads > 1)}" for dtype, threads in ways), "gain"]
    lines = []
    for (what, length), taken in found.items():
        slow, fast = taken["float32", max(chosen.threads)], taken["bfloat16", 1]
        lines.append([what, length, *(f"{taken[way]:.2f}" for way in ways), f"{slow / fast:.1f}"])
    return f"""# {chosen.model} on a CPU

{machine()} The machine had other work: a load of {busy:.1f} at the start. Seconds, medians of {chosen.repeats} turns;
an answer is a prompt and {NEW_TOKENS} tokens; the gain is float32 on all threads over bfloat16 on one.

{table(header, lines)}
"""


if __name__ == "__main__":
    main()
