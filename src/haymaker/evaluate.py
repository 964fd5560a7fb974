"""Evaluation: a model answers every example greedily, and a task's metrics judge the answers."""

from collections.abc import Iterable, Sequence

from haymaker.models.load import LanguageModel
from haymaker.predictions import HEADLINE, Evaluation, Progress, answer_and_judge
from haymaker.records import Example


def evaluate(
    lm: LanguageModel,
    examples: Iterable[Example],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    beyond_context: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Answers to all examples, at most `new_tokens` tokens each, scored 0 to 1 under every metric.

    An answer that reaches the limit is kept and counted (`Evaluation.cut_off`). Raises LengthError for examples that do
    not fit the model's context with their answer, unless `beyond_context` asks how a model fares there.
    """
    return answer_and_judge(lm, examples, new_tokens, metrics, beyond_context, progress)
