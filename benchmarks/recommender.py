"""Is the recommender right? Settings of a finished study are ranked by short trainings and compared with their scores.

    python benchmarks/recommender.py runs/miniature --steps 4 12 20 --seeds 1 2 3 --keep runs/recommender.json \\
        --out benchmarks/results/recommender.md

The truth is the study's own table: the score of every trained setting on the test rows, mean over its seeds. Candidates
are built anew from the study's recipes; the real rows are of the dev split, so neither training nor test rows are seen.
Over all settings, and again without each of them in turn: Spearman's rank correlation with the truth, how often the
first choice is the best. What was ranked is kept in a file, and is not ranked again,
and a ranking that was stopped goes on.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import haymaker as hm
from haymaker.file_reading import read_json_if_there
from haymaker.files import write_json
from haymaker.recommender.ranking import RANKED_BY, worth
from haymaker.study import StudyConfig
from haymaker.study.store import plain

ABOUT = (
    *("steps", "by", "rho", "bounds", "over seeds", "one setting left out", "less the loss's"),
    *("first right", "better of two right", "n"),
)
NOT_CANDIDATES = ("real", "base", "extended", "real-limited")
ENOUGH = 0.1  # of rho below the best that some number of steps reaches: then fewer steps are enough
Scores = dict[str, float]  # by setting


def truth_of(results: dict[str, Any], config: StudyConfig, task: str) -> Scores:
    """The score of every synthetic setting at the study's length, mean over seeds."""
    rows = [row for row in results["tables"]["evaluation"] if row["length"] == config.length and row["task"] == task]
    names = dict.fromkeys(row["setting"] for row in rows if row["setting"] not in NOT_CANDIDATES)
    return {name: fmean(row.get("score", row.get("f1")) for row in rows if row["setting"] == name) for name in names}


def rank(
    config: StudyConfig, names: Sequence[str], steps: int, seed: int, options: argparse.Namespace, key: str
) -> list[dict[str, Any]]:
    """The recommender's rows for these settings after so many steps."""
    lm = hm.load_model(config.model, extend=config.extension(), dtype=config.dtype)
    candidates = {name: config.train_recipe(options.task, name, seed) for name in names}
    whose = config.test_recipe(options.task, config.length)
    if options.dev_of == "train":
        whose = config.train_recipe(options.task, "real", seed)
    real = whose.changed(split="dev", rows=options.real_rows)
    train = config.train.changed(steps=steps, seed=seed, track=None)
    wanted = {"rows": steps * train.batch, "real_rows": options.real_rows, "answers": options.answers}
    keep = options.keep and options.keep.with_name(f".{options.keep.name}.{key.replace(' ', '-')}.partial")
    found = hm.recommend(lm, candidates, real, config=train, keep=keep, **wanted)
    if keep:
        keep.unlink()
    return [plain(row) for row in found]


def measured(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Scores]:
    """Of one ranking, how much each measure thinks of every setting."""
    told = {row["candidate"]: row for row in rows if row["rank"]}
    known = {by: {name: told[name].get(by) for name in names} for by in RANKED_BY if by in next(iter(told.values()))}
    return {
        by: {name: worth(hm.stats.known(value), by) for name, value in values.items()} for by, values in known.items()
    }


# ---- how well a measure orders the settings


def judged(trials: Sequence[dict[str, Scores]], truth: Scores, steps: int) -> Iterator[dict[str, Any]]:
    """A row per measure, of the rankings of several seeds after as many steps."""
    names = list(truth)
    loss = [correlation(names, trial["loss"], truth) for trial in trials]
    for by in trials[0]:
        rhos = [correlation(names, trial[by], truth) for trial in trials]
        found = [agreement(trial[by], truth) for trial in trials]
        interval = hm.stats.spearman_interval(fmean(rhos), len(names))
        left = [rho for one in found for rho in one["left"]]
        yield {
            **{"steps": steps, "by": by, "rho": fmean(rhos), "bounds": bounds(interval)},
            **{"over seeds": between(rhos), "one setting left out": between(left)},
            "less the loss's": between([own - other for own, other in zip(rhos, loss, strict=True)]),
            "first right": fmean(first for one in found for first in one["firsts"]),
            "better of two right": fmean(pair for one in found for pair in one["pairs"]),
            "n": f"{len(names)} settings, {len(trials)} seeds",
        }


def agreement(found: Scores, truth: Scores) -> dict[str, Any]:
    """Without each setting in turn, the rank correlation; and whether first choices and choices of two are right."""
    names = list(truth)
    left = [[name for name in names if name != gone] for gone in names]
    return {
        "left": [correlation(some, found, truth) for some in left],
        "firsts": [is_first(some, found, truth) for some in (names, *left)],
        "pairs": [(found[a] - found[b]) * (truth[a] - truth[b]) > 0 for a, b in combinations(names, 2)],
    }


def is_first(names: Sequence[str], found: Scores, truth: Scores) -> float:
    """The chance that a setting which the measure puts first is the best; ties are drawn by lot."""
    best = [name for name in names if found[name] == max(found[other] for other in names)]
    return fmean(truth[name] == max(truth[other] for other in names) for name in best)


def correlation(names: Sequence[str], found: Scores, truth: Scores) -> float:
    """Spearman's rho; 0 where the measure says the same of all."""
    rho = hm.stats.spearman(*(np.array([side[name] for name in names]) for side in (found, truth))).rho
    return 0.0 if np.isnan(rho) else rho


def bounds(interval: hm.stats.Interval) -> str:
    """Of three settings or fewer there are none."""
    return "none" if math.isnan(interval.low) else f"{interval.low:.2f} to {interval.high:.2f}"


def between(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


# ---- the page


def page(study: str, truth: Scores, rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> str:
    scores = ", ".join(f"{name} {score:.2f}" for name, score in truth.items())
    lines = [f"# The recommender on {study}", "", f"True scores ({options.task}): {scores}.", "", *told(rows), ""]
    lines += ["| " + " | ".join(ABOUT) + " |", "|" + "---|" * len(ABOUT)]
    cells = ([f"{row[key]:.2f}" if isinstance(row[key], float) else str(row[key]) for key in ABOUT] for row in rows)
    lines += ["| " + " | ".join(line) + " |" for line in cells]
    half = options.real_rows // 2
    lines += [
        "",
        f"{half} real rows trained the real probe and {half} others were read; every seed has other rows of each "
        "candidate and another training. `rho` is the mean over seeds, `bounds` are those of a rank correlation of so "
        "many settings (Bonett and Wright), `less the loss's` is rho less that of the loss on the same trial.",
    ]
    return "\n".join([*lines, ""])


def told(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Of each measure the best rho, and after how many steps it is reached or nearly so."""
    for by in dict.fromkeys(row["by"] for row in rows):
        own = [row for row in rows if row["by"] == by]
        best = max(row["rho"] for row in own)
        steps = next(row["steps"] for row in own if row["rho"] >= best - ENOUGH)
        yield f"- `{by}`: rho {best:.2f} at best, {steps} steps are enough for that less {ENOUGH}."


def kept_trials(config: StudyConfig, truth: Scores, options: argparse.Namespace) -> Iterator[tuple[int, int, list]]:
    """Steps, seed and the recommender's rows, those of the file first."""
    path = options.keep
    kept = (read_json_if_there(path, "remove it") if path else None) or {}
    for steps in options.steps:
        for seed in options.seeds:
            key = f"{config.name} {options.task} steps {steps} seed {seed} real {options.real_rows}"
            if key not in kept:
                kept[key] = rank(config, list(truth), steps, seed, options, key)
                if path:
                    write_json(path, kept)
            yield steps, seed, kept[key]


def main() -> None:
    options = arguments().parse_args()
    results = json.loads((options.study / "results.json").read_text())
    given = results["meta"]["config"]
    given["train"].pop("seed", None)  # a study's seeds stand apart
    config = StudyConfig(**given)
    truth, trials = truth_of(results, config, options.task), {}
    for steps, _, ranking in kept_trials(config, truth, options):
        trials.setdefault(steps, []).append(measured(ranking, list(truth)))
        rows = [row for steps, some in trials.items() for row in judged(some, truth, steps)]
        text = page(config.name, truth, rows, options)
        print(text, flush=True)
        if options.out:
            options.out.write_text(text)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--task", default="mdqa")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 12, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of the candidates' rows and trainings")
    parser.add_argument("--real-rows", type=int, default=48)
    parser.add_argument("--dev-of", choices=("test", "train"), default="test", help="whose source real rows are of")
    parser.add_argument("--answers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--keep", type=Path, help="a JSON file for the rankings; what is in it is not ranked again")
    parser.add_argument("--out", type=Path)
    return parser


if __name__ == "__main__":
    main()
