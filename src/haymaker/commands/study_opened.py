"""A study as its commands open it: the file read and planned, its folder and its store. No torch."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from haymaker.commands.study_plan import Priced
from haymaker.config_files import load_config
from haymaker.errors import ConfigError
from haymaker.study import Plan, Store, StudyConfig, plan_study
from haymaker.study.costs import Costs
from haymaker.study.machines import Machine, computes_in_half, machine_of
from haymaker.study.refusals import refuse_hopeless
from haymaker.study.survey import Standing, Survey

PACKAGED = Path(__file__).parents[1] / "studies"
ELSEWHERE = "a100-80gb"  # what a cluster's time limits are reckoned on: the slowest that they commonly have

Study = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study file, or a packaged one: miniature, miniature-full, smollm2.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Where results go.  [default: runs/<name of the study>]")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="PATTERN", help="Cells called so, as 'train/*/real', and what they read."),
]
StoreFolder = Annotated[Path | None, typer.Option("--store", help="A store to share.  [default: <out>/store]")]


class Opened:
    """A study file read and planned, with its folder and store."""

    def __init__(
        self, study: str, overrides: list[str] | None, out: Path | None, store: Path | None, only: Only = None
    ) -> None:
        self.config = load_config(find_study(study), StudyConfig, overrides)
        self.whole = plan_study(self.config)
        self.plan = self.whole.only(only) if only else self.whole
        self.out = out or Path("runs") / self.config.name
        self.store = Store(store or self.out / "store")
        for folder in (self.out, self.store.root):
            refuse_other_than_folders(folder)

    @property
    def has_results(self) -> bool:
        return (self.out / "results.json").is_file()

    def survey(self, plan: Plan | None = None) -> Survey:
        return Survey(plan or self.plan, self.store)

    def refuse_hopeless(self) -> "Opened":
        """Itself, unless it must fail after hours: see there."""
        refuse_hopeless(self.config, self.plan, self.survey())
        return self

    def costs(self, machine: Machine) -> Costs:
        """What the cells take on a machine."""
        return Costs(self.whole, self.config.model, machine, self.config.train.rank)

    def machine(self, device: str | None = None) -> Machine:
        """A device by its name, or the one that the runner's cells are reckoned on, as it would compute this model."""
        runner, half = self.config.runner, computes_in_half(self.config.model, self.config.dtype)
        elsewhere = ELSEWHERE if runner.name in ("slurm", "ray") else None
        return machine_of(device or runner.device or elsewhere, runner.threads or 1, half)

    def priced(self, device: str | None, price: float | None) -> Priced:
        machine = self.machine(device)
        return Priced(machine, machine.device.dollars if price is None else price, self.config.runner.workers or 1)


def refuse_other_than_folders(folder: Path) -> None:
    """ConfigError where a file stands at a folder's place, or above it."""
    for place in (folder, *folder.parents):
        if os.path.lexists(place):
            if not place.is_dir():
                raise ConfigError(f"{place} is no folder; give --out and --store the names of folders")
            return


def find_study(study: str) -> Path:
    """A path, or the file of a packaged study of that name."""
    path, packaged = Path(study), PACKAGED / f"{study}.yaml"
    if path.is_file() or not packaged.is_file():
        if not path.is_file():
            names = ", ".join(sorted(found.stem for found in PACKAGED.glob("*.yaml")))
            raise ConfigError(
                f"{study}: no such study file; give the path of a YAML file, or a packaged study: {names}"
            )
        return path
    return packaged


def counts(standings: Mapping[str, Standing]) -> str:
    found = Counter(standing.state for standing in standings.values())
    return ", ".join(f"{number} {state}" for state, number in found.items())
