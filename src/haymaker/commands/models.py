"""haymaker eval | score: models and their answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from haymaker.choices import METRICS
from haymaker.commands import options as flag
from haymaker.commands import serving
from haymaker.commands.options import inputs_of, loading, stop_text
from haymaker.commands.output import Reading, fresh_folder, kept_beside, show_rows, show_values
from haymaker.commands.own_prompt import Given, reads_data
from haymaker.console import bar, note
from haymaker.evaluation.places import check_by
from haymaker.files import write_json
from haymaker.study.cell import Row
from haymaker.study.stage_inputs import Inputs
from haymaker.study.stages import EvaluateParams, evaluate_model
from haymaker.study.store import plain

EVALUATION_FILES = ("predictions.jsonl", "evaluation.json")
GROUPED = ("by", "group", "n", "metric", "score", "score_low", "score_high", "parsed")


def register(app: typer.Typer) -> None:
    app.command("eval")(evaluate)
    app.command("score")(score)


@reads_data
def evaluate(
    *,
    model: flag.Model,
    given: Given,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to write.")] = None,
    adapter: flag.Adapter = None,
    extend: flag.ExtendTo = None,
    dtype: flag.Dtype = "auto",
    rows: flag.Rows = None,
    new_tokens: flag.NewTokens = None,
    metrics: flag.Judges = None,
    stop: flag.Stop = "\\n",
    by: flag.By = None,
    beyond_context: Annotated[
        bool, typer.Option("--beyond-context", help="Also answer rows that the model's context does not hold.")
    ] = False,
    export_requests: serving.Requests = None,
    responses: serving.Responses = None,
    served_as: serving.ServedAs = None,
    batch: flag.Batch = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Let a model answer a dataset, or a prompt of your own, greedily, and score the answers, with 95 % intervals.

    Or let a server do it: --export-requests writes the questions, --responses reads the answers.
    """
    check_by(by or ())
    serving.check_serving(out, export_requests, responses, served_as)
    params = EvaluateParams(
        **loading(extend, dtype), beyond_context=beyond_context, rows=rows, new_tokens=new_tokens,
        metrics=tuple(metrics or ()), stop=stop_text(stop),
    )  # fmt: skip
    reading = (model, *given.files, adapter, responses)
    how = {"overwrite": overwrite, "reading": reading}
    with given.folder() as data:
        inputs = inputs_of(model=model, data=data, adapter=adapter, responses=responses)
        if export_requests is not None or out is None:
            assert export_requests is not None, "checked above"
            serving.export_requests(params, inputs, export_requests, served_as, json=json, **how)
            return
        if responses is not None:
            row = serving.judge_responses(params, inputs, out, served_as, entries=EVALUATION_FILES, **how)
        else:
            row = answered(params, inputs, out, batch=batch, **how)
    show_scores({**row, **answer_in(out, given), "out": str(out)}, groups_in(out, by), json)
    if responses is not None:
        serving.exit_code_of(row)


def answered(
    params: EvaluateParams, inputs: Inputs, out: Path, *, batch: int | None, overwrite: bool, reading: Reading
) -> Row:
    """The summary of a model's answers, which the folder then holds."""
    with (
        kept_beside(out, overwrite) as (keep, replace),
        fresh_folder(out, replace, EVALUATION_FILES, reading=reading) as folder,
    ):
        found = evaluate_model(params, inputs, folder, keep, batch=batch)
        row = plain(*found["evaluation"])
        write_json(folder / "evaluation.json", row)
    return row


def score(
    *,
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl, or the folder that `haymaker eval` wrote.")],
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", help=f"{', '.join(METRICS)}; may be repeated.  [default: those of the evaluation]"),
    ] = None,
    by: flag.By = None,
    json: flag.Json = False,
) -> None:
    """Score answers again, by other metrics, without a model: means with 95 % intervals."""
    from haymaker.evaluation.predictions import Evaluation, bounds, default_metrics

    check_by(by or ())
    for name in metrics or ():
        METRICS.entry(name)
    found = Evaluation.load(predictions / "predictions.jsonl" if predictions.is_dir() else predictions)
    with bar("answers", len(found.predictions)) as advance:
        again = found.judged_by(tuple(dict.fromkeys(metrics or default_metrics(found))), on_progress=advance)
    for said in again.notes():
        note(said)
    groups = [row for name in by or () for row in again.by(name)]
    show_scores({**again.row(), **bounds(again.metric, again.interval())}, groups, json)


def answer_in(folder: Path, given: Given) -> Row:
    """What was answered to a prompt; of a dataset's rows that stands in the folder alone."""
    if given.prompt is None:
        return {}
    from haymaker.evaluation.predictions import Evaluation

    (answer,) = Evaluation.load(folder / "predictions.jsonl").predictions
    return {"answer": answer.text}


def groups_in(folder: Path, by: Sequence[str] | None) -> list[Row]:
    """Scores by groups of the answers that a folder holds."""
    if not by:
        return []
    from haymaker.evaluation.predictions import Evaluation

    found = Evaluation.load(folder / "predictions.jsonl")
    return [row for name in by for row in found.by(name)]


def show_scores(row: Row, groups: Sequence[Row], as_json: bool) -> None:
    """The scores, and a table by groups where it was asked for; in JSON under `breakdown`."""
    show_values({**row, **({"breakdown": groups} if groups and as_json else {})}, as_json)
    if groups and not as_json:
        typer.echo()
        show_rows(groups, GROUPED)
