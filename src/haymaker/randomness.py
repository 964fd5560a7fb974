"""Randomness keyed by (seed, row, purpose): more rows, other lengths or worker counts never change an existing row."""

import hashlib
from collections.abc import Iterator
from random import Random


def keyed(seed: int, *key: str | int) -> Random:
    """A generator that depends on its key alone, the same on every machine and Python version."""
    text = "\x1f".join(str(part) for part in (seed, *key))
    return Random(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"))


def shuffle(count: int, rng: Random) -> Iterator[int]:
    """0 to count - 1 in a random order, drawn only as far as it is read."""
    moved: dict[int, int] = {}
    for last in range(count - 1, -1, -1):
        pick = rng.randrange(last + 1)
        yield moved.get(pick, pick)
        moved[pick] = moved.get(last, last)
