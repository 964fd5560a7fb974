"""Cross-model patching: what a model answers with another model's head outputs in place of its own."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from haymaker.attention.targets import HeadLike, as_heads
from haymaker.errors import ModelError
from haymaker.evaluation.predictions import HEADLINE, Evaluation, Progress, answer_and_judge, judge
from haymaker.heads.scores import HeadScores
from haymaker.interventions.adapters import Shared, one_model
from haymaker.interventions.head_sets import identity_sets, patching_sets
from haymaker.interventions.lockstep import OneBatch, TwoModels
from haymaker.interventions.obstacles import obstacle
from haymaker.interventions.ready import check_pair, check_ready
from haymaker.interventions.tables import row_of
from haymaker.models.generation import MEMORY_ADVICE, TOKENS_AT_ONCE, decode_group, groups, refuse_long
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of
from haymaker.records import Encoded, Example, Head
from haymaker.tokens import encode_many

Mode = Literal["one batch", "two models"]
Donor = LanguageModel | str | Path


@dataclass(frozen=True)
class Patched(Evaluation):
    """An Evaluation, and how donor and recipient ran: as rows of one batch, or as two models in turns."""

    mode: Mode

    def row(self) -> dict[str, Any]:
        """The summary as a flat row, with the mode."""
        return {**super().row(), "mode": self.mode}


def patch(
    donor: Donor,
    recipient: LanguageModel,
    examples: Iterable[Example],
    heads: Iterable[HeadLike],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    progress: Progress | None = None,
    scope: str = "all",
    mode: str | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Patched:
    """Evaluation of `recipient` with the donor's outputs of `heads` in place of its own (cross-model activation
    patching, Prakash et al. 2024).

    The donor runs in lockstep on the recipient's own tokens, those it has just generated included, and its outputs
    are written in `scope` (see `edit`). Patching a model into itself changes nothing (up to the rounding of a batch's
    rows, where several threads share a matrix product).

    donor: a model, or the folder of an adapter for the recipient's base model.
    mode: "one batch" runs both as rows of one batch over one copy of the base model, and stores nothing; "two models"
        runs them in turns. By default the first where it gives the same (LoRA adapters, or none, on equal base
        models), else the second; the result's `mode` says which. In half precision the two differ by PEFT's rounding
        of the adapters' parts. `tokens_at_once` bounds the prompt tokens of a batch.

    Raises ModelError for models of two shapes or vocabularies, in train mode, or that cannot be one batch where that is
    asked for; ProbeError for a head that they lack; OutOfMemory, and never skips an example.
    """
    sets = {"patched": heads}
    return patch_many(donor, recipient, examples, sets, new_tokens, metrics, progress, scope, mode, tokens_at_once)[
        "patched"
    ]


def patch_many(
    donor: Donor,
    recipient: LanguageModel,
    examples: Iterable[Example],
    sets: Mapping[str, Iterable[HeadLike]],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    progress: Progress | None = None,
    scope: str = "all",
    mode: str | None = None,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> dict[str, Patched]:
    """`patch` for several head sets by name; in one batch, they share it: the plain recipient (no heads), the patched
    and the randomly patched one answer side by side, and the donor reads the prompt once for all.

    Sets are two rows of a batch each; those that do not fit `tokens_at_once` together take turns. Progress is told the
    examples answered, once per set.
    """
    chosen = {name: as_heads(heads) for name, heads in sets.items()}
    rows = list(examples)
    if chosen_mode(donor, recipient, mode) == "two models":
        assert isinstance(donor, LanguageModel)
        run = {}
        for name, heads in chosen.items():
            lm = in_turns(donor, recipient, heads, scope)
            found = answer_and_judge(lm, rows, new_tokens, metrics, progress=progress, tokens_at_once=tokens_at_once)
            run[name] = Patched(found.predictions, "two models")
        return run
    encoded = encode_many(rows, recipient.tokenizer)
    refuse_long(encoded, recipient.context)
    at_once = max(1, tokens_at_once // (2 * max((item.prompt_length for item in encoded), default=1)))
    listed, answers = list(chosen.values()), []
    with one_model(Path(donor) if isinstance(donor, str) else donor, recipient) as shared:
        for start in range(0, len(listed), at_once):
            together = Together(recipient, shared, listed[start : start + at_once], new_tokens, scope, tokens_at_once)
            answers += together.answer(rows, encoded, metrics, progress)
    return {name: Patched(predictions, "one batch") for name, predictions in zip(chosen, answers, strict=True)}


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


def in_turns(donor: LanguageModel, recipient: LanguageModel, heads: tuple[Head, ...], scope: str) -> LanguageModel:
    """The recipient that calls its donor; as it is where no head is patched."""
    return replace(recipient, model=TwoModels(donor.model, recipient.model, heads, scope)) if heads else recipient


@dataclass(frozen=True)
class Together:
    """Answers of a recipient under several head sets, as rows of one batch with their donors."""

    recipient: LanguageModel
    shared: Shared
    sets: Sequence[tuple[Head, ...]]
    new_tokens: int
    scope: str
    tokens_at_once: int

    def answer(
        self, rows: list[Example], encoded: list[Encoded], metrics: Sequence[str], progress: Progress | None
    ) -> list[tuple[Any, ...]]:
        """Predictions of every set, in the rows' order."""
        copies = len(self.sets) + sum(bool(heads) for heads in self.sets)
        found: dict[tuple[int, int], Any] = {}
        for group in groups(encoded, self.tokens_at_once // copies):
            with memory_of([rows[i].id for i in group], f"use fewer head sets at once, or {MEMORY_ADVICE}"):
                done = self._decode([encoded[i] for i in group])
            places = [(place, i) for place in range(len(self.sets)) for i in group]
            for (place, i), written in zip(places, done, strict=True):
                found[place, i] = judge(rows[i], encoded[i].prompt_length, written, metrics)
            if progress:
                progress(len(group) * len(self.sets))
        return [tuple(found[place, i] for i in range(len(rows))) for place in range(len(self.sets))]

    def _decode(self, rows: Sequence[Encoded]) -> list[Any]:
        """Greedy answers to a group of prompts, set by set."""
        room = [min(self.new_tokens, self.recipient.context - row.prompt_length) for row in rows]
        with closing(OneBatch(self.shared, self.sets, len(rows), self.scope)) as model:
            lm = replace(self.recipient, model=model)
            return decode_group(lm, [*rows] * len(self.sets), room * len(self.sets), "\n")


# ---- tables


def patching_table(
    donor: Donor,
    recipient: LanguageModel,
    examples: Iterable[Example],
    donor_scores: HeadScores,
    recipient_scores: HeadScores,
    k: int = 10,
    threshold: float = 0.0,
    draws: int = 5,
    seed: int = 0,
    identity: bool = False,
    new_tokens: int = 32,
    scope: str = "all",
    mode: str | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """A row per head set of `patching_sets` (of `identity_sets` where asked): scores, and their change from the plain
    recipient's. For the other direction, call it with the two models and their scores exchanged."""
    if identity:
        sets = list(identity_sets(donor_scores))
    else:
        sets = list(patching_sets(donor_scores, recipient_scores, k, threshold, draws, seed))
    heads = {str(place): chosen.heads for place, chosen in enumerate(sets)}
    found = patch_many(donor, recipient, examples, heads, new_tokens, HEADLINE, progress, scope, mode)
    return [row_of(chosen, patched, found["0"]) for chosen, patched in zip(sets, found.values(), strict=True)]
