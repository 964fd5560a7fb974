"""Answers of many sets of heads at once: each set is a branch of one prefill, edited while the answer is produced."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from haymaker.attention.edits import Patch
from haymaker.attention.recording import Recording, record
from haymaker.attention.targets import as_heads
from haymaker.console import OnProgress
from haymaker.errors import ConfigError
from haymaker.evaluation.predictions import Evaluation, judge
from haymaker.interventions.branches import ROWS_AT_ONCE, Branch, Trunk
from haymaker.models.batching import refuse_long_prompts
from haymaker.models.generation import AnswerEnd, Generation, answers
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of
from haymaker.records import Encoded, Example, Head
from haymaker.tokens import encode_many

AnswerBranches = Callable[[slice, AnswerEnd], list[Generation]]  # (which branches, where they end) -> their answers
ADVICE = "lower tokens_at_once, build shorter rows, or use more memory"


def judged_sets(
    lm: LanguageModel,
    rows: list[Example],
    count: int,
    prepare: Callable[[Encoded, int], AnswerBranches],
    new_tokens: int,
    *,
    metrics: Sequence[str],
    rows_at_once: int | None,
    on_progress: OnProgress | None,
) -> list[Evaluation]:
    """Answers of `count` branches to every example, as many branches at once as there is room for, judged.

    prepare(example, rows at once) reads the example's prompt and returns what answers from there.
    """
    room = rows_at_once or max(ROWS_AT_ONCE, new_tokens)
    if new_tokens > room:
        raise ConfigError(f"tokens_at_once: {room} rows cannot hold an answer of {new_tokens} tokens")
    encoded = encode_many(rows, lm.tokenizer)
    refuse_long_prompts(encoded, lm.context)
    each = room // new_tokens
    found: list[list[Any]] = [[] for _ in range(count)]
    for example, item in zip(rows, encoded, strict=True):
        end = AnswerEnd(lm, min(new_tokens, lm.context - item.prompt_length))
        with memory_of([item.example_id], ADVICE):
            answer = prepare(item, room)
            done = [one for start in range(0, count, each) for one in answer(slice(start, start + each), end)]
        for place, generation in zip(found, done, strict=True):
            place.append(judge(example, item.prompt_length, generation, metrics))
        if on_progress:
            on_progress(count)
    return [Evaluation(tuple(predictions)) for predictions in found]


def answers_of(
    trunk: Trunk,
    item: Encoded,
    branches: Sequence[Branch],
    end: AnswerEnd,
    scope: str,
    *,
    lend: Callable[[Sequence[int], Tensor], Any] | None = None,
) -> list[Generation]:
    """Each branch's greedy answer; `lend` is called with what every step but the first is called with, before it."""
    with trunk.growing(branches, scope, "slots") as step:

        def go_on(going: Sequence[int], tokens: Tensor) -> Tensor:
            if lend is not None:
                lend(going, tokens)
            return step(going, tokens[:, None])[:, -1]

        first = step(range(len(branches)), trunk.last_tokens(len(branches)))[:, -1]
        return answers(first, go_on, [end] * len(branches), [item.example_id] * len(branches))


def patched_answers(
    lender: Trunk, trunk: Trunk, item: Encoded, sets: Sequence[tuple[Head, ...]], end: AnswerEnd, *, scope: str
) -> list[Generation]:
    """Each set's answer with the lender's outputs of its heads, step by step on the same tokens."""
    outputs = Recording(as_heads(head for heads in sets for head in heads), lender.architecture.site)
    with lender.growing([[] for _ in sets], scope) as step:

        def lend(going: Sequence[int], tokens: Tensor) -> None:
            with record(lender.model, outputs.heads) as newest:
                step(going, tokens[:, None].to(lender.device))
            for layer in outputs.layers:
                outputs.add(layer, newest.positions[0], newest.layer(layer))

        lend(range(len(sets)), lender.last_tokens(len(sets))[:, 0])
        branches: list[Branch] = [[Patch(heads, outputs)] if heads else [] for heads in sets]
        return answers_of(trunk, item, branches, end, scope, lend=lend)
