"""What the answers of all models say together: each setting over its seeds, and settings beside each other.

Pure: rows in, rows out. Every model of a task answers the same test questions, so settings are compared question by
question.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, groupby
from math import sqrt
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.stats import DIFFERENCES, SCORES, Interval, bootstrap_crossed, detectable, holm, paired
from haymaker.stats.intervals import wilson
from haymaker.study.cell import Row

Model = tuple[Any, ...]  # model, task, setting, seed
Answers = Mapping[Model, Mapping[str, float]]  # the headline of every question
UNTRAINED = ("extended", "base")  # what training is compared with: the first that a study has


class Grid:
    """The scores of one setting [seed, question]."""

    def __init__(self, setting: str, runs: Sequence[Mapping[str, float]]) -> None:
        self.setting, self.runs = setting, runs
        self.questions = sorted(set.intersection(*(set(run) for run in runs)))

    def of(self, questions: Sequence[str]) -> Float[ndarray, "seed n"]:
        return np.array([[run[question] for question in questions] for run in self.runs], dtype=np.float64)


def grids(answers: Answers) -> dict[tuple[str, str], dict[str, Grid]]:
    """Settings by (model, task), in the order of their cells."""
    found: dict[tuple[str, str], dict[str, list[Mapping[str, float]]]] = {}
    for (model, task, setting, _), run in answers.items():
        found.setdefault((model, task), {}).setdefault(setting, []).append(run)
    return {group: {name: Grid(name, runs) for name, runs in own.items()} for group, own in found.items()}


def setting_rows(answers: Answers, metric_of: Mapping[tuple[str, str], str]) -> list[Row]:
    """A row per setting: its score with bounds over questions and seeds at once, and how far its seeds spread."""
    return [
        about_setting(grid) | {"model": model, "task": task, "metric": metric_of.get((model, task))}
        for (model, task), settings in grids(answers).items()
        for grid in settings.values()
    ]


def about_setting(grid: Grid) -> Row:
    scores = grid.of(grid.questions)
    found, by_seed = bootstrap_crossed(scores, reach=SCORES), scores.mean(axis=1)
    return {
        "setting": grid.setting,
        **columns("score", found),
        **{"seed_low": float(by_seed.min()), "seed_high": float(by_seed.max()), "seed_spread": spread_of(by_seed)},
        **{"n": len(grid.questions), "seeds": len(grid.runs)},
    }


def columns(name: str, found: Interval) -> Row:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def spread_of(values: Float[ndarray, "n"]) -> float | None:
    """The standard deviation; None of a single value."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def pair_rows(answers: Answers, reference: str = "real") -> list[Row]:
    """Every two settings: the reference beside all others, trained ones beside the untrained model, and the rest.

    `p` is of a sign-flip test over questions, or of Student's t over seeds and questions where that is larger; `p_holm`
    is corrected for all pairs of the same family: those of one model and task against one setting. `detectable` is the
    difference that these rows and seeds find with 80 % power.
    """
    found: list[Row] = []
    for (model, task), settings in grids(answers).items():
        for first, second, family in pairs_of(list(settings), reference):
            row = beside(settings[first], settings[second])
            found.append({"model": model, "task": task, "first": first, "second": second, "family": family, **row})
    for _, family in groupby(found, key=lambda row: (row["model"], row["task"], row["family"])):
        rows = list(family)
        for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["p_holm"] = p
    return found


def pairs_of(settings: Sequence[str], reference: str) -> list[tuple[str, str, str]]:
    """(first, second, name of the family), families together."""
    untrained = next((name for name in UNTRAINED if name in settings), None)
    against = [(reference, other, "reference") for other in settings if reference in settings and other != reference]
    trained = [name for name in settings if name not in UNTRAINED and name != reference]
    beside_none = [(name, untrained, "untrained") for name in trained if untrained]
    told = {frozenset(pair[:2]) for pair in (*against, *beside_none)}
    rest = [pair for pair in combinations(settings, 2) if frozenset(pair) not in told]
    return [*against, *beside_none, *((first, second, "others") for first, second in rest)]


def beside(first: Grid, second: Grid) -> Row:
    """First minus second over the questions that both answered; where both have as many seeds, seed by seed."""
    questions = sorted(set(first.questions) & set(second.questions))
    one, other = first.of(questions), second.of(questions)
    one, other = np.broadcast_arrays(*whole(one, other))
    found, change = paired(one, other, reach=DIFFERENCES), one - other
    between = spread_of(change.mean(axis=1))
    room = wilson(0, len(questions)).high  # as many questions may differ although none did
    spread = max(float(change.mean(axis=0).std()), sqrt(room * (1 - room)))
    least = detectable(spread, len(questions), len(change), between or 0.0)
    return {
        **{"difference": found.difference.mean, "low": found.difference.low, "high": found.difference.high},
        **{"p": found.p, "n": found.n, "seeds": len(change), "seed_spread": between, "detectable": least},
    }


def whole(one: ndarray, other: ndarray) -> tuple[ndarray, ndarray]:
    """Two grids with as many seeds, or one run against many (an untrained model is the same for every seed).

    Where a study is not finished and both have several seeds, but not as many, their means are compared.
    """
    if len(one) == len(other) or 1 in (len(one), len(other)):
        return one, other
    return one.mean(axis=0, keepdims=True), other.mean(axis=0, keepdims=True)
