"""What the report reads, before anything is said of it."""

import pytest
import report_rows
from report_rows import Row

from haymaker.report.tables import at_main_length, in_order


@pytest.fixture
def results() -> Row:
    return report_rows.results()


def test_settings_keep_the_order_of_the_paper() -> None:
    assert in_order(["new", "symbolic", "real", "base", "real"]) == ["base", "real", "symbolic", "new"]


def test_settings_are_compared_where_most_of_them_are(results: Row) -> None:
    rows = at_main_length(results["tables"]["evaluation"])
    assert list(rows) == list(report_rows.F1)
    assert {row["length"] for row in rows.values()} == {512}


def test_only_the_test_split_is_compared(results: Row) -> None:
    train = [{**row, "split": "train", "score": 1.0} for row in results["tables"]["evaluation"]]
    rows = at_main_length(train + results["tables"]["evaluation"])
    assert rows["real"]["score"] == report_rows.F1["real"]
