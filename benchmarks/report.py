"""Size and load time of the report: of a results.json, and of a made-up study of 100 cells with 32 x 32 heads.

    python benchmarks/report.py runs/miniature/results.json

Load time is from the navigation, in Debian's Chromium: until the page answers to its controls and the first chart
stands, and until all charts that it shows are drawn.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from browser import Browser, browser

from haymaker.charts.page import script
from haymaker.report import render

LAYERS = HEADS = 32
UNTRAINED = ("base", "extended")
TRAINED = ("real", "high-high", "high-low", "low-high", "low-low", "symbolic")
RUNS = [(name, None) for name in UNTRAINED] + [(name, seed) for name in TRAINED for seed in range(4)]
FIRST = "'ready' in document.documentElement.dataset && !!document.querySelector('.lead .chart svg')"
SHOWN = "[...document.querySelectorAll('.chart, .canvas, .pairs')].filter((host) => host.offsetParent)"
ALL = f"{SHOWN}.every((host) => host.querySelector('svg'))"


def hundred_cells() -> dict[str, Any]:
    """26 models evaluated and read, 24 compared, 24 patched: 100 cells, 26,624 head scores."""
    draw = random.Random(0)
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("evaluation", "heads", "similarity", "patching", "timings")
    }
    for setting, seed in RUNS:
        keys = {"model": "llama", "task": "mdqa", "setting": setting, "seed": seed}
        tables["evaluation"].append(keys | evaluated(draw) | cell("evaluate", setting, seed))
        tables["heads"] += [keys | row | cell("heads", setting, seed) for row in heads(draw)]
        if seed is not None:
            tables["similarity"].append(keys | alike(draw) | cell("compare", setting, seed))
            tables["patching"] += [keys | row | cell("patch", setting, seed) for row in patched(draw)]
    names = dict.fromkeys(row["cell"] for rows in tables.values() for row in rows)
    tables["timings"] = [
        {"cell": name, "stage": name.split("/")[0], "setting": None, "seconds": 100.0, "cached": False}
        for name in names
    ]
    assert len(names) == 100
    return {"meta": {"study": "A hundred cells"}, "tables": tables}


def cell(stage: str, setting: str, seed: int | None) -> dict[str, str]:
    return {"cell": f"{stage}/mdqa/{setting}{'' if seed is None else f'/{seed}'}", "key": "0123456789ab"}


def scored(draw: random.Random) -> dict[str, Any]:
    value = draw.random()
    return {"metric": "squad_f1", "score": value, "score_low": value * 0.9, "score_high": min(1, value * 1.1), "n": 200}


def evaluated(draw: random.Random) -> dict[str, Any]:
    return {"split": "test", "length": 32768, "cut_off": 0, "seconds": 900.0} | scored(draw)


def heads(draw: random.Random) -> list[dict[str, Any]]:
    """Few heads that copy, as in models of this size."""
    scores = [draw.random() ** 8 for _ in range(LAYERS * HEADS)]
    return [
        {
            "metric": "copy",
            "layer": i // HEADS,
            "head": i % HEADS,
            "score": value,
            "low": value * 0.9,
            "high": value * 1.1,
        }
        | {"n": 200}
        for i, value in enumerate(scores)
    ]


def alike(draw: random.Random) -> dict[str, Any]:
    found = {name: draw.random() for name in ("cosine", "recall", "subset", "overlap", "score")}
    return found | {"reference": "real", "k": 10, "active": 40, "active_reference": 50, "metric": "squad_f1"}


def patched(draw: random.Random) -> list[dict[str, Any]]:
    told = {"donor": "real", "k": 10, "draw": 0, "score_original": 0.5, "delta": 0.1, "head_list": ""}
    return [told | scored(draw) | {"heads": heads} for heads in ("intersection", "complement", "random")]


def load(seen: Browser, page: Path) -> tuple[float, float]:
    """Seconds until the page answers, and until all charts that it shows are drawn."""
    start = time.perf_counter()
    seen.open(page)
    seen.until(FIRST, 120)
    first = time.perf_counter() - start
    seen.until(ALL, 120)
    return first, time.perf_counter() - start


def measure(name: str, results: dict[str, Any], turns: int, folder: Path) -> None:
    start = time.perf_counter()
    text = render(results, name)
    rendered = time.perf_counter() - start
    page = folder / "report.html"
    page.write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, browser(Path(profile)) as seen:
        times = [load(seen, page) for _ in range(turns)]
    first, whole = (sorted(values)[len(values) // 2] for values in zip(*times, strict=True))
    size, ours = len(text.encode()), len(text.encode()) - len(script().encode())
    print(f"| {name} | {size / 1e6:.2f} | {ours / 1e6:.2f} | {rendered:.1f} | {first:.2f} | {whole:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", help="a results.json to measure too")
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    script()  # bundled once a process, so not part of either page's time
    print("| study | MB | of it ours | drawn in s | opens in s | all charts in s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        if given.results:
            measure(str(given.results), json.loads(given.results.read_text()), given.turns, Path(folder))
        measure("100 cells, 32 x 32 heads", hundred_cells(), given.turns, Path(folder))


if __name__ == "__main__":
    main()
