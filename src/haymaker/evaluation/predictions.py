"""Evaluation: a model answers every example greedily, and the metrics of the examples' task judge the answers."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np

from haymaker.attention.chance import check_ready
from haymaker.choices import FORMATS, GOLD_OVER_FOIL, TASKS
from haymaker.console import OnProgress, each, told
from haymaker.errors import DataError
from haymaker.evaluation.choosing import choices, chooses
from haymaker.evaluation.exam import Exam, Metrics, scores_of
from haymaker.evaluation.places import grouped
from haymaker.file_reading import only_fields, read_jsonl, required, texts_of
from haymaker.files import write_jsonl
from haymaker.kept import Kept
from haymaker.markup import Rows, table
from haymaker.metrics import ceiling
from haymaker.metrics.best_score import golds_for, unearned
from haymaker.models.answer_text import STOP
from haymaker.models.generation import Generation, generate
from haymaker.models.load import LanguageModel
from haymaker.models.memory import tokens_that_fit
from haymaker.records import Example, Prediction
from haymaker.stats import DIFFERENCES, SCORES, Interval, bootstrap_mean, share_interval
from haymaker.tasks import UNKNOWN_METRICS, metrics_of

if TYPE_CHECKING:
    import pandas

# Columns of a row beside its scores.
ABOUT = ("finish_reason", "prompt_tokens", "generated_tokens", "depth", "hops", "halved")
MISSING = "missing"  # how an answer ended that there is not: it scores 0, whatever an empty one would
SHOWN = 10  # answers that an evaluation shows of itself
FEW = 5  # answers that a table of results holds
PREDICTION = {  # kinds of what a line of saved predictions says
    **dict.fromkeys(("example_id", "text", "finish_reason", "task", "before"), str),
    **dict.fromkeys(("prompt_tokens", "generated_tokens"), int),
    **dict.fromkeys(("depth", "margin"), (float, int, NoneType)),
    "hops": (int, NoneType),
    "foil": str,
    "scores": dict,
    "halved": bool,
}


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Predictions of one model on one set of examples, and the names of the metrics that judge them, headline first."""

    predictions: tuple[Prediction, ...]

    def __repr__(self) -> str:
        names = self.predictions[0].scores if self.predictions else ()
        means = "".join(f", {name} {self.values(name).mean():.3f}" for name in names)
        return f"{type(self).__name__}({len(self.predictions)} answers{means}, {self.cut_off} cut off)"

    def _repr_html_(self) -> str:
        rows = [{**row, "answers": " | ".join(row["answers"])} for row in self.rows()[:SHOWN]]
        return table(rows, repr(self) if len(self.predictions) <= SHOWN else f"{self!r}, the first {SHOWN}")

    def rows(self) -> list[dict[str, Any]]:
        """A flat row per answer, a column per metric."""
        return [
            {"example_id": one.example_id, "text": one.text, "answers": list(one.answers), **one.scores}
            | {name: getattr(one, name) for name in ABOUT}
            for one in self.predictions
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """`rows` as a pandas frame."""
        from pandas import DataFrame

        return DataFrame(self.rows())

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics by which every answer was judged, the headline first."""
        first = self.predictions[0].scores if self.predictions else {}
        return tuple(name for name in first if all(name in one.scores for one in self.predictions))

    @property
    def metric(self) -> str:
        """The headline's name. Raises DataError where no metric has judged every answer."""
        if not self.metrics:
            raise DataError("no metric has judged all of these answers; name one, as in judged_by(['squad_f1'])")
        return self.metrics[0]

    @property
    def score(self) -> float:
        """The headline's mean, 0 to 1."""
        return self.interval().mean

    @property
    def f1(self) -> float:
        """The mean F1 of the task's kind: of words where words are compared, of citations where documents are cited."""
        return self._first("f1")

    @property
    def em(self) -> float:
        """The mean exact match of the task's kind."""
        return self._first("em")

    def _first(self, kind: str) -> float:
        named = [name for name in self.metrics if name.endswith(f"_{kind}")]
        if not named:
            judges = ", ".join(self.metrics) or "nothing"
            raise AttributeError(f"no {kind} here: these answers were judged by {judges}; take `score`")
        return self.interval(named[0]).mean

    def values(self, metric: str | None = None) -> np.ndarray:
        """The metric of every prediction [example]; None: the headline."""
        name = metric or self.metric
        if any(name not in one.scores for one in self.predictions):
            raise DataError(
                f"{name} has not judged these answers ({', '.join(self.metrics)} have); judge them by it first: "
                f"judged_by(['{name}'])"
            )
        return np.array([prediction.scores[name] for prediction in self.predictions])

    def interval(self, metric: str | None = None) -> Interval:
        """Mean of the metric (None: the headline) with its 95 % bootstrap interval over examples."""
        return bootstrap_mean(self.values(metric), reach=SCORES)

    @property
    def ceiling(self) -> float:
        """The best headline that any answers could have here, 0 to 1: below 1 where golds cannot be wholly met."""
        return float(self._ceilings.mean())

    @cached_property
    def _ceilings(self) -> np.ndarray:
        golds = [golds_for(self.metric, one.answers) for one in self.predictions]
        return np.array([ceiling(self.metric, read) for read in golds])

    @property
    def limited(self) -> int:
        """Rows whose best possible headline is below 1, whatever is answered."""
        return int((self._ceilings < 1).sum())

    @property
    def cut_off(self) -> int:
        """Answers that reached the limit of new tokens before they ended."""
        return sum(prediction.finish_reason == "length" for prediction in self.predictions)

    @property
    def stripped(self) -> int:
        """Answers before which a block of thought or an opening line was taken off."""
        return sum(bool(prediction.before) for prediction in self.predictions)

    @property
    def halved(self) -> int:
        """Answers of batches that ran out of memory and were computed in halves."""
        return sum(prediction.halved for prediction in self.predictions)

    @property
    def unread(self) -> int:
        """Answers that do not have the form which the headline reads: failing on form is not failing to retrieve."""
        return sum(self.metric in prediction.unread for prediction in self.predictions)

    @property
    def parsed(self) -> Interval:
        """The share of answers in the form that the headline reads, with 95 % bounds (Wilson)."""
        return share_interval(len(self.predictions) - self.unread, len(self.predictions))

    def by(self, name: str) -> Rows:
        """A row per group of answers, by "depth" of the evidence, "length" of the prompt or "hops": the headline's mean
        with 95 % bounds, n, and the share in its form. Raises ConfigError for another name."""
        return Rows(grouped(self.predictions, name, self.metric))

    def judged_by(self, metrics: Sequence[str], *, on_progress: OnProgress | None = None) -> "Evaluation":
        """The same answers under these metrics, the headline first, without a model.

        `on_progress` is told how many answers were judged since it was last called.

        Raises DataError where a choice of two is to be judged as an answer, or an answer as a choice.
        """
        choice = [one.finish_reason == "choice" for one in self.predictions]
        if any(choice) != (GOLD_OVER_FOIL in metrics) or (any(choice) and len(metrics) > 1):
            made = "chosen of two texts" if any(choice) else "written by a model"
            raise DataError(
                f"these answers were {made}: {GOLD_OVER_FOIL} judges choices and nothing else does; "
                "evaluate again with the metrics that are wanted"
            )
        again = []
        for one in each(self.predictions, on_progress, "answers", len(self.predictions)):
            scores, unread = scores_of(one.text, one.answers, metrics)
            if one.finish_reason == MISSING:
                scores, unread = dict.fromkeys(metrics, 0.0), tuple(metrics)
            again.append(replace(one, scores=scores, unread=unread))
        return replace(self, predictions=tuple(again))

    def change_from(self, plain: "Evaluation") -> dict[str, float]:
        """The plain model's headline, and the change from it with a 95 % bootstrap interval over the same questions.

        Raises DataError where these are answers to other rows, or to the same in another order.
        """
        if [one.example_id for one in self.predictions] != [one.example_id for one in plain.predictions]:
            raise DataError("answers to other rows than the plain model's, so nothing has changed from those")
        reach = None if self is plain else DIFFERENCES  # what is the same answers has changed nothing, whatever n
        change = bootstrap_mean(self.values() - plain.values(self.metric), reach=reach)
        return {"score_original": plain.score, "delta": change.mean, "delta_low": change.low, "delta_high": change.high}

    def few(self) -> dict[str, list[str]]:
        """The answers themselves, `answers`, where there are so few that they say more than their scores."""
        return {"answers": [one.text for one in self.predictions]} if len(self.predictions) <= FEW else {}

    def row(self) -> dict[str, Any]:
        """The summary as a flat row: n, the headline's name, mean and bounds, the other metrics by name, and counts."""
        score = self.interval()
        others = {name: self.interval(name) for name in self.metrics[1:]}
        return {
            "n": len(self.predictions),
            **self._margin(),
            **{"metric": self.metric, "score": score.mean, "score_low": score.low, "score_high": score.high},
            **{key: value for name, found in others.items() for key, value in bounds(name, found).items()},
            **bounds("parsed", self.parsed),
            **{"ceiling": self.ceiling, "cut_off": self.cut_off, "stripped": self.stripped, "unread": self.unread},
            "halved": self.halved,
        }

    def _margin(self) -> dict[str, float]:
        """Of choices, nats per token by which golds are more probable than foils."""
        margins = [one.margin for one in self.predictions if one.margin is not None]
        return bounds("margin", bootstrap_mean(np.array(margins))) if margins else {}

    def unearned(self, metric: str) -> int:
        """Rows on which any answer has a score by this metric."""
        return sum(unearned(metric, one.answers) > 0 for one in self.predictions)

    def notes(self) -> list[str]:
        """In words, what the numbers do not say of answers cut off, taken apart or unread, of rows short of 1, and of
        rows on which any answer is right."""
        n, metric = len(self.predictions), self.metric
        found = {
            "answers reached the limit of new tokens and were cut off; allow more new tokens": self.cut_off,
            "answers stood behind a block of thought or an opening line, which was taken off": self.stripped,
            f"answers do not have the form that {metric} reads ({form_of(metric)})": self.unread,
            "answers are of batches that ran out of memory and were computed in halves": self.halved,
            f"rows cannot reach 1 by {metric}, whatever is answered (best mean {self.ceiling:.3f})": self.limited,
        }
        for name in self.metrics:
            found[f"rows have a gold of signs or articles alone, so any answer scores by {name}"] = self.unearned(name)
        return [f"{count} of {n} {what}" for what, count in found.items() if count]

    def save(self, path: str | Path) -> None:
        """Write one JSON line per prediction."""
        write_jsonl(Path(path), map(asdict, self.predictions))

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Read what `save` wrote."""
        return cls(tuple(each(read_predictions(Path(path)), None, "answers read")))


def form_of(metric: str) -> str:
    """In words, the form of the answers that a metric reads."""
    return FORMATS.entry(metric).about if metric in FORMATS else "any text"


def bounds(name: str, found: Interval) -> dict[str, float]:
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


def read_predictions(path: Path) -> Iterable[Prediction]:
    """Predictions line by line. Raises DataError for a file without one, and for a line that is none."""
    row = None
    for place, row in read_jsonl(path):
        try:
            yield prediction_of(row)
        except DataError as error:
            raise DataError(f"{place}: not a prediction ({error})") from None
    if row is None:
        raise DataError(f"{path}: holds no prediction; give the predictions.jsonl that `haymaker eval` wrote")


def prediction_of(row: dict[str, Any]) -> Prediction:
    """A prediction of what JSON says of it. Raises DataError for a field too many, too few or of another kind."""
    only_fields(row, Prediction, "here")
    check_kinds(row)
    lists = {"answers": texts_of(row, "answers", "here"), "unread": texts_of({"unread": [], **row}, "unread", "")}
    return Prediction(**{**row, **{name: tuple(values) for name, values in lists.items()}})


def check_kinds(row: dict[str, Any]) -> None:
    """DataError for a value of a saved prediction that is of another kind, and for a score that is no number."""
    for key, kind in PREDICTION.items():
        if key in row:
            required(row, key, kind, "here")
    scores = row.get("scores", {})
    wrong = [name for name, value in scores.items() if type(value) not in (int, float) or not 0 <= value <= 1]
    if wrong:
        raise DataError(f"the score {wrong[0]} should be a number from 0 to 1, found {scores[wrong[0]]!r:.30}")


def default_metrics(found: Evaluation) -> tuple[str, ...]:
    """By what saved answers are judged unless told: as they were before, else by their task's metrics."""
    tasks = {one.task for one in found.predictions}
    known = metrics_of(tasks.pop()) if len(tasks) == 1 and tasks <= set(TASKS) else UNKNOWN_METRICS
    return found.metrics or known


def evaluate(
    lm: LanguageModel,
    examples: Iterable[Example],
    new_tokens: int | None = None,
    metrics: Metrics = None,
    beyond_context: bool = False,
    *,
    stop: str | None = STOP,
    tokens_at_once: int | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> Evaluation:
    r"""Answers to all examples, at most `new_tokens` tokens each, scored 0 to 1 under every metric.

    Args:
        lm: The model; it decodes greedily, until it ends or reaches the stop.
        examples: A Dataset, or any Examples.
        new_tokens: Most tokens of an answer, the same for every example. None: the room that the rows were built with,
            else 64. Answers that reach the limit are kept and counted (`Evaluation.cut_off`).
        metrics: Names of row metrics of `hm.metrics`, the headline first, or one; None: those of the examples' task.
            "gold_over_foil" lets the model choose between the target and another row's answer, by log-probability, in
            place of answering.
        beyond_context: Also answer examples that do not fit the model's context, to see how it fares there.
        stop: A text that ends an answer, once there is an answer before it; None: only the model's own end does.
        tokens_at_once: Most prompt tokens of a batch; None: as many as the free memory holds. Answers do not depend on
            it. Where memory runs out all the same, batches are halved, once; their answers say so (`halved`).
        batch: Most examples of a batch; None: no bound but the tokens.
        on_progress: Called with the number of examples answered since its last call.
        keep: A file in which rows are kept as they are done: after a stop the same call goes on, and gives the same.
            It is left when the call ends well, for the caller to remove.

    Returns:
        An Evaluation with `predictions`, `score`, `metric`, `interval(metric)`, `by("depth")`, `row()`, `save(path)`.

    Raises:
        ConfigError: A metric that there is not, none that all the examples' tasks share, or a budget smaller than the
            longest gold.
        DataError: No example, golds that a metric refuses, or no foil.
        LengthError: An example whose prompt leaves less than the budget of the model's context.
        ModelError: A model in train mode.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Examples:
        >>> hm.evaluate(lm, rows, new_tokens=8).row()["metric"]
        'squad_f1'
    """
    check_ready(lm)
    if chooses(metrics):
        return Evaluation(choices(lm, examples, beyond_context=beyond_context, on_progress=on_progress, keep=keep))
    options: dict[str, Any] = {"metrics": metrics, "stop": stop, "beyond_context": beyond_context}
    exam = Exam.of(lm, examples, new_tokens, **options)
    sizes: dict[str, Any] = {"tokens_at_once": tokens_at_once, "batch": batch}
    with exam.answers_in(keep, lm, room=room_for(lm, exam), **sizes) as kept:
        advance = told(on_progress, "answers", len(exam.rows))
        return examine(lm, exam, **sizes, on_progress=advance, kept=kept)


def room_for(lm: LanguageModel, exam: Exam, copies: int = 1) -> int:
    """Prompt tokens of a batch that the free memory holds, with the models of `copies` beside each other."""
    return tokens_that_fit(lm.model, exam.lengths, exam.new_tokens, copies=copies)


def examine(
    lm: LanguageModel,
    exam: Exam,
    *,
    tokens_at_once: int | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    kept: Kept[Generation] | None = None,
) -> Evaluation:
    """A model's answers to an exam, judged."""
    kept = kept or Kept()
    written = generate(
        lm, exam.encoded, exam.new_tokens, exam.stop, tokens_at_once, batch=batch, beyond_context=exam.beyond_context,
        on_progress=on_progress, kept=kept,
    )  # fmt: skip
    return Evaluation(tuple(judged(exam, i, answer, kept.was_halved(i)) for i, answer in enumerate(written)))


def judged(exam: Exam, i: int, answer: Generation, halved: bool) -> Prediction:
    """The scores of an answer to row i, and whether memory ran out over its batch."""
    return replace(exam.judge(i, answer), halved=halved)
