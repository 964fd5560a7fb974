"""haymaker train | eval | score | heads: thin calls of the library."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.commands.common import (
    Adapter,
    Data,
    ExtendTo,
    Json,
    KVRule,
    Model,
    Overwrite,
    Rows,
    Set,
    fresh_file,
    fresh_folder,
    print_json,
    refuse_existing,
    show,
    write_json,
)
from haymaker.config import Extend, TrainConfig, load_config, set_dotted
from haymaker.console import bar
from haymaker.errors import ConfigError

if TYPE_CHECKING:
    from haymaker.data.dataset import Dataset
    from haymaker.heads.formats import Rule
    from haymaker.heads.scores import HeadScores
    from haymaker.models.load import LanguageModel

TRAINING_FILES = ("training.json", "state.safetensors", "metrics.jsonl")  # what a run that can go on has left

HeadFile = Annotated[Path, typer.Option("--heads", help="Head scores, as `haymaker heads` writes them.")]
OutFolder = Annotated[Path, typer.Option("--out", help="The folder to write.")]
OutFile = Annotated[Path, typer.Option("--out", help="The file to write.")]
NewTokens = Annotated[int, typer.Option("--new-tokens", min=1, help="Most tokens of an answer.")]
Draws = Annotated[int, typer.Option(min=1, help="Random sets of heads for each size.")]
Seed = Annotated[int, typer.Option(help="Seed of the random sets.")]


def register(app: typer.Typer) -> None:
    app.command("train")(train)
    app.command("eval")(evaluate)
    app.command("score")(score)
    app.command("heads")(heads)


def train(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="The adapter folder; an interrupted run in it goes on.")],
    extend: ExtendTo = None,
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with keys of a TrainConfig.")] = None,
    overrides: Set = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a LoRA adapter (q, k, v, o) on the answers of a dataset."""
    chosen = train_config(config, overrides)
    if not any((out / name).exists() for name in TRAINING_FILES):
        refuse_existing(out, overwrite)
    dataset, lm = open_data(data), open_model(model, extend=extend)
    from haymaker.training.loop import train as train_adapter

    with bar("train", chosen.steps) as advance:
        result = train_adapter(lm, dataset, chosen, out, overwrite=overwrite, on_progress=advance)
    show({"out": str(out), "steps": chosen.steps, "loss": result.final_loss}, json)


def evaluate(
    model: Model,
    data: Data,
    out: OutFolder,
    adapter: Adapter = None,
    extend: ExtendTo = None,
    rows: Rows = None,
    new_tokens: NewTokens = 32,
    beyond_context: Annotated[
        bool, typer.Option("--beyond-context", help="Also answer rows that the model's context does not hold.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Let a model answer a dataset by greedy generation, and score the answers: F1 and EM with 95 % intervals."""
    with fresh_folder(out, overwrite) as folder:
        dataset, lm = open_data(data, rows), open_model(model, adapter, extend)
        from haymaker.evaluation.predictions import evaluate as evaluate_model

        with bar("answers", len(dataset)) as advance:
            found = evaluate_model(lm, dataset, new_tokens, beyond_context=beyond_context, on_progress=advance)
        found.save(folder / "predictions.jsonl")
        write_json(folder / "evaluation.json", found.row())
    show({**found.row(), "out": str(out)}, json)


def score(
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl, or the folder that `haymaker eval` wrote.")],
    metrics: Annotated[list[str] | None, typer.Option("--metric", help="A metric's name; may be repeated.")] = None,
    json: Json = False,
) -> None:
    """Score answers again, by other metrics, without a model: means with 95 % intervals."""
    import numpy as np

    from haymaker.evaluation.predictions import HEADLINE, Evaluation
    from haymaker.metrics import row_metric
    from haymaker.stats import bootstrap_mean

    found = Evaluation.load(predictions / "predictions.jsonl" if predictions.is_dir() else predictions)
    result: dict[str, Any] = {"n": len(found.predictions)}
    for name in metrics or HEADLINE:
        values = [row_metric(name)(prediction.text, list(prediction.answers)) for prediction in found.predictions]
        mean, low, high = bootstrap_mean(np.array(values, dtype=np.float64))
        result |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    show(result, json)


def heads(
    model: Model,
    data: Data,
    out: OutFile,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="copy, copy_source, copy_previous, copy_anywhere, copy_wu2024, insight, mass, mass_calibrated or "
            "write; may be repeated: one pass serves all, and each gets a file.  [default: copy]",
        ),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(
            help="gold: teacher-forced; own: the model's greedy answer.  [default: gold; own for copy_wu2024]"
        ),
    ] = None,
    file_format: Annotated[
        str, typer.Option("--format", help="haymaker (safetensors), wu (JSON), qrhead (YAML) or duo (TSV).")
    ] = "haymaker",
    kv_rule: KVRule = "max",
    new_tokens: NewTokens = 32,
    adapter: Adapter = None,
    extend: ExtendTo = None,
    rows: Rows = None,
    top: Annotated[int, typer.Option(min=1, help="How many heads to print, and to list in a YAML file.")] = 10,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Score every head of a model for retrieval on a dataset."""
    from haymaker.heads.formats import check_format, rule_of

    chosen, rule = tuple(metrics or ("copy",)), rule_of(kv_rule)
    check_format(file_format)
    files = {name: out if len(chosen) == 1 else out.with_name(f"{out.stem}.{name}{out.suffix}") for name in chosen}
    if file_format == "haymaker" and out.suffix == ".json":
        raise ConfigError(f"--out {out}: a summary in .json is written beside the scores; give a name in .safetensors")
    for path in files.values():
        refuse_existing(path, overwrite)
    with fresh_file(out, overwrite) as file:
        dataset, lm = open_data(data, rows), open_model(model, adapter, extend)
        from haymaker.heads.detection import detect_all

        with bar("heads", len(dataset)) as advance:
            found = detect_all(lm, dataset, chosen, on_progress=advance, answer=answer, new_tokens=new_tokens)
        for name, scores in found.items():
            save_scores(scores, file.with_name(files[name].name), file_format, top, lm, rule)
    show_heads({str(files[name]): scores for name, scores in found.items()}, top, json)


def save_scores(scores: "HeadScores", path: Path, file_format: str, k: int, lm: "LanguageModel", rule: "Rule") -> None:
    from haymaker.heads.formats import write_scores

    if file_format == "haymaker":
        scores.save(path)
    else:
        kv_heads = getattr(lm.base.config, "num_key_value_heads", None) or lm.base.config.num_attention_heads
        write_scores(scores, path, file_format, k, kv_heads, rule=rule)


def show_heads(found: "dict[str, HeadScores]", top: int, json: bool) -> None:
    """The best heads of each file. Raises DataError for scores of no example, once the others are told."""
    told = []
    for path, scores in found.items():
        best = {str(head): float(scores.mean[head]) for head in (scores.top(top) if scores.counted.any() else ())}
        about = {"out": path, "metric": scores.metric, "n": len(scores.values), "counted": int(scores.counted.sum())}
        told.append(about | {"top": best})
        if not json:
            show({f"head {name}": value for name, value in best.items()} | about, False)
    if json:
        print_json(told[0] if len(told) == 1 else told)
    for scores in found.values():
        scores.top(1)


def open_data(folder: Path, rows: int | None = None) -> "Dataset":
    from haymaker.data.dataset import load_dataset

    dataset = load_dataset(folder)
    return dataset if rows is None else dataset[:rows]


def open_model(name: str, adapter: Path | None = None, extend: int | None = None) -> "LanguageModel":
    from haymaker.models.load import load_model

    return load_model(name, adapter=adapter, extend=Extend(length=extend) if extend else None)


def train_config(path: Path | None, overrides: list[str] | None) -> TrainConfig:
    """A TrainConfig from a file, or from the defaults, with --set on top."""
    if path is not None:
        return load_config(path, TrainConfig, overrides)
    values: dict[str, Any] = {}
    for override in overrides or []:
        set_dotted(values, override)
    return TrainConfig(**values)
