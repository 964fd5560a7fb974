"""Interventions as flat rows."""

from typing import Any

from haymaker.evaluation.predictions import Evaluation
from haymaker.interventions.head_sets import HeadSet
from haymaker.stats import bootstrap_mean


def row_of(chosen: HeadSet, changed: Evaluation, plain: Evaluation) -> dict[str, Any]:
    """Scores under an intervention and its change of F1, with a 95 % bootstrap interval over the same questions."""
    change = bootstrap_mean(changed.values("squad_f1") - plain.values("squad_f1"))
    changes = {"delta": change.mean, "delta_low": change.low, "delta_high": change.high}
    return chosen.columns() | changed.row() | {"f1_original": plain.f1} | changes
