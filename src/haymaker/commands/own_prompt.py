"""What a command reads on the command line: a dataset, a file of rows whose columns have other names, or one prompt."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from haymaker.commands.options import Columns, columns_of
from haymaker.errors import ConfigError
from haymaker.file_reading import MOST_AT_ONCE, read_text
from haymaker.notation import parse_json

if TYPE_CHECKING:
    from haymaker.data.dataset import Dataset, Folder
    from haymaker.records import Example

MaybeData = Annotated[Path | None, typer.Option("--data", help="A dataset folder, or a file of your own rows.")]
Prompt = Annotated[
    Path | None, typer.Option("--prompt", metavar="FILE", help="A text, or JSON of chat messages, instead.")
]
Needle = Annotated[
    list[str] | None,
    typer.Option(
        "--needle",
        help="What the answer rests on: stands in the prompt once; or its characters, [24, 51]; may be repeated.",
    ),
]
Question = Annotated[str, typer.Option("--question", help="Asked behind the prompt, if it does not end with it.")]
Answer = Annotated[
    str | None, typer.Option("--answer", help="What shall be answered, if the --prompt is no chat that ends with it.")
]


@dataclass(frozen=True)
class Given:
    """Rows as a command is given them: each field an option, which `reads_data` writes into a command's signature."""

    data: MaybeData = None
    prompt: Prompt = None
    needle: Needle = None
    question: Question = ""
    answer: Answer = None
    columns: Columns = None

    @property
    def files(self) -> tuple[Path | None, ...]:
        return self.data, self.prompt

    def example(self, *, needed: bool = True) -> "Example | None":
        """The prompt's example; None where a dataset is given. Raises ConfigError for both, neither, or half a prompt.

        `needed` says whether a prompt is nothing without its needle.
        """
        if (self.data is None) == (self.prompt is None):
            raise ConfigError(
                "give --data (a dataset, or a file of rows) or --prompt (a file, with --needle and --answer)"
            )
        if self.prompt is None:
            if self.needle or self.question or self.answer:
                raise ConfigError(
                    "--needle, --question and --answer go with --prompt; rows of --data say theirs themselves (that "
                    "`heads` shall read the model's own says --own-answers)"
                )
            return None
        if self.columns:
            raise ConfigError("--map goes with --data: a prompt has no columns")
        text = prompt_in(self.prompt)
        if (isinstance(text, str) and not self.answer) or (needed and not self.needle):
            raise ConfigError(
                f"--prompt: give {'its --needle, and ' * needed}the --answer{' that rests on it' * needed}"
            )
        from haymaker.tasks.own_prompts import example

        return example(text, self.needle, self.question, self.answer or "")

    @contextmanager
    def folder(self, *, evidence: bool = True) -> Iterator[Path]:
        """The data's path as it is; a folder made for a prompt, or for columns of other names, else.

        Raises ConfigError for both data and a prompt, or neither.
        """
        mine = self.example(needed=False)
        if mine is None:
            with data_renamed(self.data, self.columns, evidence) as renamed:
                assert renamed is not None
                yield renamed
            return
        from haymaker.data.own_data import dataset_of

        with TemporaryDirectory(prefix="haymaker-") as place:
            made = dataset_of([mine], None, {"source": "the prompt given"}, {"inputs": {}, "rejected": {}})
            yield made.save(Path(place) / "rows")


def reads_data(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of `Given` where its signature says `given`."""
    asked = inspect.signature(command)
    options = [*inspect.signature(Given).parameters.values()]
    shown: list[inspect.Parameter] = []
    for name, parameter in asked.parameters.items():
        shown += [one.replace(kind=parameter.kind) for one in options] if name == "given" else [parameter]

    def reading(**values: Any) -> None:
        given = Given(**{field.name: values.pop(field.name) for field in fields(Given)})
        command(given=given, **values)

    reading.__name__, reading.__doc__ = command.__name__, command.__doc__
    reading.__annotations__ = {one.name: one.annotation for one in shown}
    reading.__signature__ = asked.replace(parameters=shown)  # pyright: ignore[reportFunctionMemberAccess]
    return reading


def prompt_in(path: Path) -> Any:
    """The text of a file, or its chat messages where it holds a JSON list of them, or a row of `messages`."""
    text, named = "".join(read_text(path, MOST_AT_ONCE, newline="")), path.suffix.lower() == ".json"
    try:
        found = parse_json(text) if named or text.lstrip().startswith(("[", "{")) else None
    except (ValueError, RecursionError) as error:
        if not named:
            return text
        raise ConfigError(f"--prompt {path}: expected a JSON list of messages ({error}); give a text as .txt") from None
    messages = found.get("messages") if isinstance(found, dict) else found
    if isinstance(messages, list) and all(isinstance(one, dict) and "role" in one for one in messages):
        return messages
    if named:
        raise ConfigError(f"--prompt {path}: expected a JSON list of messages of role and content; give a text as .txt")
    return text


# ---- as a folder that stages read


@contextmanager
def data_renamed(data: Path | None, columns: list[str] | None, evidence: bool = True) -> Iterator[Path | None]:
    """The data's path; where `columns` have other names, a folder of the rows read so, while the block lasts.

    Raises ConfigError for columns of a dataset.
    """
    if data is None or not columns:
        yield data
        return
    with TemporaryDirectory(prefix="haymaker-") as place:
        yield rows_of_file(data, columns, evidence=evidence).save(Path(place) / "rows")


def rows_of_file(
    data: Path, columns: list[str] | None, tokenizer: str | None = None, *, evidence: bool = True
) -> "Dataset":
    """The rows of a file with columns of other names; ConfigError for a dataset, which is built with its names."""
    from haymaker.data.own_data import is_dataset, read_examples

    if is_dataset(data) and data.is_dir():
        option = "--map" if columns else "--tokenizer"
        raise ConfigError(f"{option}: {data} is a dataset, built with both; leave {option} out")
    from haymaker.models.load import load_tokenizer

    reader = None if tokenizer is None else load_tokenizer(tokenizer)
    return read_examples(data, reader, columns_of(columns), evidence=evidence)


def rows_under(
    data: Path, columns: list[str] | None, tokenizer: str | None = None, *, evidence: bool = True
) -> "Dataset | Folder":
    """The rows of a dataset, or of a file: with columns of other names, its tokens counted by a tokenizer."""
    from haymaker.data.own_data import open_data

    if columns or tokenizer is not None:
        return rows_of_file(data, columns, tokenizer, evidence=evidence)
    return open_data(data, evidence)


def of_file(data: Path | None, columns: list[str] | None) -> list[str] | None:
    """The columns, for a file that stands beside the rows they are given for; None for a dataset, which has none."""
    from haymaker.data.own_data import is_dataset

    return None if data is None or is_dataset(data) else columns
