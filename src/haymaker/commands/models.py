"""haymaker eval | score: models and their answers."""

from pathlib import Path
from typing import Annotated

import typer

from haymaker.choices import METRICS
from haymaker.commands import options as flag
from haymaker.commands.options import inputs_of, loading, stop_text
from haymaker.commands.output import fresh_folder, kept_beside, show_values
from haymaker.console import note
from haymaker.files import write_json
from haymaker.study.stages import EvaluateParams, evaluate_model

EVALUATION_FILES = ("predictions.jsonl", "evaluation.json")


def register(app: typer.Typer) -> None:
    app.command("eval")(evaluate)
    app.command("score")(score)


def evaluate(
    *,
    model: flag.Model,
    data: flag.Data,
    out: flag.OutFolder,
    adapter: flag.Adapter = None,
    extend: flag.ExtendTo = None,
    dtype: flag.Dtype = "auto",
    rows: flag.Rows = None,
    new_tokens: flag.NewTokens = None,
    metrics: flag.Judges = None,
    stop: flag.Stop = "\\n",
    beyond_context: Annotated[
        bool, typer.Option("--beyond-context", help="Also answer rows that the model's context does not hold.")
    ] = False,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Let a model answer a dataset by greedy generation, and score the answers by its task: with 95 % intervals."""
    params = EvaluateParams(
        **loading(extend, dtype), beyond_context=beyond_context, rows=rows, new_tokens=new_tokens,
        metrics=tuple(metrics or ()), stop=stop_text(stop),
    )  # fmt: skip
    reading = (model, data, adapter)
    with (
        kept_beside(out, overwrite) as (keep, replace),
        fresh_folder(out, replace, EVALUATION_FILES, reading=reading) as folder,
    ):
        found = evaluate_model(params, inputs_of(model=model, data=data, adapter=adapter), folder, keep)
        (row,) = found["evaluation"]
        write_json(folder / "evaluation.json", row)
    show_values({**row, "out": str(out)}, json)


def score(
    *,
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl, or the folder that `haymaker eval` wrote.")],
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", help=f"{', '.join(METRICS)}; may be repeated.  [default: those of the evaluation]"),
    ] = None,
    json: flag.Json = False,
) -> None:
    """Score answers again, by other metrics, without a model: means with 95 % intervals."""
    from haymaker.evaluation.predictions import Evaluation, bounds, default_metrics

    for name in metrics or ():
        METRICS.entry(name)
    found = Evaluation.load(predictions / "predictions.jsonl" if predictions.is_dir() else predictions)
    again = found.judged_by(tuple(dict.fromkeys(metrics or default_metrics(found))))
    for said in again.notes():
        note(said)
    show_values({**again.row(), **bounds(again.metric, again.interval())}, json)
