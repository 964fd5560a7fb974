"""Scatters: a score against another number, a named point each."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from haymaker.charts.chart import Chart, Point, colour_of_kind, data, fraction, spread_out, tooltip
from haymaker.charts.labels import GAP, WIDTH, Spot, sides_of
from haymaker.charts.lines import HEIGHT, LINE
from haymaker.charts.numbers import two_decimals
from haymaker.stats import Number

PADDING = 12  # pixels between an axis and the outermost dots


def scatter(points: Sequence[Point], x_title: str, title: str, score: str = "F1") -> Chart:
    """A score with its interval against `at`. A name stands beside its dot where it covers nothing, else right of the
    chart, at the end of a line from its dot."""
    low, high = min(p.at for p in points), max(p.at for p in points)
    # Said outright: a layer of no rows has no extent of its own, and Vega warns of it.
    scale = alt.Scale(domain=[low - 0.1 * (low == high), high], nice=False, padding=PADDING)
    x = alt.X("at:Q", title=x_title, scale=scale, axis=alt.Axis(tickCount=4, format="~g"))
    base = alt.Chart().encode(x=x, color=colour_of_kind())
    beside = base.encode(y=fraction("name_at:Q", score), text=alt.Text("name:N"))
    layers = [
        *column_layers(base, score),
        base.encode(y=fraction("low:Q", score), y2=alt.Y2("high:Q")).mark_rule(style="whisker"),
        base.encode(y=fraction("value:Q", score), tooltip=tooltip("setting", score)).mark_point(style="dot"),
        beside.transform_filter("datum.side == 'right'").mark_text(style="name", align="left", dx=GAP),
        beside.transform_filter("datum.side == 'left'").mark_text(style="name", align="right", dx=-GAP),
    ]
    told = "; ".join(f"{p.name} {two_decimals(p.at)}, {two_decimals(p.value.mean)}" for p in points)
    return Chart(
        data=data(rows_with_names(points, low, high)), layer=layers, height=HEIGHT, description=f"{title}: {told}."
    )


def rows_with_names(points: Sequence[Point], low: Number, high: Number) -> list[dict[str, Any]]:
    """The points with the side and the height of their names."""
    spots = [Spot(p.name, across(p.at, low, high), p.value.mean, p.value.low, p.value.high) for p in points]
    sides = sides_of(spots, HEIGHT)
    aside = [i for i, (side, _) in enumerate(sides) if side == "column"]
    heights = {i: p.value.mean + sides[i][1] / HEIGHT for i, p in enumerate(points)}
    heights |= zip(aside, spread_out([heights[i] for i in aside], LINE, limit=1), strict=True)
    return [p.row(side=sides[i][0], name_at=heights[i]) for i, p in enumerate(points)]


def across(at: Number, low: Number, high: Number) -> float:
    """Where a point stands between the axes, 0 to 1; the only place of all is at the right."""
    share = 1.0 if low == high else (at - low) / (high - low)
    return (PADDING + share * (WIDTH - 2 * PADDING)) / WIDTH


def column_layers(base: alt.Chart, score: str) -> list[alt.Chart]:
    """Names right of the chart, each with a thin line to its dot."""
    aside = base.transform_filter("datum.side == 'column'")
    line = aside.encode(y=fraction("value:Q", score), x2=alt.X2Value("width"), y2=alt.Y2("name_at:Q")).mark_rule(
        style="leader"
    )
    name = aside.encode(x=alt.XValue("width"), y=fraction("name_at:Q", score), text=alt.Text("name:N"))
    return [line, name.mark_text(style="name", align="left", dx=4)]


def blank_pairs() -> Chart:
    """Heads by their scores in two settings, without rows, for a page: whoever draws it names the axes, sets the
    parameters `low` and `most` to their ends, and gives two data sets: `heads`, rows of name, kind, x, y and told, and
    `equal`, two points of the line where both scores are the same.
    """
    ends = [alt.ExprRef("low"), alt.ExprRef("most")]
    options = {
        "scale": alt.Scale(domain=ends, nice=False),
        "axis": alt.Axis(tickCount=5, domain=False, ticks=False, offset=5),
    }
    base = alt.Chart().encode(x=alt.X("x:Q", title="first", **options), y=alt.Y("y:Q", title="second", **options))
    hints = [alt.Tooltip("name:N", title="head"), alt.Tooltip("told:N", title="scores")]
    equal = alt.Chart(alt.NamedData("equal")).encode(x=alt.X("x:Q"), y=alt.Y("y:Q")).mark_line(style="equal")
    dots = base.encode(color=colour_of_kind(), tooltip=hints).mark_point(style="dot")
    parameters = [alt.VariableParameter(name="low", value=0), alt.VariableParameter(name="most", value=1)]
    return Chart(
        data=alt.NamedData("heads"),
        layer=[dots, equal],
        params=parameters,
        height=300,
        description="Heads by their scores in two settings.",
    )
