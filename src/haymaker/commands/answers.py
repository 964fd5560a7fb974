"""haymaker eval | score: models and their answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haymaker.choices import METRICS
from haymaker.commands import options as flag
from haymaker.commands import serving
from haymaker.commands.options import columns_of, inputs_of, loading, stop_text
from haymaker.commands.output import Reading, fresh_folder, kept_beside, show_rows, show_values
from haymaker.commands.own_prompt import Given, reads_data
from haymaker.console import bar, note
from haymaker.errors import ConfigError
from haymaker.evaluation.places import check_by
from haymaker.files import write_json
from haymaker.study.cell import Row
from haymaker.study.stage_inputs import Inputs
from haymaker.study.stages import EvaluateParams, evaluate_model
from haymaker.study.store import plain

if TYPE_CHECKING:
    from haymaker.evaluation.batch_responses import ServedEvaluation

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
    with given.folder(evidence=False) as data:
        inputs = inputs_of(model=model, data=data, adapter=adapter, responses=responses)
        if export_requests is not None or out is None:
            assert export_requests is not None, "checked above"
            serving.export_requests(params, inputs, export_requests, served_as, json=json, **how)
            return
        if responses is not None:
            row = serving.judge_responses(params, inputs, out, served_as, entries=EVALUATION_FILES, **how)
        else:
            row = answered(params, inputs, out, batch=batch, **how)
    show_scores({**answer_in(out, given), **row, "out": str(out)}, groups_in(out, by), json)
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
    predictions: Annotated[
        Path, typer.Argument(help="predictions.jsonl, or the folder that `haymaker eval` wrote; with --data your own.")
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The rows that lines of an id and a prediction answer: a dataset, or your file."),
    ] = None,
    columns: flag.Columns = None,
    missing_as_0: Annotated[
        bool, typer.Option("--missing-as-0", help="Rows of --data without a prediction score 0.  [default: no score]")
    ] = False,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", help=f"{', '.join(METRICS)}; may be repeated.  [default: those of the evaluation]"),
    ] = None,
    by: flag.By = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --data: a folder, as `haymaker eval` writes it.")
    ] = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Score answers without a model: those of an evaluation by other metrics, or lines of your own by your rows."""
    from haymaker.evaluation.predictions import Evaluation, bounds, default_metrics

    check_by(by or ())
    for name in metrics or ():
        METRICS.entry(name)
    if data is not None:
        found = judged_by_rows(predictions, data, columns, tuple(metrics or ()), missing_as_0=missing_as_0)
        if out is not None:
            with fresh_folder(out, overwrite, EVALUATION_FILES, reading=(predictions, data)) as folder:
                found.save(folder / "predictions.jsonl")
                write_json(folder / "evaluation.json", found.row())
    elif columns or missing_as_0 or out:
        raise ConfigError("--map, --missing-as-0 and --out go with --data: an evaluation has its rows and its folder")
    else:
        saved = Evaluation.load(predictions / "predictions.jsonl" if predictions.is_dir() else predictions)
        with bar("answers", len(saved.predictions)) as advance:
            found = saved.judged_by(tuple(dict.fromkeys(metrics or default_metrics(saved))), on_progress=advance)
    for said in found.notes():
        note(said)
    groups = [row for name in by or () for row in found.by(name)]
    row = {**found.row(), **bounds(found.metric, found.interval())}
    show_scores(row, groups, json)
    if data is not None:
        serving.exit_code_of(row)


def judged_by_rows(
    file: Path, data: Path, columns: list[str] | None, metrics: tuple[str, ...], *, missing_as_0: bool
) -> "ServedEvaluation":
    """The answers of a file by the rows of another; `--map` tells columns of both, `prediction` and `id` of the answers
    and all but the first of the rows."""
    from haymaker.commands.own_prompt import of_file, rows_under
    from haymaker.evaluation.given_answers import judge_given

    told = columns_of(columns) or {}
    of_rows = [f"{name}={column}" for name, column in told.items() if name != "prediction"]
    rows = rows_under(data, of_file(data, of_rows), evidence=False)
    return judge_given(file, rows, metrics or None, told, missing_as_0=missing_as_0)


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
    show_values({**row, **({"breakdown": groups} if groups and as_json else {})}, as_json, "bounds: one row has none")
    if groups and not as_json:
        typer.echo()
        show_rows(groups, GROUPED)
