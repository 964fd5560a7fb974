"""Rows planned side by side, so that the prompts they come to are tokenised at once.

A tokenizer that is asked for one row at a time has lost its tables from the processor's caches by the next, and takes
up to half as long again. Rows know nothing of each other: what comes out is the same however many there are.
"""

from collections.abc import Generator, Hashable, Mapping
from typing import TypeVar

from haymaker.errors import DataError
from haymaker.rendering import Prompt
from haymaker.tokens import Aligner, Tokens

TOKENS_AT_ONCE = 2**17  # of rows that are planned side by side, about

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


def together(makings: Mapping[Key, Generator[Prompt, Tokens, Made]], aligner: Aligner) -> dict[Key, Made | DataError]:
    """What comes of each, or the DataError in which it ended. Each gives prompts and is sent their tokens."""
    found: dict[Key, Made | DataError] = {}
    told: dict[Key, Tokens | DataError | None] = dict.fromkeys(makings)
    while told:
        asked: dict[Key, Prompt] = {}
        for key, tokens in told.items():
            making = makings[key]
            try:
                asked[key] = making.throw(tokens) if isinstance(tokens, DataError) else making.send(tokens)  # type: ignore[arg-type]
            except StopIteration as end:
                found[key] = end.value
            except DataError as error:
                found[key] = error.with_traceback(None)  # which would keep all that is at hand here
        told = dict(zip(asked, aligner.tokens_or_faults(list(asked.values())), strict=True))
    return found
