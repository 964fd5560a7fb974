"""Passages in the order of their nearness to a question, by BM25: distractors that are hard to tell from evidence."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from haymaker.errors import ConfigError


def library() -> Any:
    """bm25s. Raises ConfigError where it is not installed."""
    try:
        import bm25s
    except ImportError:
        raise ConfigError(
            "distractors: nearest ones are found by bm25s, which is not installed; pip install bm25s"
        ) from None
    return bm25s


class Nearness:
    """An index of texts. Raises ConfigError where the library for it is missing."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.library = library()
        self.index = self.library.BM25()  # Robertson's, k1 1.5, b 0.75 (Lucene's form)
        self.index.index(self.words(texts), show_progress=False)

    def words(self, texts: Sequence[str]) -> list[list[str]]:
        """Lower-case words of two letters or more, without English stop words."""
        return self.library.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)

    def order(self, question: str) -> list[int]:
        """Numbers of all texts, the nearest first; equally near ones keep their order."""
        scores = self.index.get_scores(self.words([question])[0])
        return np.argsort(-scores, kind="stable").tolist()
