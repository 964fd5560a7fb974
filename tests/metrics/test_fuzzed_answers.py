"""Row metrics on any answer and any golds: a fraction, or our own error; and the ceiling is never below a score."""

import pytest
from fuzzing import LETTERS, VALUES, fuzz
from hypothesis import strategies as st

from haymaker.choices import METRICS
from haymaker.errors import HaymakerError
from haymaker.metrics import ceiling

PIECES = (
    "[1]",
    "[1, 2]",
    "[1 2]",
    "[9" + "9" * 5_000 + "]",
    "Paragraph 3",
    "\u0663",
    "\u00b2",
    "3",
    "no answer",
    "the",
    "\n",
)
TEXTS = st.text(LETTERS, max_size=20) | st.lists(st.sampled_from(PIECES), max_size=4).map(" ".join)
ANSWERS = TEXTS | VALUES
GOLDS = st.lists(ANSWERS, max_size=3) | VALUES


@pytest.mark.parametrize("name", list(METRICS))
def test_any_answer_scores_a_fraction_or_is_refused(name: str) -> None:
    @fuzz(ANSWERS, GOLDS)
    def run(answer: object, golds: object) -> None:
        try:
            score = METRICS[name](answer, golds)
        except HaymakerError as error:
            assert str(error).strip()  # noqa: PT017
            return
        assert type(score) is float
        assert 0 <= score <= 1
        assert isinstance(answer, str)
        assert isinstance(golds, list)

    run()


@pytest.mark.parametrize("name", list(METRICS))
def test_the_ceiling_of_any_golds_is_a_fraction_or_refused(name: str) -> None:
    @fuzz(st.lists(TEXTS, max_size=3))
    def run(golds: list[str]) -> None:
        try:
            assert 0 <= ceiling(name, golds) <= 1
        except HaymakerError as error:
            assert str(error).strip()  # noqa: PT017

    run()
