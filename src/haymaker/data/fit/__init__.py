"""Planning a row to its length."""

Amount = int | float
"""Tokens: counted, or judged by a kind of documents."""
