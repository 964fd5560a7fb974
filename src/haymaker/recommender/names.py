"""What the rows of a ranking are called beside its candidates, and how its probes are trained."""

from collections.abc import Iterable
from typing import Any

from haymaker.errors import ConfigError

UNTRAINED, REAL = "untrained", "real"
PROBE: dict[str, Any] = {"steps": 20, "batch": 8}  # of a probe's TrainConfig, unless it is told


def check_names(candidates: Iterable[str]) -> None:
    """Raises ConfigError where a candidate has the name of what candidates are held against."""
    if taken := {UNTRAINED, REAL} & {*candidates}:
        raise ConfigError(
            f"candidate {min(taken)}: the {min(taken)} row of the ranking is called so; give another name"
        )
