"""An exam: rows to answer, the budget and end of an answer, the metrics that judge it, all settled before it runs."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from haymaker.choices import FORMATS, GOLD_OVER_FOIL, METRICS
from haymaker.console import note
from haymaker.errors import ConfigError, DataError
from haymaker.evaluation.places import depth_of, hops_of
from haymaker.kept import Kept
from haymaker.metrics.best_score import asks_for_all, golds_for, together
from haymaker.models.answer_text import STOP, read_answer
from haymaker.models.budget import budget_of, room_of
from haymaker.models.generation import GENERATIONS, AnswerEnd, Generation, decoded, end_of
from haymaker.models.load import LanguageModel
from haymaker.provenance import kept_rows, tell_other_tokenizer
from haymaker.records import Encoded, Example, Prediction, examples_of
from haymaker.tasks import golds_of, metrics_of_rows
from haymaker.tokens import encode_many

Metrics = str | Sequence[str] | None  # names, the headline first; None: the task's


@runtime_checkable
class Reader(Protocol):
    """What of a model settles an exam: how it reads, and how much."""

    @property
    def name(self) -> str: ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def context(self) -> int: ...


@dataclass(frozen=True)
class Exam:
    """Rows and the terms on which a model answers them; `Exam.of` settles and checks them."""

    rows: list[Example]
    encoded: list[Encoded]
    metrics: tuple[str, ...]
    new_tokens: int
    stop: str | None
    beyond_context: bool

    @classmethod
    def of(
        cls,
        lm: "Reader",
        examples: Iterable[Example],
        new_tokens: int | None = None,
        *,
        metrics: Metrics = None,
        stop: str | None = STOP,
        beyond_context: bool = False,
    ) -> "Exam":
        """Raises ConfigError or LengthError for a budget that golds or prompts do not fit, for an unknown metric, and
        for rows of tasks without a metric in common; DataError for no rows, and for golds that a metric refuses."""
        tell_other_tokenizer(examples, lm)
        rows = examples_of(examples)
        if not rows:
            raise DataError("expected at least one example to answer, found none")
        names = judges_of(rows, metrics)
        if GOLD_OVER_FOIL in names:
            raise ConfigError(
                f"metrics: {GOLD_OVER_FOIL} judges no answers; hm.evaluate lets a model choose by it, alone"
            )
        check_golds(rows, names)
        for row in rows:
            check_stop(row, names, stop)
        encoded = encode_many(rows, lm.tokenizer)
        tell_unwritable(rows, encoded, names[0], lm.tokenizer)
        context = None if beyond_context else lm.context
        whole = {row.id: said for row in rows if (said := whole_answer(row, names[0]))}
        budget = budget_of(encoded, lm.tokenizer, context, new_tokens, room_of(examples), golds=whole)
        return cls(rows, encoded, names, budget, stop or None, beyond_context)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of every prompt."""
        return [item.prompt_length for item in self.encoded]

    def end(self, lm: LanguageModel, i: int) -> AnswerEnd:
        """The rule that ends the answer to row i."""
        return end_of(lm, self.encoded[i], self.new_tokens, self.stop, self.beyond_context)

    def answers_in(
        self, keep: str | Path | None, lm: LanguageModel, copies: int = 1, **options: Any
    ) -> AbstractContextManager[Kept[Generation]]:
        """Answers, `copies` to each row, kept in a file as they are written; `options` decide them beside the exam."""
        terms = {"new_tokens": self.new_tokens, "stop": self.stop, "beyond_context": self.beyond_context}
        return kept_rows(keep, lm, self.encoded, GENERATIONS, copies=copies, **terms, **options)

    def judge(self, i: int, answer: Generation) -> Prediction:
        """The scores of an answer to row i."""
        found = judge(self.rows[i], self.encoded[i].prompt_length, answer, self.metrics)
        return replace(found, depth=depth_of(self.encoded[i]), hops=hops_of(self.rows[i]))


def judges_of(rows: Sequence[Example], metrics: Metrics = None) -> tuple[str, ...]:
    """Names of the metrics that judge answers, the headline first; ConfigError for one that there is not."""
    names = (metrics,) if isinstance(metrics, str) else tuple(dict.fromkeys(metrics or ()))
    for name in names:
        METRICS.entry(name)
    return names or metrics_of_rows(rows)


def check_golds(rows: Sequence[Example], metrics: Sequence[str]) -> None:
    """DataError for golds that a metric cannot read."""
    for row in rows:
        for name in metrics:
            try:
                golds_for(name, golds_of(row))
            except DataError as error:
                raise DataError(f"{row.id} (task {row.task}) by {name}: {error}; choose another metric") from None


def check_stop(row: Example, metrics: Sequence[str], stop: str | None) -> None:
    """Refuse a row whose right answers all lose by the rules that end an answer: ConfigError where the stop cuts them,
    DataError where they hold a block of thought."""
    golds = golds_of(row)
    said = [text for text in (row.target, *golds, whole_answer(row, metrics[0])) if text.strip()]
    read = [read_answer(text, stop or None).text for text in said]
    if all(text.strip() == left for text, left in zip(said, read, strict=True)):
        return
    for name in metrics:
        if best_of(name, read, golds) >= best_of(name, said, golds):
            continue
        if best_of(name, [read_answer(text, None).text for text in said], golds) < best_of(name, said, golds):
            raise DataError(
                f"{row.id}: its answer {row.target!r:.60} holds a block of thought or the frame of an answer, which "
                "is taken off before answers are judged; leave it out of the row"
            )
        raise ConfigError(
            f"stop: {row.id} has no gold without {stop!r}, which would end every right answer; give another stop, or "
            "None"
        )


def tell_unwritable(rows: Sequence[Example], encoded: Sequence[Encoded], metric: str, tokenizer: Any) -> None:
    """Say of how many rows the answer, once it is in tokens, is another one by the metric: letters that a vocabulary
    lacks, or that it writes otherwise (full-width digits)."""
    lost: dict[str, str] = {}
    for row, item in zip(rows, encoded, strict=True):
        said = decoded(tokenizer, item.answer_ids).strip()
        if said != row.target.strip() and best_of(metric, [said], golds_of(row)) < best_of(
            metric, [row.target], golds_of(row)
        ):
            lost[row.id] = f"{row.target!r:.40}, written {said!r:.40}"
    if lost:
        name, how = next(iter(lost.items()))
        note(
            f"{len(lost)} of {len(rows)} rows have an answer that this tokenizer cannot write, so {metric} counts it "
            f"wrong: {name} ({how})"
        )


def best_of(metric: str, answers: Iterable[str], golds: Sequence[str]) -> float:
    return max((scores_of(text, golds, [metric])[0][metric] for text in answers), default=0.0)


def whole_answer(row: Example, metric: str) -> str:
    """All golds of a row where the metric asks for them together, as RULER's share of them does; else nothing."""
    golds = golds_of(row)
    return together(golds) if len(golds) > 1 and asks_for_all(metric) else ""


# ---- one answer


def judge(example: Example, prompt_tokens: int, answer: Generation, metrics: Metrics = None) -> Prediction:
    """One answer's scores, by the metrics of the example's task unless others are named."""
    golds = golds_of(example)
    scores, unread = scores_of(answer.text, golds, judges_of([example], metrics))
    return Prediction(
        example_id=example.id,
        text=answer.text,
        answers=golds,
        scores=scores,
        finish_reason=answer.finish_reason,
        prompt_tokens=prompt_tokens,
        generated_tokens=len(answer.ids),
        task=example.task,
        before=answer.before,
        unread=unread,
    )


def scores_of(text: str, golds: Sequence[str], metrics: Sequence[str]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Every metric's score of an answer, and the metrics whose form it does not have; what cannot be read at all has 0.

    Raises DataError where a metric refuses the golds themselves.
    """
    scores, unread = {}, []
    for name in metrics:
        read = golds_for(name, golds)
        try:
            scores[name] = METRICS[name](text, read)
        except DataError:  # the answer's fault, for the golds can be read
            scores[name] = 0.0
            unread.append(name)
        else:
            if name in FORMATS and not FORMATS[name](text, read):
                unread.append(name)
    return scores, tuple(unread)
