"""Scores by group: what is at which place, by hand."""

from haymaker.charts.chart import Point
from haymaker.charts.groups import LINE, group_chart
from haymaker.stats import Interval


def test_dots_stand_in_the_order_of_groups_and_names_at_the_last_one_apart() -> None:
    """Two names end at 0.5 and 0.5: the second name is moved up by a line. One has no dot in the last group."""
    points = [
        Point("one", "real", "late", Interval(0.5, 0.4, 0.6)),
        Point("one", "real", "early", Interval(0.9, 0.8, 1.0)),
        Point("two", "synthetic", "early", Interval(0.5)),
    ]
    chart = group_chart(points, ["early", "late"], "depth", title="F1 by depth", score="F1")
    (rows,) = chart.spec()["datasets"].values()
    found = [(row["name"], row["at"], row["low"], row["end"]) for row in rows]
    assert found == [("one", "early", 0.8, None), ("one", "late", 0.4, 0.5), ("two", "early", None, 0.5 + LINE)]
    told = chart.spec()["description"].replace("\u00a0", " ")
    assert told == "F1 by depth: one early 0.90 [0.80, 1.00], late 0.50 [0.40, 0.60]; two early 0.50 no interval."
    assert chart.spec()["layer"][0]["encoding"]["x"]["scale"]["domain"] == ["early", "late"]
