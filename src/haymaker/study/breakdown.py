"""Every model's answers by depth of the evidence, length of the prompt and hops, from the answers that cells keep."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from haymaker.evaluation.places import GROUPS, grouped
from haymaker.file_reading import only_fields, read_jsonl
from haymaker.records import Prediction
from haymaker.study.cell import Row

WHOSE = ("model", "task", "setting", "seed", "length", "cell", "key")


def breakdown(rows: list[Row], file_of: Callable[[Row], Path | None]) -> Iterator[Row]:
    """A row per evaluation and group of its answers, where there are several groups; `file_of` names their file."""
    for row in rows:
        path = file_of(row)
        answers = [] if path is None else [prediction_of(*line) for line in read_jsonl(path)]
        for by in GROUPS:
            found = grouped(answers, by, row["metric"])
            if len(found) > 1:
                yield from ({name: row.get(name) for name in WHOSE} | one for one in found)


def prediction_of(place: str, line: dict[str, Any]) -> Prediction:
    """What `haymaker eval` wrote of an answer."""
    only_fields(line, Prediction, place)
    return Prediction(**{**line, **{name: tuple(line.get(name, ())) for name in ("answers", "unread")}})
