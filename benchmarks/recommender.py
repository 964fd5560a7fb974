"""Is the recommender right? Settings of a finished study are ranked by short trainings and compared with their scores.

    python benchmarks/recommender.py runs/miniature --steps 5 10 20 --out benchmarks/results/recommender.md

The truth is the study's own table: the score of every trained setting on the test rows, mean over its seeds. Candidates
are built anew from the study's recipes; the real rows are of the dev split, so neither training nor test rows are seen.
By leaving each setting out in turn: Spearman's rank correlation with the truth, how often the first choice is right.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import haymaker as hm
from haymaker.recommender.ranking import RANKED_BY, worth
from haymaker.study import StudyConfig

ABOUT = ("steps", "by", "rho", "p", "rho, one left out", "first right", "first of two right", "n")
NOT_CANDIDATES = ("real", "base", "extended", "real-limited")


def truth_of(results: dict[str, Any], config: StudyConfig, task: str) -> dict[str, float]:
    """The score of every synthetic setting at the study's length, mean over seeds."""
    rows = [row for row in results["tables"]["evaluation"] if row["length"] == config.length and row["task"] == task]
    names = dict.fromkeys(row["setting"] for row in rows if row["setting"] not in NOT_CANDIDATES)
    return {name: fmean(row.get("score", row.get("f1")) for row in rows if row["setting"] == name) for name in names}


def rank(
    config: StudyConfig, task: str, names: Sequence[str], steps: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """The recommender's rows for these settings after so many steps."""
    lm = hm.load_model(config.model, extend=config.extension(), dtype=config.dtype)
    candidates = {name: config.train_recipe(task, name, options.seed) for name in names}
    real = config.test_recipe(task, config.length).changed(split="dev", rows=options.real_rows)
    train = config.train.changed(steps=steps, seed=options.seed)
    wanted = {"rows": steps * train.batch, "real_rows": options.real_rows, "answers": options.answers}
    return hm.recommend(lm, candidates, real, config=train, **wanted)


def judged(rows: Sequence[dict[str, Any]], truth: dict[str, float], steps: int) -> list[dict[str, Any]]:
    """How well each measure orders the settings."""
    told = {row["candidate"]: row for row in rows if row["rank"]}
    return [
        {"steps": steps, "by": by} | agreement({name: worth(told[name][by], by) for name in truth}, truth)
        for by in RANKED_BY
        if by in next(iter(told.values()))
    ]


def agreement(found: dict[str, float], truth: dict[str, float]) -> dict[str, Any]:
    """Rank correlation, the same without each setting in turn, and how often the first choice is the best."""
    names = list(truth)
    whole = correlation(names, found, truth)
    left = [[name for name in names if name != gone] for gone in names]
    firsts = [max(some, key=found.__getitem__) == max(some, key=truth.__getitem__) for some in [names, *left]]
    pairs = [(found[a] - found[b]) * (truth[a] - truth[b]) > 0 for a, b in combinations(names, 2)]
    rhos = [correlation(some, found, truth).rho for some in left]
    return {
        **{"rho": whole.rho, "p": whole.p, "rho, one left out": f"{min(rhos):.2f} to {max(rhos):.2f}"},
        **{"first right": fmean(firsts), "first of two right": fmean(pairs), "n": len(names)},
    }


def correlation(names: Sequence[str], found: dict[str, float], truth: dict[str, float]) -> hm.stats.Correlation:
    values = ([side[name] for name in names] for side in (found, truth))
    return hm.stats.spearman(*map(np.array, values))


def page(study: str, truth: dict[str, float], rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"# The recommender on {study}",
        "",
        "True scores: " + ", ".join(f"{k} {v:.2f}" for k, v in truth.items()),
        "",
    ]
    lines += ["| " + " | ".join(ABOUT) + " |", "|" + "---|" * len(ABOUT)]
    cells = ([f"{row[key]:.2f}" if isinstance(row[key], float) else str(row[key]) for key in ABOUT] for row in rows)
    return "\n".join([*lines, *("| " + " | ".join(line) + " |" for line in cells), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--task", default="mdqa")
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--real-rows", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1, help="of the candidates' rows and trainings")
    parser.add_argument("--answers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = json.loads((options.study / "results.json").read_text())
    told = results["meta"]["config"]
    told["train"].pop("seed", None)  # a study's seeds stand apart
    config = StudyConfig(**told)
    truth, rows = truth_of(results, config, options.task), []
    for steps in options.steps:
        rows += judged(rank(config, options.task, list(truth), steps, options), truth, steps)
        text = page(config.name, truth, rows)
        print(text, flush=True)
        if options.out:
            options.out.write_text(text)


if __name__ == "__main__":
    main()
