"""Garbage: what no plan refers to."""

from dataclasses import dataclass
from pathlib import Path

from haymaker.study.engine import sweep_drafts
from haymaker.study.lease import alive, clear_stale
from haymaker.study.progress import Survey
from haymaker.study.store import Store


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
    entries = [(key, path) for key, path in store.entries() if key not in kept and not alive(store.lease_path(key))]
    return [Garbage(path, key, name_of(store, key), size(path)) for key, path in entries]


def remove_garbage(survey: Survey, garbage: list[Garbage]) -> None:
    """Delete what `find_garbage` found, and drafts and leases that killed runners left."""
    for entry in garbage:
        survey.store.remove(entry.path)
    sweep_drafts(survey.store)
    clear_stale(survey.store.root / "leases")


def name_of(store: Store, key: str) -> str:
    record = store.manifest(key) or store.failure(key)
    return record["cell"] if record else "unfinished"


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
