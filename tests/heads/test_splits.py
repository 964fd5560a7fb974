"""Scores as a table: out, in again, equal; and no table that is not one of scores."""

import numpy as np
import pytest

from haymaker.errors import DataError
from haymaker.heads.scores import HeadScores
from haymaker.heads.splits import COLUMNS, csv_text, from_csv

HEADER = ",".join(COLUMNS)


def test_a_table_comes_back_equal() -> None:
    values = np.array([[[0.0, 0.25, np.nan], [1.0, 0.5, 0.125]]])
    read = from_csv(csv_text(HeadScores(values, ("one",), "copy")), "h.csv")
    assert np.array_equal(read.mean, values[0], equal_nan=True)


@pytest.mark.parametrize(
    "lines",
    [
        "0,0,1,,,\n0,0,1,,,",
        "0,0,1,,,\n-1,0,1,,,",
        "99999999999,99999999999,1,,,",
        "0,0,x,,,",
        "0,0,inf,,,",
        "",
        '0,0,"' + "1" * 200_000 + '",,,',  # beyond what the csv module takes as a field
    ],
)
def test_another_table_is_refused(lines: str) -> None:
    with pytest.raises(DataError, match="h.csv"):
        from_csv(f"{HEADER}\n{lines}\n", "h.csv")
