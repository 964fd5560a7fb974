"""Rows of dots: one row a name, or one a group with a dot for each of its members."""

import json
from typing import Any

from haymaker.charts.chart import Point
from haymaker.charts.intervals import ROW, bars, dots
from haymaker.stats import Interval


def test_a_dot_a_row() -> None:
    points = [Point(name, "real", name, Interval(0.5, 0.4, 0.6)) for name in ("b", "a")]
    spec = dots(points, "F1", title="F1", reach=(0, 1)).spec()
    assert labels_of(spec) == ["b", "a"]
    assert all(layer["encoding"]["x"]["axis"]["labelOverlap"] for layer in spec["layer"][1:]), "else -0.25-0.20 is read"
    assert spec["description"] == "F1: b 0.50\u00a0[0.40,\u00a00.60]; a 0.50\u00a0[0.40,\u00a00.60]."


def labels_of(spec: dict[str, Any]) -> list[str]:
    """What stands beside each row, from the top."""
    y = spec["layer"][-1]["encoding"]["y"]
    labels = json.loads(y["axis"]["labelExpr"].removesuffix("[datum.label]"))
    return [labels[row] for row in y["scale"]["domain"]]


def test_a_group_has_a_row_for_each_of_its_members_and_a_legend_in_words() -> None:
    """No row but one between groups is without a dot, whichever members a group has."""
    members = {"it's x": ["random", "intersection", "complement"], "y": ["random"], "z": ["complement", "random"]}
    points = [Point(f"{kind}, k = 3", kind, group, Interval(0.5)) for group, own in members.items() for kind in own]
    spec = dots(points, "change", title="Change", words={"random": "random", "intersection": "shared"}).spec()
    assert labels_of(spec) == ["it's x", "", "", "", "y", "", "z", ""]
    domain = spec["layer"][-1]["encoding"]["y"]["scale"]["domain"]
    drawn = [row["row"] for row in spec["datasets"][spec["data"]["name"]]]
    assert [domain.index(row) for row in drawn] == [0, 1, 2, 4, 6, 7]
    legend = spec["layer"][-1]["encoding"]["color"]["legend"]
    assert legend["values"] == ["random", "intersection", "complement"]
    assert "shared" in legend["labelExpr"]
    assert spec["height"] == ROW * 8


def test_bars_of_nobody_are_not_drawn() -> None:
    """Vega warns of a scale without an end; the axis keeps its words."""
    spec = dots([Point(name, "real", name, Interval(0.5)) for name in "ab"], "change", title="Change").spec()
    assert not any("x2" in layer["encoding"] for layer in spec["layer"])
    assert spec["layer"][-1]["encoding"]["x"]["title"] == "change"


def test_bars_in_order() -> None:
    spec = bars({"train": 1234.5, "build": 2.0}, "seconds", title="Seconds").spec()
    assert spec["description"] == "Seconds: train 1,234.5; build 2.0."
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"] == ["train", "build"]
