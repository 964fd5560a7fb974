"""haymaker train | eval | score: models and their answers."""

from pathlib import Path
from typing import Annotated

import typer

from haymaker.choices import METRICS
from haymaker.commands import options as flag
from haymaker.commands.options import inputs_of, loading, stop_text, values_of
from haymaker.commands.output import declare_folder, fresh_folder, show_values
from haymaker.config import TrainConfig, load_config
from haymaker.console import note
from haymaker.files import read_json, write_json
from haymaker.study.stages import EvaluateParams, TrainParams, evaluate_model, train_adapter

RECORD_FILE = "training.json"
TRAINING_FILES = (RECORD_FILE, "state.safetensors", "metrics.jsonl")  # what a run that can go on has left
EVALUATION_FILES = ("predictions.jsonl", "evaluation.json")


def register(app: typer.Typer) -> None:
    app.command("train")(train)
    app.command("eval")(evaluate)
    app.command("score")(score)


def train(
    *,
    model: flag.Model,
    data: flag.Data,
    out: Annotated[Path, typer.Option("--out", help="The adapter folder; an interrupted run in it goes on.")],
    extend: flag.ExtendTo = None,
    dtype: flag.Dtype = "auto",
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with keys of a TrainConfig.")] = None,
    overrides: flag.Set = None,
    overwrite: flag.Overwrite = False,
    json: flag.Json = False,
) -> None:
    """Train a LoRA adapter (q, k, v, o) on the answers of a dataset."""
    chosen = load_config(config, TrainConfig, overrides) if config else TrainConfig(**values_of(None, overrides))
    if not any((out / name).exists() for name in TRAINING_FILES):
        declare_folder(out, overwrite, reading=(model, data))
    params = TrainParams(**loading(extend, dtype), train=chosen)
    train_adapter(params, inputs_of(model=model, data=data), out, overwrite)
    loss = read_json(out / RECORD_FILE)["final_loss"]
    show_values({"out": str(out), "steps": chosen.steps, "loss": loss}, json)


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
    with fresh_folder(out, overwrite, EVALUATION_FILES, reading=(model, data, adapter)) as folder:
        found = evaluate_model(params, inputs_of(model=model, data=data, adapter=adapter), folder)
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
