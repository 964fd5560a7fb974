"""Cross-model patching: what a model answers with another model's head outputs in place of its own."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from haymaker.attention.targets import HeadLike, as_heads
from haymaker.console import OnProgress
from haymaker.errors import ModelError
from haymaker.evaluation.exam import Exam, Metrics
from haymaker.evaluation.predictions import Evaluation, examine, judged, room_for
from haymaker.heads.scores import HeadScores
from haymaker.interventions.adapters import Shared, one_model
from haymaker.interventions.branch_answers import AnswerBranches, judged_sets, packed_room, patched_answers
from haymaker.interventions.branches import Trunk, can_branch
from haymaker.interventions.controls import beside_random
from haymaker.interventions.head_sets import identity_sets, patching_sets
from haymaker.interventions.lockstep import OneBatch, TwoModels
from haymaker.interventions.pairs import check_pair, check_ready, obstacle
from haymaker.kept import Kept
from haymaker.models.answer_text import STOP
from haymaker.models.batching import batches_of, parted
from haymaker.models.generation import MEMORY_ADVICE, Generation, decode_group
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of
from haymaker.provenance import donor_of
from haymaker.records import Encoded, Example, Head

Mode = Literal["one batch", "two models"]
Donor = LanguageModel | str | Path


@dataclass(frozen=True)
class Patched(Evaluation):
    """An Evaluation, and how donor and recipient ran: as rows of one batch, or as two models in turns."""

    mode: Mode

    @classmethod
    def of(cls, found: Evaluation, mode: Mode = "two models") -> "Patched":
        return cls(found.predictions, mode)

    def row(self) -> dict[str, Any]:
        """The summary as a flat row, with the mode."""
        return {**super().row(), "mode": self.mode}


def patch(
    donor: Donor,
    recipient: LanguageModel,
    examples: Iterable[Example],
    heads: Iterable[HeadLike],
    new_tokens: int | None = None,
    *,
    metrics: Metrics = None,
    metric: str | None = None,
    stop: str | None = STOP,
    scope: str = "all",
    mode: str | None = None,
    tokens_at_once: int | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> Patched:
    """Evaluation of `recipient` with the donor's outputs of `heads` in place of its own.

    The donor runs in lockstep on the recipient's own tokens, those it has just generated included. Patching a model
    into itself changes nothing (up to the rounding of a batch's rows, where several threads share a matrix product).

    Args:
        donor: A model, or the folder of an adapter for the recipient's base model.
        recipient: The model that answers.
        examples: A Dataset, or any Examples.
        heads: Heads as `Head`, pairs (layer, head) or "16-19".
        new_tokens: Most tokens of an answer; None as in `evaluate`.
        metrics: Names of row metrics of `hm.metrics`, the headline first; None: those of the examples' task.
        metric: One metric alone, instead of `metrics`.
        stop: A text that ends an answer, once there is an answer before it; None: only the model's own end does.
        on_progress: Called with the number of examples answered since its last call.
        keep: A file in which rows are kept as they are done: after a stop the same call goes on, and gives the same.
            It is left when the call ends well, for the caller to remove.
        scope: Where they are written: "all" positions, "prompt", "last", "decode", several joined by +.
        mode: "one batch" runs both as rows of one batch over one copy of the base model, and stores nothing; "two
            models" runs them in turns. By default the first where it gives the same (LoRA adapters, or none, on equal
            base models), else the second; the result's `mode` says which. In half precision the two differ by PEFT's
            rounding of the adapters' parts.
        tokens_at_once: Most prompt tokens of a batch; None: as many as the free memory holds, see `evaluate`.
        batch: Most examples of a batch; None: no bound but the tokens.

    Returns:
        An Evaluation, and in `mode` how the two ran.

    Raises:
        ConfigError: A metric that there is not, or a budget smaller than the longest gold.
        LengthError: An example whose prompt leaves less than the budget of the model's context.
        ModelError: Models of two shapes or vocabularies, in train mode, or that cannot be one batch where that is asked
            for.
        ProbeError: A head that they lack, or an unknown scope.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Source:
        Cross-model activation patching: Prakash et al. 2024 (arXiv 2402.14811), as in Zhao et al. 2025 (arXiv
        2410.22316).

    Examples:
        >>> hm.patch(lm, lm, rows, [(3, 4)], new_tokens=8).mode
        'one batch'
    """
    exam = Exam.of(recipient, examples, new_tokens, metrics=metric or metrics, stop=stop)
    run = Run(donor, recipient, exam, scope, Sizes(tokens_at_once, batch), on_progress=on_progress)
    return run.kept_sets({"patched": as_heads(heads)}, mode, keep)["patched"]


def patch_many(
    donor: Donor,
    recipient: LanguageModel,
    examples: Iterable[Example],
    sets: Mapping[str, Iterable[HeadLike]],
    new_tokens: int | None = None,
    *,
    metrics: Metrics = None,
    metric: str | None = None,
    stop: str | None = STOP,
    scope: str = "all",
    mode: str | None = None,
    tokens_at_once: int | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> dict[str, Patched]:
    """`patch` for several head sets by name; in one batch, they share it.

    The plain recipient (no heads), the patched and the randomly patched one answer side by side, and the donor reads
    the prompt once for all. Sets are two rows of a batch each; those that do not fit `tokens_at_once` together take
    turns.

    Args:
        donor: A model, or the folder of an adapter for the recipient's base model.
        recipient: The model that answers.
        examples: A Dataset, or any Examples.
        sets: Heads by the name of their set.
        new_tokens: Most tokens of an answer; None as in `evaluate`.
        metrics: Names of row metrics of `hm.metrics`, the headline first; None: those of the examples' task.
        metric: One metric alone, instead of `metrics`.
        stop: A text that ends an answer, once there is an answer before it; None: only the model's own end does.
        on_progress: Called with the number of examples answered since its last call, once per set.
        keep: As in `patch`.
        scope: As in `patch`.
        mode: As in `patch`.
        tokens_at_once: Most prompt tokens of a batch; None: as many as the free memory holds, see `evaluate`.
        batch: Most examples of a batch; None: no bound but the tokens.

    Returns:
        An Evaluation with its `mode` for each set, by name.

    Raises:
        ConfigError: A metric that there is not, or a budget smaller than the longest gold.
        LengthError: An example whose prompt leaves less than the budget of the model's context.
        ModelError: Models of two shapes or vocabularies, in train mode, or that cannot be one batch where that is asked
            for.
        ProbeError: A head that they lack, or an unknown scope.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Examples:
        >>> sorted(hm.patch_many(lm, lm, rows, {"none": [], "one": [(3, 4)]}, new_tokens=8))
        ['none', 'one']
    """
    exam = Exam.of(recipient, examples, new_tokens, metrics=metric or metrics, stop=stop)
    run = Run(donor, recipient, exam, scope, Sizes(tokens_at_once, batch), on_progress=on_progress)
    return run.kept_sets({name: as_heads(heads) for name, heads in sets.items()}, mode, keep)


def patch_sets(
    donor: LanguageModel,
    recipient: LanguageModel,
    examples: Iterable[Example],
    sets: Sequence[Iterable[HeadLike]],
    new_tokens: int | None = None,
    *,
    metrics: Metrics = None,
    metric: str | None = None,
    stop: str | None = STOP,
    scope: str = "all",
    tokens_at_once: int | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> Sequence[Evaluation]:
    """`patch` for many sets of heads, in their order.

    One reading of each prompt by each model serves all sets where `scope` is made of "last" and "decode" alone and
    every layer keeps keys; else they run by `patch_many`. In the first way the donor grows the same branches in
    lockstep, so each set is patched on the tokens that it made the recipient write.

    Args:
        donor: The model whose head outputs are lent.
        recipient: The model that answers, of the same shape and vocabulary.
        examples: A Dataset, or any Examples.
        sets: Sets of heads; an empty one is the plain recipient.
        new_tokens: Most tokens of an answer; None as in `evaluate`.
        metrics: Names of row metrics of `hm.metrics`, the headline first; None: those of the examples' task.
        metric: One metric alone, instead of `metrics`.
        stop: A text that ends an answer, once there is an answer before it; None: only the model's own end does.
        scope: As in `patch`.
        tokens_at_once: As in `ablate_sets`.
        batch: As in `ablate_sets`.
        on_progress: Called with the number of answers given since its last call, one per example and set.
        keep: As in `patch`.

    Returns:
        An Evaluation for each set, in order.

    Raises:
        ConfigError: A metric that there is not, a budget smaller than the longest gold, or `tokens_at_once` rows that
            cannot hold an answer.
        LengthError: An example whose prompt leaves less than the budget of the model's context.
        ModelError: Models of two shapes or vocabularies, or in train mode.
        ProbeError: A head that the models lack, or an unknown scope.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Examples:
        >>> found = hm.patch_sets(lm, lm, rows, [[], [(3, 4)]], new_tokens=8, scope="last+decode")
        >>> [evaluation.row()["n"] for evaluation in found]
        [2, 2]
    """
    check_ready(donor, recipient)
    check_pair(donor, recipient)
    exam = Exam.of(recipient, examples, new_tokens, metrics=metric or metrics, stop=stop)
    chosen = [as_heads(heads) for heads in sets]
    if not (can_branch(donor.model, scope) and can_branch(recipient.model, scope)):
        run = Run(donor, recipient, exam, scope, Sizes(tokens_at_once, batch), on_progress=on_progress)
        return list(run.kept_sets({str(place): heads for place, heads in enumerate(chosen)}, None, keep).values())

    def prepare(item: Encoded, rows_at_once: int) -> AnswerBranches:
        lender, trunk = (Trunk(lm.model, item.prompt_ids, rows_at_once) for lm in (donor, recipient))
        return lambda some, end: patched_answers(lender, trunk, item, chosen[some], end, scope=scope)

    lent = None if keep is None else donor_of(donor)
    names = [list(map(str, heads)) for heads in chosen]
    options = {"donor": lent, "sets": names, "scope": scope, "tokens_at_once": tokens_at_once, "batch": batch}
    room = packed_room(recipient, exam, copies=2)
    with exam.answers_in(keep, recipient, len(chosen), room=room, **options) as kept:
        return judged_sets(
            recipient, exam, len(chosen), prepare, rows_at_once=tokens_at_once, batch=batch, on_progress=on_progress,
            kept=kept,
        )  # fmt: skip


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


# ---- tables


def patching_table(
    donor: Donor,
    recipient: LanguageModel,
    examples: Iterable[Example],
    donor_scores: HeadScores,
    recipient_scores: HeadScores,
    *,
    k: int = 10,
    threshold: float = 0.0,
    draws: int = 5,
    seed: int = 0,
    identity: bool = False,
    new_tokens: int | None = None,
    metrics: Metrics = None,
    metric: str | None = None,
    stop: str | None = STOP,
    scope: str = "all",
    mode: str | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> list[dict[str, Any]]:
    """A row per head set of `patching_sets` (of `identity_sets` where asked): the headline (`metric`, `score`), and its
    change from the plain recipient's. For the other direction, exchange the two models and their scores."""
    if identity:
        sets = list(identity_sets(donor_scores))
    else:
        sets = list(patching_sets(donor_scores, recipient_scores, k, threshold, draws, seed=seed))
    heads = {str(place): chosen.heads for place, chosen in enumerate(sets)}
    options: dict[str, Any] = {"metrics": metric or metrics, "stop": stop, "scope": scope, "mode": mode}
    options |= {"batch": batch, "on_progress": on_progress, "keep": keep}
    found = patch_many(donor, recipient, examples, heads, new_tokens, **options)
    beside = beside_random(sets, [patched.values() for patched in found.values()])
    return [
        chosen.columns() | patched.row() | patched.change_from(found["0"]) | controls
        for chosen, patched, controls in zip(sets, found.values(), beside, strict=True)
    ]
