"""haymaker build | show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.commands.common import Json, Overwrite, Set, print_json, refuse_existing
from haymaker.config import Recipe, read_yaml, set_dotted
from haymaker.console import note
from haymaker.errors import ConfigError

if TYPE_CHECKING:
    from haymaker.records import Example

COLOURS = {
    "evidence": "yellow",
    "answer": "bold green",
    "question": "cyan",
    "citation": "magenta",
    "instruction": "dim",
}


def register(app: typer.Typer) -> None:
    app.command("build")(build)
    app.command("show")(show)


def build(
    out: Annotated[Path, typer.Option("--out", help="The dataset folder to write.")],
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file with keys of a Recipe.")] = None,
    overrides: Set = None,
    task: Annotated[str | None, typer.Option(help="mdqa, musique, summhay, niah or kv.")] = None,
    setting: Annotated[str | None, typer.Option(help="real, real-limited, high-high ... low-low or symbolic.")] = None,
    length: Annotated[int | None, typer.Option(help="Most tokens of a row, answer included.")] = None,
    rows: Annotated[int | None, typer.Option(help="Number of rows.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the rows.")] = None,
    split: Annotated[str | None, typer.Option(help="train, dev or test.")] = None,
    source: Annotated[Path | None, typer.Option(help="A file of real rows; without, the miniature world.")] = None,
    tokenizer: Annotated[
        str, typer.Option(help="Whose tokens are counted: a model's name or folder.")
    ] = "miniature-llama",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Build a dataset folder of one task in one setting."""
    flags = {"task": task, "setting": setting, "length": length, "rows": rows, "seed": seed, "split": split}
    recipe = recipe_of(config, overrides, flags | {"source": str(source) if source else None})
    refuse_existing(out, overwrite)
    from haymaker.build import build as build_rows
    from haymaker.models.load import read_tokenizer
    from haymaker.study.outside import Outside

    reader = read_tokenizer(tokenizer, str(Outside("tokenizer", tokenizer).path()))
    dataset = build_rows(recipe, reader)
    dataset.save(out, overwrite=out.exists())
    tokens = [row["n_prompt_tokens"] + row["n_target_tokens"] for row in dataset.rows]
    if json:
        print_json({"out": str(out), "rows": len(dataset), "tokens": sum(tokens), "recipe": recipe.model_dump()})
        return
    note(f"{len(dataset)} rows of {min(tokens)} to {max(tokens)} tokens")
    typer.echo(out)


def recipe_of(config: Path | None, overrides: list[str] | None, flags: dict[str, Any]) -> Recipe:
    """Defaults < file < --set < flags."""
    values = read_yaml(config) if config else {}
    for override in overrides or []:
        set_dotted(values, override)
    values |= {key: value for key, value in flags.items() if value is not None}
    try:
        return Recipe(**values)
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}" if config else str(error)) from None


def show(
    folder: Annotated[Path, typer.Argument(metavar="DATA", help="A dataset folder.")],
    row: Annotated[int, typer.Option(help="Which row, from 0.")] = 0,
    json: Json = False,
) -> None:
    """Print one row with its spans in colour: evidence, answer, question."""
    from haymaker.dataset import load_dataset

    dataset = load_dataset(folder)
    if not 0 <= row < len(dataset):
        raise ConfigError(f"--row {row}: {folder} has rows 0 to {len(dataset) - 1}")
    example = dataset[row]
    if json:
        spans = {kind: [[span.start, span.stop] for span in found] for kind, found in example.spans.items()}
        print_json({"id": example.id, "text": example.text, "answers": list(example.answers), "spans": spans})
    else:
        print_example(example)


def print_example(example: "Example") -> None:
    """The prompt with what matters in it coloured, then the answers."""
    from rich.text import Text

    from haymaker.commands.common import out

    text = Text(example.text)
    for kind, colour in COLOURS.items():
        for span in example.spans.get(kind, []):
            text.stylize(colour, span.start, span.stop)
    out.print(f"{example.id}  ({example.task}, {example.concept} concept, {example.context} context)", style="bold")
    out.print(text)
    out.print(Text("answers: " + " | ".join(example.answers), style="bold green"))
