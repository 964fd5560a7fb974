"""Configs: frozen, unknown keys refused with file and key named, one default per value."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from haymaker.choices import DETECTORS, TASKS, Axes, axes_of, tracker_of
from haymaker.config_faults import FLAGS, explain, kinds_of, refuse_flags, refuse_unknown_to_machines
from haymaker.errors import ConfigError
from haymaker.records import Head


def chosen_by(find: Callable[[str], Any]) -> AfterValidator:
    """Validator of a name: what `find` says of one that it does not find becomes the config's error."""

    def check(name: str) -> str:
        try:
            find(name)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return name

    return AfterValidator(check)


TaskName = Annotated[str, chosen_by(TASKS.entry)]
Setting = Annotated[str, chosen_by(axes_of)]
HeadName = Annotated[str, AfterValidator(lambda text: str(Head.parse(text)))]
Rung = Literal["none", "mlp", "attention", "full", "offload"]  # of recomputation: fastest first, smallest last
SplitName = Literal["train", "dev", "test"]
ExtendMethod = Literal["ntk", "theta", "linear", "yarn"]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
HeadSetKind = Literal["intersection", "complement"]
PATCHED: tuple[HeadSetKind, ...] = ("intersection", "complement")  # the sets that are patched, if nothing is said
Draws = Annotated[int, Field(ge=1, le=10_000)]  # random sets of heads, each of which answers every row
ANSWER_ROOM = 32  # tokens, at most an eighth of a row


Model = TypeVar("Model", bound="Frozen")


class Refusing(type(BaseModel)):
    """Whoever calls a config by its name is told by a ConfigError. A config inside another one pydantic makes without
    that call, so that the outer one's error says where each fault stands."""

    if not TYPE_CHECKING:  # checkers know pydantic's own signatures

        def __call__(cls, *given: Any, **values: Any) -> Any:
            try:
                return super().__call__(*given, **values)
            except ValidationError as error:
                raise ConfigError(f"{cls.__name__}: {explain(error, cls)}") from None


class Frozen(BaseModel, metaclass=Refusing):
    """Base of every config. `Config(**values)` raises ConfigError, never pydantic's own error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def check_kind(cls, value: Any, about: ValidationInfo) -> Any:
        """Refuse what no tensor and no digest takes, integers over 64 bits and half letters; and true for a number."""
        refuse_unknown_to_machines(value)
        if about.field_name is not None and not kinds_of(cls.model_fields[about.field_name].annotation) & FLAGS:
            refuse_flags(value)
        return value

    def changed(self: "Model", **values: Any) -> "Model":  # not Self: beartype cannot check it in a method alone
        """A copy with some values changed, validated again."""
        return type(self)(**{**self.model_dump(), **values})


class Recipe(Frozen):
    """What to build: a task in one setting, `rows` rows of at most `length` tokens, answer included.

    Without `source` the miniature world is the data; with it, real rows of a file in the task's official format.

    Attributes:
        task: A task's name, of `hm.choices.TASKS`.
        setting: A setting's name, of `hm.choices.SETTINGS`, or concept-context of what other packages bring.
        length: Tokens of a whole row: chat template, prompt and answer.
        rows: How many rows.
        seed: Of all random choices; a row depends on seed and number, not on how many others there are.
        source: A file or hub name of real rows; None: the miniature world.
        columns: What the source's columns are called: {"question": "prompt"} reads its prompt as the question (qa).
        pool: A file of further passages (title and text) to fill contexts with.
        distractors: "drawn" from the pool, or the "nearest" to the question in it (BM25); of rows of files.
        indirection: Keys to follow in the context until the question is found (qa, real rows); 0: it is asked.
        written: A file of a writer's texts (high concept); None: the world's grammar.
        split: train, dev or test.
        split_shares: Shares of the splits by hash of the question; None takes every row of the source.
        competitors: Documents of the gold one's kind, in varied contexts.
        padding_competitors: The same, where the context is padding.
        relations: Relations of real-limited; None: the task's.
        hops: Numbers of hops asked for (musique); None: all.
        prompt: A prompt style's name; None: the task's.
        chat_template: None uses the tokenizer's template if it has one.
        documents: That many documents, instead of filling the length.
        gold_position: Documents before the gold one; None: by plan.
        nested: Lengths (tokens) that share one plan: a longer row holds the documents of a shorter one.
        matched: Twins of all settings: the same tokens in all, the same places of the evidence.
        depth: Share of the context before the evidence, 0 to 1; None: by plan.
        answer_room: Tokens that every row leaves free behind its prompt, for an answer to be written. None: none in
            train rows, which hold their answer; 64 for kv, else 32 or an eighth of the (shortest) length, whichever is
            less. `room` is what holds.
        failed_rows: "stop" at a row that cannot be built, or "skip" it and tell.

    Raises:
        ConfigError: An unknown key, or a value out of range.

    Examples:
        >>> hm.Recipe(task="mdqa", setting="low-low", length=512, rows=64).changed(rows=8).rows
        8
    """

    task: TaskName
    setting: Setting = "real"
    length: int = Field(ge=16)
    rows: int = Field(ge=1)
    seed: int = 0
    source: str | None = None
    columns: dict[str, str] | None = None
    pool: str | None = None
    distractors: Literal["drawn", "nearest"] = "drawn"
    indirection: int = Field(default=0, ge=0, le=8)
    written: str | None = None
    split: SplitName = "train"
    split_shares: dict[SplitName, Annotated[float, Field(ge=0)]] | None = None
    competitors: int = Field(default=4, ge=0)
    padding_competitors: int = Field(default=0, ge=0)
    relations: tuple[str, ...] | None = None
    hops: tuple[int, ...] | None = None
    prompt: str | None = None
    chat_template: bool | None = None
    documents: int | None = Field(default=None, ge=1)
    gold_position: int | None = Field(default=None, ge=0)
    nested: tuple[int, ...] | None = None
    matched: bool = False
    depth: float | None = Field(default=None, ge=0, le=1)
    answer_room: int | None = Field(default=None, ge=1)
    failed_rows: Literal["stop", "skip"] = "stop"

    @model_validator(mode="after")
    def goes_together(self) -> "Recipe":
        """Raises ValueError for what a task would pass over without a word."""
        if self.hops is not None and self.task in TASKS.own and self.task != "musique":
            raise ValueError(f"hops: {self.task} does not read it; musique does")
        named = [("columns", self.columns is not None, ("qa",)),
                 ("indirection", self.indirection > 0, ("qa",)),
                 ("distractors", self.distractors != "drawn", ("mdqa", "musique", "qa"))]  # fmt: skip
        for key, asked, tasks in named:
            if asked and self.source is None:
                raise ValueError(f"{key}: it is about rows of a file; give their source")
            if asked and self.task in TASKS.own and self.task not in tasks:
                raise ValueError(f"{key}: {self.task} does not read it; {', '.join(tasks)} do")
        if self.indirection and self.axes.concept != "real":
            raise ValueError(f"indirection: it hides questions of real rows, and not those of {self.setting}")
        return self

    @property
    def axes(self) -> Axes:
        """Concept and context of the setting."""
        return axes_of(self.setting)

    @property
    def rivals(self) -> int:
        """Documents of the gold one's kind in the setting's context."""
        return self.padding_competitors if self.axes.context == "low" else self.competitors

    @property
    def room(self) -> int:
        """Tokens that every row leaves free behind its prompt: no function of a row, so that no gold shows in it."""
        if self.answer_room is not None or self.split == "train":
            return self.answer_room or 0
        own = getattr(TASKS[self.task], "ANSWER_ROOM", None)
        return own or max(1, min(ANSWER_ROOM, self.shortest // 8))

    @property
    def shortest(self) -> int:
        """The shortest of nested lengths (tokens), whose documents all of them hold."""
        return min((self.length, *(self.nested or ())))

    @property
    def longest(self) -> int:
        """The longest of nested lengths (tokens)."""
        return max((self.length, *(self.nested or ())))


class Extend(Frozen):
    """Extension of a model's context to `length` tokens, by its RoPE and by opening its windows.

    Attributes:
        length: Tokens that the model shall read.
        theta: The RoPE base; None takes the NTK-aware one, theta * s^(d / (d - 2)) with s = length / original context
            and d the number of rotated dimensions of a head.
        method: "ntk", "theta" (the one given), "linear" (positions divided by s) or "yarn" (slow dimensions divided
            by s); None is ntk, or theta where one is given.
        keep_window: Leave a sliding window as it is. None leaves it where windowed layers have a RoPE of their own
            (Gemma 3): only global layers are extended there.

    Raises:
        ConfigError: An unknown key, or a value out of range.

    Source:
        bloc97, NTK-Aware Scaled RoPE (2023); kaiokendev (2023) for linear; YaRN, Peng et al. 2023 (arXiv 2309.00071).

    Examples:
        >>> hm.load_model("miniature-llama", extend=hm.Extend(length=512)).context
        512
    """

    length: int = Field(ge=16)
    theta: float | None = Field(default=None, gt=0)
    method: ExtendMethod | None = None
    keep_window: bool | None = None

    @model_validator(mode="after")
    def check_theta(self) -> "Extend":
        """Refuse a theta that its method would not use, and a method without its theta."""
        if self.method is not None and (self.method == "theta") != (self.theta is not None):
            raise ConfigError(
                f"theta: expected one with the method theta and none with any other, found {self.theta} "
                f"with {self.method}"
            )
        return self


class TrackConfig(Frozen):
    """Retrieval scores of all heads on fixed rows while a model is trained.

    Attributes:
        every: Steps between two readings; the first is before the first step, the last after the last.
        rows: How many of the rows that are given for it are read.
        metric: A detector's name, of `hm.choices.DETECTORS`.
        k: Top heads whose overlap is counted.
        threshold: A head whose mean score exceeds it is active; recall is of those.
        reference: A file of head scores to compare with; None: the run's own end.

    Raises:
        ConfigError: An unknown key, or a value out of range.

    Examples:
        >>> hm.TrainConfig(track={"every": 10, "rows": 32}).track.metric
        'copy'
    """

    every: int = Field(default=10, ge=1)
    rows: int = Field(default=32, ge=1)
    metric: Annotated[str, chosen_by(DETECTORS.entry)] = "copy"
    k: int = Field(default=10, ge=1)
    threshold: float = Field(default=0.0, ge=0, le=1)
    reference: str | None = None


class TrainConfig(Frozen):
    """LoRA, on q, k, v and o unless told otherwise; loss on answer tokens only, averaged over all those of a step.

    Attributes:
        steps: Updates of the weights.
        batch: Rows of a step, of all processes together.
        rate: The highest learning rate of AdamW.
        schedule: What follows the warm-up: "linear" or "cosine" down to 0, or "constant".
        warmup_share: Share of the steps with a rising rate, 0 to 1.
        weight_decay: AdamW's, on the adapter's matrices.
        rank: Rank of the adapter's matrices.
        alpha: Their product is scaled by alpha / rank.
        targets: "attention", "mlp", or names of projections, such as q_proj.
        layers: The layers that are adapted, from 0; None: all.
        heads: The query heads that learn, as "16-19"; None: all. Needs projections apart for queries, keys and values.
        ranks: Another rank for projections of a name.
        clip_norm: The largest norm of a step's gradient.
        tokens_at_once: Tokens of one forward pass; a step of more is taken in parts.
        packed_below: On a GPU, rows shorter than this are laid one after another into one forward pass, where attention
            of variable lengths keeps them apart; longer ones fill a GPU alone. 0: rows of about equal length together,
            as on a CPU.
        recompute: What layers compute again in the backward pass instead of keeping it: "none", "mlp", "attention",
            "full", "offload"; "auto": the cheapest, layer by layer, that the free memory holds.
        context_parallel: Processes that share each row, a part of its tokens each, for rows too long for one of them.
        shard: Whether the processes share the base's weights, each a part of every layer, for a base too large for one.
        seed: Of the adapter's first weights and the order of rows.
        save_every: Steps between saved states, from which a stopped run goes on.
        track: Scores of heads while training, see `TrackConfig`; None: none.
        tracker: Where metrics go beside metrics.jsonl: tensorboard, trackio, wandb or mlflow; None: nowhere.

    Raises:
        ConfigError: An unknown key, or a value out of range.

    Examples:
        >>> hm.TrainConfig(steps=50, batch=8, rate=6e-3).rank
        8
    """

    steps: int = Field(default=100, ge=1)
    batch: int = Field(default=16, ge=1, le=2**20)  # a step's rows are listed before it
    rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_share: float = Field(default=0.05, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0, le=1e9)  # float16 and float32 hold what it scales by
    targets: tuple[str, ...] = Field(default=("attention",), min_length=1)
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    heads: tuple[HeadName, ...] | None = Field(default=None, min_length=1)
    ranks: dict[str, Annotated[int, Field(ge=1)]] = {}
    clip_norm: float = Field(default=1.0, gt=0)
    tokens_at_once: int = Field(default=2_048, ge=1)
    packed_below: int = Field(default=8_192, ge=0, exclude_if=lambda value: value == 8_192)
    recompute: Literal["auto"] | Rung = "auto"
    context_parallel: int = Field(default=1, ge=1, exclude_if=lambda value: value == 1)  # a run's key is without it
    shard: bool = Field(default=False, exclude_if=lambda value: not value)
    seed: int = 0
    save_every: int = Field(default=50, ge=1)
    track: TrackConfig | None = None
    # decides no number: where there is none, nothing tells that there could be one
    tracker: Annotated[str, chosen_by(tracker_of)] | None = Field(default=None, exclude_if=lambda name: name is None)

    @model_validator(mode="after")
    def check_readable(self) -> "TrainConfig":
        """Refuse to read heads of a model of which no process has the weights."""
        if self.shard and self.track is not None:
            raise ConfigError(
                "track: heads are read by one process, which with `shard` has a part of the weights alone"
            )
        return self

    @model_validator(mode="after")
    def check_decay(self) -> "TrainConfig":
        """Refuse a decay that takes all of a weight, or turns it round, at every step."""
        if self.weight_decay * self.rate >= 1:
            raise ConfigError(
                f"weight_decay: each step takes rate * weight_decay of a weight, expected less than 1, found "
                f"{self.rate:g} * {self.weight_decay:g}"
            )
        return self

    @model_validator(mode="after")
    def check_heads(self) -> "TrainConfig":
        """Refuse heads that nothing is trained of."""
        if self.heads is None:
            return self
        if "mlp" in self.targets:
            raise ConfigError("heads: the targets have mlp, which has no heads; leave one of the two out")
        if self.layers is not None and not {Head.parse(head).layer for head in self.heads} & set(self.layers):
            raise ConfigError(
                f"heads: none of {', '.join(self.heads)} is in the layers that are adapted, "
                f"{', '.join(map(str, self.layers))}, so nothing would learn"
            )
        return self
