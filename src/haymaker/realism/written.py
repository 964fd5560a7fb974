"""What a writer (a language model) made of rows of files: the seam between writing text and building rows from it.

A writer is asked for `Asked`, answers with `Written`, and its answers stand in a jsonl file that a recipe names
(`Recipe.written`). Building reads that file and never asks a model.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from haymaker.drafts import Rejected
from haymaker.errors import DataError
from haymaker.file_reading import read_jsonl, required, texts_of
from haymaker.files import write_jsonl
from haymaker.realism.answers import Range, answer_ranges

UNWRITTEN = "the writer gave no text for it"


@runtime_checkable
class Keyed(Protocol):
    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)


@dataclass(frozen=True)
class Asked:
    """One row that wants a writer: its key, its question, (question, answer) of every hop, its passages of evidence.

    A row that asks for documents (summhay) has one step, (insight, ""), and as many passages as it may take carriers.
    """

    key: str
    question: str
    steps: tuple[tuple[str, str], ...]
    passages: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """What the writer made of one row, about invented entities: one passage a hop, and the question for `answer`.

    Each passage holds its hop's answer: the last one `answer`, those before it `bridges` in order. `provenance` is one
    JSON object (cache key, model, finish reason). An `answer` of "" is that of a row whose answer is which documents
    say `question`; each of its passages then says so in its own words.
    """

    passages: tuple[str, ...]
    question: str
    answer: str
    provenance: dict[str, Any] = field(default_factory=dict)
    bridges: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()  # one a passage, for prompts that show titles; () shows none

    @property
    def step_answers(self) -> tuple[str, ...]:
        """The answer that each passage has to hold."""
        return (*self.bridges, self.answer)

    @cached_property
    def ranges(self) -> tuple[tuple[Range, ...], ...]:
        """Of each passage, where its hop's answer stands in it (characters)."""
        pairs = zip(self.passages, self.step_answers, strict=True)
        return tuple(tuple(answer_ranges(passage, [answer])) for passage, answer in pairs)

    def title(self, which: int) -> str:
        return self.titles[which] if self.titles else ""

    @property
    def fault(self) -> str | None:
        """Why no row can be made of it; None where one can."""
        if not self.question.strip() or not self.passages or not all(text.strip() for text in self.passages):
            return "the writer left the question or a passage empty"
        if self.titles and len(self.titles) != len(self.passages):
            return "the writer gave not one passage a title"
        if not self.answer:
            return "the writer named bridges for a row without an answer" if self.bridges else None
        if len(self.step_answers) != len(self.passages):
            return "the writer gave not one passage an answer"
        return None if all(self.ranges) else "a written passage does not hold its answer"

    def fault_for(self, passages: int) -> str | None:
        """`fault`, or that it has another number of passages than its row's hops."""
        other = len(self.passages) != passages
        return self.fault or ("the writer gave another number of passages than the row has hops" if other else None)


def read_written(path: str | Path) -> dict[str, Written]:
    """Key -> what was written, of a jsonl file. Raises DataError naming file and line, also for a key that is twice."""
    found: dict[str, Written] = {}
    for place, row in read_jsonl(path):
        key = required(row, "key", str, place)
        if key in found:
            raise DataError(f"{place}: the key {key!r} stands in the file already; keep one of the two")
        found[key] = Written(
            passages=tuple(texts_of(row, "passages", place)),
            question=required(row, "question", str, place),
            answer=required(row, "answer", str, place),
            provenance=required(row, "provenance", dict, place) if "provenance" in row else {},
            bridges=tuple(texts_of(row, "bridges", place)) if "bridges" in row else (),
            titles=tuple(texts_of(row, "titles", place)) if "titles" in row else (),
        )
    return found


def with_texts(
    path: str, rows: Iterable[Item], fault_of: Callable[[Item, Written], str | None]
) -> tuple[list[Item], dict[str, Written], Rejected]:
    """Those of the rows for which the file has a text without fault, the texts by key, and the others by reason."""
    written, kept, faults = read_written(path), [], Rejected()
    for row in rows:
        text = written.get(row.key)
        fault = UNWRITTEN if text is None else fault_of(row, text)
        if fault is None:
            kept.append(row)
        else:
            faults.add(fault, row.key)
    return kept, {row.key: written[row.key] for row in kept}, faults


def save_written(path: str | Path, rows: Mapping[str, Written] | Iterable[tuple[str, Written]]) -> Path:
    """Write a file that `read_written` reads, one object a line in the rows' order; it appears whole."""
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    write_jsonl(Path(path), ({"key": key, **asdict(written)} for key, written in pairs))
    return Path(path)
