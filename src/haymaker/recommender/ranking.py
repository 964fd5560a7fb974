"""hm.recommend: candidates ranked by a short training with each and what it does to the heads that real rows need."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.config import Recipe, TrainConfig
from haymaker.console import OnProgress, told
from haymaker.errors import ConfigError, DataError, LengthError, ModelError
from haymaker.evaluation.exam import Exam
from haymaker.heads.nulls import ENDS, around, means_of, measures, transfer_nulls
from haymaker.markup import Rows, table
from haymaker.models.load import LanguageModel
from haymaker.models.shapes import shape_of
from haymaker.recommender.candidates import Candidate, Source, check_lengths, examples_of, named, opened, tell_shared
from haymaker.recommender.names import PROBE, REAL, UNTRAINED
from haymaker.recommender.selectors import ladm, long_attention, long_range
from haymaker.recommender.short_training import Reading, kept_probes, reading, trained
from haymaker.recommender.verdict import as_text, verdict_on
from haymaker.records import Encoded, Example
from haymaker.stats import ROUNDING, Interval, bootstrap_mean
from haymaker.tokens import encode_many
from haymaker.training.cost import cost_of_row

RANKED_BY = {  # name: whether more is better
    "cosine": True,
    "shift": True,
    "recall": True,
    "loss": False,
    "score": True,
    "ladm": True,
    "longattn": True,
}
FEWEST = 8  # real rows
SELECTED = 8  # rows of a candidate that the attention-based selectors read
LIKENESS = ("cosine", "shift", "recall")
Maps = Float[ndarray, "draw head"]  # means of all heads, in samples of the real rows


class Ranking(Rows):
    """The rows of `recommend`, best first; printed, and in a notebook, a table with what it decides and what not."""

    def __str__(self) -> str:
        return as_text(self) if self else "nothing ranked"

    def _repr_html_(self) -> str:
        return table(list(self), f"ranked by {self[0]['by']}; {self.verdict}" if self else "nothing ranked")

    @property
    def verdict(self) -> str:
        """In words, whether the real rows tell the candidates apart, and which they do."""
        return verdict_on(self)

    @property
    def best(self) -> str:
        """The name of the first candidate."""
        return next(row["candidate"] for row in self if row["rank"] == 1)


@dataclass(frozen=True)
class Plan:
    """What is done with every candidate, and what a whole training would be."""

    config: TrainConfig
    metric: str
    threshold: float
    full_rows: int
    full_steps: int
    full_length: int | None
    new_tokens: int | None  # of an answer to a real row; None: nothing is answered


def recommend(
    lm: LanguageModel,
    candidates: Mapping[str, Source] | Sequence[Source],
    real: str | Path | Recipe | Iterable[Example],
    by: str = "loss",
    *,
    config: TrainConfig | None = None,
    rows: int = 64,
    real_rows: int = 48,
    metric: str = "copy",
    threshold: float = 0.1,
    answers: bool = True,
    full_rows: int = 1_000,
    full_steps: int = 250,
    full_length: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> Ranking:
    """Ranks training data by a short training with each and the transfer of heads to real rows.

    The real rows are halved: one half trains a probe of its own, on the other all probes are read. Transfer is how like
    the heads after a candidate's probe training are to those after the real one's: cosine and recall of the score maps,
    and `shift`, the cosine of what the two trainings changed of the untrained model's map.
    Beside it stand the baselines: the loss on real rows and their score after the same training, and two selectors that
    read attention alone (LADM, LongAttn), on the untrained model.

    Args:
        lm: A model without an adapter; it is as it was in the end.
        candidates: Dataset folders, files of your own rows, recipes, or Examples; by name, or as a list.
        real: A small set of real rows, of the same kinds.
        by: What ranks: "cosine", "shift", "recall", "loss", "score", "ladm" or "longattn".
        config: Of the probe training; None: 20 steps of 8 rows.
        rows: Rows of each candidate that the probe training may use.
        real_rows: Real rows used, half of them for the reference.
        metric: A detector's name.
        threshold: A head is active if its mean score exceeds it.
        answers: Also let every probe answer the real rows, which takes most of the time.
        full_rows: Rows of the training that is to be paid for.
        full_steps: Its steps.
        full_length: Tokens of its rows; None: as long as the candidate's.
        on_progress: Called with the number of probes finished since its last call: the candidates, and two more.
        keep: A file for the probes that are done; after a stop the same call goes on behind them, and another `by`,
            `threshold` or `full_...` takes them as they are. You remove it.

    Returns:
        A row per candidate, best first, then one of the untrained model and one of the real probe, which have no rank:
        each measure with its 95 % bounds over real rows (the score's name in `metric`), those of heads also beside what
        heads of the same layers would give (`_null`, its percentile and one-sided p), `first` (how often it comes first
        when the real rows are drawn anew), and the costs of the whole training: `writer_tokens`, `build_seconds`,
        `training_hours`.

    Raises:
        ConfigError: Fewer than 2 candidates or 8 real rows, an unknown `by`, a `config` with `track`, real rows whose
            answers cannot be judged as `evaluate` does by default, or `keep` inside a block that edits the model.
        ModelError: A model with an adapter on.
        LengthError: Rows beyond the model's context, of whichever candidate, before anything is trained.
        Interrupted: Stopped by the user, with what is done in `keep`.

    Source:
        Heads as the measure: Zhao et al. 2025 (arXiv 2410.22316). LADM: arXiv 2503.02502. LongAttn: arXiv 2502.16860.

    Examples:
        >>> made = {name: hm.Recipe(task="mdqa", setting=name, length=128, rows=8) for name in ("low-low", "symbolic")}
        >>> test = hm.build(hm.Recipe(task="mdqa", length=128, rows=8, split="dev"), lm.tokenizer)
        >>> found = hm.recommend(lm, made, test, config=hm.TrainConfig(steps=1, batch=2), answers=False)
        >>> sorted(row["candidate"] for row in found if row["rank"])
        ['low-low', 'symbolic']
    """
    check(lm, by, answers, config)
    sources = named(candidates)
    given, _, room = examples_of(real, lm, real_rows)
    if len(given) < FEWEST:
        raise ConfigError(f"real: expected at least {FEWEST} rows, half of them to compare with, found {len(given)}")
    learned, held = given[::2], given[1::2]
    read = [opened(name, source, lm, rows) for name, source in sources.items()]
    tell_shared(read, held)
    check_lengths(lm, {one.name: one.encoded for one in read} | {REAL: encode_many(given, lm.tokenizer)})
    budget, training = budget_for(lm, held, room) if answers else None, config or TrainConfig(**PROBE)
    plan = Plan(training, metric, threshold, full_rows, full_steps, full_length, budget)
    probes = probed(lm, read, plan, learned=learned, held=held, on_progress=on_progress, keep=keep)
    return ranked(lm, read, probes, by, plan)


def check(lm: LanguageModel, by: str, answers: bool, config: TrainConfig | None) -> None:
    """Raises for a model that is trained already, for what cannot rank, and for what a probe training does not do."""
    if lm.adapter is not None:
        raise ModelError(f"{lm.adapter}: an adapter is on; each candidate trains its own, so load the model without")
    if by not in RANKED_BY:
        raise ConfigError(f"by: expected {', '.join(RANKED_BY)}, found {by!r}")
    if by == "score" and not answers:
        raise ConfigError("by: the score needs answers; leave `answers` on")
    if config is not None and config.track is not None:
        raise ConfigError("config: track: a probe's heads are read once, at its end; leave `track` out")


def budget_for(lm: LanguageModel, real: Sequence[Example], room: int | None) -> int:
    """Tokens of an answer to the real rows. Raises, before anything is trained, where none can be given or judged."""
    try:
        return Exam.of(lm, real, room).new_tokens
    except (ConfigError, DataError, LengthError) as error:
        raise type(error)(f"real: {error}; or rank without answers (answers=False, --no-answers)") from None


def probed(
    lm: LanguageModel,
    read: Sequence[Candidate],
    plan: Plan,
    *,
    learned: Sequence[Example],
    held: Sequence[Example],
    on_progress: OnProgress | None,
    keep: str | Path | None,
) -> dict[str, Reading]:
    """What each probe shows on the held rows: the untrained model, the real one's, each candidate's."""
    sets: dict[str, tuple[Encoded, ...]] = {REAL: tuple(encode_many(learned, lm.tokenizer))}
    sets |= {one.name: one.encoded for one in read}
    options = {"metric": plan.metric, "new_tokens": plan.new_tokens}
    found, advance = {}, told(on_progress, "probes", 1 + len(sets))
    with kept_probes(keep, lm, held, sets, plan.config, **options) as kept:
        for place, name in enumerate((UNTRAINED, *sets)):
            compute = partial(probe, lm, sets.get(name), held, plan)
            (found[name],) = kept.row((place,), compute)
            advance(1)
    return found


def probe(lm: LanguageModel, rows: Sequence[Encoded] | None, held: Sequence[Example], plan: Plan) -> list[Reading]:
    """What the model shows after a training on the rows; as it is without any."""
    if rows is None:
        return [reading(lm, held, plan.metric, plan.new_tokens)]
    with trained(lm, rows, plan.config) as seconds:
        return [reading(lm, held, plan.metric, plan.new_tokens, seconds)]


# ---- rows


def ranked(lm: LanguageModel, read: Sequence[Candidate], probes: Mapping[str, Reading], by: str, plan: Plan) -> Ranking:
    """The candidates in order, then what they stand between."""
    transfers = {name: transfer(one, probes, plan.threshold) for name, one in probes.items()}
    selected, rows, rate = selectors(lm, read), [], seconds_an_operation(lm, read, probes)
    for one in read:
        about = measured(probes[one.name], transfers[one.name], plan) | selected[one.name]
        rows.append({"candidate": one.name, "by": by} | about | costs(lm, one, rate, plan))
    rows.sort(key=lambda row: (-worth(row[by], by), -worth(row["cosine"], "cosine"), row["loss"]))
    wins = how_often_first(by, [row["candidate"] for row in rows], probes, transfers, selected)
    placed = [{"rank": place} | row | {"first": wins[row["candidate"]]} for place, row in enumerate(rows, start=1)]
    return Ranking(placed + [bystander(name, probes[name], transfers[name], plan) for name in (UNTRAINED, REAL)])


def worth(value: float, by: str) -> float:
    """Higher is better, and what is not known is worst."""
    return -np.inf if np.isnan(value) else value if RANKED_BY[by] else -value


def bystander(name: str, probe: Reading, found: "Transfer", plan: Plan) -> dict[str, Any]:
    """The row of the untrained model, or of the real probe: they have no rank."""
    return {"rank": None, "candidate": name} | measured(probe, found, plan)


@dataclass(frozen=True)
class Transfer:
    """Likeness to the reference's heads: on all real rows, and in samples of them, the same samples for all probes;
    beside it what heads of the same layers would give."""

    whole: Mapping[str, float]
    drawn: Mapping[str, Float[ndarray, " draw"]]
    nulls: Mapping[str, float]


def transfer(own: Reading, probes: Mapping[str, Reading], threshold: float) -> Transfer:
    """Cosine, recall, and the cosine of what changed from the untrained model."""
    three = (own.scores, probes[REAL].scores, probes[UNTRAINED].scores)
    whole = likeness(*(scores.mean.reshape(1, -1) for scores in three), threshold=threshold)
    drawn = likeness(*(means_of(scores) for scores in three), threshold=threshold)
    return Transfer(
        {name: float(values[0]) for name, values in whole.items()}, drawn, transfer_nulls(*three, threshold)
    )


def likeness(own: Maps, reference: Maps, untrained: Maps, threshold: float) -> dict[str, ndarray]:
    """Every measure of likeness in every sample."""
    shifted = measures(own - untrained, reference - untrained, threshold)["cosine"]
    return measures(own, reference, threshold) | {"shift": shifted}


def measured(probe: Reading, found: Transfer, plan: Plan) -> dict[str, Any]:
    """Every measure of one probe with its bounds over the real rows."""
    likely = {name: around(found.whole[name], found.drawn[name], ENDS[name]) for name in LIKENESS}
    baselines = {"loss": bootstrap_mean(probe.losses)}
    if probe.answers is not None:
        baselines |= {"score": probe.answers.interval()}
    judged = {} if probe.answers is None else {"metric": probe.answers.metric}
    found_of = columns(likely | baselines) | judged | dict(found.nulls)
    return found_of | {"active": len(probe.scores.active(plan.threshold)), "n": len(probe.losses)}


def columns(found: Mapping[str, Interval]) -> dict[str, Any]:
    return {
        key: value
        for name, one in found.items()
        for key, value in ((name, one.mean), (f"{name}_low", one.low), (f"{name}_high", one.high))
    }


def selectors(lm: LanguageModel, read: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
    """LADM's and LongAttn's mean score of every candidate, bounds over its rows."""
    some = [one.encoded[:SELECTED] for one in read]
    far = long_attention([[long_range(lm, item) for item in items] for items in some])
    near = [np.array([ladm(lm, item) for item in items]) for items in some]
    return {
        one.name: columns({"ladm": bootstrap_mean(own), "longattn": bootstrap_mean(long)})
        for one, own, long in zip(read, near, far, strict=True)
    }


def how_often_first(
    by: str,
    order: Sequence[str],
    probes: Mapping[str, Reading],
    transfers: Mapping[str, "Transfer"],
    selected: Mapping[str, Mapping[str, Any]],
) -> dict[str, float | None]:
    """How often each candidate is first in samples of the real rows, ties shared; None where these do not rank."""
    if by in LIKENESS:
        drawn = np.array([transfers[name].drawn[by] for name in order])
    elif by in ("loss", "score"):
        values = [probes[name].losses if by == "loss" else score_of(probes[name]) for name in order]
        picks = np.random.default_rng(0).integers(len(values[0]), size=(500, len(values[0])))
        drawn = np.array([one[picks].mean(axis=1) for one in values]) * (1 if RANKED_BY[by] else -1)
    else:
        return dict.fromkeys(order)
    drawn = np.where(np.isnan(drawn), -np.inf, drawn)
    best = drawn >= drawn.max(axis=0) - ROUNDING
    return dict(zip(order, (best / best.sum(axis=0)).mean(axis=1).tolist(), strict=True))


def score_of(probe: Reading) -> Float[ndarray, " row"]:
    assert probe.answers is not None
    return probe.answers.values()


def operations_of(lm: LanguageModel, tokens: int) -> float:
    """Of a training step on a row of so many tokens."""
    shape = shape_of(lm.base.config.get_text_config(), 2, 1)
    kept: list[Any] = ["none"] * shape.layers
    return cost_of_row(shape, tokens, 8, kept).operations


def seconds_an_operation(lm: LanguageModel, read: Sequence[Candidate], probes: Mapping[str, Reading]) -> float:
    """Of all probes' steps together, for a machine is not equally busy while it trains one and another."""
    seconds = sum(probes[one.name].seconds_a_step for one in read)
    return seconds / sum(operations_of(lm, round(one.tokens)) for one in read)


def costs(lm: LanguageModel, one: Candidate, rate: float, plan: Plan) -> dict[str, Any]:
    """What the whole training costs: by one row built here, and by the operations of its rows, in so many seconds each
    as the probes' steps took."""
    full = plan.full_length or round(one.tokens)
    return {
        "writer_tokens": round(one.writer_tokens * plan.full_rows),
        "build_seconds": one.build_seconds * plan.full_rows,
        "training_hours": rate * operations_of(lm, full) * plan.full_steps / 3600,
        "full_rows": plan.full_rows,
        "full_steps": plan.full_steps,
        "full_length": full,
        "probe_steps": plan.config.steps,
    }
