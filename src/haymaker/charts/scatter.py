"""Scatters: a score against another number, a named point each."""

from collections.abc import Sequence

import altair as alt

from haymaker.charts.chart import Chart, Point, colour_of_kind, data, fraction, spread_out, tooltip
from haymaker.charts.lines import HEIGHT, LINE
from haymaker.charts.numbers import two_decimals


def scatter(points: Sequence[Point], x_title: str, title: str, score: str = "F1") -> Chart:
    """A score with its interval against `at`, with names toward the middle of the chart and apart from each other."""
    middle = (min(p.at for p in points) + max(p.at for p in points)) / 2
    heights = spread_out([p.value.mean for p in points], LINE, limit=1)
    rows = [p.row(name_at=height, right=p.at > middle) for p, height in zip(points, heights, strict=True)]
    # Said outright: a layer of no rows has no extent of its own, and Vega warns of it.
    low, high = min(p.at for p in points), max(p.at for p in points)
    scale = alt.Scale(domain=[low - 0.1 * (low == high), high], nice=False, padding=12)
    x = alt.X("at:Q", title=x_title, scale=scale, axis=alt.Axis(tickCount=4, format="~g"))
    base = alt.Chart().encode(x=x, color=colour_of_kind())
    names = base.encode(y=fraction("name_at:Q", score), text="name:N")
    layers = [
        base.encode(y=fraction("low:Q", score), y2="high:Q").mark_rule(style="whisker"),
        base.encode(y=fraction("value:Q", score), tooltip=tooltip("setting", score)).mark_point(style="dot"),
        names.transform_filter("!datum.right").mark_text(style="name", align="left", dx=9),
        names.transform_filter("datum.right").mark_text(style="name", align="right", dx=-9),
    ]
    told = "; ".join(f"{p.name} {two_decimals(p.at)}, {two_decimals(p.value.mean)}" for p in points)
    chart = Chart(data=data(rows), layer=layers, height=HEIGHT)
    return chart.properties(description=f"{title}: {told}.")


def blank_pairs() -> Chart:
    """Heads by their scores in two settings, without rows, for a page: whoever draws it names the axes, sets the
    parameters `low` and `most` to their ends, and gives two data sets: `heads`, rows of name, kind, x, y and told, and
    `equal`, two points of the line where both scores are the same.
    """
    ends = [alt.ExprRef("low"), alt.ExprRef("most")]
    options = {"scale": alt.Scale(domain=ends, nice=False), "axis": alt.Axis(tickCount=5, domain=False, ticks=False)}
    base = alt.Chart().encode(x=alt.X("x:Q", title="first", **options), y=alt.Y("y:Q", title="second", **options))
    hints = [alt.Tooltip("name:N", title="head"), alt.Tooltip("told:N", title="scores")]
    equal = alt.Chart(alt.NamedData("equal")).encode(x="x:Q", y="y:Q").mark_line(style="equal")
    dots = base.encode(color=colour_of_kind(), tooltip=hints).mark_point(style="dot")
    parameters = [alt.VariableParameter(name="low", value=0), alt.VariableParameter(name="most", value=1)]
    chart = Chart(data=alt.NamedData("heads"), layer=[dots, equal], params=parameters, height=300)
    return chart.properties(description="Heads by their scores in two settings.")
