"""Memory: what a device has free, how many tokens go through a model with that, and what is said where it ran out.

Out of memory is an error that names the rows: nothing is skipped, and nothing is scored as wrong. Kept rows
(`haymaker.kept`) halve a batch once before they let it pass.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from haymaker.errors import OutOfMemory
from haymaker.models.batching import LONG, READ_AT_ONCE, TOKENS_AT_ONCE
from haymaker.models.forward import stack_of
from haymaker.models.handshake import base_of
from haymaker.models.shapes import Shape, shape_of
from haymaker.processes import free_memory, memory_share

# torch's own class is a RuntimeError, and only a GPU raises it; a CPU says it in words
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
USABLE = 0.8  # of the free memory: what kernels need beside tensors, and what an allocator cannot fill, is not counted
GPU_TOKENS = 131_072  # of a batch: a wide model's activations of more have no 32-bit index
PACKED_ROWS = 1_024  # of a forward that answers or scores many edits at once
FLOAT = 4  # bytes: logits, scores of attention and norms are float32 whatever the model


@contextmanager
def memory_of(examples: Sequence[str], advice: str) -> Iterator[None]:
    """Raises OutOfMemory, which names `examples` and says `advice`, where the work inside the block needs too much."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        named = ", ".join(examples[:5]) + (f" and {len(examples) - 5} more" if examples[5:] else "")
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OutOfMemory(f"memory ran out at {named} ({reason}); {advice}") from error


def ran_out(error: Exception) -> bool:
    """Whether an error says that memory, of the machine or of its accelerator, ran out."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in SIGNS)


# ---- what is free, and what fits into it


def free_bytes(device: torch.device) -> int:
    """Bytes that a device can still give: of a GPU with what torch keeps back, of this machine within its limit.

    Of several processes that share a device each counts on its part of that.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(memory_share() * (free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)))
    return int(memory_share() * free_memory())


def tokens_that_fit(model: Any, lengths: Sequence[int], written: int, probed: int = 0, copies: int = 1) -> int:
    """How many tokens of prompts may go through a model together in the memory that is free now.

    A power of two, so that a machine makes the same batches again; at most 131,072 on a GPU. On a CPU at most 16,384,
    and 4,096 where nothing is written: it gains nothing by more, and Ctrl-C and the bar wait for a batch.

    lengths: tokens of the rows. written: most tokens that each is continued by. probed: rows of attention that are read
    of each. copies: models of which the batch needs the memory.
    """
    device = next(model.parameters()).device
    most = GPU_TOKENS if device.type == "cuda" else TOKENS_AT_ONCE if written else READ_AT_ONCE
    shape, eager = shape_read(model)
    free = USABLE * free_bytes(device) / copies
    fit = min(free / token_bytes(shape, n, written, probed, eager=eager) for n in (min(lengths), max(lengths)))
    return min(most, power_of_two(fit))


def packed_rows_that_fit(model: Any, longest: int, copies: int = 1) -> int:
    """How many rows of branches may stand behind one prompt of `longest` tokens: at most 1,024, a power of two."""
    shape, eager = shape_read(model)
    free = USABLE * free_bytes(next(model.parameters()).device) / copies
    prompt = longest * (token_bytes(shape, longest, 0, 0, eager=eager) - mask_bytes(shape, longest))
    slots = longest + PACKED_ROWS
    seen = slots * (1 + shape.element + (2 * FLOAT * shape.heads if eager else 0))  # a tree mask keeps branches apart
    row = seen + passing_bytes(shape) + logits_bytes(shape) + cache_bytes(shape)
    return min(PACKED_ROWS, power_of_two((free - prompt) / row))


def shape_read(model: Any) -> tuple[Shape, bool]:
    """A model's sizes, and whether its attention makes all scores at once."""
    base = base_of(model)
    config = stack_of(base).config
    return shape_of(config, base.dtype.itemsize, 0, 1), config._attn_implementation == "eager"


def token_bytes(shape: Shape, length: int, written: int, probed: int, *, eager: bool = False) -> float:
    """Bytes that a token of a prompt of `length` takes at most, its share of what comes after the prompt included."""
    scores = 2 * FLOAT * shape.heads * (length if eager else 0) + 2 * FLOAT * shape.heads * probed
    whole = cache_bytes(shape) * (length + written) + logits_bytes(shape)
    return whole / length + passing_bytes(shape) + scores + mask_bytes(shape, length)


def cache_bytes(shape: Shape) -> int:
    """Keys and values of a token in all layers, and in one more, that grows."""
    return shape.element * 2 * shape.key_value * (shape.layers + 1)


def passing_bytes(shape: Shape) -> int:
    """What a token needs while one layer is computed."""
    attention = 2 * shape.query + 2 * shape.key_value
    return shape.element * (4 * shape.hidden + max(attention, 3 * shape.inner)) + 2 * FLOAT * shape.hidden


def logits_bytes(shape: Shape) -> int:
    """Logits of a row in the model's precision and in float32, and a copy."""
    return shape.vocabulary * (shape.element + 2 * FLOAT)


def mask_bytes(shape: Shape, length: int) -> int:
    """A token's row of the mask that padding needs, as truth values and as numbers; long rows have none."""
    return length * (1 + shape.element) if length <= LONG else 0


def power_of_two(number: float) -> int:
    """The largest power of two that is not above `number`; at least 1."""
    return 1 << (int(max(number, 1)).bit_length() - 1)
