"""Looking a dataset over: re-deriving its rows and comparing them with what is written."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from transformers import PreTrainedTokenizerBase

from haymaker.config import Recipe
from haymaker.console import OnProgress, each
from haymaker.data.builder import Builder
from haymaker.data.checks import Summary, wrong_in_sums
from haymaker.data.dataset import Dataset, Folder
from haymaker.data.fit import least_tokens
from haymaker.data.schema import Row, example_of, table_of, token_spans_of, wrong_in
from haymaker.errors import ConfigError, HaymakerError
from haymaker.records import Example
from haymaker.tokens import encode
from haymaker.vocabulary import tokenizer_digest

MOST_PROBLEMS = 20


@dataclass
class Validation:
    """What `validate` found: how many rows it went over, and in words what is wrong with them."""

    rows: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems

    def tell(self, problems: Iterator[str]) -> None:
        """Keep problems, as long as there is room."""
        self.problems += islice(problems, MOST_PROBLEMS - len(self.problems))


def validate(
    dataset: Dataset | Folder,
    tokenizer: PreTrainedTokenizerBase,
    rebuild: bool = True,
    on_progress: OnProgress | None = None,
    source: str | None = None,
) -> Validation:
    """Re-derive every row and compare: token counts and spans by tokenising it whole, and (with `rebuild`) all of it
    by building it again from its recipe and source.

    `source` is where the source lies now, if it has moved. Raises ConfigError for a tokenizer other than the build's,
    DataError where the source cannot be read. At most 20 problems are told.
    """
    refuse_rows_that_were_not_built(dataset)
    if tokenizer_digest(tokenizer) != dataset.manifest["tokenizer_sha256"]:
        raise ConfigError("this is not the tokenizer that the dataset was built for; give that one")
    recipe = dataset.recipe if source is None else dataset.recipe.changed(source=source)
    found, summed, seen = Validation(), Summary(), set[str]()
    builder = Builder(recipe, tokenizer) if rebuild else None
    if builder is not None and sorted(builder.drafts.inputs.values()) != sorted(dataset.manifest["inputs"].values()):
        found.problems.append("the source is not the file that the manifest records: its sha256 differs")
        builder = None
    for row in each(dataset.rows, on_progress, "rows", len(dataset)):
        wrong = list(wrong_in_sums(row))
        others = chain(missed_length(row, recipe), problems_of(row, tokenizer, recipe.chat_template, builder, seen))
        found.tell(f"{row['id']}: {problem}" for problem in wrong or others)
        found.rows += 1
        if not wrong:
            summed.add(row)
    if found.passed:  # what rows say wrongly they also add up to
        found.tell(changed_sums(dataset.manifest, summed))
    return found


def refuse_rows_that_were_not_built(dataset: Dataset | Folder) -> None:
    """Raises ConfigError for rows of one's own, which no recipe and no tokenizer made what they are."""
    if dataset.manifest["tokenizer_sha256"] is None:
        raise ConfigError(
            "these rows are your own and were not built to a length for a tokenizer, so there is nothing to hold them "
            "against; `haymaker stats` counts them, and `haymaker build --task qa --source` builds rows of them"
        )


def changed_sums(manifest: dict[str, Any], summed: Summary) -> Iterator[str]:
    """Where the manifest says something else of the rows."""
    for name, value in summed.result().items():
        if manifest["checks"].get(name) != value:
            yield f"manifest.json: {name} is {manifest['checks'].get(name)}, the rows come to {value}"


def missed_length(row: Row, recipe: Recipe) -> Iterator[str]:
    """How far a row misses its length, of which the room for an answer is a part; where a number of documents was asked
    for it may be of any."""
    if row["n_prompt_tokens"] is None:
        yield "its tokens are not counted"
        return
    tokens, length = row["n_prompt_tokens"] + max(row["n_target_tokens"], recipe.room), recipe.length
    if row["max_tokens"] != length:
        yield f"its length is recorded as {row['max_tokens']}, the recipe's is {length}"
    if recipe.documents is None and tokens < least_tokens(length):
        least = least_tokens(length)
        yield f"{tokens} tokens fill {tokens / length:.1%} of its length of {length}; at least {least} do"


def problems_of(
    row: Row, tokenizer: PreTrainedTokenizerBase, template: bool | None, builder: Builder | None, seen: set[str]
) -> Iterator[str]:
    """What is wrong with one row."""
    if row["id"] in seen:
        yield "its id stands twice"
    seen.add(row["id"])
    wrong = list(wrong_in(row))
    yield from wrong
    if wrong:
        return
    example = example_of(row)
    try:
        yield from changed_tokens(row, example, tokenizer, template)
    except HaymakerError as error:
        yield str(error)
    if builder is not None:
        yield from changed_columns(row, example, builder)


def changed_tokens(
    row: Row, example: Example, tokenizer: PreTrainedTokenizerBase, template: bool | None
) -> Iterator[str]:
    """What the one function that aligns characters with tokens gives otherwise."""
    encoded = encode(example, tokenizer, template)
    counts = (encoded.prompt_length, len(encoded) - encoded.prompt_length)
    if counts != (row["n_prompt_tokens"], row["n_target_tokens"]):
        yield f"{counts} tokens of prompt and answer, recorded {row['n_prompt_tokens']}, {row['n_target_tokens']}"
    room = max(len(encoded.answer_ids), json.loads(row["checks"]).get("answer_room", 0))
    if encoded.prompt_length + room > row["max_tokens"]:
        yield f"{encoded.prompt_length} + {room} tokens of prompt and answer, over its length of {row['max_tokens']}"
    if sorted(encoded.labelled_spans) != sorted(token_spans_of(row)):
        yield "its token spans are not those recorded"
    starts = sorted(span.start for label, span in encoded.labelled_spans if label.kind == "evidence")
    if sorted(row["gold_depths"]) != [start / encoded.prompt_length for start in starts]:
        yield "its gold depths are not where its evidence starts"


def changed_columns(row: Row, example: Example, builder: Builder) -> Iterator[str]:
    """Columns in which the row differs from what its recipe gives."""
    number = example.source["row"]
    again = table_of([builder.row(number)]).to_pylist()[0]
    changed = [name for name in again if again[name] != row[name]]
    if changed:
        yield f"building row {number} again gives another {', '.join(changed)}"
