"""Memory that ran out, told as an error that names the rows: nothing is skipped, and nothing is scored as wrong."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from haymaker.errors import OutOfMemory

# torch's own class is a RuntimeError, and only a GPU raises it; a CPU says it in words
SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


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
