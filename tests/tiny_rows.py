"""Rows of random tokens for the tiny models, and the shape that both share."""

from random import Random

from haymaker.records import Encoded

CONTEXT, WINDOW = 64, 16  # tokens


def random_rows(count: int, longest: int = 40, answer: int = 3, seed: int = 0, vocabulary: int = 500) -> list[Encoded]:
    """Rows of random tokens, lengths from half of `longest` to all of it."""
    random = Random(seed)
    lengths = [random.randint(longest // 2, longest) for _ in range(count)]
    return [
        Encoded(f"row-{i}", tuple(random.randrange(10, vocabulary) for _ in range(length)), length - answer)
        for i, length in enumerate(lengths)
    ]
