"""Detectors: what the rows that produce an answer say of every head. Pure functions of an Observation; no model runs.

A score is a number per layer and head, NaN where it has no meaning: the head sees nothing of the needle (a sliding
window), or the example is not counted (an answer that missed the needle, for the published script). Formulas and
sources: docs/heads.md.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from haymaker.records import Encoded, Span

RECALL_GATE = 0.5  # the script counts an answer whose ROUGE-1 recall of the needle is above this
Ending = Literal["answer", "script"]  # whose rule says where an answer ends


@dataclass(frozen=True)
class Observation:
    """One example as a detector sees it: prompt, answer, needle, and the rows that produce the answer's tokens.

    mass: attention probability on the needle; NaN where the row sees nothing of it.
    cited: the document number that each row's token is part of, where it is part of one.
    documents: by number of a document with evidence, the mass on that evidence.
    written: logits that the needle alone, and that the whole head adds to the token produced.
    asked: mass on the needle of the rows from the question on, and of those from a question without content on.
    """

    encoded: Encoded
    needle: list[Span]
    top_position: Int[Tensor, "layer head row"]
    mass: Float[Tensor, "layer head row"]
    needle_text: str = ""
    answer_text: str = ""
    cited: tuple[int | None, ...] = ()
    documents: Mapping[int, Float[Tensor, "layer head row"]] = field(default_factory=dict)
    written: tuple[Float[Tensor, "layer head row"], Float[Tensor, "layer head row"]] | None = None
    asked: tuple[Float[Tensor, "layer head asked"], Float[Tensor, "layer head null"]] | None = None

    @property
    def ids(self) -> Int[Tensor, " position"]:
        return torch.tensor(self.encoded.input_ids)

    @property
    def produced(self) -> Int[Tensor, " row"]:
        """The token that each row produces."""
        return torch.tensor(self.encoded.answer_ids[: self.top_position.shape[-1]], dtype=torch.long)

    @property
    def unseen(self) -> Bool[Tensor, "layer head"]:
        """Heads none of whose rows sees any of the needle."""
        return self.mass.isnan().all(dim=-1)

    def inside(self, spans: list[Span]) -> Bool[Tensor, " position"]:
        """Which positions the spans cover."""
        found = torch.zeros(len(self.encoded), dtype=torch.bool)
        for span in spans:
            found[span.slice] = True
        return found


# --- copying --------------------------------------------------------------------------------------------------------


def copy(observed: Observation) -> Float[Tensor, "layer head"]:
    """The retrieval score |g ∩ k| / |k| (Wu et al. 2024, eq. 1; Zhao et al. 2025).

    k is the set of the needle's tokens; g holds a token if at a step that produces it the head's top attention lands
    inside the needle on that very token. A set: copying a token twice counts once, so the score is at most 1.
    """
    return share_copied(observed, looks_at(observed, observed.inside(observed.needle)))


def copy_source(observed: Observation) -> Float[Tensor, "layer head"]:
    """As `copy`, but only the exact source counts: of the needle's places that hold the token, those that continue
    the longest stretch of what the answer has said so far."""
    hits = exact_sources(observed)[torch.arange(len(observed.produced)), observed.top_position.clamp(min=0)]
    return share_copied(observed, hits & (observed.top_position >= 0))


def copy_previous(observed: Observation) -> Float[Tensor, "layer head"]:
    """As `copy` with offset -1: the head looks at the place just before the token that is produced.

    What tools for induction heads look for, one token apart from the published retrieval score.
    """
    return share_copied(observed, looks_at(observed, observed.inside(observed.needle), offset=-1))


def copy_anywhere(observed: Observation) -> Float[Tensor, "layer head"]:
    """As `copy`, but the attended token may stand anywhere in the prompt; k is the set of the answer's tokens."""
    prompt = observed.inside([Span(0, observed.encoded.prompt_length)])
    blind = (observed.top_position < 0).all(dim=-1)
    return share_of(observed, looks_at(observed, prompt), set(observed.produced.tolist()), blind)


def copy_wu2024(observed: Observation) -> Float[Tensor, "layer head"]:
    """The published script's score, hit for hit: hits / |needle|, counted and not a set, so it may exceed 1.

    NaN, not counted, where the answer recalls at most half of the needle's words. The script knows no windows: a head
    that sees nothing of the needle scores 0.
    """
    if rouge1_recall(observed.needle_text, observed.answer_text) <= RECALL_GATE:
        return torch.full(observed.top_position.shape[:2], torch.nan)
    inside = observed.inside(observed.needle)
    return (looks_at(observed, inside).sum(dim=-1).double() / int(inside.sum())).float()


def looks_at(
    observed: Observation, inside: Bool[Tensor, " position"], offset: int = 0
) -> Bool[Tensor, "layer head row"]:
    """Whether the top attention, less `offset`, is a place inside that holds the token produced."""
    place = observed.top_position - offset
    exists = (observed.top_position >= 0) & (place < len(inside))
    place = place.clamp(0, len(inside) - 1)
    return exists & inside[place] & (observed.ids[place] == observed.produced)


def exact_sources(observed: Observation) -> Bool[Tensor, "row position"]:
    """For each row the needle's places that hold its token after the longest stretch shared with the answer so far."""
    ids, produced = observed.encoded.input_ids, observed.produced.tolist()
    places = observed.inside(observed.needle).nonzero()[:, 0].tolist()
    found = torch.zeros(len(produced), len(ids), dtype=torch.bool)
    for row, token in enumerate(produced):
        shared = {place: common_end(ids[:place], produced[:row]) for place in places if ids[place] == token}
        best = max(shared.values(), default=0)
        for place, length in shared.items():
            found[row, place] = length == best
    return found


def common_end(first: tuple[int, ...], second: list[int]) -> int:
    """How many tokens two sequences share at their ends."""
    length = 0
    while length < min(len(first), len(second)) and first[-1 - length] == second[-1 - length]:
        length += 1
    return length


def share_copied(observed: Observation, hits: Bool[Tensor, "layer head row"]) -> Float[Tensor, "layer head"]:
    """Share of the needle's set of tokens that was hit; NaN for heads that see nothing of the needle."""
    return share_of(observed, hits, set(observed.ids[observed.inside(observed.needle)].tolist()), observed.unseen)


def share_of(
    observed: Observation, hits: Bool[Tensor, "layer head row"], wanted: set[int], blind: Bool[Tensor, "layer head"]
) -> Float[Tensor, "layer head"]:
    """Share of the wanted tokens that each head hits at a row that produces them; NaN where `blind`."""
    copied = torch.zeros(hits.shape[:2])
    for token in wanted & set(observed.produced.tolist()):
        copied += hits[..., observed.produced == token].any(dim=-1)
    return (copied / max(len(wanted), 1)).masked_fill(blind, torch.nan)


def rouge1_recall(reference: str, answer: str) -> float:
    """ROUGE-1 recall (Lin 2004), 0 to 1: share of the reference's words, with repetition, that the answer has.

    Words are runs of a-z and 0-9 after lower-casing, as in the rouge-score package; without its Porter stemmer.
    """
    wanted, found = (Counter(re.findall(r"[a-z0-9]+", text.lower())) for text in (reference, answer))
    return (wanted & found).total() / wanted.total() if wanted else 0.0


# --- attending and writing ------------------------------------------------------------------------------------------


def insight(observed: Observation) -> Float[Tensor, "layer head"]:
    """Share of the steps that cite a document with evidence at which the top attention is on that document's evidence
    (the insight score of SummHay, Zhao et al. 2025). No token has to match. NaN where no such document is cited."""
    steps = [(row, number) for row, number in enumerate(observed.cited) if number is not None]
    steps = [(row, number) for row, number in steps if number in observed.documents]
    hits, seen = torch.zeros(2, *observed.top_position.shape[:2])
    for row, number in steps:
        spans = [span for label, span in observed.encoded.labelled_spans if label == ("evidence", number)]
        top = observed.top_position[..., row]
        hits += (top >= 0) & observed.inside(spans)[top.clamp(min=0)]
        seen += ~observed.documents[number][..., row].isnan()
    return (hits / seen.clamp(min=1)).masked_fill(seen == 0, torch.nan)


def mass(observed: Observation) -> Float[Tensor, "layer head"]:
    """Attention probability on the needle, averaged over the rows that produce the answer and see it."""
    return mean_of_seen(observed.mass)


def mass_calibrated(observed: Observation) -> Float[Tensor, "layer head"]:
    """Mass on the needle, averaged over the prompt's tokens from the question on, less the same with a question
    without content (QRHead, Zhang et al. 2025): -1 to 1."""
    assert observed.asked is not None
    asked, null = observed.asked
    return mean_of_seen(asked) - mean_of_seen(null)


def write(observed: Observation) -> Float[Tensor, "layer head"]:
    """Logits that the head adds to the token produced from the needle, less those from elsewhere, scaled to the
    needle's length (LOCOS, Gema et al. 2026): φ(needle) - |needle| / |rest| φ(rest), averaged over rows."""
    assert observed.written is not None
    needle, whole = observed.written
    size = int(observed.inside(observed.needle).sum())
    rest = observed.encoded.prompt_length + torch.arange(needle.shape[-1]) - size
    contrast = needle - size / rest.clamp(min=1) * (whole - needle)
    return mean_of_seen(contrast.masked_fill(observed.mass.isnan(), torch.nan))


def mean_of_seen(values: Float[Tensor, "layer head row"]) -> Float[Tensor, "layer head"]:
    """Mean over the rows that have a value; NaN where none has."""
    return values.nanmean(dim=-1)


# --- what is chosen by name, in choices.py ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Detector:
    """A score, and what has to be read for it.

    needle: kinds of spans; the first that an example has is its needle. Without any, it looks for none.
    ending: whose rule says where an own answer ends. own_only: it is defined on the model's own answers alone.
    """

    score: Callable[[Observation], Float[Tensor, "layer head"]]
    needle: tuple[str, ...] = ("answer", "evidence")
    ending: Ending = "answer"
    own_only: bool = False
    reads_values: bool = False
    reads_documents: bool = False
    reads_null: bool = False

    def __call__(self, observed: Observation) -> Float[Tensor, "layer head"]:
        return self.score(observed)


COPY = Detector(copy)
COPY_SOURCE = Detector(copy_source)
COPY_PREVIOUS = Detector(copy_previous)
COPY_ANYWHERE = Detector(copy_anywhere, needle=())
COPY_WU2024 = Detector(copy_wu2024, needle=("evidence", "answer"), ending="script", own_only=True)
INSIGHT = Detector(insight, needle=("evidence",), reads_documents=True)
MASS = Detector(mass)
MASS_CALIBRATED = Detector(mass_calibrated, needle=("evidence", "answer"), reads_null=True)
WRITE = Detector(write, reads_values=True)
