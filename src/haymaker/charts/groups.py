"""Scores by group: depths, lengths, hops."""

from collections.abc import Sequence

import altair as alt

from haymaker.charts.chart import Chart, Point, colour_of_kind, data, fraction, spread_out, tooltip
from haymaker.charts.numbers import in_words

HEIGHT = 240
LINE = 14 / HEIGHT  # height of a name, as a share of the axis


def group_chart(points: Sequence[Point], groups: Sequence[str], x_title: str, *, title: str, score: str) -> Chart:
    """A score (0 to 1) by group, in that order: in each a dot with its interval per name, a line joining a name's.

    `at` of a point is its group. Dots of one group stand side by side, so that intervals do not hide each other.
    """
    names = list(dict.fromkeys(point.name for point in points))
    lines = {name: [p for group in groups for p in points if (p.name, p.at) == (name, group)] for name in names}
    ends = spread_out([lines[name][-1].value.mean for name in names], LINE, limit=1)
    rows = [
        point.row(end=end if point is lines[name][-1] else None, of=f"{name}, {point.at}")
        for name, end in zip(names, ends, strict=True)
        for point in lines[name]
    ]
    told = "; ".join(f"{name} " + ", ".join(f"{p.at} {in_words(p.value)}" for p in lines[name]) for name in names)
    return Chart(
        data=data(rows), layer=layers(groups, names, x_title, score), height=HEIGHT, description=f"{title}: {told}."
    )


def layers(groups: Sequence[str], names: Sequence[str], x_title: str, score: str) -> list[alt.Chart]:
    axis = alt.Axis(labelAngle=0, labelOverlap=True, domain=True, ticks=False, grid=False)
    x = alt.X("at:N", title=x_title, scale=alt.Scale(domain=list(groups), paddingInner=0.3), axis=axis)
    beside = alt.XOffset("name:N", scale=alt.Scale(domain=list(names)))
    base = alt.Chart().encode(x=x, xOffset=beside, color=colour_of_kind())
    value = fraction("value:Q", score)
    name = alt.Chart().transform_filter("datum.end !== null")
    return [
        base.encode(y=value, detail=alt.Detail("name:N")).mark_line(strokeWidth=1, opacity=0.45),
        base.encode(y=fraction("low:Q", score), y2=alt.Y2("high:Q")).mark_rule(style="whisker"),
        base.encode(y=value, tooltip=[alt.Tooltip("of:N", title="of"), tooltip("of", score)[1]]).mark_point(
            style="dot"
        ),
        name.encode(
            x=alt.value("width"), y=fraction("end:Q", score), text=alt.Text("name:N"), color=colour_of_kind()
        ).mark_text(align="left", dx=6, baseline="middle", fontWeight=600),
    ]
