"""How many tokens an answer may take: the same for every row of a set, and never a function of the row's own gold."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from transformers import PreTrainedTokenizerBase

from haymaker.errors import ConfigError, LengthError
from haymaker.models.batching import named, refuse_long_prompts
from haymaker.records import Encoded

NEW_TOKENS = 64  # of an answer, where neither the caller nor the rows say how many


def budget_of(
    rows: Sequence[Encoded],
    tokenizer: PreTrainedTokenizerBase,
    context: int | None,
    wanted: int | None = None,
    recorded: int | None = None,
    *,
    golds: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Tokens of every answer: as `wanted`, else the room that the rows were built with (`recorded`), else 64 or what
    all prompts leave of the context. `context=None` asks for no room in it. `golds` are right answers by example that
    say more than the target does.

    Raises ConfigError where the longest gold takes more, LengthError for prompts that leave less of the context.
    """
    if wanted is not None and wanted < 1:
        raise ConfigError(f"new_tokens: expected at least 1, found {wanted}")
    if context is not None:
        refuse_long_prompts(rows, context)
        refuse_rows_that_fit_without_their_answer(rows, tokenizer, context)
    least = min((context - row.prompt_length for row in rows), default=NEW_TOKENS) if context else NEW_TOKENS
    budget = wanted or recorded or min(NEW_TOKENS, least)
    refuse_long_golds(rows, tokenizer, budget, golds, left=not (wanted or recorded) and least < NEW_TOKENS)
    if context is not None and least < budget:
        short = {row.example_id: context - row.prompt_length for row in rows if context - row.prompt_length < budget}
        raise LengthError(
            f"{len(short)} of {len(rows)} prompts leave less than the {budget} tokens of an answer in the context of "
            f"{context}: {named(short)}; an answer is never cut to what is left: build the rows with "
            f"answer_room={budget}, give fewer new_tokens, or extend the model further"
        )
    return budget


def room_of(examples: Any) -> int | None:
    """Tokens that rows were built to leave free for an answer; None of rows that were not built."""
    return getattr(examples, "manifest", {}).get("answer_room") or None


def refuse_rows_that_fit_without_their_answer(
    rows: Sequence[Encoded], tokenizer: PreTrainedTokenizerBase, context: int
) -> None:
    """Raises LengthError where no budget lets the model write a row's target behind its prompt."""
    short = {
        row.example_id: row.prompt_length + needed
        for row in rows
        if len(row) > context and (needed := text_tokens(row.answer_ids, tokenizer)) > context - row.prompt_length
    }
    if short:
        raise LengthError(
            f"{len(short)} of {len(rows)} rows fit into the context of {context} tokens only without their answer: "
            f"{named(short)}; build shorter rows, or extend the model further"
        )


def refuse_long_golds(
    rows: Sequence[Encoded],
    tokenizer: PreTrainedTokenizerBase,
    budget: int,
    golds: Mapping[str, str],
    *,
    left: bool = False,
) -> None:
    """Raises ConfigError where the target of a row, or its gold, does not fit into an answer of `budget` tokens, which
    is what some prompt has `left` of the context or what was asked for."""
    said = [  # a list: own rows may share a name
        tokenizer(golds[row.example_id], add_special_tokens=False)["input_ids"]
        if row.example_id in golds
        else row.answer_ids
        for row in rows
    ]
    long = {
        row.example_id: needed
        for row, ids in zip(rows, said, strict=True)
        if len(ids) > budget and (needed := text_tokens(ids, tokenizer)) > budget
    }
    if long:
        room = max(long.values())
        more = f"build the rows with answer_room={room}, or extend the model further" if left else ""
        raise ConfigError(
            f"new_tokens: {len(long)} of {len(rows)} golds take more than the {budget} tokens that an answer may have: "
            f"{named(long)}; {more or f'give new_tokens={room} or more'}"
        )


def text_tokens(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> int:
    """Of an answer's tokens, those up to the last that says something: what closes it does not count."""
    count = len(ids)
    while count and not str(tokenizer.decode([ids[count - 1]], skip_special_tokens=True)).strip():
        count -= 1
    return count
