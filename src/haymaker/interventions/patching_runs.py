"""How donor and recipient run: as rows of one batch over one copy of the base model, or as two models in turns."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from haymaker.attention.chance import check_ready
from haymaker.console import OnProgress
from haymaker.errors import ModelError
from haymaker.evaluation.exam import Exam
from haymaker.evaluation.predictions import Evaluation, examine, judged, room_for
from haymaker.interventions.adapters import Shared, one_model
from haymaker.interventions.lockstep import OneBatch, TwoModels
from haymaker.interventions.pairs import check_pair, obstacle, tell_pair
from haymaker.kept import Kept
from haymaker.models.batching import batches_of, parted
from haymaker.models.generation import MEMORY_ADVICE, Generation, decode_group
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of
from haymaker.provenance import donor_of
from haymaker.records import Head

Mode = Literal["one batch", "two models"]
Donor = LanguageModel | str | Path


@dataclass(frozen=True, repr=False)
class Patched(Evaluation):
    """An Evaluation, and how donor and recipient ran: as rows of one batch, or as two models in turns."""

    mode: Mode

    @classmethod
    def of(cls, found: Evaluation, mode: Mode = "two models") -> "Patched":
        return cls(found.predictions, mode)

    def row(self) -> dict[str, Any]:
        """The summary as a flat row, with the mode."""
        return {**super().row(), "mode": self.mode}


def chosen_mode(donor: Donor, recipient: LanguageModel, wanted: str | None) -> Mode:
    """How to run the pair. Raises ModelError where that is not possible."""
    if wanted not in (None, "one batch", "two models"):
        raise ModelError(f"mode: expected 'one batch', 'two models' or None, found {wanted!r}")
    if not isinstance(donor, LanguageModel):
        check_ready(recipient)
        if wanted == "two models":
            raise ModelError(f"{donor}: expected a model as donor beside another one; load the adapter with load_model")
        return "one batch"
    check_ready(donor, recipient)
    check_pair(donor, recipient)
    tell_pair(donor, recipient)
    if wanted == "two models":
        return wanted
    reason = obstacle(donor, recipient)
    if reason and wanted:
        raise ModelError(f"donor and recipient cannot be rows of one batch: {reason}; use mode='two models'")
    return "two models" if reason else "one batch"


class Sizes(NamedTuple):
    """Bounds of a batch: its prompt tokens (None: as the free memory holds) and its examples."""

    tokens_at_once: int | None
    batch: int | None


@dataclass(frozen=True)
class Run:
    """An exam that a recipient takes with a donor's heads."""

    donor: Donor
    recipient: LanguageModel
    exam: Exam
    scope: str
    sizes: Sizes
    on_progress: OnProgress | None = field(kw_only=True)

    def kept_sets(
        self, chosen: Mapping[str, tuple[Head, ...]], wanted: str | None, keep: str | Path | None
    ) -> dict[str, Patched]:
        """An Evaluation for each set of heads, by name; answers are kept in the file `keep` as they are written."""
        mode = chosen_mode(self.donor, self.recipient, wanted)
        lent = None if keep is None else donor_of(self.donor)
        sets = [list(map(str, heads)) for heads in chosen.values()]
        options = {"donor": lent, "sets": sets, "scope": self.scope, **self.sizes._asdict()}
        room = room_for(self.recipient, self.exam, copies=2 if mode == "two models" else 1)
        with self.exam.answers_in(keep, self.recipient, len(chosen), mode=mode, room=room, **options) as kept:
            return self.sets(chosen, mode, kept)

    def sets(self, chosen: Mapping[str, tuple[Head, ...]], mode: Mode, kept: Kept[Generation]) -> dict[str, Patched]:
        """An Evaluation for each set of heads, by name."""
        if mode == "two models":
            turns = enumerate(chosen.items())
            return {name: self.in_turns(heads, kept.under(place)) for place, (name, heads) in turns}
        room = self.sizes.tokens_at_once or kept.room
        at_once = max(1, room // (2 * max(self.exam.lengths)))
        listed, answers = list(chosen.values()), []
        donor = Path(self.donor) if isinstance(self.donor, str) else self.donor
        with one_model(donor, self.recipient) as shared:
            for start in range(0, len(listed), at_once):
                answers += Together(self, shared, listed[start : start + at_once], start).answer(kept, room)
        return {name: Patched(predictions, "one batch") for name, predictions in zip(chosen, answers, strict=True)}

    def in_turns(self, heads: tuple[Head, ...], kept: Kept[Generation]) -> Patched:
        """The recipient that calls its donor; as it is where no head is patched."""
        assert isinstance(self.donor, LanguageModel)
        lm = self.recipient
        if heads:
            lm = replace(lm, model=TwoModels(self.donor.model, lm.model, heads, self.scope))
        found = examine(lm, self.exam, **self.sizes._asdict(), on_progress=self.on_progress, kept=kept)
        return Patched.of(found)


@dataclass(frozen=True)
class Together:
    """Answers of a recipient under several head sets, of which the first is number `first`, as rows of one batch with
    their donors."""

    run: Run
    shared: Shared
    sets: Sequence[tuple[Head, ...]]
    first: int

    def answer(self, kept: Kept[Generation], room: int) -> list[tuple[Any, ...]]:
        """Predictions of every set, in the rows' order, with `room` tokens in a batch."""
        exam, copies = self.run.exam, len(self.sets) + sum(bool(heads) for heads in self.sets)
        found: dict[tuple[int, int], Any] = {}
        for group in batches_of(exam.lengths, room // copies, self.run.sizes.batch, masked=True):
            keys = [(self.first + place, i) for place in range(len(self.sets)) for i in group]
            done = kept.batch(keys, partial(self._decode, group), divisible=len(self.sets) > 1 or len(group) > 1)
            for (place, i), written in zip(keys, done, strict=True):
                found[place, i] = judged(exam, i, written, kept.was_halved(place, i))
            if self.run.on_progress:
                self.run.on_progress(len(group) * len(self.sets))
        places = range(self.first, self.first + len(self.sets))
        return [tuple(found[place, i] for i in range(len(exam.rows))) for place in places]

    def _decode(self, group: Sequence[int], parts: int) -> list[Generation]:
        """Greedy answers to a group of prompts, set by set; a batch in parts is parted by sets, one of one set by
        prompts."""
        if len(self.sets) > 1:
            return [one for sets in parted(self.sets, parts) for one in self._together(group, sets)]
        return [one for some in parted(group, parts) for one in self._together(some, self.sets)]

    def _together(self, group: Sequence[int], sets: Sequence[tuple[Head, ...]]) -> list[Generation]:
        """Greedy answers to a group of prompts under some sets, as one batch."""
        exam = self.run.exam
        memory = memory_of([exam.rows[i].id for i in group], f"use fewer head sets at once, or {MEMORY_ADVICE}")
        with memory, closing(OneBatch(self.shared, sets, len(group), self.run.scope)) as model:
            lm = replace(self.run.recipient, model=model)
            ends, rows = [exam.end(lm, i) for i in group], [exam.encoded[i] for i in group]
            return decode_group(lm, rows * len(sets), ends * len(sets))
