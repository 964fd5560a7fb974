"""Evaluation: a model answers every example greedily, and metrics judge the answers."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haymaker.console import OnProgress
from haymaker.errors import DataError
from haymaker.files import read_jsonl, required, texts_of, write_jsonl
from haymaker.markup import table
from haymaker.metrics import row_metric
from haymaker.models.batching import TOKENS_AT_ONCE
from haymaker.models.generation import Generation, generate
from haymaker.models.load import LanguageModel
from haymaker.records import Example, Prediction
from haymaker.stats import Interval, bootstrap_mean
from haymaker.tokens import encode_many

if TYPE_CHECKING:
    import pandas

SHOWN = 10  # answers that an evaluation shows of itself
HEADLINE = ("squad_f1", "squad_em")


def judge(example: Example, prompt_tokens: int, answer: Generation, metrics: Sequence[str] = HEADLINE) -> Prediction:
    """One answer's scores."""
    return Prediction(
        example_id=example.id,
        text=answer.text,
        answers=example.answers,
        scores={name: row_metric(name)(answer.text, list(example.answers)) for name in metrics},
        finish_reason=answer.finish_reason,
        prompt_tokens=prompt_tokens,
        generated_tokens=len(answer.ids),
    )


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Predictions of one model on one set of examples."""

    predictions: tuple[Prediction, ...]

    def __repr__(self) -> str:
        names = self.predictions[0].scores if self.predictions else ()
        means = "".join(f", {name} {self.values(name).mean():.3f}" for name in names)
        return f"Evaluation({len(self.predictions)} answers{means}, {self.cut_off} cut off)"

    def _repr_html_(self) -> str:
        rows = [{**row, "answers": " | ".join(row["answers"])} for row in self.rows()[:SHOWN]]
        return table(rows, repr(self) if len(self.predictions) <= SHOWN else f"{self!r}, the first {SHOWN}")

    def rows(self) -> list[dict[str, Any]]:
        """A flat row per answer, a column per metric."""
        return [
            {"example_id": one.example_id, "text": one.text, "answers": list(one.answers), **one.scores}
            | {name: getattr(one, name) for name in ("finish_reason", "prompt_tokens", "generated_tokens")}
            for one in self.predictions
        ]

    def to_pandas(self) -> "pandas.DataFrame":
        """`rows` as a pandas frame."""
        from pandas import DataFrame

        return DataFrame(self.rows())

    def values(self, metric: str) -> np.ndarray:
        """The metric of every prediction [example]."""
        return np.array([prediction.scores[metric] for prediction in self.predictions])

    def interval(self, metric: str = "squad_f1") -> Interval:
        """Mean of the metric with its 95 % bootstrap interval over examples."""
        return bootstrap_mean(self.values(metric))

    @cached_property
    def f1(self) -> float:
        return self.interval("squad_f1").mean

    @cached_property
    def em(self) -> float:
        return self.interval("squad_em").mean

    @property
    def cut_off(self) -> int:
        """Answers that reached the limit of new tokens before they ended."""
        return sum(prediction.finish_reason == "length" for prediction in self.predictions)

    def change_from(self, plain: "Evaluation") -> dict[str, float]:
        """The plain model's F1, and the change from it with a 95 % bootstrap interval over the same questions."""
        change = bootstrap_mean(self.values("squad_f1") - plain.values("squad_f1"))
        return {"f1_original": plain.f1, "delta": change.mean, "delta_low": change.low, "delta_high": change.high}

    def row(self) -> dict[str, float | int]:
        """The summary as a flat row: n, f1 and em with bounds, answers cut off."""
        f1, em = self.interval("squad_f1"), self.interval("squad_em")
        return {
            "n": len(self.predictions),
            **{"f1": f1.mean, "f1_low": f1.low, "f1_high": f1.high},
            **{"em": em.mean, "em_low": em.low, "em_high": em.high},
            "cut_off": self.cut_off,
        }

    def save(self, path: str | Path) -> None:
        """Write one JSON line per prediction."""
        write_jsonl(Path(path), map(asdict, self.predictions))

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Read what `save` wrote."""
        return cls(tuple(read_predictions(Path(path))))


def read_predictions(path: Path) -> Iterable[Prediction]:
    """Predictions line by line. Raises DataError for a file without one, and for a line that is none."""
    row = None
    for place, row in read_jsonl(path):
        try:
            required(row, "text", str, "here")
            yield Prediction(**{**row, "answers": tuple(texts_of(row, "answers", "here"))})
        except (TypeError, DataError) as error:
            raise DataError(f"{place}: not a prediction ({error})") from None
    if row is None:
        raise DataError(f"{path}: holds no prediction; give the predictions.jsonl that `haymaker eval` wrote")


def evaluate(
    lm: LanguageModel,
    examples: Iterable[Example],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    beyond_context: bool = False,
    *,
    tokens_at_once: int = TOKENS_AT_ONCE,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Answers to all examples, at most `new_tokens` tokens each, scored 0 to 1 under every metric.

    Args:
        lm: The model; it decodes greedily, until it ends or breaks the line.
        examples: A Dataset, or any Examples.
        new_tokens: Most tokens of an answer. One that reaches the limit is kept and counted (`Evaluation.cut_off`).
        metrics: Names of row metrics of `hm.metrics`.
        beyond_context: Also answer examples that do not fit the model's context, to see how it fares there.
        tokens_at_once: Most prompt tokens of a batch.
        on_progress: Called with the number of examples answered since its last call.

    Returns:
        An Evaluation with `predictions`, `f1`, `em`, `interval(metric)`, `row()`, `save(path)`.

    Raises:
        ConfigError: A metric that there is not.
        LengthError: An example whose prompt leaves no room for an answer.
        OutOfMemory: A batch that does not fit the machine; no example is ever skipped.

    Examples:
        >>> hm.evaluate(lm, rows, new_tokens=8, metrics=("squad_f1", "squad_em")).row()["n"]
        2
    """
    rows = list(examples)
    encoded = encode_many(rows, lm.tokenizer)
    options: dict[str, Any] = {"beyond_context": beyond_context, "on_progress": on_progress}
    written = generate(lm, encoded, new_tokens, tokens_at_once=tokens_at_once, **options)
    judged = zip(rows, encoded, written, strict=True)
    return Evaluation(tuple(judge(example, item.prompt_length, answer, metrics) for example, item, answer in judged))
