"""What is known of every cell of a plan without running anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from haymaker.errors import ConfigError
from haymaker.records import digest
from haymaker.study.cell import Cell, action
from haymaker.study.contents import Digests
from haymaker.study.lease import alive
from haymaker.study.plan import Plan
from haymaker.study.store import Manifest, Store

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
        if alive(self.store.lease_path(key)):
            return Standing(cell, "running", key, act)
        if failure := self.store.failure(key):
            return Standing(cell, "failed", key, act, failure, failure["message"])
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
