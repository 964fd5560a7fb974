"""A prompt of one's own on the command line: a file, its needle, what is asked and the answer."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.errors import ConfigError
from haymaker.files import read_text

if TYPE_CHECKING:
    from haymaker.records import Example

MaybeData = Annotated[Path | None, typer.Option("--data", help="A dataset folder, or a file of your own rows.")]
Prompt = Annotated[
    Path | None, typer.Option("--prompt", metavar="FILE", help="A text, or a JSON list of chat messages, instead.")
]
Needle = Annotated[
    list[str] | None,
    typer.Option("--needle", help="What the answer rests on: stands in the prompt exactly once; may be repeated."),
]
Question = Annotated[str, typer.Option("--question", help="Asked behind the prompt, if it does not end with it.")]


def example_of(
    data: Path | None, prompt: Path | None, needle: list[str] | None, question: str, answer: str | None
) -> "Example | None":
    """The prompt's example; None where a dataset is given. Raises ConfigError for both, neither, or half a prompt."""
    if (data is None) == (prompt is None):
        raise ConfigError("give --data (a dataset, or a file of rows) or --prompt (a file, with --needle and --answer)")
    if prompt is None:
        if needle or question:
            raise ConfigError("--needle and --question go with --prompt; rows of --data say theirs themselves")
        return None
    if not needle or not answer:
        raise ConfigError("--prompt: give its --needle, and the --answer that rests on it")
    from haymaker.tasks.own_prompts import example

    return example(prompt_in(prompt), needle, question, answer)


def prompt_in(path: Path) -> Any:
    """The text of a file; of a .json its chat messages."""
    text = "".join(read_text(path))
    if path.suffix != ".json":
        return text
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--prompt {path}: expected a JSON list of messages ({error}); give a text as .txt") from None
    messages = found.get("messages") if isinstance(found, dict) else found
    if not isinstance(messages, list):
        raise ConfigError(f"--prompt {path}: expected a JSON list of messages of role and content")
    return messages
