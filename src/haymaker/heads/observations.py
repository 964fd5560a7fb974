"""What is read of a pass: the probes around it, and what they saw of each example.

What they saw of one example is a Reading, from which each detector's Observation is cut.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase

from haymaker.attention.probing import probe
from haymaker.attention.seen import Seen
from haymaker.errors import DataError, ModelError
from haymaker.heads.detectors import Detector, Ending, Observation
from haymaker.heads.direct_path import Scales, contributions, watch_scales
from haymaker.heads.null_query import asked_rows, null_masses
from haymaker.models.answer_text import STOP
from haymaker.models.finite import at_fault
from haymaker.models.generation import decoded
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded, Example, Span

Kinds = tuple[str, ...]
CITATION = re.compile(r"\[[\d, ]+\]")  # SummHay's own parser


@dataclass(frozen=True)
class Wants:
    """What the detectors of a pass need to have read."""

    kinds: tuple[Kinds, ...]
    endings: tuple[Ending, ...]
    values: bool
    documents: bool
    null: bool
    new_tokens: int = 1
    stop: str | None = STOP

    @classmethod
    def of(cls, detectors: Iterable[Detector], needle: Sequence[str] | None, new_tokens: int = 1) -> "Wants":
        wanted = list(detectors)
        return cls(
            kinds=tuple(dict.fromkeys(tuple(needle or detector.needle) for detector in wanted)),
            endings=tuple(dict.fromkeys(detector.ending for detector in wanted)),
            values=any(detector.reads_values for detector in wanted),
            documents=any(detector.reads_documents for detector in wanted),
            null=any(detector.reads_null for detector in wanted),
            new_tokens=new_tokens,
        )


@dataclass(frozen=True)
class Subject:
    """An example to be read: its tokens, and where to look."""

    example: Example
    encoded: Encoded
    needles: dict[Kinds, list[Span]]
    documents: dict[int, list[Span]]

    @classmethod
    def of(cls, example: Example, encoded: Encoded, wants: Wants) -> "Subject":
        """Raises DataError for an example without a needle."""
        needles = {kinds: encoded.spans[kind_of(encoded, kinds)] if kinds else [] for kinds in wants.kinds}
        documents: dict[int, list[Span]] = {}
        for label, span in encoded.labelled_spans if wants.documents else ():
            if label.kind == "evidence":
                documents.setdefault(label.index, []).append(span)
        return cls(example, encoded, needles, documents)

    def needle_text(self, kinds: Kinds) -> str:
        spans = self.example.spans[kind_of(self.encoded, kinds)]
        return " ".join(self.example.text[span.slice] for span in spans)


def kind_of(encoded: Encoded, kinds: Kinds) -> str:
    """The first of `kinds` that the example has spans of."""
    for kind in kinds:
        if kind in encoded.spans:
            return kind
    raise DataError(
        f"{encoded.example_id}: expected a span of {' or '.join(kinds)} to look for, "
        f"found {', '.join(sorted(encoded.spans)) or 'no spans'}; say in the row what its answer rests on (`evidence`, "
        "texts or characters of its prompt), or in a prompt of your own (`needle`)"
    )


@dataclass(frozen=True)
class Reading:
    """What a pass saw of one example. Row r produces token r of the answer that `encoded` holds.

    counts: by ending, how many of the rows belong to the answer. masses and written: by needle.
    """

    subject: Subject
    encoded: Encoded
    counts: dict[Ending, int]
    top_position: Int[Tensor, "layer head row"]
    masses: dict[Kinds, Float[Tensor, "layer head row"]]
    documents: dict[int, Float[Tensor, "layer head row"]]
    written: dict[Kinds, tuple[Tensor, Tensor]]
    asked: dict[Kinds, tuple[Tensor, Tensor]]

    def observation(
        self, detector: Detector, needle: Sequence[str] | None, tokenizer: PreTrainedTokenizerBase
    ) -> Observation:
        """What `detector` sees of the example."""
        kinds, count = tuple(needle or detector.needle), self.counts[detector.ending]
        encoded = replace(self.encoded, input_ids=self.encoded.input_ids[: self.encoded.prompt_length + count])
        return Observation(
            encoded=encoded,
            needle=self.subject.needles[kinds],
            top_position=self.top_position[..., :count],
            mass=self.mass_of(kinds)[..., :count],
            needle_text=self.subject.needle_text(kinds) if detector.ending == "script" else "",
            answer_text=decoded(tokenizer, encoded.answer_ids).strip(),
            cited=cited_numbers(encoded.answer_ids, tokenizer) if detector.reads_documents else (),
            documents={number: seen[..., :count] for number, seen in self.documents.items()},
            written=tuple(part[..., :count] for part in self.written[kinds]) if detector.reads_values else None,  # type: ignore[arg-type]
            asked=self.asked[kinds] if detector.reads_null else None,
        )

    def mass_of(self, kinds: Kinds) -> Float[Tensor, "layer head row"]:
        """Attention on the needle; none where no needle is looked for."""
        return self.masses[kinds] if kinds else torch.zeros(self.top_position.shape)


def cited_numbers(answer_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> tuple[int | None, ...]:
    """For each token of an answer the cited document number, "[2][5]", that one of its characters is part of."""
    ends = [len(decoded(tokenizer, answer_ids[:count])) for count in range(len(answer_ids) + 1)]
    found: list[int | None] = [None] * len(answer_ids)
    for citation in CITATION.finditer(decoded(tokenizer, answer_ids)):
        for number in re.finditer(r"\d+", citation.group()):
            start, stop = (citation.start() + at for at in number.span())
            for i in range(len(answer_ids)):
                if ends[i] < stop and ends[i + 1] > start:
                    found[i] = int(number.group())
    return tuple(found)


# --- the probe around a pass ----------------------------------------------------------------------------------------


class PassProbes:
    """The probes of one pass over a batch. `shifts` is the padding before each prompt; slots less it are positions."""

    def __init__(
        self, lm: LanguageModel, subjects: Sequence[Subject], wants: Wants, rows: Tensor, shifts: Sequence[int]
    ) -> None:
        self.lm, self.subjects, self.wants, self.rows, self.shifts = lm, subjects, wants, rows, shifts
        self.scales: Scales | None = None
        self.asked: Seen | None = None
        self.seen: Seen

    @contextmanager
    def open(self) -> Iterator[None]:
        spans = self.spans()
        with ExitStack() as stack:
            self.seen = stack.enter_context(probe(self.lm.model, rows=self.rows, spans=spans, values=self.wants.values))
            if self.wants.null:  # a batch of one
                rows = asked_rows(self.subjects[0].encoded)
                self.asked = stack.enter_context(probe(self.lm.model, rows=rows, spans=self.needle_spans()))
            if self.wants.values:
                self.scales = stack.enter_context(watch_scales(self.lm.model, self.rows))
            with torch.no_grad():
                yield
        self.rows_reached = self.seen.reached.all(0)
        self.seen = self.seen.reached_only()

    def needle_spans(self) -> dict[str, list[list[Span]]]:
        return {
            name_of(kinds): [
                [span.shifted(shift) for span in subject.needles[kinds]]
                for subject, shift in zip(self.subjects, self.shifts, strict=True)
            ]
            for kinds in self.wants.kinds
            if kinds
        }

    def spans(self) -> dict[str, list[list[Span]]]:
        """Needles, and the evidence of each subject's n-th document; where a subject has fewer, some needle again."""
        found = self.needle_spans()
        for n in range(max(len(subject.documents) for subject in self.subjects)):
            found[f"document {n}"] = [
                [span.shifted(shift) for span in nth(subject, n)]
                for subject, shift in zip(self.subjects, self.shifts, strict=True)
            ]
        return found

    def readings(
        self, encoded: Sequence[Encoded], counts: Sequence[dict[Ending, int]], cache: DynamicCache | None
    ) -> list[Reading]:
        """What the pass saw of each subject, whose answers `encoded` holds."""
        self.refuse_no_numbers()
        written = self.written(encoded)
        asked: dict[Kinds, tuple[Tensor, Tensor]] = {}
        if self.asked is not None and cache is not None:
            null = null_masses(self.lm, self.subjects[0].example, self.subjects[0].encoded, self.needle_spans(), cache)
            asked = {
                kinds: (self.asked.mass[name_of(kinds)][:, 0], null[name_of(kinds)])
                for kinds in self.wants.kinds
                if kinds
            }
        return [
            Reading(
                subject=subject,
                encoded=encoded[i],
                counts=counts[i],
                top_position=shifted_back(self.seen.top_position[:, i, :, :, 0], self.shifts[i]),
                masses={kinds: self.seen.mass[name_of(kinds)][:, i] for kinds in self.wants.kinds if kinds},
                documents={n: self.seen.mass[f"document {k}"][:, i] for k, n in enumerate(subject.documents)},
                written={kinds: (part[:, i], whole[:, i]) for kinds, (part, whole) in written.items()},
                asked=asked,
            )
            for i, subject in enumerate(self.subjects)
        ]

    def refuse_no_numbers(self) -> None:
        """A token whose hidden states overflow (float16) would leave scores of NaN, which says not visible."""
        for layer in self.seen.layers:
            lost = self.seen.lse[layer, :, : self.seen.architecture.layers[layer].heads].isnan().flatten(1).any(1)
            if lost.any():
                name = self.subjects[int(lost.nonzero()[0])].encoded.example_id
                raise ModelError(f"{name}: the attention of layer {layer} is not finite, {at_fault(self.lm.model)}")

    def written(self, encoded: Sequence[Encoded]) -> dict[Kinds, tuple[Tensor, Tensor]]:
        """By needle, the logits [layer, batch, head, row] that needle and whole head add to the token produced."""
        if self.scales is None:
            return {}
        produced = torch.zeros(len(encoded), self.seen.rows.shape[1], dtype=torch.long)
        for i, item in enumerate(encoded):
            ids = torch.tensor(item.answer_ids[: produced.shape[1]])
            produced[i, : len(ids)] = ids
        parts, whole = contributions(self.lm.base, self.seen, self.scales.only(self.rows_reached), produced)
        return {kinds: (parts[name_of(kinds)], whole) for kinds in self.wants.kinds if kinds}


def name_of(kinds: Kinds) -> str:
    return "needle: " + ", ".join(kinds)


def nth(subject: Subject, n: int) -> list[Span]:
    documents = list(subject.documents.values())
    return documents[n] if n < len(documents) else next(filter(None, subject.needles.values()))


def shifted_back(slots: Int[Tensor, "layer head row"], shift: int) -> Int[Tensor, "layer head row"]:
    """Positions of slots; -1 (nothing is seen) stays."""
    return torch.where(slots < 0, slots, slots - shift)
