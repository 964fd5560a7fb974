"""What a command reads on the command line: a dataset, a file of rows whose columns have other names, or one prompt."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.commands.options import columns_of
from haymaker.errors import ConfigError
from haymaker.files import read_text

if TYPE_CHECKING:
    from haymaker.data.dataset import Dataset, Folder
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
Answer = Annotated[str | None, typer.Option("--answer", help="The answer that the --prompt should be given.")]


def example_of(
    data: Path | None,
    prompt: Path | None,
    needle: list[str] | None,
    question: str,
    answer: str | None,
    *,
    needed: bool = True,
) -> "Example | None":
    """The prompt's example; None where a dataset is given. Raises ConfigError for both, neither, or half a prompt.

    `needed` says whether a prompt is nothing without its needle.
    """
    if (data is None) == (prompt is None):
        raise ConfigError("give --data (a dataset, or a file of rows) or --prompt (a file, with --needle and --answer)")
    if prompt is None:
        if needle or question:
            raise ConfigError("--needle and --question go with --prompt; rows of --data say theirs themselves")
        return None
    if not answer or (needed and not needle):
        raise ConfigError("--prompt: give its --needle, and the --answer that rests on it")
    from haymaker.tasks.own_prompts import example

    return example(prompt_in(prompt), needle, question, answer)


def prompt_in(path: Path) -> Any:
    """The text of a file; of a .json its chat messages."""
    text = "".join(read_text(path))
    if path.suffix.lower() != ".json":
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--prompt {path}: expected a JSON list of messages ({error}); give a text as .txt") from None
    messages = found.get("messages") if isinstance(found, dict) else found
    if not isinstance(messages, list):
        raise ConfigError(f"--prompt {path}: expected a JSON list of messages of role and content")
    return messages


# ---- as a folder that stages read


@contextmanager
def data_given(
    data: Path | None,
    columns: list[str] | None = None,
    prompt: Path | None = None,
    *,
    needle: list[str] | None = None,
    question: str = "",
    answer: str | None = None,
) -> Iterator[Path]:
    """The data's path as it is; a folder made for a prompt, or for columns of other names, else.

    Raises ConfigError for both data and a prompt, or neither.
    """
    if prompt is None and answer:
        raise ConfigError("--answer goes with --prompt; rows of --data say theirs themselves")
    mine = example_of(data, prompt, needle, question, answer, needed=False)
    if mine is None:
        with data_renamed(data, columns) as renamed:
            assert renamed is not None
            yield renamed
        return
    from haymaker.data.own_data import dataset_of

    with TemporaryDirectory(prefix="haymaker-") as place:
        made = dataset_of([mine], None, {"source": "the prompt given"}, {"inputs": {}, "rejected": {}})
        yield made.save(Path(place) / "rows")


@contextmanager
def data_renamed(data: Path | None, columns: list[str] | None) -> Iterator[Path | None]:
    """The data's path; where `columns` have other names, a folder of the rows read so, while the block lasts."""
    if data is None or not columns:
        yield data
        return
    with TemporaryDirectory(prefix="haymaker-") as place:
        yield rows_of_file(data, columns).save(Path(place) / "rows")


def rows_under(data: Path, columns: list[str] | None, tokenizer: str | None = None) -> "Dataset | Folder":
    """The rows of a dataset, or of a file: with columns of other names, its tokens counted by a tokenizer."""
    from haymaker.data.own_data import open_data

    return rows_of_file(data, columns, tokenizer) if columns or tokenizer is not None else open_data(data)


def rows_of_file(data: Path, columns: list[str] | None, tokenizer: str | None = None) -> "Dataset":
    """The rows of a file with columns of other names; ConfigError for a dataset, which is built with its names."""
    from haymaker.data.own_data import is_dataset, read_examples

    if is_dataset(data) and data.is_dir():
        option = "--map" if columns else "--tokenizer"
        raise ConfigError(f"{option}: {data} is a dataset, built with both; leave {option} out")
    from haymaker.models.load import load_tokenizer

    return read_examples(data, None if tokenizer is None else load_tokenizer(tokenizer), columns_of(columns))
