"""Some questions as every model of a study answered them, for readers of the report: bounded, and not chosen."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haymaker.file_reading import read_jsonl
from haymaker.study.cell import Row

if TYPE_CHECKING:
    from haymaker.records import Example

MOST_EXAMPLES = 8  # the first of a test set; a heads cell keeps what heads read of as many
MOST_CHARACTERS = 1200  # of evidence
READING_HEADS = 3  # the best of a map
MOST_STEPS = 12  # tokens of an answer whose reads are kept


def example_rows(row: Row, answers: Path, data: Path) -> list[Row]:
    """The first answers of one model, each with its question and evidence; of a dataset that is gone, without them."""
    told = {name: row[name] for name in ("model", "task", "setting", "seed", "length", "metric", "cell", "key")}
    asked = first_examples(data) if data.is_dir() else {}
    lines = [line for _, line in zip(range(MOST_EXAMPLES), (line for _, line in read_jsonl(answers)), strict=False)]
    return [told | about(line, asked.get(line["example_id"]), row["metric"]) for line in lines]


def about(line: Row, example: "Example | None", metric: str) -> Row:
    """A line of predictions.jsonl beside its example."""
    return {
        "example_id": line["example_id"],
        "question": example.question if example else "",
        "evidence": evidence_of(example) if example else "",
        "answers": " | ".join(line["answers"]),
        "prediction": line["text"],
        "score": line["scores"][metric],
        "finish": line["finish_reason"],
    }


@cache
def first_examples(folder: Path) -> "dict[str, Example]":
    """The first rows of a dataset by id; a cell's output never changes, so they are read once."""
    from haymaker.data.dataset import load_dataset

    return {example.id: example for example in load_dataset(folder)[:MOST_EXAMPLES]}


def evidence_of(example: "Example") -> str:
    """The texts that hold the answer, cut to a length that a page can carry."""
    text = "\n\n".join(example.text[span.slice].strip() for span in example.spans.get("evidence", []))
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " […]"


def read_rows(lm: Any, examples: "list[Example]", heads: list[Any]) -> list[Row]:
    """What each head read most while each token of the gold answer was produced: one forward an example."""
    from haymaker.heads.attention_view import show_example

    return [
        {
            "example_id": example.id,
            **{"step": one.step, "layer": one.head.layer, "head": one.head.head},
            **{"produced": one.answer_token, "read": one.token, "weight": one.weight, "kind": one.kind},
        }
        for example in examples[:MOST_EXAMPLES]
        for one in show_example(lm, example, heads, topk=1).readings
        if one.step < MOST_STEPS
    ]
