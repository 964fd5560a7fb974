"""Which rows go through a model together, and whether they fit into its context."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from haymaker.errors import LengthError
from haymaker.records import Encoded

TOKENS_AT_ONCE = 16_384  # of a batch on a CPU, padding included
# The same where rows are only read: at 512 tokens a row SmolLM2 takes 0.95 of the time that it takes with 16,384
READ_AT_ONCE = 4_096
MAX_PADDED_SHARE = 1 / 16  # a row joins longer ones only if at most this share of it is padding
# Tokens from which padding costs more than it saves: its mask shuts out the fast kernels of attention. On a CPU four
# padded prompts with 16 new tokens took 1.05 of the time of four alone at 1,024 tokens, 1.46 at 2,048; reckoned
# from that for 64, 0.78 and 1.02 (docs/log.md, 2026-11-27). Not measured on a GPU.
LONG = 2_048
Row = TypeVar("Row")


def batches_of(
    lengths: Sequence[int], tokens_at_once: int = TOKENS_AT_ONCE, most: int | None = None, masked: bool = False
) -> Iterator[list[int]]:
    """Indices of rows that go together: of about equal length, longest first, each row once.

    A batch has at most `most` rows, and more than `tokens_at_once` tokens, padding included, only in a single row.
    masked: padding needs a mask (prompts that are padded on the left), so rows of more than 2,048 tokens go together
    with rows of their own length alone.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else 0
        full = (len(batch) + 1) * longest > tokens_at_once or len(batch) == most
        share = 0 if masked and longest > LONG else MAX_PADDED_SHARE
        if batch and (full or lengths[i] < (1 - share) * longest):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def parted(rows: Sequence[Row], parts: int) -> list[Sequence[Row]]:
    """Rows in at most so many parts of about equal size, in their order."""
    size = max(1, -(-len(rows) // parts))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def refuse_long_rows(rows: Sequence[Encoded], context: int) -> None:
    """Raises LengthError, which names them, for rows (prompt and answer) longer than the model's context."""
    if long := {row.example_id: len(row) for row in rows if len(row) > context}:
        prompts = sum(row.prompt_length <= context for row in rows if row.example_id in long)
        fit = f" ({prompts} of them would fit without their answer)" if prompts else ""
        raise LengthError(
            f"{len(long)} of {len(rows)} rows are longer than the model's context of {context} tokens: {named(long)}; "
            f"rows are never cut: {remedy(rows)}{fit}"
        )


def refuse_long_prompts(rows: Sequence[Encoded], context: int) -> None:
    """Raises LengthError, which names them, for prompts after which not one token fits into the model's context."""
    if long := {row.example_id: row.prompt_length for row in rows if row.prompt_length >= context}:
        raise LengthError(
            f"{len(long)} of {len(rows)} prompts leave no room to answer in the context of {context} tokens: "
            f"{named(long)}; {remedy(rows)}"
        )


def remedy(rows: Sequence[Encoded]) -> str:
    return f"build shorter ones or extend the model to {max(map(len, rows))} tokens or more"


def named(lengths: dict[str, int]) -> str:
    return ", ".join(f"{name} ({length})" for name, length in list(lengths.items())[:5])
