"""Ablation: what a model answers without some of its heads.

`scope` is the same word with the same default in `ablate`, `ablate_sets`, `ablation_curve` and in the functions of
patching: the positions at which heads are edited, by default "all". Sets of heads share one reading of each prompt
where the scope leaves the prompt's own keys alone; where it does not, every set reads the prompt anew. The answers are
the same both ways.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from haymaker.attention.canary import check_architecture
from haymaker.attention.chance import check_ready
from haymaker.attention.edits import Zero, edit
from haymaker.attention.targets import HeadLike, as_heads
from haymaker.console import OnProgress, note, told
from haymaker.evaluation.exam import Exam, Metrics
from haymaker.evaluation.predictions import Evaluation, examine, room_for
from haymaker.heads.origins import tell_other_origin
from haymaker.heads.scores import HeadScores
from haymaker.interventions.branch_answers import AnswerBranches, answers_of, judged_sets, packed_room
from haymaker.interventions.branches import Branch, Trunk, can_branch
from haymaker.interventions.controls import beside_random
from haymaker.interventions.head_sets import HeadSet, ablation_sets, few_draws
from haymaker.kept import Kept
from haymaker.markup import Rows
from haymaker.models.answer_text import STOP
from haymaker.models.generation import Generation
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded, Example, Head

if TYPE_CHECKING:
    import haymaker.charts.chart

# columns that a notebook shows of all
SHOWN = ("heads", "k", "draw", "metric", "score", "score_low", "score_high", "delta", "delta_low", "delta_high", "n")


class AblationCurve(Rows):
    """The rows of `ablation_curve`, which can draw themselves."""

    shown = SHOWN

    def plot(self) -> "haymaker.charts.chart.Chart":
        """The headline against the heads masked, for a notebook or, with `.save`, a file (.html, .png, .svg)."""
        from haymaker.charts.lines import masking_chart

        return masking_chart(self)


def ablate(
    lm: LanguageModel,
    examples: Iterable[Example],
    heads: Iterable[HeadLike],
    new_tokens: int | None = None,
    *,
    metrics: Metrics = None,
    stop: str | None = STOP,
    scope: str = "all",
    tokens_at_once: int | None = None,
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> Evaluation:
    """Evaluation with the outputs of `heads` set to zero.

    Args:
        lm: The model.
        examples: A Dataset, or any Examples.
        heads: Heads as `Head`, pairs (layer, head) or "16-19"; none is the plain model.
        new_tokens: Most tokens of an answer; None as in `evaluate`.
        metrics: As in `evaluate`.
        stop: A text that ends an answer, once there is an answer before it; None: only the model's own end does.
        on_progress: Called with the number of examples answered since its last call.
        keep: A file in which rows are kept as they are done: after a stop the same call goes on, and gives the same.
            It is left when the call ends well, for the caller to remove.
        scope: "all" positions, "prompt", "last" (the prompt's last token), "decode" (what comes after it), or several
            joined by +.
        tokens_at_once: Most prompt tokens of a batch; None: as many as the free memory holds, see `evaluate`.
        batch: Most examples of a batch; None: no bound but the tokens.

    Returns:
        An Evaluation, as `evaluate` gives it.

    Raises:
        ConfigError: A metric that there is not, or a budget smaller than the longest gold.
        LengthError: An example whose prompt leaves less than the budget of the model's context.
        ModelError: A model in train mode.
        ProbeError: A head that the model lacks, or an unknown scope.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Source:
        Masking of retrieval heads: Wu et al. 2024 (arXiv 2404.15574); Zhao et al. 2025 (arXiv 2410.22316).

    Examples:
        >>> hm.ablate(lm, rows, [(3, 4), "2-1"], new_tokens=8).row()["n"]
        2
    """
    check_ready(lm)
    exam = Exam.of(lm, examples, new_tokens, metrics=metrics, stop=stop)
    chosen = as_heads(heads)
    sizes = {"tokens_at_once": tokens_at_once, "batch": batch}
    options = {"sets": [list(map(str, chosen))], "scope": scope, **sizes}
    with exam.answers_in(keep, lm, room=room_for(lm, exam), **options) as kept:
        advance = told(on_progress, "answers", len(exam.rows))
        return ablated(lm, exam, chosen, scope, **sizes, on_progress=advance, kept=kept)


def ablate_sets(
    lm: LanguageModel,
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
) -> list[Evaluation]:
    """`ablate` for many sets of heads, in their order.

    One reading of each prompt serves all sets where `scope` is made of "last" and "decode" alone and every layer of the
    model keeps keys; else they run set by set.

    Args:
        lm: The model.
        examples: A Dataset, or any Examples.
        sets: Sets of heads; an empty one is the plain model.
        new_tokens: Most tokens of an answer; None as in `evaluate`.
        metrics: As in `evaluate`.
        stop: A text that ends an answer, once there is an answer before it; None: only the model's own end does.
        scope: As in `ablate`.
        tokens_at_once: Most prompt tokens of a batch, or rows of a forward that answers many sets at once; None: as
            many as the free memory holds, of such rows at most 1,024.
        batch: Most examples of a batch, or sets that are answered at once; None: no bound but the tokens.
        on_progress: Called with the number of answers given since its last call, one per example and set.
        keep: As in `ablate`.

    Returns:
        An Evaluation for each set, in order.

    Raises:
        ConfigError: A metric that there is not, a budget smaller than the longest gold, or `tokens_at_once` rows that
            cannot hold an answer.
        LengthError: An example whose prompt leaves less than the budget of the model's context.
        ModelError: A model in train mode.
        ProbeError: A head that the model lacks, or an unknown scope.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Examples:
        >>> sets = [[], [(3, 4)], ["2-1", "3-4"]]
        >>> [found.row()["n"] for found in hm.ablate_sets(lm, rows, sets, new_tokens=8, scope="last+decode")]
        [2, 2, 2]
    """
    check_ready(lm)
    exam = Exam.of(lm, examples, new_tokens, metrics=metrics, stop=stop)
    chosen = [as_heads(heads) for heads in sets]
    sizes: dict[str, Any] = {"tokens_at_once": tokens_at_once, "batch": batch}
    options = {"sets": [list(map(str, heads)) for heads in chosen], "scope": scope, **sizes}
    shared = can_branch(lm.model, scope)
    room = packed_room(lm, exam) if shared else room_for(lm, exam)
    with exam.answers_in(keep, lm, len(chosen), room=room, **options) as kept:
        sizes |= {"on_progress": told(on_progress, "answers", len(exam.rows) * len(chosen))}
        if shared:
            return branched(lm, exam, chosen, scope, **sizes, kept=kept)
        return [ablated(lm, exam, heads, scope, **sizes, kept=kept.under(place)) for place, heads in enumerate(chosen)]


def branched(
    lm: LanguageModel,
    exam: Exam,
    chosen: Sequence[tuple[Head, ...]],
    scope: str,
    *,
    tokens_at_once: int | None,
    batch: int | None,
    on_progress: OnProgress | None,
    kept: Kept[Generation],
) -> list[Evaluation]:
    """An exam without each set of heads, from one reading of each prompt."""

    def prepare(item: Encoded, rows_at_once: int) -> AnswerBranches:
        trunk = Trunk(lm.model, item.prompt_ids, rows_at_once)
        return lambda some, end: answers_of(trunk, item, [removal(heads) for heads in chosen[some]], end, scope)

    return judged_sets(
        lm, exam, len(chosen), prepare, rows_at_once=tokens_at_once, batch=batch, on_progress=on_progress, kept=kept
    )


def ablation_curve(
    lm: LanguageModel,
    examples: Iterable[Example],
    scores: HeadScores,
    sizes: Sequence[int] = (1, 2, 5, 10),
    draws: int = 3,
    *,
    seed: int = 0,
    new_tokens: int | None = None,
    metrics: Metrics = None,
    stop: str | None = STOP,
    scope: str = "all",
    batch: int | None = None,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> AblationCurve:
    """Ablation of the top heads of a score map in several sizes, each beside other heads of the same layers.

    Args:
        lm: The model.
        examples: A Dataset, or any Examples.
        scores: Which heads retrieve.
        sizes: How many of them are removed.
        draws: Distinct random sets for each size, outside the top of the largest size; fewer where there are no more.
        seed: Of the random sets.
        new_tokens: Most tokens of an answer; None as in `evaluate`.
        metrics: As in `ablate`.
        stop: As in `ablate`.
        scope: As in `ablate`.
        batch: As in `ablate_sets`.
        on_progress: Called with the number of examples answered since its last call, once per set.
        keep: As in `ablate`.

    Returns:
        A row per set, with its heads, the headline (`metric`, `score`) and its change from the whole model's, which is
        the first row, and the other metrics by name; of at most five examples also their `answers`.

    Raises:
        ConfigError: Fewer heads are left than random ones are wanted.
        LengthError: An example whose prompt leaves no room for an answer.
        ModelError: A model in train mode.
        ProbeError: An unknown scope.
        OutOfMemory: An example, or half of a batch, that does not fit the machine; no example is ever skipped.

    Examples:
        >>> curve = hm.ablation_curve(lm, rows, hm.detect_heads(lm, rows), sizes=(1,), draws=1, new_tokens=8)
        >>> [row["heads"] for row in curve]
        ['none', 'retrieval', 'random']
    """
    tell_other_origin(scores, lm, "head scores")
    sets = curve_sets(lm, scores, sizes, draws, seed)
    if told_few := few_draws(sets, draws):
        note(told_few, style="yellow")
    heads = [chosen.heads for chosen in sets]
    options: dict[str, Any] = {"metrics": metrics, "stop": stop, "scope": scope, "keep": keep}
    options |= {"batch": batch}
    found = ablate_sets(lm, examples, heads, new_tokens, on_progress=on_progress, **options)
    return AblationCurve(
        chosen.columns() | changed.row() | changed.change_from(found[0]) | beside | {"scope": scope} | changed.few()
        for chosen, changed, beside in zip(
            sets, found, beside_random(sets, [one.values() for one in found]), strict=True
        )
    )


def curve_sets(lm: LanguageModel, scores: HeadScores, sizes: Sequence[int], draws: int, seed: int) -> list[HeadSet]:
    """The sets of a curve: the top heads of each size, and random ones among those that the model has."""
    check_ready(lm)
    layers, width = scores.mean.shape
    there = check_architecture(lm.model).heads
    absent = {Head(*place) for place in np.ndindex(layers, width)}.difference(there)
    return list(ablation_sets(scores, sizes, draws, seed, absent=absent))


def ablated(
    lm: LanguageModel,
    exam: Exam,
    heads: Iterable[HeadLike],
    scope: str,
    **how: Any,
) -> Evaluation:
    """An exam without some heads, taken as `examine` is told."""
    with edit(lm.model, *removal(heads), scope=scope):
        return examine(lm, exam, **how)


def removal(heads: Iterable[HeadLike]) -> Branch:
    """The edit that takes heads away; none without heads."""
    chosen = as_heads(heads)
    return [Zero(chosen)] if chosen else []
