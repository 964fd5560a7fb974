"""Whatever is given to a public statistic, what comes out is a number or an error of ours."""

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fuzzing import fuzz
from hypothesis import strategies as st

from haymaker import stats
from haymaker.errors import ConfigError, DataError, HaymakerError

FUNCTIONS = {name: found for name in stats.__all__ if inspect.isfunction(found := getattr(stats, name))}
ARRAYS: list[Any] = [
    None, [], [1.0], [0.25, 0.5, 0.5], np.array([]), np.array(1.0), np.ones((2, 3)), np.eye(3), np.ones((3, 2, 4)),
    np.arange(24.0).reshape(3, 2, 4), np.full(3, np.nan), np.array(["a"]), np.array([1, None]), "abc", 5,
    np.ones((0, 2, 4)), np.ones((3, 0, 4)), [[1, 2], [3]], np.array([True, False]), np.array([1 + 2j]),
    [(0.1, 0.0, 0.2), (0.2, 0.1, 0.3)],
    [([1.0, 2.0, 3.0], [2.0, 1.0, 3.0])], [stats.Interval(0.5)], {"a": 1},
]  # fmt: skip
NUMBERS: list[Any] = [
    0, 1, -1, 2, 3, 0.5, 0.95, 1.0, -0.1, 1.5, math.nan, math.inf, None, "a", True, 10**12, 10**400,
]  # fmt: skip
REACHES: list[Any] = [None, (0, 1), (-1, 1), (1, 0), (0, 0), 5, (0,), ("a", "b"), (math.nan, 1)]


def given(parameter: inspect.Parameter) -> list[Any]:
    if parameter.name == "reach":
        return REACHES
    named = str(parameter.annotation)
    return ARRAYS if "ndarray" in named or "Sequence" in named else NUMBERS


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"known"}))
def test_anything_gives_numbers_or_an_error_of_ours(name: str) -> None:
    check(FUNCTIONS[name])


def check(function: Callable[..., Any]) -> None:
    asked = inspect.signature(function).parameters.values()

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        values = {one.name: data.draw(st.sampled_from(given(one))) for one in asked if one.default is one.empty}
        for one in asked:
            if one.default is not one.empty and data.draw(st.integers(0, 3)) == 0:
                values[one.name] = data.draw(st.sampled_from(given(one)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                function(**values)
            except HaymakerError as error:
                assert str(error).strip()  # noqa: PT017

    run()


@pytest.mark.usefixtures("unchecked")
def test_what_is_wrong_is_named() -> None:
    wrongs = {"1 axes": 5, "an array of numbers": ["a"], "at least one value": [], "array of": [[1, 2], [3]]}
    for said, wrong in wrongs.items():
        with pytest.raises(DataError, match=said):
            stats.bootstrap_mean(wrong)  # type: ignore[arg-type]
    for options, said in (
        ({"confidence": 95}, "confidence: expected a share between 0 and 1"),
        ({"confidence": math.nan}, "confidence"),
        ({"draws": 10**9}, "draws: expected a whole number of 1 to 100,000"),
        ({"draws": 0}, "draws"),
        ({"seed": -1}, "seed"),
        ({"reach": (1, 0)}, "reach"),
    ):
        with pytest.raises(ConfigError, match=said):
            stats.bootstrap_mean(np.ones(3), **options)  # type: ignore[arg-type]
