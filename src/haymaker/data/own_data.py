"""A dataset of one's own rows as they stand: their own prompts and lengths, nothing filled up or drawn."""

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from haymaker.config import Recipe, SplitName
from haymaker.console import each, named, note
from haymaker.data.checks import SUMMED, answer_type, summary
from haymaker.data.dataset import Dataset, Folder, load_dataset
from haymaker.data.fit.page import laid_out
from haymaker.data.schema import SCHEMA, Row, segments_of
from haymaker.drafts import Document, Rejected, Style
from haymaker.errors import DataError
from haymaker.realism.answers import holds
from haymaker.records import Example, Label, Message, canonical_json, digest
from haymaker.tasks import taught
from haymaker.tasks.given_rows import GivenRows
from haymaker.tasks.own_answers import missed
from haymaker.tasks.own_columns import renamed, row_name, unread_in
from haymaker.tasks.own_layouts import read_row
from haymaker.tasks.own_rows import NO_PROMPT, OwnDocument, Question, Talk, remarks_on, settled
from haymaker.tasks.own_spans import cut, evidence_labels, pieces
from haymaker.tasks.qa import DOCUMENTS, TEXT, TITLED
from haymaker.tasks.sources import open_rows, sift
from haymaker.tokens import encode_many
from haymaker.vocabulary import tokenizer_digest

REPEATED = "the same row stands in the file already"
AS_A_WHOLE = "heads are read there on the evidence as a whole"
INTO_PROMPT = "what a model shall read stands in the question, or in a row of messages"
SHARED_ID = "an id that several rows have, which names none of them"
TASK = "qa"
FEWEST_TOKENS = 16  # of a recipe's length


def read_examples(
    source: str | Path | Iterable[Any] | Any,
    tokenizer: PreTrainedTokenizerBase | None = None,
    columns: Mapping[str, str] | None = None,
    reader: str | None = None,
    *,
    split: SplitName = "train",
    evidence: bool = True,
) -> Dataset:
    """Your own rows as a dataset, each with its own prompt and length.

    Args:
        source: A file (jsonl, json, csv, parquet, arrow, plain or gzip), a folder that `datasets` saved, or a dataset
            of the hub, `org/name`; or rows in hand, as a list or generator of dictionaries, a frame of pandas, a table
            of Arrow. A row is {question, answers, documents: [{title?, text, gold?}]}, or {question,
            answers, context, evidence: [[start, stop], ...]}, or {messages, evidence} with the answer as last turn, or
            any other layout of `hm.choices.READERS`.
        tokenizer: Counts the rows' tokens, if it is given.
        columns: What your columns are called: {"question": "prompt"} reads the prompt as the question, and
            {"documents.text": "body"} the body of each document as its text.
        reader: A layout's name; None: the first whose keys a row has.
        split: Which split of a folder or a dataset of the hub.
        evidence: Whether questions of which it is not known are of no use: heads and builds need it, answers do not.

    Returns:
        The dataset. Evidence is what rows say, else the gold documents in which an answer stands, or the sentence of
        one text in which it stands exactly once. Rows that are of no use are counted by their reason in
        `manifest["rejected"]`, named in `manifest["rejected_rows"]`, and told on stderr; so are kept rows with
        something odd (`manifest["remarks"]`).

    Raises:
        DataError: A file that cannot be read, a row of no layout (the message names file and line), a column that
            no row has, or no row of use.
        ConfigError: No layout of that name.

    Examples:
        >>> row = '{"question": "Who built the mill?", "answers": ["Ada"], "context": "A mill. Ada built it."}'
        >>> with open("mine.jsonl", "w") as file:
        ...     written = file.write(row)
        >>> mine = hm.read_examples("mine.jsonl")
        >>> mine[0].text[mine[0].spans["evidence"][0].slice]
        'Ada built it.'
    """
    renaming = dict(columns or {})
    opened = open_rows(str(source), split) if isinstance(source, str | Path) else GivenRows.of(source)
    remarks, ids, names = Rejected(), set[str](), Counter[str]()

    def parse(row: dict[str, Any], place: str) -> Any:
        def made(one: Any) -> Example | str:
            example = made_of(one, split, evidence)
            if isinstance(example, str) or example.id in ids:
                return example if isinstance(example, str) else REPEATED
            ids.add(example.id)
            names[one.name] += 1
            apart, unread = missed(example), unread_in(given) if isinstance(one, Question) else []
            said = [
                *([f"columns that are no part of its prompt ({', '.join(unread)}); {INTO_PROMPT}"] if unread else []),
                *remarks_on(one, example.answers, "evidence" in example.spans),
                *([f"{apart.reason}; {AS_A_WHOLE}"] if apart else []),
            ]
            for remark in said:
                remarks.add(remark, row_name(place, row, str(opened.name), renaming))
            return example

        given = renamed(row, renaming)
        found = read_row(given, place, reader)
        return [made(one) for one in found] if isinstance(found, list) else made(found)

    examples, rejected = sift(opened, parse, renaming)
    name = next(iter(opened.inputs)) if isinstance(opened, GivenRows) else str(source)
    if not examples:
        raise DataError(f"{name}: none of its rows is of use ({reasons(rejected) or 'it holds no row'})")
    for own in [own for own, count in names.items() if own and count > 1]:
        remarks.add(SHARED_ID, own)
    if rejected:
        note(f"{name}: {sum(rejected.values())} rows are of no use and left out: {reasons(rejected)}")
    if remarks:
        note(f"{name}: of rows that are kept: {reasons(remarks)}")
    told = {"rejected_rows": rejected.rows, "remarks": remarks.rows}
    about = {"inputs": opened.inputs, "rejected": dict(sorted(rejected.items()))}
    recipe = {"source": name, "split": split, "columns": renaming or None}
    return dataset_of(examples, tokenizer, recipe, about | {key: rows for key, rows in told.items() if rows})


def made_of(found: Any, split: str, evidence: bool = True) -> Example | str:
    """The example of a row, or why it is of no use."""
    row = settled(found, evidence) if isinstance(found, Question) else found
    if isinstance(row, Question):
        return example_of_question(row, split)
    if isinstance(row, Talk) and not any(turn.text.strip() for turn in row.turns):
        return NO_PROMPT
    return row if isinstance(row, str) else example_of_talk(row, split)


def reasons(rejected: Rejected) -> str:
    """What was found how often, and where first."""
    return "; ".join(f"{count}: {reason} ({named(rejected.rows[reason])})" for reason, count in rejected.items())


def open_data(path: str | Path, evidence: bool = True) -> Dataset | Folder:
    """A dataset's folder, read row group by row group, or the rows of any other file, folder or hub name."""
    return Folder(path) if is_dataset(path) else read_examples(path, evidence=evidence)


def load_data(path: str | Path, evidence: bool = True) -> Dataset:
    """The same, in memory."""
    return load_dataset(path) if is_dataset(path) else read_examples(path, evidence=evidence)


def is_dataset(path: str | Path) -> bool:
    """Whether a dataset's folder is meant: a folder with a manifest, and what is not there, for load_dataset to say so.

    Rows of the hub are meant where a split is named (`org/name#train`).
    """
    path = Path(path)
    if path.is_dir():
        return (path / "manifest.json").is_file() or not any(path.iterdir())
    return not path.is_file() and "#" not in path.name


# ---- rows as examples


def example_of_question(row: Question, split: str) -> Example:
    """A question over its documents, in their order; over one text alone, as it stands."""
    style = TEXT if row.whole else TITLED if any(one.title for one in row.documents) else DOCUMENTS
    content, spans = prompt_of(row, style)
    return Example(
        id=f"{TASK}-{digest([content, spans, row.answers, row.name])[:20]}",
        pair_id=f"{TASK}-pair-{digest(['own', row.key])[:20]}",
        task=TASK,
        messages=(Message("user", segments_of(content, spans)),),
        question=row.question,
        answers=row.answers,
        split=split,
        concept="real",
        context="real",
        source=with_target({"dataset": "own", "row_id": row.key, "hops": len(row.gold), **row.judges}, row.answers),
    )


def prompt_of(row: Question, style: Style) -> tuple[str, list[Row]]:
    """The prompt's content, and its spans in characters."""
    documents, first = [], 0
    for one in row.documents:
        documents.append(document_of(one, row.answers, first))
        first += len(one.evidence)
    content, stretches = laid_out(row.question, documents, style)
    spans = [
        {"kind": label.kind, "index": label.index, "char_start": start, "char_end": stop}
        for label, start, stop in stretches
        if start < stop
    ]
    return content, spans


def document_of(one: OwnDocument, answers: tuple[str, ...], first: int) -> Document:
    """A document with its evidence marked, the ranges counted from `first`."""
    labelled = evidence_labels(one.text, one.evidence, answers, first)
    segments = pieces(one.text, labelled, (Label("filler"),))
    return Document(digest([one.title, one.text])[:16], segments, "gold" if one.gold else "passage", one.title)


def example_of_talk(row: Talk, split: str) -> Example:
    """A conversation as it is; what is asked is the last turn, unless the row says."""
    messages = tuple(cut(row.turns, row.evidence, row.answers))
    said = [[message.role, message.text] for message in messages]
    return Example(
        id=f"{TASK}-{digest([said, row.evidence, row.answers, row.name])[:20]}",
        pair_id=f"{TASK}-pair-{digest(['own', row.name or said])[:20]}",
        task=TASK,
        messages=messages,
        question=row.question or row.turns[-1].text,
        answers=row.answers,
        split=split,
        concept="real",
        context="real",
        source=with_target({"dataset": "own", "row_id": row.name, **row.judges}, row.answers),
    )


def with_target(source: Row, answers: tuple[str, ...]) -> Row:
    return source | taught(answers, source, TASK)


# ---- examples as a table


def dataset_of(
    examples: list[Example],
    tokenizer: PreTrainedTokenizerBase | None,
    recipe: Mapping[str, Any],
    about: Mapping[str, Any],
) -> Dataset:
    """Examples as a dataset; `recipe` and `about` say where they come from."""
    told_rows = each(enumerate(examples), None, "rows counted", len(examples))
    rows = [row_of(example, number) for number, example in told_rows]
    longest = max(len(example.text.encode()) + len(example.target.encode()) for example in examples)
    if tokenizer is not None:
        longest = count_tokens(rows, examples, tokenizer)
    table = pa.Table.from_pylist(rows, SCHEMA)
    asked = Recipe(task=TASK, length=max(FEWEST_TOKENS, longest), rows=len(rows), **recipe).model_dump()
    manifest = {
        "identity": digest([asked, sorted(about["inputs"].values()), [example.id for example in examples]]),
        "recipe": asked,
        "prompt": None,
        **about,
        "failed": [],
        "checks": summary(table.select(SUMMED).to_pylist()),
        "tokenizer_name": getattr(tokenizer, "name_or_path", None),
        "tokenizer_sha256": None if tokenizer is None else tokenizer_digest(tokenizer),
        "versions": {"haymaker": version("haymaker")},
    }
    return Dataset(table, {**manifest, "rows": len(rows)})


def count_tokens(rows: list[Row], examples: list[Example], tokenizer: PreTrainedTokenizerBase) -> int:
    """Write the rows' tokens into them; how many the longest has."""
    encoded = encode_many(examples, tokenizer)
    for row, item in zip(rows, encoded, strict=True):
        row |= {"n_prompt_tokens": item.prompt_length, "n_target_tokens": len(item) - item.prompt_length}
    longest = max(map(len, encoded))
    for row in rows:
        row["max_tokens"] = longest
    return longest


def row_of(example: Example, number: int) -> Row:
    """An example as a row of a dataset's table, of which no token was counted."""
    bounds = list(accumulate((len(message.text) for message in example.messages), initial=0))
    evidence = example.spans.get("evidence", [])
    return {
        **{
            name: getattr(example, name)
            for name in ("id", "pair_id", "task", "split", "concept", "context", "question")
        },
        "setting": "real",
        "messages": [{"role": message.role, "content": message.text} for message in example.messages],
        "answers": list(example.answers),
        "spans": [span_of(label, place, bounds) for label, place in example.labelled_spans],
        "gold_depths": [span.start / len(example.text) for span in evidence],  # of characters
        "source": canonical_json({**example.source, "row": number}),
        "provenance": canonical_json(list(example.provenance)),
        "checks": canonical_json(checks_of(example)),
    }


def span_of(label: Label, place: Any, bounds: list[int]) -> Row:
    message = next(i for i, stop in enumerate(bounds[1:]) if place.start < stop)
    start, stop = place.start - bounds[message], place.stop - bounds[message]
    return {"kind": label.kind, "index": label.index, "message": message, "char_start": start, "char_end": stop}


def checks_of(example: Example) -> dict[str, Any]:
    """What `haymaker.data.checks.check_page` looks for, of documents as they stand."""
    said = [example.text[span.slice] for span in example.spans.get("evidence", [])]
    alone = example.question != example.messages[-1].text  # else the last turn is what is asked, with all that it says
    gold = [place for label, place in example.labelled_spans if label.kind == "evidence"]
    others = {
        label.index: example.text[place.slice]
        for label, place in example.labelled_spans
        if label.kind == "document" and not any(place.overlaps(one) for one in gold)
    }
    return {
        "answer_in_gold": not said or any(holds(text, example.answers) for text in said),
        "answer_in_question": alone and holds(example.question, example.answers),
        "answer_in_prompt": holds(example.text, example.answers),
        "leaks": sorted(n for n, text in others.items() if holds(text, example.answers)),
        "title_leaks": [],
        "repeats": len(others) - len(set(others.values())),
        "cut": [],
        "answer_type": answer_type(example.answers[0]),
        "evidence": [digest(text)[:16] for text in said],
    }
