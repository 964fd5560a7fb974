"""What is known without running anything: how every cell of a plan stands, why, and what no plan refers to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from haymaker.console import bar
from haymaker.errors import ConfigError
from haymaker.records import digest
from haymaker.study.cell import Cell, action
from haymaker.study.lease import alive, dated_ahead, owner
from haymaker.study.plan import Plan
from haymaker.study.store import Digests, Manifest, Store

State = Literal["done", "missing", "failed", "running", "waiting", "absent"]
MEANING: dict[State, str] = {
    "done": "finished; never run again",
    "missing": "all inputs there; would run now",
    "failed": "the last attempt failed; would run again",
    "running": "a runner works on it now",
    "waiting": "for cells that it reads",
    "absent": "a model or file that it reads is not on this machine",
}


@dataclass(frozen=True)
class Standing:
    """How a cell stands. `key` and `action` are known once everything that the cell reads is there."""

    cell: Cell
    state: State
    key: str | None = None
    action: Mapping[str, Any] | None = None
    manifest: Manifest | None = None
    note: str = ""


class Survey:
    """Finds out how cells stand; asks in plan order, as a key needs the contents of a cell's inputs."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan, self.store = plan, store
        self.digests = Digests(store.root / "digests.json")
        self.standings: dict[str, Standing] = {}

    def all(self) -> dict[str, Standing]:
        """Every cell of the plan, in order."""
        return {name: self.look(name) for name in self.plan.cells}

    def look(self, name: str) -> Standing:
        """Find out anew how one cell stands, given what was found of its inputs."""
        standing = self.standings[name] = self.stand(self.plan.cells[name])
        return standing

    def stand(self, cell: Cell) -> Standing:
        unfinished = [name for name in cell.inputs.values() if self.standings[name].state != "done"]
        try:
            contents = {name: self.digests.of(outside) for name, outside in cell.outside.items()}
        except ConfigError as error:
            return Standing(cell, "absent", note=str(error))
        if unfinished:
            return Standing(cell, "waiting", note=", ".join(unfinished))
        contents |= {name: self.content(source) for name, source in cell.inputs.items()}
        return self.in_store(cell, action(cell, contents))

    def content(self, name: str) -> str:
        manifest = self.standings[name].manifest
        assert manifest is not None
        return manifest["content"]

    def in_store(self, cell: Cell, act: dict[str, Any]) -> Standing:
        key = digest(act)
        if manifest := self.store.manifest(key):
            return Standing(cell, "done", key, act, manifest)
        lease = self.store.lease_path(key)
        if dated_ahead(lease):
            return Standing(cell, "missing", key, act, note=f"a lease of {owner(lease).get('host')} is dated ahead")
        if any(map(alive, self.store.leases(key) if cell.stage.pieces else [lease])):
            return Standing(cell, "running", key, act)
        if failure := self.store.failure(key):
            return Standing(cell, "failed", key, act, failure, failure["message"] + ahead(failure))
        return Standing(cell, "missing", key, act)

    def paths(self, cell: Cell) -> dict[str, Path]:
        """Where a cell finds what it reads, once that is all there."""
        # A model goes by its name, which says more than the folder that it stands for.
        outside = {name: Path(s.name) if s.kind != "file" else s.path() for name, s in cell.outside.items()}
        return outside | {name: self.output(source) for name, source in cell.inputs.items()}

    def output(self, name: str) -> Path:
        key = self.standings[name].key
        assert key is not None
        return self.store.output(key)

    def keys(self) -> dict[str, str]:
        """Every cell's key as far as it is known; of a cell that waits, the key that it had when the study last ran.

        What a cell waits for may turn out as it was, and then that key is right.
        """
        earlier = self.store.planned(self.plan.study)
        known = {name: standing.key or earlier.get(name) for name, standing in self.all().items()}
        return {name: key for name, key in known.items() if key}


def ahead(failure: Mapping[str, Any]) -> str:
    """A word on a failure of a time that is yet to come; empty for others."""
    told = str(failure.get("failed", ""))
    return f" (dated ahead of this clock: {told[:19]})" if told > datetime.now(UTC).isoformat() else ""


# ---- Why a cell is as it is: what changed between it and the nearest finished cell of its stage.

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
    """The finished cell of the same stage: of the same name first, then of fewest differences, then the newest."""
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
    """Dotted key -> [before, after] of everything that counts for a cell and differs."""
    return differing(*({part: action[part] for part in EXPLAINED} for action in (before, after)))


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Dotted key -> [before, after] of what nested values do not share."""
    old, new = dict(flatten(before)), dict(flatten(after))
    keys = [*new, *(key for key in old if key not in new)]
    return {key: [old.get(key), new.get(key)] for key in keys if old.get(key) != new.get(key)}


def flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings with dotted keys."""
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values


# ---- Garbage: what no plan refers to.


@dataclass(frozen=True)
class Garbage:
    """An entry of the store that nothing refers to."""

    path: Path
    key: str
    cell: str
    bytes: int


def find_garbage(survey: Survey) -> list[Garbage]:
    """Cells, work and failures that neither this plan nor any other that ran in the store refers to.

    The study's plan counts as it is now: cells of its earlier versions are garbage.
    """
    store = survey.store
    kept = set(survey.keys().values()) | store.planned_by_others(survey.plan.study)
    free = [(key, path) for key, path in store.entries() if key not in kept]
    entries = [(key, path) for key, path in free if not any(map(alive, store.leases(key)))]
    return [Garbage(path, key, name_of(store, key), size(path)) for key, path in entries]


def remove_garbage(survey: Survey, garbage: list[Garbage]) -> None:
    """Delete what `find_garbage` found, and drafts and leases that killed runners left."""
    for entry in garbage:
        survey.store.remove(entry.path)
    survey.store.sweep()


def name_of(store: Store, key: str) -> str:
    record = store.manifest(key) or store.failure(key)
    return record["cell"] if record else "unfinished"


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


# ---- What is not as it was made.


@dataclass(frozen=True)
class Broken:
    """A finished cell whose files are not those that were published."""

    cell: str
    key: str
    problems: list[str]


def find_broken(survey: Survey) -> list[Broken]:
    """Compare every byte of every finished cell of the plan with what its manifest records."""
    done = [(name, str(standing.key)) for name, standing in survey.all().items() if standing.state == "done"]
    found = []
    with bar("cells", len(done)) as advance:
        for name, key in done:
            found.append(Broken(name, key, survey.store.problems(key)))
            advance(1)
    return [broken for broken in found if broken.problems]


def dated_ahead_of(survey: Survey) -> list[str]:
    """Failures and leases of a time that is yet to come: they hold nothing up, and tell of a clock that was wrong."""
    store = survey.store
    records = (store.failure(key) for key, _ in store.kept("failures"))
    failures = [f"failure of {record['cell']}{ahead(record)}" for record in records if record and ahead(record)]
    leases = [path for _, path in store.kept("leases") if dated_ahead(path)]
    return failures + [f"lease {path} of {owner(path).get('host')} (dated ahead of this clock)" for path in leases]
