"""Planning a row to its length."""

Amount = int | float
"""Tokens: counted, or judged by a kind of documents."""
LEAST_FILL = 0.99
"""Of a row's length: a row with fewer tokens is not built, and no dataset that holds one is valid."""
SHORT, SHORT_FILL = 512, 5 / 6
"""In rows of fewer tokens than SHORT a hundredth is less than any document: of those up to a sixth may lack."""


def least_tokens(length: int) -> int:
    """Tokens, answer included, that a row of this length has at least.

    Examples:
        >>> least_tokens(4096), least_tokens(96)
        (4056, 80)
    """
    return length - int((1 - (LEAST_FILL if length >= SHORT else SHORT_FILL)) * length + 1e-9)
