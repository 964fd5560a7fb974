"""haymaker show: one row with its spans, in a terminal or on a page."""

from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from haymaker.commands.options import Adapter, Columns, DataRows, Json, Overwrite
from haymaker.commands.output import fresh_file, show_json, show_made
from haymaker.commands.own_prompt import rows_under
from haymaker.errors import ConfigError
from haymaker.tasks.own_columns import own_name

if TYPE_CHECKING:
    from haymaker.data.dataset import Dataset, Folder
    from haymaker.data.schema import Row
    from haymaker.records import Example

COLOURS = {
    "evidence": "yellow",
    "answer": "bold green",
    "question": "cyan",
    "citation": "magenta",
    "instruction": "dim",
}


def register(app: typer.Typer) -> None:
    app.command("show")(show)


def show(
    *,
    folder: DataRows,
    row: Annotated[int, typer.Option(help="Which row, from 0.")] = 0,
    id: Annotated[str | None, typer.Option(help="The row of this id, or of its own id in your file.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page instead.")] = None,
    model: Annotated[
        str | None, typer.Option(help="With --html: a page of what heads of this model read of the row.")
    ] = None,
    heads: Annotated[
        str | None,
        typer.Option(help="Heads of --model, 18-6,17-3, or a file of scores.  [default: the five that copy most]"),
    ] = None,
    adapter: Adapter = None,
    columns: Columns = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Print one row with its spans in colour: evidence, answer, question; or write what heads of a model read of it."""
    from haymaker.data.schema import example_of

    if (model is None and (heads or adapter)) or (model and html is None):
        raise ConfigError("--heads and --adapter go with --model, and --model with --html, the page to write")
    stored = rows_under(folder, columns, evidence=False)
    chosen = row_numbered(stored, row, folder) if id is None else row_named(stored, id, folder)
    if html is not None:
        reading = (folder, model, heads, adapter)
        with fresh_file(html, overwrite=overwrite, reading=reading) as file:
            page = view_of(chosen, model, heads, adapter) if model else page_of(chosen)
            file.write_text(page, encoding="utf-8", errors="backslashreplace")
        show_made(html, json, id=chosen["id"])
        return
    example = example_of(chosen)
    if json:
        spans = {kind: [[span.start, span.stop] for span in found] for kind, found in example.spans.items()}
        show_json({"id": example.id, "text": example.text, "answers": list(example.answers), "spans": spans})
    else:
        print_example(example)


def row_numbered(stored: "Dataset | Folder", number: int, path: Path) -> "Row":
    if not 0 <= number < len(stored):
        raise ConfigError(f"--row {number}: {path} has rows 0 to {len(stored) - 1}")
    return next(islice(stored.rows, number, None))


def row_named(stored: "Dataset | Folder", name: str, path: Path) -> "Row":
    """The row of this id, or that is called so in its own file, or the one whose id starts so."""
    from haymaker.data.schema import source_of
    from haymaker.evaluation.row_names import RowNames

    rows = list(stored.select(("id", "source")))
    names = RowNames((row["id"], own_name(source_of(row))) for row in rows)
    found = names.id_of(name)
    starting = [i for i, one in enumerate(names.ids) if (one == found if found else one.startswith(name))]
    if names.shared(name):
        raise ConfigError(f"--id {name}: several rows of {path} have this id; give --row, or one of its example's")
    if len(starting) != 1:
        raise ConfigError(
            f"--id {name}: {len(starting)} ids of {path} start so, and no row there is called so; give one in full"
        )
    return row_numbered(stored, starting[0], path)


def page_of(row: "Row") -> str:
    from haymaker.data.row_page import render

    return render(row)


def view_of(row: "Row", model: str, heads: str | None, adapter: Path | None) -> str:
    """A page of what heads of a model read while each token of the answer was produced."""
    from haymaker.data.schema import example_of
    from haymaker.heads.attention_view import show_example
    from haymaker.heads.own_choice import names_heads
    from haymaker.models.load import load_model
    from haymaker.study.stage_inputs import scores_of

    lm = load_model(model, adapter)
    chosen = heads if heads is None or names_heads(heads) else scores_of({"heads": Path(heads)}, lm)
    return show_example(lm, example_of(row), chosen).page()


def print_example(example: "Example") -> None:
    """The prompt with what matters in it coloured, then the answers."""
    from rich.text import Text

    from haymaker.commands.output import out

    text = Text(example.text)
    for kind, colour in COLOURS.items():
        for span in example.spans.get(kind, []):
            text.stylize(colour, span.start, span.stop)
    ends = list(accumulate(len(message.text) for message in example.messages))
    turns = text.divide(ends[:-1])
    out.print(f"{example.id}  ({example.task}, {example.concept} concept, {example.context} context)", style="bold")
    out.print(Text.assemble(*((f"{kind}  ", colour) for kind, colour in COLOURS.items() if kind in example.spans)))
    for message, said in zip(example.messages, turns, strict=True):
        if len(turns) > 1:
            out.print(Text(f"[{message.role}]", "dim"))
        out.print(said)
    out.print(Text("answers: " + " | ".join(example.answers), style="bold green"))
    if example.target != example.answers[0]:
        out.print(Text(f"taught: {example.target}", style="bold green"))
