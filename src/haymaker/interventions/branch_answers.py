"""Answers of many sets of heads at once: each set is a branch of one prefill, edited while the answer is produced."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from haymaker.attention.edits import Patch, Zero
from haymaker.attention.recording import Recording, record
from haymaker.attention.targets import HeadLike, as_heads
from haymaker.errors import ConfigError
from haymaker.evaluation.predictions import HEADLINE, Evaluation, Progress, judge
from haymaker.interventions.branches import Branch, Trunk
from haymaker.interventions.ready import check_pair, check_ready
from haymaker.models.generation import Generation, end_tokens, finish_reason, refuse_long, text_before
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of
from haymaker.records import Encoded, Example, Head
from haymaker.tokens import encode_many

DEFAULT_SCOPE = "last+decode"
Answer = Callable[[slice, int], list[Generation]]  # (which branches, most tokens) -> their answers


def ablate_sets(
    lm: LanguageModel,
    examples: Iterable[Example],
    sets: Sequence[Iterable[HeadLike]],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    scope: str = DEFAULT_SCOPE,
    tokens_at_once: int = 1024,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """`ablate` for many sets of heads at once, while the answer is produced: one prefill per example.

    For ablation curves and random draws. The prompt is read with all heads; to remove them there too, use `ablate`.
    """
    branches = [removal(heads) for heads in sets]

    def prepare(item: Encoded) -> Answer:
        trunk = Trunk(lm.model, item.prompt_ids, tokens_at_once)
        return lambda some, room: answers_of(lm, trunk, item, branches[some], room, scope)

    return judged_sets(lm, list(examples), len(branches), prepare, new_tokens, metrics, tokens_at_once, progress)


def patch_sets(
    donor: LanguageModel,
    recipient: LanguageModel,
    examples: Iterable[Example],
    sets: Sequence[Iterable[HeadLike]],
    new_tokens: int = 32,
    metrics: Sequence[str] = HEADLINE,
    scope: str = DEFAULT_SCOPE,
    tokens_at_once: int = 1024,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """`patch` for many sets of heads at once, while the answer is produced: one prefill per model and example.

    The donor grows the same branches in lockstep, so each set is patched on the tokens that it made the recipient
    write. Both models read the prompt unpatched; to patch there too, use `patch`.
    """
    check_ready(donor)
    check_pair(donor, recipient)
    chosen = [as_heads(heads) for heads in sets]

    def prepare(item: Encoded) -> Answer:
        lender, trunk = (Trunk(lm.model, item.prompt_ids, tokens_at_once) for lm in (donor, recipient))
        return lambda some, room: patched_answers(recipient, lender, trunk, item, chosen[some], room, scope)

    return judged_sets(recipient, list(examples), len(chosen), prepare, new_tokens, metrics, tokens_at_once, progress)


def judged_sets(
    lm: LanguageModel,
    rows: list[Example],
    count: int,
    prepare: Callable[[Encoded], Answer],
    new_tokens: int,
    metrics: Sequence[str],
    tokens_at_once: int,
    progress: Progress | None,
) -> list[Evaluation]:
    """Answers of `count` branches to every example, as many branches at once as there is room for, judged."""
    if new_tokens > tokens_at_once:
        raise ConfigError(f"tokens_at_once: {tokens_at_once} rows cannot hold an answer of {new_tokens} tokens")
    check_ready(lm)
    encoded = encode_many(rows, lm.tokenizer)
    refuse_long(encoded, lm.context)
    each = tokens_at_once // new_tokens
    found: list[list[Any]] = [[] for _ in range(count)]
    for example, item in zip(rows, encoded, strict=True):
        room = min(new_tokens, lm.context - item.prompt_length)
        with memory_of([item.example_id], "lower tokens_at_once, build shorter rows, or use more memory"):
            answers = prepare(item)
            done = [one for start in range(0, count, each) for one in answers(slice(start, start + each), room)]
        for place, generation in zip(found, done, strict=True):
            place.append(judge(example, item.prompt_length, generation, metrics))
        if progress:
            progress(1)
    return [Evaluation(tuple(predictions)) for predictions in found]


def answers_of(
    lm: LanguageModel,
    trunk: Trunk,
    item: Encoded,
    branches: Sequence[Branch],
    room: int,
    scope: str,
    lend: Callable[[Sequence[int], Tensor], Any] | None = None,
) -> list[Generation]:
    """Each branch's greedy answer of at most `room` tokens; `lend` is called before every step but the first."""
    ends, stop = end_tokens(lm), "\n"
    written: list[list[int]] = [[] for _ in branches]
    done: dict[int, Generation] = {}
    with trunk.growing(branches, scope, "slots") as step:
        going = list(range(len(branches)))
        tokens = torch.full((len(going), 1), trunk.last, device=trunk.device)
        while going:
            chosen = step(going, tokens)[:, -1].argmax(-1)
            for branch, token in zip(going, chosen.tolist(), strict=True):
                written[branch].append(token)
                if reason := finish_reason(lm.tokenizer, written[branch], ends, stop, room):
                    text = text_before(lm.tokenizer, written[branch], stop)
                    done[branch] = Generation(item.example_id, tuple(written[branch]), text, reason)
            kept = [place for place, branch in enumerate(going) if branch not in done]
            going, tokens = [going[place] for place in kept], chosen[kept][:, None]
            if going and lend is not None:
                lend(going, tokens)
    return [done[branch] for branch in range(len(branches))]


def patched_answers(
    recipient: LanguageModel,
    lender: Trunk,
    trunk: Trunk,
    item: Encoded,
    sets: Sequence[tuple[Head, ...]],
    room: int,
    scope: str,
) -> list[Generation]:
    """Each set's answer with the lender's outputs of its heads, step by step on the same tokens."""
    outputs = Recording(as_heads(head for heads in sets for head in heads), lender.architecture.site)
    with lender.growing([[] for _ in sets], scope) as step:

        def lend(going: Sequence[int], tokens: Tensor) -> None:
            with record(lender.model, outputs.heads) as newest:
                step(going, tokens)
            for layer in outputs.layers:
                outputs.add(layer, newest.positions[0], newest.layer(layer))

        lend(range(len(sets)), torch.full((len(sets), 1), lender.last, device=lender.device))
        branches: list[Branch] = [[Patch(heads, outputs)] if heads else [] for heads in sets]
        return answers_of(recipient, trunk, item, branches, room, scope, lend)


def removal(heads: Iterable[HeadLike]) -> Branch:
    chosen = as_heads(heads)
    return [Zero(chosen)] if chosen else []
