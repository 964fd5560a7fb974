"""Looking a dataset over: re-deriving its rows, summing them up, and comparing two of them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from scipy.stats import chisquare
from transformers import PreTrainedTokenizerBase

from haymaker.audits import summary
from haymaker.build import Builder, digest_of_tokenizer
from haymaker.dataset import Dataset, example_of, table_of, token_spans_of
from haymaker.errors import ConfigError, DataError, HaymakerError
from haymaker.fit import LEAST_FILL, STRATA
from haymaker.tokens import encode

MOST_PROBLEMS = 20


@dataclass
class Validation:
    """What `validate` found: how many rows it went over, and in words what is wrong with them."""

    rows: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems


def validate(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    rebuild: bool = True,
    on_progress: Callable[[int], Any] = lambda rows: None,
) -> Validation:
    """Re-derive every row and compare: token counts and spans by tokenising it whole, and (with `rebuild`) all of it
    by building it again from its recipe and source.

    Raises ConfigError for a tokenizer other than the build's. At most 20 problems are told.
    """
    if digest_of_tokenizer(tokenizer) != dataset.manifest["tokenizer_sha256"]:
        raise ConfigError("this is not the tokenizer that the dataset was built for; give that one")
    found = Validation()
    builder = Builder(dataset.recipe, tokenizer) if rebuild else None
    if builder is not None and dict(builder.drafts.inputs) != dataset.manifest["inputs"]:
        found.problems.append("the source is not the file that the manifest records: its sha256 differs")
        builder = None
    seen: set[str] = set()
    for row in dataset.rows:
        found.rows += 1
        for problem in islice(problems_of(row, tokenizer, builder, seen), MOST_PROBLEMS - len(found.problems)):
            found.problems.append(f"{row['id']}: {problem}")
        on_progress(1)
    return found


def problems_of(
    row: dict[str, Any], tokenizer: PreTrainedTokenizerBase, builder: Builder | None, seen: set[str]
) -> Iterator[str]:
    """What is wrong with one row."""
    if row["id"] in seen:
        yield "its id stands twice"
    seen.add(row["id"])
    example = example_of(row)
    template = builder.recipe.chat_template if builder else None
    try:
        encoded = encode(example, tokenizer, template)
    except HaymakerError as error:
        yield str(error)
        return
    counts = (encoded.prompt_length, len(encoded) - encoded.prompt_length)
    if counts != (row["n_prompt_tokens"], row["n_target_tokens"]):
        yield f"{counts} tokens of prompt and answer, recorded {row['n_prompt_tokens']}, {row['n_target_tokens']}"
    if len(encoded) > row["max_tokens"]:
        yield f"{len(encoded)} tokens, over its length of {row['max_tokens']}"
    if sorted(encoded.labelled_spans) != sorted(token_spans_of(row)):
        yield "its token spans are not those recorded"
    if builder is not None:
        yield from changed_columns(row, builder)


def changed_columns(row: dict[str, Any], builder: Builder) -> Iterator[str]:
    """Columns in which the row differs from what its recipe gives."""
    number = example_of(row).source["row"]
    again = table_of([builder.row(number)]).to_pylist()[0]
    changed = [name for name in again if again[name] != row[name]]
    if changed:
        yield f"building row {number} again gives another {', '.join(changed)}"


# ---- numbers about a dataset


def stats(dataset: Dataset) -> dict[str, Any]:
    """Counts of a dataset: tokens, fill, documents, where gold stands, kinds of answers, and its checks.

    Fractions are 0 to 1. `positions` are gold documents per tenth of the context, `position_p` the chance of so
    uneven a spread if all tenths were as likely (chi-square).
    """
    rows = list(dataset.rows)
    if not rows:
        raise DataError("the dataset has no rows")
    tokens = np.array([row["n_prompt_tokens"] + row["n_target_tokens"] for row in rows])
    fill = tokens / np.array([row["max_tokens"] for row in rows])
    depths = [depth for row in rows for depth in row["gold_depths"]]
    positions = np.histogram(depths, bins=STRATA, range=(0, 1))[0]
    documents = [sum(span["kind"] == "document" for span in row["spans"]) for row in rows]
    return {
        "rows": len(rows),
        "tokens": int(tokens.sum()),
        "tokens_least": int(tokens.min()),
        "tokens_most": int(tokens.max()),
        "fill_mean": float(fill.mean()),
        "fill_least": float(fill.min()),
        "rows_filled": float(np.mean(fill >= LEAST_FILL)),
        "documents_mean": float(np.mean(documents)),
        "positions": positions.tolist(),
        "position_p": float(chisquare(positions).pvalue) if len(depths) else None,
        "answer_types": dict(Counter(json.loads(row["checks"])["answer_type"] for row in rows).most_common()),
        "repeated_questions": len(rows) - len({row["question"] for row in rows}),
        **summary(rows),
    }


def overlap(one: Dataset, other: Dataset) -> dict[str, int]:
    """What two datasets (train and test, say) share: questions, twins, and texts of evidence."""
    first, second = contents_of(one), contents_of(other)
    return {name: len(first[name] & second[name]) for name in first}


def contents_of(dataset: Dataset) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"questions": set(), "pairs": set(), "evidence": set()}
    for example in dataset:
        found["questions"].add(example.question)
        found["pairs"].add(example.pair_id)
        found["evidence"] |= {example.text[span.slice] for span in example.spans.get("evidence", [])}
    return found
