"""Tasks: each a file that reads real rows, writes synthetic ones and names the metrics that judge an answer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from haymaker.choices import TASKS
from haymaker.config import Recipe
from haymaker.drafts import Task
from haymaker.errors import ConfigError
from haymaker.metrics.best_score import to_say
from haymaker.records import Example

if TYPE_CHECKING:  # realism.written reads answers, of this package
    from haymaker.realism.written import Asked


def task(name: str) -> Task:
    """The task of that name; ConfigError names those there are."""
    return TASKS[name]


def to_write(recipe: Recipe) -> "list[Asked]":
    """The rows of the recipe's source and split that a writer may write twins of; its answers go to `Recipe.written`.

    Raises ConfigError where there is nothing to write.
    """
    asked = getattr(task(recipe.task), "asked", None)
    if asked is None or recipe.source is None:
        raise ConfigError(
            f"source: a writer writes twins of real rows of mdqa, musique, summhay or qa; found task {recipe.task} "
            f"with source {recipe.source}"
        )
    return asked(recipe)


OWN = "own"  # the dataset that rows of one's own are of
UNKNOWN_METRICS = ("squad_f1", "squad_em")  # of answers to rows whose task no package names


def metrics_of(name: str) -> tuple[str, ...]:
    """Names of the metrics that judge the task's answers, the headline first."""
    return task(name).METRICS


def metrics_of_rows(rows: Iterable[Example]) -> tuple[str, ...]:
    """Names of the metrics that judge answers to these rows, the headline first; those of SQuAD for an unknown task.

    Raises ConfigError for rows that are judged by different ones.
    """
    found = {(row.task, metrics_of_row(row)) for row in rows}
    if len({metrics for _, metrics in found}) > 1:
        named = "; ".join(f"{name} by {', '.join(metrics)}" for name, metrics in sorted(found))
        raise ConfigError(
            f"rows of several tasks have no metric in common ({named}); say which: metrics=[...] (--metric)"
        )
    return next((metrics for _, metrics in found), UNKNOWN_METRICS)


def metrics_of_row(row: Example) -> tuple[str, ...]:
    return metrics_from(row.source, row.task)


def metrics_from(source: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Those that the layout of a row of one's own names (RULER's, MRCR's), else the task's."""
    own = source.get("metrics") if source.get("dataset") == OWN else None
    return tuple(own) if own else metrics_of(name) if name in TASKS else UNKNOWN_METRICS


def taught(answers: Sequence[str], source: Mapping[str, Any], name: str) -> dict[str, str]:
    """The `target` of a row's source, where the metric that judges the row first gives less for the first answer than
    for another: RULER's for one of several golds, SummHay's for a number without brackets. Else nothing."""
    said = to_say(metrics_from(source, name)[0], source.get("golds") or answers)
    return {} if said == answers[0] else {"target": said}


def golds_of(example: Example) -> tuple[str, ...]:
    """What metrics compare an answer with: the example's answers, unless its layout or its task says otherwise."""
    if example.source.get("dataset") == OWN and example.source.get("golds"):
        return tuple(example.source["golds"])
    golds = getattr(task(example.task), "golds", None) if example.task in TASKS else None
    return golds(example) if golds is not None else example.answers
