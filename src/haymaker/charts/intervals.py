"""Rows of dots with their intervals, and rows of bars: one number a row."""

import json
from collections.abc import Mapping, Sequence
from math import isnan

import altair as alt

from haymaker.charts.chart import Chart, Point, colour_of_kind, data, tooltip
from haymaker.charts.numbers import in_words
from haymaker.stats import Number

ROW = 17  # height of a dot's row


def dots(
    points: Sequence[Point],
    x_title: str,
    *,
    title: str,
    words: Mapping[str, str] | None = None,
    reach: tuple[Number, Number] | None = None,
) -> Chart:
    """A row per `at` and name: a dot with its interval. Rows of one `at` stand together, the first with its name.
    `words` says what kinds are, in a legend."""
    labels = rows_of(points)
    scale = alt.Scale(domain=list(reach)) if reach else alt.Scale(zero=True)
    grid = alt.Axis(grid=True, domain=False, ticks=False, labelOverlap=True, labelSeparation=8)
    names = alt.Axis(labelExpr=f"{json.dumps(labels)}[datum.label]", ticks=False)
    y = alt.Y("row:N", title=None, scale=alt.Scale(domain=list(labels)), axis=names)
    base = alt.Chart().encode(y=y, color=colour_of_kind(key_of(points, words) if words else None))
    layers = [
        alt.Chart(data([{}])).mark_rule(style="zero").encode(x=alt.datum(0)),
        base.mark_rule(style="whisker").encode(
            x=alt.X("low:Q", title=x_title, scale=scale, axis=grid), x2=alt.X2("high:Q")
        ),
        base.mark_point(style="dot").encode(
            x=alt.X("value:Q", title=x_title, scale=scale, axis=grid), tooltip=tooltip("of", x_title)
        ),
    ]
    if all(isnan(bound) for point in points for bound in point.value[1:]):
        del layers[1]  # bars that nobody has, of which Vega would complain
    told = "; ".join(f"{p.at}{'' if p.name == p.at else f', {p.name}'} {in_words(p.value)}" for p in points)
    height = ROW * len(labels) * (1.6 if all(labels.values()) else 1)
    rows = data(point.row(row=row_of(point)) for point in points)
    return Chart(data=rows, layer=layers, height=height, description=f"{title}: {told}.")


def row_of(point: Point) -> str:
    return f"{point.at}, {point.name}"


def rows_of(points: Sequence[Point]) -> dict[str, str]:
    """Every row from the top and its label; where a group has several, one without a dot stands between groups."""
    groups: dict[str, dict[str, str]] = {}
    for point in points:
        own = groups.setdefault(point.at, {})
        own[row_of(point)] = own.get(row_of(point), "" if own else str(point.at))
    several = any(len(own) > 1 for own in groups.values())
    spaced = [own | ({f"below {at}": ""} if several else {}) for at, own in groups.items()]
    rows = {row: label for own in spaced for row, label in own.items()}
    if several:
        rows.popitem()
    return rows


def key_of(points: Sequence[Point], words: Mapping[str, str]) -> alt.Legend:
    kinds = list(dict.fromkeys(point.kind for point in points))
    return alt.Legend(title=None, orient="top", values=kinds, labelExpr=f"{json.dumps(dict(words))}[datum.label]")


def bars(values: Mapping[str, Number], x_title: str, *, title: str) -> Chart:
    """A bar per name, from 0."""
    rows = [{"name": name, "value": value, "told": f"{value:,.1f}"} for name, value in values.items()]
    y = alt.Y("name:N", title=None, scale=alt.Scale(domain=list(values), paddingInner=0.45))
    hints = tooltip("of", x_title)
    bar = alt.Chart().mark_bar(style="bar").encode(y=y, x=alt.X("value:Q", title=x_title), tooltip=hints)
    told = "; ".join(f"{name} {value:,.1f}" for name, value in values.items())
    return Chart(data=data(rows), layer=[bar], height=26 * len(rows), description=f"{title}: {told}.")
