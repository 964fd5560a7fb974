"""Why a cell is as it is: what changed between it and the nearest finished cell of its stage."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from haymaker.errors import ConfigError
from haymaker.study.plan import Plan
from haymaker.study.progress import Standing, Survey
from haymaker.study.store import Manifest

EXPLAINED = ("version", "params", "inputs", "libraries")


def why(survey: Survey, name: str) -> dict[str, Any]:
    """How a cell stands and which parameter, input or library differs from the nearest other cell of its stage.

    Raises ConfigError for a cell that the plan does not have.
    """
    check_name(survey.plan, name)
    standing = survey.all()[name]
    report: dict[str, Any] = {"cell": name, "state": standing.state, "key": standing.key, "note": standing.note}
    if standing.action is None:
        return report | {"waits_for": causes(survey, name)}
    near = nearest(standing, survey)
    if near is None:
        return report | {"nearest": None, "changed": {}}
    changed = differences(near, standing.action)
    return report | {"nearest": {key: near[key] for key in ("cell", "key", "started")}, "changed": changed}


def check_name(plan: Plan, name: str) -> None:
    if name not in plan.cells:
        close = get_close_matches(name, plan.cells, n=3) or list(plan.cells)[:3]
        raise ConfigError(f"{name}: no such cell in study {plan.study}; close names are {', '.join(close)}")


def causes(survey: Survey, name: str) -> dict[str, str]:
    """The cells at the root of a wait: those that could run or have to be put right, and how they stand."""
    found: dict[str, str] = {}
    for source in survey.plan.cells[name].inputs.values():
        standing = survey.standings[source]
        if standing.state == "waiting":
            found |= causes(survey, source)
        elif standing.state != "done":
            found[source] = standing.state
    return found


def nearest(standing: Standing, survey: Survey) -> Manifest | None:
    """The finished cell of the same stage with the fewest differences; of the same name, then the newest, if equal."""
    assert standing.action is not None
    others = [
        manifest
        for manifest in survey.store.manifests()
        if manifest["stage"] == standing.cell.stage.name and manifest["key"] != standing.key
    ]
    action = standing.action

    def distance(manifest: Manifest) -> tuple[bool, int]:
        return manifest["cell"] != standing.cell.name, len(differences(manifest, action))

    return min(others, key=distance, default=None)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Dotted key -> [before, after] of everything that counts and differs."""
    old, new = (dict(flatten({part: action[part] for part in EXPLAINED})) for action in (before, after))
    keys = [*new, *(key for key in old if key not in new)]
    return {key: [old.get(key), new.get(key)] for key in keys if old.get(key) != new.get(key)}


def flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings with dotted keys."""
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values
