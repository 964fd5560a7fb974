"""One row as a self-contained HTML page: its prompt with every span marked, nested ones within each other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from haymaker.data.schema import Row, example_of
from haymaker.records import Kind, Label, Message

LEGEND: dict[Kind, str] = {
    "instruction": "what the model is told to do",
    "document": "one document, with its number and title",
    "filler": "text that is nobody's evidence",
    "evidence": "what the question rests on",
    "answer": "the answer, where evidence states it",
    "citation": "the number of a document to cite",
    "question": "the question",
}
FACTS = (
    "task",
    "setting",
    "split",
    "concept",
    "context",
    "pair_id",
    "n_prompt_tokens",
    "n_target_tokens",
    "max_tokens",
)


class Mark(NamedTuple):
    """A step of writing marked text: open a label, write text, or close the label opened last."""

    opens: Label | None = None
    text: str = ""


def render(row: Row) -> str:
    """The page of a row of a dataset's table; a pure function of it. All text is escaped."""
    example = example_of(row)
    here = Path(__file__).parent
    environment = Environment(loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined)
    found = {label.kind for label, _ in example.labelled_spans}
    return environment.get_template("row_page.html").render(
        id=row["id"],
        question=row["question"],
        answers=row["answers"],
        facts={name: row[name] for name in FACTS if row[name] is not None},
        depths=[f"{depth:.3f}" for depth in row["gold_depths"]],
        legend={kind: said for kind, said in LEGEND.items() if kind in found},
        messages=[(message.role, list(marks_of(message))) for message in example.messages],
        details={name: pretty(row[name]) for name in ("checks", "source", "provenance")},
    )


def marks_of(message: Message) -> Iterator[Mark]:
    """The message's text with labels opened and closed as its segments nest them."""
    open_labels: list[Label] = []
    for segment in message.segments:
        kept = 0
        while kept < min(len(open_labels), len(segment.labels)) and open_labels[kept] == segment.labels[kept]:
            kept += 1
        yield from (Mark() for _ in open_labels[kept:])
        yield from (Mark(opens=label) for label in segment.labels[kept:])
        open_labels = list(segment.labels)
        yield Mark(text=segment.text)
    yield from (Mark() for _ in open_labels)


def pretty(text: str) -> str:
    value: Any = json.loads(text)
    return json.dumps(value, indent=1, ensure_ascii=False)
