"""Numbers as people read them, by hand."""

import math

import pytest

from haymaker.charts.numbers import bounds, in_words, three_digits, two_decimals, with_minus
from haymaker.stats import Interval


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (0.834, "", "0.83"),
        (-0.004, "", "0.00"),
        (-0.25, "+", "−0.25"),
        (0.1, "+", "+0.10"),
        (None, "", "–"),
        (math.nan, "+", "–"),
    ],
)
def test_two_decimals(value: float | None, sign: str, text: str) -> None:
    assert two_decimals(value, sign) == text


def test_an_interval_stays_in_one_piece() -> None:
    assert in_words(Interval(0.5, -0.25, 0.75), "+") == "+0.50\u00a0[−0.25,\u00a0+0.75]"
    assert bounds(Interval(0.5)) == "no interval"


def test_small_scores_keep_their_digits() -> None:
    assert three_digits(Interval(0.00123, -0.0004, 0.0125)) == "0.00123\u00a0[−0.0004,\u00a00.0125]"
    assert three_digits(Interval(12.3456)) == "12.3\u00a0no interval"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("high-low -0.05 [-0.15, 0.05]; (+0.23, -0.27)", "high-low −0.05 [−0.15, 0.05]; (+0.23, −0.27)"),
        ("rho -.5, -3 and −1", "rho −.5, −3 and −1"),
        ("head 3-5 of smollm2-135m, depth 0.2-0.4, 2026-11-27, seed-1 ... [0.1]-2", None),
    ],
)
def test_minus_stands_before_numbers_alone(text: str, told: str | None) -> None:
    assert with_minus(text) == (told or text)
