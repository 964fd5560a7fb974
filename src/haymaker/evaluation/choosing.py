"""Gold or foil: which of a right and a wrong answer a model finds more probable. For models that do not answer."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from haymaker.attention.hook import refuse_tuples
from haymaker.choices import GOLD_OVER_FOIL
from haymaker.console import OnProgress
from haymaker.errors import ConfigError, DataError
from haymaker.evaluation.places import depth_of, hops_of
from haymaker.kept import Codec
from haymaker.metrics.shared import normalise
from haymaker.models.batching import refuse_long_rows
from haymaker.models.load import LanguageModel
from haymaker.models.memory import memory_of
from haymaker.provenance import kept_rows, tell_other_tokenizer
from haymaker.randomness import keyed
from haymaker.records import Encoded, Example, Prediction, examples_of
from haymaker.tokens import encode_many

ADVICE = "build shorter rows, or use a machine with more memory"
Pair = tuple[float, float]  # mean log-probability per token of gold and foil


def chooses(metrics: str | Sequence[str] | None) -> bool:
    """Whether a model shall choose instead of answering. Raises ConfigError where it shall do both."""
    names = {metrics} if isinstance(metrics, str) else set(metrics or ())
    if GOLD_OVER_FOIL in names and len(names) > 1:
        raise ConfigError(f"metrics: {GOLD_OVER_FOIL} judges a choice of two, the others an answer; ask for it alone")
    return GOLD_OVER_FOIL in names


def choices(
    lm: LanguageModel,
    examples: Iterable[Example],
    *,
    beyond_context: bool = False,
    on_progress: OnProgress | None = None,
    keep: str | Path | None = None,
) -> tuple[Prediction, ...]:
    """Of each row's target and a foil the text that the model finds more probable.

    Raises DataError for fewer than two different answers, LengthError for rows beyond the context.
    """
    refuse_tuples(lm.base)
    tell_other_tokenizer(examples, lm)
    rows = examples_of(examples)
    foils = foils_of(rows)
    against = [replace(row, answers=(foil,)) for row, foil in zip(rows, foils, strict=True)]
    golds, others = encode_many(rows, lm.tokenizer), encode_many(against, lm.tokenizer)
    if not beyond_context:
        refuse_long_rows([*golds, *others], lm.context)
    found: list[Pair] = []
    with kept_rows(keep, lm, golds, Codec(list, tuple), metric=GOLD_OVER_FOIL, foils=foils) as kept:
        for i, pair in enumerate(zip(golds, others, strict=True)):
            found += kept.row((i,), partial(compared, lm, pair))
            if on_progress is not None:
                on_progress(1)
    told = zip(rows, golds, foils, found, strict=True)
    return tuple(chosen(row, item, foil, pair) for row, item, foil, pair in told)


def compared(lm: LanguageModel, pair: Sequence[Encoded]) -> list[Pair]:
    with memory_of([pair[0].example_id], ADVICE):
        gold, foil = (float(log_probabilities(lm, item).mean()) for item in pair)
    return [(gold, foil)]


@torch.no_grad()
def log_probabilities(lm: LanguageModel, item: Encoded) -> Float[Tensor, " token"]:
    """log p (nats) of every token of the answer's text behind the prompt; what closes it does not count."""
    count = len(item.answer_ids)
    ids = torch.tensor([item.input_ids], device=lm.device)
    logits = lm.model(input_ids=ids, use_cache=False, logits_to_keep=count + 1).logits[0, -count - 1 : -1]
    found = logits.float().log_softmax(-1).gather(-1, ids[0, -count:, None])[:, 0]
    return found[: count - item.closing]


def chosen(row: Example, item: Encoded, foil: str, pair: Pair) -> Prediction:
    """The choice as a prediction. Two texts of one probability are no choice: the foil counts."""
    margin = pair[0] - pair[1]
    return Prediction(
        example_id=row.id, text=row.target if margin > 0 else foil, answers=row.answers,
        scores={GOLD_OVER_FOIL: float(margin > 0)}, finish_reason="choice", prompt_tokens=item.prompt_length,
        generated_tokens=0, task=row.task, depth=depth_of(item), hops=hops_of(row), foil=foil, margin=margin,
    )  # fmt: skip


# ---- foils


def foils_of(rows: Sequence[Example]) -> list[str]:
    """A wrong answer for every row: the target of another one, if there is one that stands in its context (a
    competitor), else any. Drawn by the row's id. Raises DataError where all rows have the same answer."""
    if not rows:
        raise DataError("expected at least one example to choose an answer to, found none")
    pool = sorted({row.target for row in rows})
    return [foil_of(row, pool) for row in rows]


def foil_of(row: Example, pool: Sequence[str]) -> str:
    golds = [normalise(gold) for gold in row.answers]
    wrong = [text for text in pool if (said := normalise(text)) and not any(alike(said, gold) for gold in golds)]
    if not wrong:
        raise DataError(f"{row.id}: no other row has an answer that is wrong here, so there is no foil; give more rows")
    return keyed(0, "foil", row.id).choice([text for text in wrong if text in row.text] or wrong)


def alike(one: str, other: str) -> bool:
    """Whether one of two normalised answers holds the other, so that both may be right."""
    return bool(other) and (one in other or other in one)
