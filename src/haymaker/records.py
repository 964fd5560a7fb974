"""The records that travel through every stage. Text and character spans are derived from segments, so they agree."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from numbers import Integral
from os import PathLike
from typing import Any, Literal, NamedTuple

from haymaker.errors import DataError
from haymaker.markup import coloured, legend, shortened, table

Kind = Literal["document", "evidence", "answer", "citation", "filler", "question", "instruction"]
Role = Literal["system", "user", "assistant"]
SHOWN = 60  # characters of a question or an answer that an example shows of itself


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open [start, stop), never empty: characters of an Example's text, tokens of an Encoded.

    Attributes:
        start: The first position, from 0.
        stop: One after the last.

    Raises:
        ValueError: Unless 0 <= start < stop.

    Examples:
        >>> "the needle here"[hm.Span(4, 10).slice], len(hm.Span(4, 10))
        ('needle', 6)
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise ValueError(f"a span needs 0 <= start < stop, found [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """For indexing: `text[span.slice]`, `ids[span.slice]`."""
        return slice(self.start, self.stop)

    def shifted(self, offset: int) -> "Span":
        """The span that lies `offset` later."""
        return Span(self.start + offset, self.stop + offset)

    def overlaps(self, other: "Span") -> bool:
        """Whether both share a position."""
        return self.start < other.stop and other.start < self.stop


def is_range(told: Any) -> bool:
    """Whether a start and a stop are told, as two whole numbers."""
    return (
        isinstance(told, Sequence)
        and len(told) == 2
        and all(isinstance(edge, Integral) and not isinstance(edge, bool) for edge in told)
    )


class Label(NamedTuple):
    """What a piece of text is: a kind, and which one where there are several (document 3).

    Attributes:
        kind: document, evidence, answer, citation, filler, question or instruction.
        index: Which one, from 0.

    Examples:
        >>> str(hm.Label("document", 3))
        'document:3'
    """

    kind: Kind
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> "Label":
        """The label that prints as `text`."""
        kind, _, index = text.partition(":")
        return cls(kind, int(index or 0))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text and what it is. Labels nest: an answer inside evidence inside document 3 carries all three.

    Attributes:
        text: The text.
        labels: What it is, the outermost first.

    Examples:
        >>> hm.Segment("Ada", (hm.Label("answer"),)).within(hm.Label("evidence")).labels[0].kind
        'evidence'
    """

    text: str
    labels: tuple[Label, ...] = ()

    def within(self, *outer: Label) -> "Segment":
        """The same text with these labels around its own."""
        return Segment(self.text, (*outer, *self.labels))


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a prompt, made of segments.

    Attributes:
        role: system, user or assistant.
        segments: Its pieces, in order.

    Examples:
        >>> hm.Message("user", (hm.Segment("Who? "), hm.Segment("Ada."))).text
        'Who? Ada.'
    """

    role: Role
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """All segments, one after the other."""
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


@dataclass(frozen=True, repr=False)
class Example:
    """One question over one long context. `text` is the prompt; the answer is in `answers`, the first the target.

    Attributes:
        id: A digest of what it says and asks, or a name of your own.
        task: The task that it belongs to.
        messages: The prompt; text and spans are derived from it, so they agree.
        question: What is asked.
        answers: All that count as right; the first is what training teaches, unless the source names a `target`.
        pair_id: The same for all settings' twins of one question.
        split: train, dev or test.
        concept: How its facts are said: real, high, low or symbolic.
        context: What stands around them.
        source: The row that it comes from; its `target`, where one is named, is what training teaches.
        provenance: How it was changed on the way.

    Examples:
        >>> segments = (hm.Segment("The mill is "), hm.Segment("Ada's", (hm.Label("answer"),)), hm.Segment(". Whose?"))
        >>> example = hm.Example("mill", "mdqa", (hm.Message("user", segments),), "Whose?", ("Ada's",))
        >>> example.spans["answer"]
        [Span(start=12, stop=17)]
    """

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

    def __repr__(self) -> str:
        found = ", ".join(f"{len(spans)} {kind}" for kind, spans in self.spans.items() if kind != "filler")
        asked, answer = shortened(self.question, SHOWN), shortened(self.target, SHOWN)
        return f"Example({self.id}, {self.task}: {asked!r} -> {answer!r}, {len(self.text):,} characters, {found})"

    def _repr_html_(self) -> str:
        kinds = [(piece.text, [one.kind for one in piece.labels]) for turn in self.messages for piece in turn.segments]
        answers = escape(" | ".join(self.answers))
        return f"<b>{escape(self.id)}</b> {legend(self.spans)}{coloured(kinds)}<b>answer</b> {answers}"

    def __iter__(self) -> Iterator["Example"]:
        """Itself: an example alone goes wherever a dataset goes."""
        yield self

    @cached_property
    def text(self) -> str:
        """The prompt: all messages' texts, one after the other."""
        return "".join(message.text for message in self.messages)

    @cached_property
    def labelled_spans(self) -> tuple[tuple[Label, Span], ...]:
        """Every label with its span of `text`, in order of their ends."""
        return tuple(label_runs(segment for message in self.messages for segment in message.segments))

    @cached_property
    def spans(self) -> dict[str, list[Span]]:
        """Character spans of `text` by kind of label, in order."""
        return by_kind(self.labelled_spans)

    @property
    def target(self) -> str:
        """What training teaches and teacher forcing reads: the first answer, or all where the metric asks for all."""
        return target_of(self.answers, self.source)


def target_of(answers: Sequence[str], source: Mapping[str, Any]) -> str:
    """What is taught of these answers: what the source names, else the first."""
    return told if isinstance(told := source.get("target"), str) and told.strip() else answers[0]


@dataclass(frozen=True, repr=False)
class Encoded:
    """An Example in tokens. `input_ids` holds the prompt and, from `prompt_length` on, the target answer.

    Attributes:
        example_id: The example's.
        input_ids: Tokens of prompt and answer.
        prompt_length: Tokens of the prompt.
        labelled_spans: Spans of tokens with their labels; `spans` has them by kind.
        closing: Tokens at the end that close the answer: the template's end of a turn, or the end-of-text token.

    Examples:
        >>> encoded = hm.encode(rows[0], lm.tokenizer)
        >>> encoded.answer_rows[0] == encoded.prompt_length - 1, len(encoded.answer_rows) == len(encoded.answer_ids)
        (True, True)
    """

    example_id: str
    input_ids: tuple[int, ...]
    prompt_length: int
    labelled_spans: tuple[tuple[Label, Span], ...] = ()
    closing: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    def __repr__(self) -> str:
        found = ", ".join(f"{kind} {len(spans)}" for kind, spans in self.spans.items())
        return f"Encoded({self.example_id}: {len(self)} tokens, {self.prompt_length} of the prompt; spans: {found})"

    def _repr_html_(self) -> str:
        rows = [{"kind": str(label), "start": span.start, "stop": span.stop} for label, span in self.labelled_spans]
        return f"<p>{escape(repr(self))}</p>{table(rows)}"

    @cached_property
    def spans(self) -> dict[str, list[Span]]:
        """Token spans of `input_ids` by kind of label, in order."""
        return by_kind(self.labelled_spans)

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """Tokens of the prompt."""
        return self.input_ids[: self.prompt_length]

    @property
    def answer_ids(self) -> tuple[int, ...]:
        """Tokens of the target answer, with what closes it."""
        return self.input_ids[self.prompt_length :]

    @property
    def answer_rows(self) -> range:
        """Positions whose logits predict the answer's tokens: one before each of them."""
        return range(self.prompt_length - 1, len(self.input_ids) - 1)


class Head(NamedTuple):
    """A query head, layer and head counted from 0; prints as `16-19`. (A key-value head is another thing.)

    Attributes:
        layer: The layer, from 0.
        head: The query head, from 0.

    Examples:
        >>> str(hm.Head(16, 19)), hm.Head.parse("16-19")
        ('16-19', Head(layer=16, head=19))
    """

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


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a model answered to one example, and how that was scored (0 to 1).

    Attributes:
        example_id: The example's.
        text: The answer, up to its end or line break, stripped.
        answers: What counts as right.
        scores: By metric, 0 to 1, the headline first.
        finish_reason: "stop"; "length" where the answer reached the limit; "choice" where it was chosen of two;
            "missing" where nobody answered.
        prompt_tokens: Tokens of the prompt.
        generated_tokens: Tokens that were generated.
        task: The example's.
        before: What stood before the answer and is no part of it: a block of thought, an opening line.
        unread: Metrics whose form this answer does not have: what they cannot read at all scores 0 by them.
        depth: Share of the context before the evidence, 0 to 1; None where there is no evidence.
        hops: Pieces of evidence.
        foil: Of a choice, the wrong answer that the gold stood against.
        margin: Of a choice, nats per token by which the gold is more probable than the foil.
        halved: Whether the batch of this answer was computed in halves, since memory ran out there or before.

    Examples:
        >>> prediction = hm.evaluate(lm, rows, new_tokens=8).predictions[0]
        >>> list(prediction.scores), prediction.generated_tokens <= 8
        (['squad_f1', 'squad_em', 'best_subspan_em'], True)
    """

    example_id: str
    text: str
    answers: tuple[str, ...]
    scores: dict[str, float]
    finish_reason: Literal["stop", "length", "choice", "missing"]
    prompt_tokens: int
    generated_tokens: int
    task: str = ""
    before: str = ""
    unread: tuple[str, ...] = ()
    depth: float | None = None
    hops: int | None = None
    foil: str = ""
    margin: float | None = None
    halved: bool = False

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {score:.3f}" for name, score in self.scores.items())
        text, golds = shortened(self.text, SHOWN), " | ".join(self.answers)
        return f"Prediction({self.example_id}: {text!r}, gold {shortened(golds, SHOWN)!r}; {scores})"

    def _repr_html_(self) -> str:
        about = {**vars(self), "answers": " | ".join(self.answers), "unread": " ".join(self.unread)}
        told = {name: value for name, value in about.items() if name != "scores" and value not in ("", None)}
        return table([{"field": name, "value": value} for name, value in (told | self.scores).items()])


def canonical_json(value: Any) -> str:
    """One spelling per value, for digests."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest(value: Any) -> str:
    """sha256 of a JSON value's canonical spelling, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def examples_of(given: Any) -> list[Example]:
    """The Examples that were given, as a list. Raises DataError where there is anything else."""
    return rows_of_kind(given, (Example,))


def rows_of_kind(given: Any, kinds: tuple[type, ...]) -> list[Any]:
    """The rows that were given, as a list. Raises DataError where one is of none of these kinds."""
    names = " or ".join("Examples" if kind is Example else f"{kind.__name__} rows" for kind in kinds)
    advice = f"expected {names}: give a Dataset, hm.read_examples(file) or [hm.example(...)]"
    if isinstance(given, str | bytes | PathLike) or not hasattr(given, "__iter__"):
        raise DataError(f"{advice}; found {type(given).__name__} {given!r:.60}")
    rows = list(given)
    for place, row in enumerate(rows):
        if not isinstance(row, kinds):
            raise DataError(f"{advice}; found {type(row).__name__} {row!r:.60} as number {place}")
    return rows
