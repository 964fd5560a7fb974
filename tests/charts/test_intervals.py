"""Rows of dots: one row a name, or one a group with a dot for each of its members."""

from haymaker.charts.chart import Point
from haymaker.charts.intervals import ROW, bars, dots
from haymaker.stats import Interval


def test_a_dot_a_row() -> None:
    points = [Point(name, "real", name, Interval(0.5, 0.4, 0.6)) for name in ("b", "a")]
    spec = dots(points, "F1", title="F1", reach=(0, 1)).spec()
    encoding = spec["layer"][2]["encoding"]
    assert encoding["y"]["scale"]["domain"] == ["b", "a"]
    assert "yOffset" not in encoding
    assert spec["description"] == "F1: b 0.50\u00a0[0.40,\u00a00.60]; a 0.50\u00a0[0.40,\u00a00.60]."


def test_groups_have_room_for_all_their_members_and_a_legend_in_words() -> None:
    points = [Point(kind, kind, group, Interval(0.5)) for group in ("x", "y") for kind in ("random", "intersection")]
    spec = dots(points, "change", title="Change", words={"random": "random", "intersection": "shared"}).spec()
    encoding = spec["layer"][2]["encoding"]
    assert encoding["yOffset"]["scale"]["domain"] == ["random", "intersection"]
    assert encoding["color"]["legend"]["values"] == ["random", "intersection"]
    assert "shared" in encoding["color"]["legend"]["labelExpr"]
    assert spec["height"] == ROW * 4


def test_bars_in_order() -> None:
    spec = bars({"train": 1234.5, "build": 2.0}, "seconds", title="Seconds").spec()
    assert spec["description"] == "Seconds: train 1,234.5; build 2.0."
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"] == ["train", "build"]
