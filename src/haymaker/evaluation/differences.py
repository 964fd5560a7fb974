"""Two evaluations of the same rows: is one better, and by how much?"""

from pathlib import Path
from typing import Any

import numpy as np

from haymaker.console import named
from haymaker.errors import DataError
from haymaker.evaluation.predictions import Evaluation
from haymaker.stats import DIFFERENCES, paired

FILE = "predictions.jsonl"


def is_evaluation(path: Path) -> bool:
    """Whether it is a folder that holds answers, or such a file."""
    return (path / FILE).is_file() if path.is_dir() else path.suffix == ".jsonl"


def load(path: Path) -> Evaluation:
    return Evaluation.load(path / FILE if path.is_dir() else path)


def difference(first: Evaluation, second: Evaluation, metric: str | None = None) -> dict[str, Any]:
    """First minus second on the rows that both answered: means by the metric (None: the first's headline), the mean
    difference with 95 % bounds and its p-value (sign flips), the rows won and lost, and how many only one answered.

    Raises DataError for evaluations of no row in common, with a row twice or of other golds, or that the metric cannot
    judge.
    """
    name = metric or first.metric
    scores = [by_id(one, name) for one in (first, second)]
    shared = [row for row in scores[0] if row in scores[1]]
    if not shared:
        raise DataError(
            f"no row in common: {named([*scores[0]])}, and {named([*scores[1]])}; evaluate on the same data"
        )
    golds = [{row.example_id: sorted(row.answers) for row in one.predictions} for one in (first, second)]
    if others := [row for row in shared if golds[0][row] != golds[1][row]]:
        raise DataError(
            f"rows of one id are not the same ones: {len(others)} of {len(shared)} have other golds in the second "
            f"({named(others)}); evaluate on the same data, or judge both by one file (haymaker score --data)"
        )
    own, other = (np.array([one[row] for row in shared]) for one in scores)
    found = paired(own, other, reach=DIFFERENCES)
    change = found.difference
    return {
        "metric": name,
        "n": len(shared),
        "only_first": len(scores[0]) - len(shared),
        "only_second": len(scores[1]) - len(shared),
        "first": float(own.mean()),
        "second": float(other.mean()),
        "difference": change.mean,
        "difference_low": change.low,
        "difference_high": change.high,
        "p": found.p,
        "better": int((own > other).sum()),
        "worse": int((own < other).sum()),
    }


def by_id(found: Evaluation, metric: str) -> dict[str, float]:
    """The score of every row, by a metric that has judged the answers or by one that judges them now."""
    if metric not in found.metrics:
        found = found.judged_by([metric])
    scores = dict(zip((one.example_id for one in found.predictions), found.values(metric).tolist(), strict=True))
    if len(scores) < len(found.predictions):
        raise DataError("a row was answered more than once, so answers could not be paired; evaluate each row once")
    return scores
