"""Ablation: what a model answers without some of its heads."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from haymaker.attention.edits import Zero, edit
from haymaker.attention.targets import HeadLike, as_heads
from haymaker.evaluation.predictions import HEADLINE, Evaluation, Progress, answer_and_judge
from haymaker.heads.scores import HeadScores
from haymaker.interventions.head_sets import ablation_sets
from haymaker.interventions.ready import check_ready
from haymaker.interventions.tables import row_of
from haymaker.models.generation import TOKENS_AT_ONCE
from haymaker.models.load import LanguageModel
from haymaker.records import Example

if TYPE_CHECKING:
    import haymaker.charts.chart


class AblationCurve(list[dict[str, Any]]):
    """The rows of `ablation_curve`, which can draw themselves."""

    def plot(self) -> "haymaker.charts.chart.Chart":
        """F1 against the heads masked, for a notebook or, with `.save`, a file (.html, .png, .svg)."""
        from haymaker.charts.lines import masking_chart

        return masking_chart(self)


def ablate(
    lm: LanguageModel,
    examples: Iterable[Example],
    heads: Iterable[HeadLike],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    progress: Progress | None = None,
    scope: str = "all",
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> Evaluation:
    """Evaluation with the outputs of `heads` set to zero in `scope`: "all" positions, "prompt", "last" (the prompt's
    last token), "decode" (what comes after it), or several joined by +.

    No heads is the plain model. `tokens_at_once` bounds the prompt tokens of a batch. Raises ProbeError for a head that
    the model lacks, ModelError for a model in train mode, OutOfMemory, and never skips an example.
    """
    check_ready(lm)
    chosen = as_heads(heads)
    with edit(lm.model, *([Zero(chosen)] if chosen else []), scope=scope):
        return answer_and_judge(lm, examples, new_tokens, metrics, progress=progress, tokens_at_once=tokens_at_once)


def ablation_curve(
    lm: LanguageModel,
    examples: Iterable[Example],
    scores: HeadScores,
    sizes: Sequence[int] = (1, 2, 5, 10),
    draws: int = 3,
    seed: int = 0,
    new_tokens: int = 32,
    scope: str = "all",
    progress: Progress | None = None,
) -> AblationCurve:
    """Ablation of the top heads of a score map in several sizes, each beside `draws` sets of other heads of the same
    layers: a row per set with its scores and their change from the whole model's, which is the first row.

    `scope` as in `ablate`; progress is told the examples answered, once per set.
    """
    rows = list(examples)
    found = [
        (chosen, ablate(lm, rows, chosen.heads, new_tokens, progress=progress, scope=scope))
        for chosen in ablation_sets(scores, sizes, draws, seed)
    ]
    return AblationCurve(row_of(chosen, changed, found[0][1]) | {"scope": scope} for chosen, changed in found)
