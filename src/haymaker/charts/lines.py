"""Lines with intervals: scores against lengths, heads masked, or steps."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import altair as alt

from haymaker.charts.chart import Chart, Point, colour_of_kind, data, fraction, spread_out, tooltip
from haymaker.charts.numbers import metric_label, two_decimals
from haymaker.stats import Interval, Number

HEIGHT = 190
LINE = 14 / HEIGHT  # height of a name at a line's end, as a share of the axis


def line_chart(
    points: Sequence[Point], x_title: str, *, banded: Collection[str] = (), title: str = "", score: str = "F1"
) -> Chart:
    """A score (0 to 1) against a logarithmic x: a line per name with whiskers, or a band for names in `banded`.

    `at` of a point is its x, 0 or more.
    """
    names = list(dict.fromkeys(point.name for point in points))
    lines = {name: sorted((p for p in points if p.name == name), key=lambda p: p.at) for name in names}
    ends = spread_out([lines[name][-1].value.mean for name in names], LINE, limit=1)
    rows = [
        point.row(band=name in banded, end=end if point is lines[name][-1] else None)
        for name, end in zip(names, ends, strict=True)
        for point in lines[name]
    ]
    told = "; ".join(f"{name} {in_order(lines[name])}" for name in names)
    return Chart(
        data=data(rows),
        layer=line_layers(sorted({p.at for p in points}), x_title, score),
        height=HEIGHT,
        description=f"{title or score} by {x_title}: {told}.",
    )


def in_order(line: list[Point]) -> str:
    return ", ".join(f"{two_decimals(point.value.mean)} at {point.at:g}" for point in line)


def line_layers(values: list[Any], x_title: str, score: str) -> list[alt.Chart]:
    scale = alt.Scale(type="symlog", domain=[values[0], values[-1]], nice=False, padding=10)
    ticks = alt.Axis(values=values, grid=False, format="d")
    x = alt.X("at:Q", title=f"{x_title} (logarithmic)", scale=scale, axis=ticks)
    base = alt.Chart().encode(x=x, color=colour_of_kind())
    line = base.encode(y=fraction("value:Q", score), detail=alt.Detail("name:N"))
    banded = base.transform_filter("datum.band").encode(y=fraction("low:Q", score), y2=alt.Y2("high:Q"))
    barred = base.transform_filter("!datum.band").encode(y=fraction("low:Q", score), y2=alt.Y2("high:Q"))
    ends = base.transform_filter("datum.end !== null").encode(y=fraction("end:Q", score), text=alt.Text("name:N"))
    return [
        banded.mark_area(style="band"),
        barred.mark_rule(style="whisker"),
        line.transform_filter("datum.band").mark_line(strokeWidth=2, strokeDash=[5, 4]),
        line.transform_filter("!datum.band").mark_line(strokeWidth=2),
        base.encode(y=fraction("value:Q", score), tooltip=tooltip("line", score)).mark_point(style="dot"),
        ends.mark_text(align="left", dx=9, baseline="middle", fontWeight=600),
    ]


def masking_chart(rows: Iterable[dict[str, Any]], name: str = "the model") -> Chart:
    """The score against the number of masked heads: those of a score map, and random ones as a band over their draws.

    Rows as `hm.ablation_curve` makes them: heads (none, retrieval, random), k, metric, score, score_low, score_high.
    """
    rows = list(rows)
    found = [(row, score) for row in rows if (score := Interval.of(row)) is not None]
    curve = [Point("retrieval", "retrieval", row["k"], score) for row, score in found if row["heads"] != "random"]
    drawn: dict[int, list[Number]] = {}
    for row, score in found:
        if row["heads"] != "retrieval":
            drawn.setdefault(row["k"], []).append(score.mean)
    control = [Point("random", "random", k, Interval.spread(values)) for k, values in drawn.items()]
    lines = [points for points in (control, curve) if any(point.at for point in points)] or [curve]
    label = metric_label(rows)
    points = sum(lines, [])
    return line_chart(points, "heads masked", banded=["random"], title=f"{label} of {name}", score=label)
