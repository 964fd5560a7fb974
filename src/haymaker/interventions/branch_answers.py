"""Answers of many sets of heads at once: each set is a branch of one prefill, edited while the answer is produced."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from haymaker.attention.edits import Patch
from haymaker.attention.recording import Recording, record
from haymaker.attention.targets import as_heads
from haymaker.console import OnProgress
from haymaker.errors import ConfigError
from haymaker.evaluation.exam import Exam
from haymaker.evaluation.predictions import Evaluation, judged
from haymaker.interventions.branches import Branch, Trunk
from haymaker.kept import Kept
from haymaker.models.generation import AnswerEnd, Generation, answers
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of, packed_rows_that_fit
from haymaker.records import Encoded, Head

AnswerBranches = Callable[[slice, AnswerEnd], list[Generation]]  # (which branches, where they end) -> their answers
ADVICE = "lower tokens_at_once or batch, build shorter rows, or use more memory"


def packed_room(lm: LanguageModel, exam: Exam, copies: int = 1) -> int:
    """Rows of a forward that answers many branches at once, in the memory that is free; one answer at least."""
    return max(packed_rows_that_fit(lm.model, max(exam.lengths), copies), exam.new_tokens)


def judged_sets(
    lm: LanguageModel,
    exam: Exam,
    count: int,
    prepare: Callable[[Encoded, int], AnswerBranches],
    *,
    rows_at_once: int | None,
    batch: int | None,
    on_progress: OnProgress | None,
    kept: Kept[Generation],
) -> list[Evaluation]:
    """Answers of `count` branches to every row of an exam, as many branches at once as there is room for, judged.

    prepare(row, rows at once) reads the row's prompt and returns what answers from there.
    """
    room = rows_at_once or kept.room
    if exam.new_tokens > room:
        raise ConfigError(f"tokens_at_once: {room} rows cannot hold an answer of {exam.new_tokens} tokens")
    at_once = min(room // exam.new_tokens, count, batch or count)

    def answers_to(i: int, parts: int) -> list[Generation]:
        item, end, each = exam.encoded[i], exam.end(lm, i), -(-at_once // parts)
        with memory_of([item.example_id], ADVICE):
            answer = prepare(item, each * exam.new_tokens)
            return [one for start in range(0, count, each) for one in answer(slice(start, start + each), end)]

    found: list[list[Any]] = [[] for _ in range(count)]
    for i in range(len(exam.encoded)):
        keys = [(place, i) for place in range(count)]
        done = kept.batch(keys, partial(answers_to, i), divisible=at_once > 1)
        for place, generation in enumerate(done):
            found[place].append(judged(exam, i, generation, kept.was_halved(place, i)))
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
