"""haymaker eval --export-requests | --responses: answers of a server that speaks OpenAI's protocol."""

from pathlib import Path
from typing import Annotated, Any

import typer

from haymaker.commands.boundary import FAILED_ROWS
from haymaker.commands.output import declare, fresh_folder, show_values
from haymaker.console import note
from haymaker.errors import ConfigError
from haymaker.files import write_json, write_jsonl
from haymaker.study.stage_inputs import Inputs, rows_of
from haymaker.study.stages import EvaluateParams
from haymaker.study.store import plain

Requests = Annotated[
    Path | None, typer.Option("--export-requests", help="Write OpenAI's batch requests there, and answer nothing.")
]
Responses = Annotated[
    Path | None, typer.Option("--responses", help="Judge a server's answers to such requests (its output jsonl).")
]
ServedAs = Annotated[
    str | None,
    typer.Option("--served-as", help="What the server calls the model.  [default: its name, @digest of an adapter]"),
]


def export_requests(params: EvaluateParams, inputs: Inputs, file: Path, name: str | None, **how: Any) -> None:
    """Write a request for every row, and say how to have them answered."""
    declare(file, overwrite=how["overwrite"], reading=how["reading"])
    from haymaker.evaluation.batch_requests import requests_of

    exam, model = exam_of(params, inputs, name)
    lines = list(requests_of(exam, model))
    write_jsonl(file, lines)
    note(model.how_to_serve(str(inputs["model"]), inputs.get("adapter")))
    url = ", ".join(sorted({line["url"] for line in lines}))
    show_values({"requests": len(lines), "model": model.name, "url": url, "out": str(file)}, how["json"])


def judge_responses(params: EvaluateParams, inputs: Inputs, out: Path, name: str | None, **how: Any) -> dict[str, Any]:
    """Judge the answers of a file into a folder, as `haymaker eval` writes it; the summary's row."""
    with fresh_folder(out, how["overwrite"], how["entries"], reading=how["reading"]) as folder:
        from haymaker.evaluation.batch_responses import evaluate_responses

        exam, model = exam_of(params, inputs, name)
        found = evaluate_responses(inputs["responses"], exam, model)
        row = plain(found.row() | {"served": model.name})
        found.save(folder / "predictions.jsonl")
        write_json(folder / "evaluation.json", row)
    for said in found.notes():
        note(said)
    return row


def exam_of(params: EvaluateParams, inputs: Inputs, name: str | None) -> Any:
    """The exam of a dataset as the served model reads it, and that model."""
    from haymaker.evaluation.batch_requests import ServedModel
    from haymaker.evaluation.exam import Exam

    rows = rows_of(inputs, params.rows, evidence=False)
    model = ServedModel.of(str(inputs["model"]), inputs.get("adapter"), params.extend, name)
    options = params.model_dump(include={"metrics", "stop", "beyond_context"})
    return Exam.of(model, rows, params.new_tokens, **options), model


def check_serving(out: Path | None, requests: Path | None, responses: Path | None, served_as: str | None) -> None:
    """Raises ConfigError unless a command asks a server, reads its answers, or lets the model answer here."""
    if requests is not None and (responses is not None or out is not None):
        raise ConfigError("--export-requests: it writes that file alone; leave --out and --responses to the next call")
    if requests is None and out is None:
        raise ConfigError("--out: expected the folder to write, found none")
    if served_as and requests is None and responses is None:
        raise ConfigError("--served-as: it goes with --export-requests or --responses")


def exit_code_of(row: dict[str, Any]) -> None:
    """Exit as failed rows do where some have no answer."""
    if row["missing"] or row["failed"]:
        raise typer.Exit(FAILED_ROWS)
