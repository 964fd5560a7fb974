"""Cross-model patching: what a model answers with another model's head outputs in place of its own."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from haymaker.attention.chance import check_ready
from haymaker.attention.targets import HeadLike, as_heads
from haymaker.console import OnProgress, note, told
from haymaker.evaluation.exam import Exam, Metrics
from haymaker.evaluation.predictions import Evaluation
from haymaker.heads.origins import tell_other_origin
from haymaker.heads.scores import HeadScores
from haymaker.interventions.branch_answers import AnswerBranches, judged_sets, packed_room, patched_answers
from haymaker.interventions.branches import Trunk, can_branch
from haymaker.interventions.controls import beside_random
from haymaker.interventions.head_sets import PATCHED, cut_short, few_draws, identity_sets, patching_sets
from haymaker.interventions.pairs import check_pair, tell_pair
from haymaker.interventions.patching_runs import Donor, Patched, Run, Sizes
from haymaker.markup import Rows
from haymaker.models.answer_text import STOP
from haymaker.models.load import LanguageModel
from haymaker.provenance import donor_of
from haymaker.records import Encoded, Example


def patch(
    donor: Donor,
    recipient: LanguageModel,
    examples: Iterable[Example],
    heads: Iterable[HeadLike],
    new_tokens: int | None = None,
    *,
    metrics: Metrics = None,
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
        metrics: As in `evaluate`.
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
    exam = Exam.of(recipient, examples, new_tokens, metrics=metrics, stop=stop)
    advance = told(on_progress, "answers", len(exam.rows))
    run = Run(donor, recipient, exam, scope, Sizes(tokens_at_once, batch), on_progress=advance)
    return run.kept_sets({"patched": as_heads(heads)}, mode, keep)["patched"]


def patch_many(
    donor: Donor,
    recipient: LanguageModel,
    examples: Iterable[Example],
    sets: Mapping[str, Iterable[HeadLike]],
    new_tokens: int | None = None,
    *,
    metrics: Metrics = None,
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
        metrics: As in `evaluate`.
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
    exam = Exam.of(recipient, examples, new_tokens, metrics=metrics, stop=stop)
    advance = told(on_progress, "answers", len(exam.rows) * len(sets))
    run = Run(donor, recipient, exam, scope, Sizes(tokens_at_once, batch), on_progress=advance)
    return run.kept_sets({name: as_heads(heads) for name, heads in sets.items()}, mode, keep)


def patch_sets(
    donor: LanguageModel,
    recipient: LanguageModel,
    examples: Iterable[Example],
    sets: Sequence[Iterable[HeadLike]],
    new_tokens: int | None = None,
    *,
    metrics: Metrics = None,
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
        metrics: As in `evaluate`.
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
    exam = Exam.of(recipient, examples, new_tokens, metrics=metrics, stop=stop)
    chosen = [as_heads(heads) for heads in sets]
    on_progress = told(on_progress, "answers", len(exam.rows) * len(chosen))
    if not (can_branch(donor.model, scope) and can_branch(recipient.model, scope)):
        run = Run(donor, recipient, exam, scope, Sizes(tokens_at_once, batch), on_progress=on_progress)
        return list(run.kept_sets({str(place): heads for place, heads in enumerate(chosen)}, None, keep).values())
    tell_pair(donor, recipient)

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
    kinds: Sequence[str] = PATCHED,
    seed: int = 0,
    identity: bool = False,
    new_tokens: int | None = None,
    metrics: Metrics = None,
    stop: str | None = STOP,
    scope: str = "all",
    mode: str | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> Rows:
    """A row per head set of `patching_sets` (of `identity_sets` where asked): the headline (`metric`, `score`), and its
    change from the plain recipient's; of at most five examples also their `answers`. For the other direction, exchange
    the two models and their scores."""
    lender, folder = (donor, None) if isinstance(donor, LanguageModel) else (recipient, Path(donor))
    tell_other_origin(donor_scores, lender, "the donor's head scores", folder)
    tell_other_origin(recipient_scores, recipient, "the recipient's head scores")
    if identity:
        sets = list(identity_sets(donor_scores))
    else:
        sets = list(patching_sets(donor_scores, recipient_scores, k, threshold, draws, seed=seed, kinds=kinds))
        told_sizes = cut_short(donor_scores, recipient_scores, k, threshold, kinds), few_draws(sets, draws)
        for said in filter(None, told_sizes):
            note(said, style="yellow")
    heads = {str(place): chosen.heads for place, chosen in enumerate(sets)}
    options: dict[str, Any] = {"metrics": metrics, "stop": stop, "scope": scope, "mode": mode}
    options |= {"batch": batch, "on_progress": on_progress, "keep": keep}
    found = patch_many(donor, recipient, examples, heads, new_tokens, **options)
    beside = beside_random(sets, [patched.values() for patched in found.values()])
    return Rows(
        chosen.columns() | patched.row() | patched.change_from(found["0"]) | controls | patched.few()
        for chosen, patched, controls in zip(sets, found.values(), beside, strict=True)
    )
