"""From a study file to its cells: a pure function, without torch, without reading data."""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from haymaker.config import Recipe, Setting, TaskName
from haymaker.errors import ConfigError
from haymaker.study import stages
from haymaker.study.cell import Cell, Outside
from haymaker.study.config import UNTRAINED, StudyConfig, StudySetting


@dataclass(frozen=True)
class Plan:
    """A study's cells by name, each after the cells that it reads."""

    study: str
    cells: Mapping[str, Cell] = field(default_factory=dict)
    part: bool = False  # whether the study has other cells, too

    @classmethod
    def of(cls, study: str, cells: Iterator[Cell] | list[Cell]) -> "Plan":
        """Check that names are unique and that every input stands before its reader."""
        named: dict[str, Cell] = {}
        for cell in cells:
            assert cell.name not in named, f"two cells are called {cell.name}"
            missing = [name for name in cell.inputs.values() if name not in named]
            assert not missing, f"{cell.name} reads {missing}, which no cell before it makes"
            named[cell.name] = cell
        return cls(study, named)

    def only(self, patterns: Iterable[str]) -> "Plan":
        """The cells whose names match one of these, as in `train/*/real`, and all that they read.

        Raises ConfigError for a pattern that matches none.
        """
        wanted: set[str] = set()
        for pattern in patterns:
            found = fnmatch.filter(self.cells, pattern)
            if not found:
                kinds = ", ".join(dict.fromkeys(name.split("/")[0] for name in self.cells))
                raise ConfigError(f"--only {pattern}: no cell of {self.study} is called so; names begin with {kinds}")
            wanted.update(found)
        return self.of_names(wanted)

    def of_names(self, names: Iterable[str]) -> "Plan":
        """These cells, and all that they read."""
        wanted = set(names)
        for cell in reversed(list(self.cells.values())):
            if cell.name in wanted:
                wanted.update(cell.inputs.values())
        chosen = {name: cell for name, cell in self.cells.items() if name in wanted}
        return Plan(self.study, chosen, part=self.part or len(chosen) < len(self.cells))

    def readers(self, name: str) -> list[str]:
        """All cells that depend on a cell, directly or through others, in order."""
        found = {name}
        for cell in self.cells.values():
            if found & set(cell.inputs.values()):
                found.add(cell.name)
        return [cell for cell in self.cells if cell in found and cell != name]


def plan_study(config: StudyConfig) -> Plan:
    """The whole grid. Cells of one model stand together, so that it is loaded once."""
    return Plan.of(config.name, [cell for task in config.tasks for cell in TaskPlan(config, task).cells()])


@dataclass(frozen=True)
class Variant:
    """One model of the grid: a setting and, where it is trained, a seed."""

    setting: StudySetting
    seed: int | None
    label: str  # the setting, and @seed where the study has several

    @property
    def trained(self) -> bool:
        return self.seed is not None


@dataclass(frozen=True)
class TaskPlan:
    """The cells of one task."""

    config: StudyConfig
    task: TaskName

    def cells(self) -> Iterator[Cell]:
        """Test rows, then variant after variant, the ones that others are compared with first."""
        untrained = [setting for setting in self.settings if setting in UNTRAINED]
        wanted = self.config.evaluation.untrained_lengths if untrained else ()
        own = (self.config.base_reads,) if "base" in untrained and self.config.heads else ()
        for length in dict.fromkeys((self.config.length, *wanted, *own)):
            yield self.data(f"test/{length}", self.config.test_recipe(self.task, length))
        for variant in self.variants():
            yield from self.of_variant(variant)

    @property
    def settings(self) -> tuple[StudySetting, ...]:
        return self.config.settings_of(self.task)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What judges answers instead of the task's metrics; none by default."""
        metric = self.config.evaluation.metric
        return () if metric is None else (metric,)

    def variants(self) -> list[Variant]:
        """All models. The reference and the donor come before those that read their cells."""
        leaders = [part and getattr(part, key) for part, key in self.leader_keys()]
        ordered = sorted(self.settings, key=lambda setting: (setting not in UNTRAINED, setting not in leaders))
        return [variant for setting in ordered for variant in self.seeded(setting)]

    def leader_keys(self) -> list[tuple[Any, str]]:
        return [(self.config.similarity, "reference"), (self.config.patching, "donor"), (self.config.parts, "donor")]

    def seeded(self, setting: StudySetting) -> list[Variant]:
        if setting in UNTRAINED:
            return [Variant(setting, None, setting)]
        return [self.variant(setting, seed) for seed in self.config.seeds]

    def variant(self, setting: StudySetting, seed: int) -> Variant:
        """A trained model; `base` and `extended` are the same for every seed."""
        return Variant(setting, seed, setting if len(self.config.seeds) == 1 else f"{setting}@{seed}")

    def of_variant(self, variant: Variant) -> Iterator[Cell]:
        """Everything made of one model."""
        if variant.trained:
            yield self.data(variant.label, self.config.train_recipe(self.task, setting_of(variant), seed_of(variant)))
            yield self.train(variant)
        lengths = () if variant.trained else self.config.evaluation.untrained_lengths
        for length in dict.fromkeys((self.config.length, *lengths)):
            yield self.evaluate(variant, length)
        if self.config.heads:
            yield self.heads(variant)
            yield from self.of_heads(variant)

    def of_heads(self, variant: Variant) -> Iterator[Cell]:
        """What needs the head scores of a model, its own and the reference's."""
        similarity, patching = self.config.similarity, self.config.patching
        if similarity and variant.trained:
            yield self.compare(variant, self.variant(similarity.reference, seed_of(variant)))
        if variant.setting in self.config.ablated(self.task):
            yield self.ablate(variant)
        if patching and variant.trained and (patching.identity or variant.setting != patching.donor):
            yield self.patch(variant, self.variant(patching.donor, seed_of(variant)))
        if (parts := self.config.parts) and variant.trained and variant.setting != parts.donor:
            yield self.parts(variant, self.variant(parts.donor, seed_of(variant)))

    def name(self, stage: str, rest: str) -> str:
        return f"{stage}/{self.task}/{rest}"

    def columns(self, variant: Variant, **more: Any) -> dict[str, Any]:
        """How the rows of a cell are told apart in the tables."""
        return {
            "model": self.config.model_name,
            "task": self.task,
            "setting": variant.setting,
            "seed": variant.seed,
            **more,
        }

    def model_inputs(self, variant: Variant, role: str = "adapter") -> dict[str, str]:
        return {role: self.name("train", variant.label)} if variant.trained else {}

    def model_outside(self) -> dict[str, Outside]:
        return {"model": Outside("model", self.config.model)}

    def loading(self, variant: Variant) -> dict[str, Any]:
        """How a stage loads the model: with an extension where no adapter brings its own."""
        extension = self.config.extension() if variant.setting == "extended" else None
        return {"extend": extension, "dtype": self.config.dtype}

    def data(self, rest: str, recipe: Recipe) -> Cell:
        files = {
            key: Outside("file", str(getattr(recipe, key)))
            for key in ("source", "pool", "written")
            if getattr(recipe, key)
        }
        outside = {"tokenizer": Outside("tokenizer", self.config.model), **files}
        # Where a file lies does not change rows; its contents do, and count as an input.
        unplaced = recipe.model_copy(update=dict.fromkeys(files))  # not validated: what is about a file stays
        return Cell(self.name("data", rest), stages.DATA, unplaced, outside=outside)

    def train(self, variant: Variant) -> Cell:
        return Cell(
            self.name("train", variant.label),
            stages.TRAIN,
            stages.TrainParams(
                extend=self.config.extension(),
                dtype=self.config.dtype,
                train=self.config.train.changed(seed=seed_of(variant)),
            ),
            inputs={"data": self.name("data", variant.label), **self.tracked()},
            outside=self.model_outside(),
            columns=self.columns(variant),
        )

    def tracked(self) -> dict[str, str]:
        """The test rows, where heads are scored on them while a model is trained."""
        return {"track": self.test_data(self.config.length)} if self.config.train.track else {}

    def evaluate(self, variant: Variant, length: int) -> Cell:
        part = self.config.evaluation
        return Cell(
            self.name("evaluate", variant.label if length == self.config.length else f"{variant.label}/{length}"),
            stages.EVALUATE,
            stages.EvaluateParams(
                **self.loading(variant),
                beyond_context=length > self.context(variant),
                rows=part.rows,
                new_tokens=part.new_tokens,
                metrics=self.metrics,
            ),
            inputs={"data": self.test_data(length), **self.model_inputs(variant)},
            outside=self.model_outside(),
            columns=self.columns(variant, split=self.config.test_split, length=length),
        )

    def heads(self, variant: Variant) -> Cell:
        part = self.config.heads
        assert part is not None
        return Cell(
            self.name("heads", variant.label),
            stages.HEADS,
            stages.HeadsParams(**self.loading(variant), metrics=(part.metric,), rows=part.rows, **self.of_maps()),
            inputs={"data": self.test_data(self.reach(variant)), **self.model_inputs(variant)},
            outside=self.model_outside(),
            columns=self.columns(variant, length=self.reach(variant)),
        )

    def of_maps(self) -> dict[str, Any]:
        """What a map counts as active, and its top: as where maps are compared."""
        part = self.config.similarity
        return {} if part is None else {"threshold": part.threshold, "k": part.k}

    def compare(self, variant: Variant, reference: Variant) -> Cell:
        part = self.config.similarity
        assert part is not None
        return Cell(
            self.name("compare", variant.label),
            stages.COMPARE,
            stages.CompareParams(threshold=part.threshold, k=part.k),
            inputs={
                "heads": self.name("heads", variant.label),
                "reference": self.name("heads", reference.label),
            },
            columns=self.columns(variant, reference=reference.setting),
        )

    def ablate(self, variant: Variant) -> Cell:
        part, evaluation = self.config.ablation, self.config.evaluation
        assert part is not None
        return Cell(
            self.name("ablate", variant.label),
            stages.ABLATE,
            stages.AblateParams(
                **self.loading(variant),
                k=part.k,
                draws=part.draws,
                rows=part.rows,
                new_tokens=evaluation.new_tokens,
                metrics=self.metrics,
            ),
            inputs={
                "data": self.test_data(self.config.length),
                "heads": self.name("heads", variant.label),
                **self.model_inputs(variant),
            },
            outside=self.model_outside(),
            columns=self.columns(variant),
        )

    def patch(self, variant: Variant, donor: Variant) -> Cell:
        part, similarity = self.config.patching, self.config.similarity
        assert part is not None
        return Cell(
            self.name("patch", variant.label),
            stages.PATCH,
            stages.PatchParams(
                dtype=self.config.dtype,
                k=part.k,
                kinds=part.kinds,
                draws=part.draws,
                rows=part.rows,
                new_tokens=self.config.evaluation.new_tokens,
                metrics=self.metrics,
                threshold=similarity.threshold if similarity else 0.0,
                identity=variant == donor,
            ),
            inputs=self.pair_inputs(variant, donor),
            outside=self.model_outside(),
            columns=self.columns(variant, donor=donor.setting),
        )

    def pair_inputs(self, variant: Variant, donor: Variant) -> dict[str, str]:
        """Test rows, two models and their head scores."""
        return {
            "data": self.test_data(self.config.length),
            "heads": self.name("heads", variant.label),
            "donor_heads": self.name("heads", donor.label),
            **self.model_inputs(variant, "recipient"),
            **self.model_inputs(donor, "donor"),
        }

    def parts(self, variant: Variant, donor: Variant) -> Cell:
        part, similarity = self.config.parts, self.config.similarity
        assert part is not None
        threshold = similarity.threshold if similarity else 0.0
        return Cell(
            self.name("parts", variant.label),
            stages.PARTS,
            stages.PartsParams(
                dtype=self.config.dtype, k=part.k, draws=part.draws, rows=part.rows, threshold=threshold
            ),
            inputs=self.pair_inputs(variant, donor),
            outside=self.model_outside(),
            columns=self.columns(variant, donor=donor.setting),
        )

    def test_data(self, length: int) -> str:
        """The cell with the test rows of a length."""
        return self.name("data", f"test/{length}")

    def reach(self, variant: Variant) -> int:
        """Tokens of the rows on which a model's heads are scored: of `base` those that its own context holds."""
        return self.config.base_reads if variant.setting == "base" else self.config.length

    def context(self, variant: Variant) -> int:
        """Tokens that a model can read."""
        extended = variant.setting != "base" and self.config.extend is not None
        return self.config.length if extended else self.config.context


def seed_of(variant: Variant) -> int:
    assert variant.seed is not None
    return variant.seed


def setting_of(variant: Variant) -> Setting:
    assert variant.trained
    return variant.setting
