"""The records that travel through every stage. Text and character spans are derived from segments, so they agree."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

Kind = Literal["document", "evidence", "answer", "citation", "filler", "question", "instruction"]
Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open [start, stop), never empty: characters of an Example's text, tokens of an Encoded."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"a span needs 0 <= start < stop, found [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop)

    def shifted(self, offset: int) -> "Span":
        return Span(self.start + offset, self.stop + offset)

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.stop and other.start < self.stop


class Label(NamedTuple):
    """What a piece of text is: a kind, and which one where there are several (document 3)."""

    kind: Kind
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> "Label":
        kind, _, index = text.partition(":")
        return cls(kind, int(index or 0))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text and what it is. Labels nest: an answer inside evidence inside document 3 carries all three."""

    text: str
    labels: tuple[Label, ...] = ()

    def within(self, *outer: Label) -> "Segment":
        return Segment(self.text, (*outer, *self.labels))


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


def label_runs(segments: Iterable[Segment]) -> Iterator[tuple[Label, Span]]:
    """Every label with the character span of its run of consecutive segments, in order of their ends."""
    open_runs: dict[Label, int] = {}
    position = 0
    for segment in segments:
        if not segment.text:
            continue
        for label in [label for label in open_runs if label not in segment.labels]:
            yield label, Span(open_runs.pop(label), position)
        for label in segment.labels:
            open_runs.setdefault(label, position)
        position += len(segment.text)
    for label, start in open_runs.items():
        yield label, Span(start, position)


def by_kind(labelled: Iterable[tuple[Label, Span]]) -> dict[str, list[Span]]:
    """Spans of each kind, in order of position."""
    spans: dict[str, list[Span]] = {}
    for label, span in labelled:
        spans.setdefault(label.kind, []).append(span)
    return {kind: sorted(found) for kind, found in spans.items()}


@dataclass(frozen=True)
class Example:
    """One question over one long context. `text` is the prompt; the answer is in `answers`, the first the target."""

    id: str
    task: str
    messages: tuple[Message, ...]
    question: str
    answers: tuple[str, ...]
    pair_id: str = ""
    split: str = ""
    concept: str = ""
    context: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    provenance: tuple[dict[str, Any], ...] = ()

    @cached_property
    def text(self) -> str:
        return "".join(message.text for message in self.messages)

    @cached_property
    def labelled_spans(self) -> tuple[tuple[Label, Span], ...]:
        return tuple(label_runs(segment for message in self.messages for segment in message.segments))

    @cached_property
    def spans(self) -> dict[str, list[Span]]:
        """Character spans of `text` by kind of label, in order."""
        return by_kind(self.labelled_spans)

    @property
    def target(self) -> str:
        """The answer that training teaches and teacher forcing reads."""
        return self.answers[0]


@dataclass(frozen=True)
class Encoded:
    """An Example in tokens. `input_ids` holds the prompt and, from `prompt_length` on, the target answer."""

    example_id: str
    input_ids: tuple[int, ...]
    prompt_length: int
    labelled_spans: tuple[tuple[Label, Span], ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)

    @cached_property
    def spans(self) -> dict[str, list[Span]]:
        """Token spans of `input_ids` by kind of label, in order."""
        return by_kind(self.labelled_spans)

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        return self.input_ids[: self.prompt_length]

    @property
    def answer_ids(self) -> tuple[int, ...]:
        return self.input_ids[self.prompt_length :]

    @property
    def answer_rows(self) -> range:
        """Positions whose logits predict the answer's tokens: one before each of them."""
        return range(self.prompt_length - 1, len(self.input_ids) - 1)


class Head(NamedTuple):
    """A query head, layer and head counted from 0; prints as `16-19`. (A key-value head is another thing.)"""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"{self.layer}-{self.head}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """The head that prints as `text`; ValueError for anything else."""
        layer, dash, head = text.partition("-")
        if not (dash and layer.strip().isdecimal() and head.strip().isdecimal()):
            raise ValueError(f"expected a head like '16-19' (layer-head, from 0), found {text!r}")
        return cls(int(layer), int(head))


@dataclass(frozen=True)
class Prediction:
    """What a model answered to one example, and how that was scored (0 to 1)."""

    example_id: str
    text: str
    answers: tuple[str, ...]
    scores: dict[str, float]
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    generated_tokens: int


def canonical_json(value: Any) -> str:
    """One spelling per value, for digests."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(value: Any) -> str:
    """sha256 of a JSON value's canonical spelling, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
