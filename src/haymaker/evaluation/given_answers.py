"""Answers of one's own, lines of an id and a prediction, judged by the rows that they answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from haymaker.errors import DataError
from haymaker.evaluation.batch_requests import refuse_twins
from haymaker.evaluation.batch_responses import Response, Responses, ServedEvaluation
from haymaker.evaluation.exam import Metrics, check_golds, judge, judges_of
from haymaker.evaluation.places import hops_of
from haymaker.evaluation.predictions import MISSING
from haymaker.evaluation.row_names import RowNames
from haymaker.models.generation import Generation
from haymaker.records import Example, Prediction, examples_of
from haymaker.tasks import golds_of
from haymaker.tasks.row_files import rows_in

NO_PREDICTION = "the prediction is null"


def judge_given(
    path: Path,
    examples: Iterable[Example],
    metrics: Metrics = None,
    columns: Mapping[str, str] | None = None,
    *,
    missing_as_0: bool = False,
) -> ServedEvaluation:
    """The answers of a file (jsonl, json, csv, parquet), as they stand there, by the metrics of the rows or by others.

    A row is found by its example's id or by its own. `columns` says what the file calls `id` and `prediction`. Rows
    without an answer are counted and in no mean; with `missing_as_0` they are in it, and score 0.

    Raises DataError for a line that is no answer, for a file without one to any row, and for golds that a metric
    refuses; ConfigError for rows without a metric in common.
    """
    rows = examples_of(examples)
    judges, names = judges_of(rows, metrics), RowNames.of(rows)
    refuse_twins(names.ids)
    check_golds(rows, judges)
    read = Responses()
    for place, line in rows_in(path):
        read.add(*answer_of(line, columns or {}, place), names)
    if not read.found:
        known = ", ".join(names.shown(name) for name in names.ids[:3])
        raise DataError(
            f"{path}: no line answers a row of the data; its ids are like {', '.join(sorted(read.strangers)[:3])}, the "
            f"rows' like {known}"
        )
    judged = [answered(row, read.found[row.id].text, judges) for row in rows if row.id in read.found]
    lost = [row for row in rows if row.id not in read.found] if missing_as_0 else []
    found = read.evaluation(names, [*judged, *(unanswered(row, judges) for row in lost)])
    return replace(found, counted=missing_as_0)


def answer_of(line: Mapping[str, Any], columns: Mapping[str, str], place: str) -> tuple[str, Response | str]:
    """Whose answer a line is, and the answer, or why there is none."""
    called = {name: columns.get(name, name) for name in ("id", "prediction")}
    if called["id"] not in line:  # what the rows call so may be another name here
        called["id"] = "id"
    for name, column in called.items():
        if column not in line:
            raise DataError(
                f"{place}: no {column!r} here; found {', '.join(sorted(line)) or 'nothing'}; say which column it is "
                f"with --map {name}=COLUMN"
            )
    name, text = line[called["id"]], line[called["prediction"]]
    if not isinstance(name, str | int) or isinstance(name, bool) or not isinstance(text, str | int | float | None):
        raise DataError(f"{place}: expected an id and the text of an answer, found {name!r:.40} and {text!r:.40}")
    if isinstance(text, float) and text.is_integer():
        text = int(text)  # a column of whole numbers with gaps holds fractions
    return str(name), NO_PREDICTION if text is None else Response(str(text).strip(), False, None, "")


def answered(row: Example, text: str, metrics: Sequence[str]) -> Prediction:
    return replace(judge(row, 0, Generation(row.id, (), text, "stop"), metrics), hops=hops_of(row))


def unanswered(row: Example, metrics: Sequence[str]) -> Prediction:
    """A row that nobody answered: 0 by every metric, also where an empty answer would have more."""
    scores = dict.fromkeys(metrics, 0.0)
    return Prediction(
        row.id, "", golds_of(row), scores, MISSING, 0, 0, row.task, hops=hops_of(row), unread=tuple(metrics)
    )
