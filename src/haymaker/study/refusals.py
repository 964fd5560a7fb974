"""What a study would only fail at after hours, refused before anything runs. Imports no torch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from haymaker.config import Extend
from haymaker.data.bounds import check_bounds
from haymaker.drafts import Draft
from haymaker.errors import ConfigError, DataError, ExtensionError
from haymaker.file_reading import read_json
from haymaker.metrics.best_score import golds_for
from haymaker.models.names import check_described, model_here
from haymaker.models.rope_ways import WAYS, WHY_NOT, check_way, kind_of, said_by
from haymaker.study.config import StudyConfig
from haymaker.study.plan import Plan
from haymaker.study.survey import Survey
from haymaker.study.training_refusals import refuse_other_training, sizes_of
from haymaker.tasks import task

REMEDY = "fetch the model again"
LENGTHS = ("max_position_embeddings", "n_positions")


def refuse_hopeless(config: StudyConfig, plan: Plan, survey: Survey) -> None:
    """Raises ConfigError where no build can hold the rows, and where the model has another context, fewer layers or
    heads, or a source fewer rows, than the study asks for. What is not on this machine is not judged."""
    for name, cell in plan.cells.items():
        if cell.stage.name == "data":
            recipe: Any = cell.params
            with at_cell(name):
                check_bounds(recipe)
    place = model_folder(config.model)
    about = model_config(place)
    if about:
        refuse_other_context(config, about)
        refuse_other_extension(config.extension(), about, config.model_name)
        refuse_too_many_heads(config, about)
    refuse_other_training(config, about, place)
    refuse_other_rows(plan, survey, config.evaluation.metric)


@contextmanager
def at_cell(name: str) -> Iterator[None]:
    """A ConfigError says which cell it is of."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None


def model_folder(name: str) -> Path | None:
    """Where the model lies, or its config alone; None where neither is on this machine."""
    try:
        return model_here(name, check_described)
    except ConfigError:
        return None


def model_config(folder: Path | None) -> dict[str, Any]:
    """The text part of the model's config.json; empty where there is none."""
    path = None if folder is None else folder / "config.json"
    if path is None or not path.is_file():
        return {}
    found = read_json(path, REMEDY)
    return found.get("text_config") or found if isinstance(found, dict) else {}


def refuse_other_context(config: StudyConfig, about: dict[str, Any]) -> None:
    known = [about[key] for key in LENGTHS if isinstance(about.get(key), int)]
    window = about.get("sliding_window")  # what such a model was trained on may be less than it has positions for
    if known and (config.context > known[0] or (config.context < known[0] and not window)):
        raise ConfigError(
            f"context: the study says {config.context} tokens, the config of {config.model_name} says {known[0]}"
        )


def refuse_other_extension(extend: Extend | None, about: dict[str, Any], name: str) -> None:
    """Raises ConfigError for a way in which the RoPE of this config cannot be extended; a rule unknown here passes."""
    rope = said_by(about)
    if extend is None or kind_of(rope) not in (*WAYS, *WHY_NOT):
        return
    try:
        check_way(rope, extend, name)
    except ExtensionError as error:
        raise ConfigError(str(error)) from None


def refuse_too_many_heads(config: StudyConfig, about: dict[str, Any]) -> None:
    if (sizes := sizes_of(about)) is None:
        return
    total = sizes[0] * sizes[1]
    for part in ("similarity", "patching", "parts"):
        k = getattr(getattr(config, part), "k", 0)
        if k > total:
            raise ConfigError(f"{part}.k: {config.model_name} has {total} heads, found {k}")
    largest = max(config.ablation.k) if config.ablation else 0
    if 2 * largest > total:
        raise ConfigError(
            f"ablation.k: {config.model_name} has {total} heads, so at most {total // 2} can be masked beside as many "
            f"others, found {largest}"
        )


def refuse_other_rows(plan: Plan, survey: Survey, metric: str | None) -> None:
    """Every data cell that is not built yet: what its task refuses, more rows than there are, and, where answers to it
    are judged by a metric that is not the task's own, golds that this does not read.

    Cells of several seeds read their rows once.
    """
    judged = {cell.inputs.get("data") for cell in plan.cells.values() if cell.stage.name == "evaluate"}
    counts: dict[Any, int | None] = {}
    for name, standing in survey.all().items():
        cell = plan.cells[name]
        if cell.stage.name != "data" or standing.state in ("done", "absent"):
            continue
        files = {key: str(outside.path()) for key, outside in cell.outside.items() if outside.kind == "file"}
        recipe: Any = cell.params.changed(**files)
        known = recipe.model_copy(update={"rows": 1, "seed": 0}).model_dump_json()
        if known not in counts:
            with at_cell(name):
                drafts = task(recipe.task).drafts(recipe)
                counts[known] = drafts.count
                if metric is not None and name in judged and drafts.count != 0:
                    refuse_other_metric(metric, drafts.draft(0))
        count = counts[known]
        if count is not None and recipe.rows > count:
            source = files.get("source", recipe.task)
            raise ConfigError(f"{name}: {recipe.rows} rows asked for, {source} gives {count} in this setting and split")


def refuse_other_metric(metric: str, draft: Draft) -> None:
    """Raises ConfigError where the metric cannot read what a right answer is compared with."""
    golds = draft.source.get("golds") or (["[1]"] if draft.cites else draft.answers)
    try:
        golds_for(metric, golds)
    except DataError as error:
        raise ConfigError(f"evaluation.metric {metric}: {error}; choose another metric") from None
