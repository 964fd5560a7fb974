"""What a study file may say. One file drives the miniature and the full-size studies alike."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from haymaker.choices import DETECTORS, GOLD_OVER_FOIL, METRICS, axes_of
from haymaker.config import (
    PATCHED,
    Draws,
    DtypeName,
    Extend,
    ExtendMethod,
    Frozen,
    HeadSetKind,
    Recipe,
    Setting,
    SplitName,
    TaskName,
    TrainConfig,
    chosen_by,
)
from haymaker.config_faults import KeysOf
from haymaker.config_files import set_dotted
from haymaker.errors import ConfigError
from haymaker.study.runners.config import RunnerConfig

one_or_more = BeforeValidator(lambda given: (given,) if isinstance(given, int) else given)
Integers = Annotated[tuple[int, ...], one_or_more]  # in a file a list, or the one number that would be in it
RowKeys = Annotated[dict[str, Any], KeysOf(Recipe)]
UNTRAINED = ("base", "extended")


def parted(name: str) -> tuple[str, dict[str, Any]]:
    """A setting and the keys of its training recipe that differ: `low-high:competitors=12,depth=0` are two.

    Raises ConfigError for what has not that form.
    """
    setting, colon, rest = name.partition(":")
    changes: dict[str, Any] = {}
    for pair in re.split(r",(?![^\[]*\])", rest) if colon else ():
        key, equals, _ = pair.partition("=")
        if not (key.isidentifier() and equals):
            raise ConfigError(f"settings: {name!r}: expected SETTING:KEY=VALUE,KEY=VALUE, found {pair!r} in it")
        if key in changes:
            raise ConfigError(f"settings: {name!r}: the key {key} stands twice; keep one")
        set_dotted(changes, pair)
    return setting, changes


def study_setting(name: str) -> None:
    """Raises ConfigError for a name that is neither a setting nor an untrained model."""
    setting, changes = parted(name)
    if changes and setting in UNTRAINED:
        raise ConfigError(f"settings: {name!r}: {setting} is not trained, so no recipe of it can differ")
    if setting not in UNTRAINED:
        try:
            axes_of(setting)
        except ConfigError as error:
            raise ConfigError(f"{error}; untrained are {', '.join(UNTRAINED)}") from None


Metric = Annotated[str, chosen_by(METRICS.entry)]
HeadMetric = Annotated[str, chosen_by(DETECTORS.entry)]
StudySetting = Annotated[str, chosen_by(study_setting)]


class TaskData(Frozen):
    """The rows of one task: keys of a Recipe for training and for test rows, at least `rows`."""

    train: RowKeys = Field(description="of the training rows of every setting and seed")
    test: RowKeys = Field(description="of the test rows, which are real")
    settings: tuple[StudySetting, ...] | None = Field(default=None, description="None: the study's settings")


class ExtendConfig(Frozen):
    """How the context grows to the study's length; see `Extend`."""

    theta: float | None = Field(default=None, gt=0, description="the RoPE base itself; None: by the method")
    method: ExtendMethod | None = Field(default=None, description="None: ntk, or theta where one is given")
    keep_window: bool = Field(default=False, description="leave a sliding window as it is")


class EvaluationConfig(Frozen):
    """Generation on the test rows; the untrained settings also at other lengths."""

    rows: int | None = Field(default=None, ge=1, description="test rows used; None: all")
    new_tokens: int | None = Field(
        default=None, ge=1, description="most tokens of an answer, which rows leave free; None: as their recipe says"
    )
    metric: Metric | None = Field(default=None, description="what judges answers; None: the metrics of the task")
    untrained_lengths: Integers = Field(default=(), description="further lengths (tokens) for untrained models")


class HeadsConfig(Frozen):
    """Retrieval scores on the test rows, teacher-forced (copy_wu2024: on the model's own answers)."""

    metric: HeadMetric = Field(default="copy", description="a detector of head scores")
    rows: int | None = Field(default=None, ge=1, description="test rows used; None: all")


class SimilarityConfig(Frozen):
    """Head scores of every setting beside those of the reference."""

    reference: Setting = Field(default="real", description="the setting that all others are compared with")
    threshold: float = Field(default=0.0, ge=0, le=1, description="a head whose mean score exceeds it is active")
    k: int = Field(default=10, ge=1, description="top heads whose overlap is counted")


class AblationConfig(Frozen):
    """Masking of the top-k retrieval heads against k other heads, drawn at random."""

    k: Annotated[tuple[Annotated[int, Field(ge=1)], ...], one_or_more] = Field(
        default=(1, 2, 5, 10), min_length=1, description="sizes of the sets that are masked"
    )
    draws: Draws = Field(default=3, description="random sets of each size")
    rows: int | None = Field(default=None, ge=1, description="test rows used; None: all")
    settings: tuple[StudySetting, ...] | None = Field(default=None, description="None: every trained setting")


class PatchingConfig(Frozen):
    """Head outputs of the donor written into every other trained setting."""

    donor: Setting = Field(default="real", description="the setting whose head outputs are written into the others")
    k: int = Field(default=10, ge=1, description="most heads of a set; sets are compared at the size of the smallest")
    kinds: tuple[HeadSetKind, ...] = Field(default=PATCHED, min_length=1, description="the sets, beside random ones")
    draws: Draws = Field(default=3, description="random sets of each size")
    rows: int | None = Field(default=None, ge=1, description="test rows used; None: all")
    identity: bool = Field(default=True, description="also patch the donor into itself, which must change nothing")


class PartsConfig(Frozen):
    """What patching from the donor does, split into queries, keys, values, the head's weights and what is upstream."""

    donor: Setting = Field(default="real", description="the setting whose head outputs are written into the others")
    k: int = Field(default=10, ge=1, description="most heads of a set; all sets get the same number")
    draws: Draws = Field(default=1, description="random sets of each kind")
    rows: int | None = Field(default=None, ge=1, description="test rows used; None: all")


class StudyConfig(Frozen):
    """A grid of models trained on different data, and what is measured on each."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="of its folder under runs/")
    title: str = Field(default="", description="of its report")
    model: str = Field(description="a packaged model, a folder, or a Hub id that is on this machine")
    context: int = Field(ge=16, description="tokens the base model was trained on")
    length: int = Field(ge=16, description="tokens of every training and test row, to which the model is extended")
    seeds: Integers = Field(default=(0,), min_length=1, description="one training run per setting and seed")
    test_seed: int = Field(default=0, description="of the test rows, which are the same for all models")
    test_split: SplitName = Field(default="test", description="the split that test rows are of")
    settings: tuple[StudySetting, ...] = Field(
        min_length=1,
        description="what is trained, `base` and `extended`, which are not, or setting:key=value",
    )
    tasks: dict[TaskName, TaskData] = Field(min_length=1, description="by name, each with its rows")
    extend: ExtendConfig | None = Field(default=ExtendConfig(), description="None: a study inside the model's context")
    dtype: DtypeName = Field(default="auto", description="precision of models; auto: what the machine does well")
    train: TrainConfig = Field(default=TrainConfig(), description="how every setting is trained, but for `seed`")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="answers on the test rows")
    heads: HeadsConfig | None = Field(default=HeadsConfig(), description="head scores on the test rows")
    similarity: SimilarityConfig | None = Field(default=SimilarityConfig(), description="head scores beside real's")
    ablation: AblationConfig | None = Field(default=AblationConfig(), description="answers without the best heads")
    patching: PatchingConfig | None = Field(default=PatchingConfig(), description="answers with a donor's heads")
    parts: PartsConfig | None = Field(default=None, description="what of a donor's heads makes the difference")
    runner: RunnerConfig = Field(default=RunnerConfig(), description="where cells run")

    @model_validator(mode="after")
    def check_grid(self) -> "StudyConfig":
        """Refuse what would only be noticed hours later."""
        check_length(self)
        self.extension()
        if "seed" in self.train.model_fields_set:
            raise ConfigError("train.seed: seeds of a study stand in `seeds`, one training run each; remove this key")
        given_once("seeds", self.seeds)
        given_once("ablation.k", self.ablation.k if self.ablation else ())
        for part in ("similarity", "ablation", "patching", "parts"):
            if getattr(self, part) is not None and self.heads is None:
                raise ConfigError(f"{part}: needs head scores; give `heads`, or set {part}: null")
        for part in ("ablation", "patching"):
            if getattr(self, part) is not None and self.evaluation.metric == GOLD_OVER_FOIL:
                raise ConfigError(f"{part}: needs answers, which {GOLD_OVER_FOIL} does not judge; set {part}: null")
        for task in self.tasks:
            check_settings(self, task)
            check_rows(self, task)
            self.test_recipe(task, self.length)
            for setting in self.trained(task):
                self.train_recipe(task, setting, seed=0)
            check_unseen(self, task)
        return self

    @property
    def of_numbers(self) -> dict[str, Any]:
        """What results tell of the config: all but where cells ran, which does not change them."""
        return self.model_dump(mode="json", exclude={"runner"})

    @property
    def model_name(self) -> str:
        """What tables call the model: a folder by its last part, a packaged name or Hub id as it is."""
        return Path(self.model).name if self.model.startswith(("/", ".", "~")) else self.model

    def settings_of(self, task: TaskName) -> tuple[StudySetting, ...]:
        """The settings of one task, in the order of the file; `extended` only where there is an extension."""
        own = self.tasks[task].settings
        given = self.settings if own is None else own
        return tuple(setting for setting in given if setting != "extended" or self.extend is not None)

    def trained(self, task: TaskName) -> tuple[Setting, ...]:
        """The settings of one task that have training data."""
        return tuple(setting for setting in self.settings_of(task) if setting not in UNTRAINED)

    def ablated(self, task: TaskName) -> tuple[StudySetting, ...]:
        """The settings of one task whose heads are masked."""
        if self.ablation is None:
            return ()
        chosen = self.ablation.settings
        return self.trained(task) if chosen is None else tuple(s for s in self.settings_of(task) if s in chosen)

    def train_recipe(self, task: TaskName, setting: Setting, seed: int) -> Recipe:
        """What the training rows of a setting are built from."""
        name, changes = parted(setting)
        given = {"task": task, "setting": name, "length": self.length, "split": "train", "seed": seed}
        where = f"settings: {setting}" if changes else f"tasks.{task}.train"
        return recipe(where, {**self.tasks[task].train, **changes}, given)

    def test_recipe(self, task: TaskName, length: int) -> Recipe:
        """What the real test rows are built from."""
        given = {"task": task, "setting": "real", "length": length, "split": self.test_split, "seed": self.test_seed}
        given |= self.answer_room
        return recipe(f"tasks.{task}.test", self.tasks[task].test, given)

    @property
    def answer_room(self) -> dict[str, int]:
        """What test rows leave free, so that every answer has its whole budget; nothing where the recipe decides."""
        budget = self.evaluation.new_tokens
        return {} if budget is None else {"answer_room": budget}

    def extension(self) -> Extend | None:
        """How every setting but `base` reaches the study's length; None where the model's own context holds it."""
        if self.extend is None:
            return None
        try:
            return Extend(length=self.length, **self.extend.model_dump())
        except ConfigError as error:
            raise ConfigError(f"extend: {error}") from None

    @property
    def base_reads(self) -> int:
        """The longest rows of this study that the base model can read, in tokens."""
        return min(self.context, self.length)


def given_once(key: str, values: Sequence[int]) -> None:
    if len(set(values)) < len(values):
        raise ConfigError(f"{key}: expected each once, found {list(values)}")


def recipe(where: str, values: dict[str, Any], given: dict[str, Any]) -> Recipe:
    """A Recipe from a study's keys and what the study fills in."""
    clash = sorted(set(values) & set(given))
    if clash:
        raise ConfigError(f"{where}.{clash[0]}: the study fills this in; remove the key")
    try:
        return Recipe(**values, **given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def check_rows(config: StudyConfig, task: TaskName) -> None:
    """No part uses more test rows than are built."""
    built = config.test_recipe(task, config.length).rows
    for part in ("evaluation", "heads", "ablation", "patching", "parts"):
        rows = getattr(getattr(config, part), "rows", None)
        if rows is not None and rows > built:
            raise ConfigError(f"{part}.rows: tasks.{task}.test has {built} rows, found {rows}")
    track = config.train.track
    if track is not None and "rows" in track.model_fields_set and track.rows > built:
        raise ConfigError(f"train.track.rows: tasks.{task}.test has {built} rows, found {track.rows}")


def check_unseen(config: StudyConfig, task: TaskName) -> None:
    """No model is tested on the rows that it was trained on."""
    test = config.test_recipe(task, config.length)
    for setting in config.trained(task) if config.test_seed in config.seeds else ():
        train = config.train_recipe(task, setting, config.test_seed)
        if train.axes == test.axes and (train.source, train.pool, train.split) == (test.source, test.pool, test.split):
            raise ConfigError(
                f"test_split: tests would ask what {setting} was trained on, rows of split {test.split} by seed "
                f"{config.test_seed}; give another split, or another test_seed"
            )


def check_length(config: StudyConfig) -> None:
    """A study is inside the model's context, or extends it."""
    context, length = config.context, config.length
    if config.extend is None and length > context:
        raise ConfigError(
            f"length: without an extension (extend: null) expected at most the context of {context} tokens, "
            f"found {length}"
        )
    if config.extend is not None and length <= context:
        raise ConfigError(
            f"length: expected more than the context of {context} tokens, found {length}; "
            "a study inside the model's own context says extend: null"
        )


def check_settings(config: StudyConfig, task: TaskName) -> None:
    """No setting twice, and the settings that others are compared with are among them."""
    settings = config.settings_of(task)
    repeated = sorted({setting for setting in settings if settings.count(setting) > 1})
    if repeated:
        raise ConfigError(f"settings: {', '.join(repeated)} stands more than once for {task}")
    if "base" in config.ablated(task) and config.length > config.context:
        raise ConfigError(f"ablation.settings: base cannot read rows of {config.length} tokens; name other settings")
    needed = {
        "similarity.reference": config.similarity and config.similarity.reference,
        "patching.donor": config.patching and config.patching.donor,
        "parts.donor": config.parts and config.parts.donor,
    }
    for key, setting in needed.items():
        if setting and setting not in settings:
            raise ConfigError(f"{key}: {setting!r} is not among the settings of {task}: {', '.join(settings)}")
    if config.ablation and config.ablation.settings is not None and not config.ablated(task):
        chosen, listed = ", ".join(config.ablation.settings or ()) or "none", ", ".join(settings)
        raise ConfigError(
            f"ablation.settings: found {chosen}, and {task} has {listed}; name one of them, or set ablation: null"
        )
