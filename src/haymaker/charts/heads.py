"""Maps of heads: a score for every (layer, head), as a grid of colours."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import altair as alt
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.charts.chart import Chart, data
from haymaker.charts.numbers import three_digits, two_decimals
from haymaker.records import Head
from haymaker.stats import Interval, Number


class Extremes(NamedTuple):
    """The lowest and the highest score that the colours of a map, or of several side by side, reach."""

    low: Number
    high: Number

    @classmethod
    def of(cls, scores: Iterable[Number]) -> "Extremes":
        found = list(scores) or [0.0]
        return cls(min(found), max(found))


def head_map(
    mean: Float[ndarray, "layer head"],
    low: Float[ndarray, "layer head"],
    high: Float[ndarray, "layer head"],
    name: str,
    *,
    outlined: Iterable[Head] = (),
    extremes: Extremes | None = None,
    legend: bool = True,
) -> Chart:
    """Scores with the bounds of their intervals, layer 0 at the top; NaN is no score and stays empty.

    Scores that all are 0 or more go from pale to dark; others from one colour through pale at 0 to another.
    `extremes` is given where several maps share one scale, `outlined` are heads to mark.
    """
    rings = set(outlined)
    scored = [Head(*at) for at in np.argwhere(~np.isnan(mean)).tolist()]
    rows = [cell(head, Interval(*(float(grid[head]) for grid in (mean, low, high))), rings) for head in scored]
    reach = extremes or Extremes.of(row["score"] for row in rows)
    base = alt.Chart().encode(x=axis("head", mean.shape[1]), y=axis("layer", mean.shape[0]))
    hints = [alt.Tooltip("name:N", title="head"), alt.Tooltip("told:N", title="score")]
    cells = base.mark_rect().encode(color=shade(reach, legend), tooltip=hints)
    ring = base.transform_filter("datum.ring").mark_rect(style="ring").encode(tooltip=hints)
    step = max(7, min(18, 240 // mean.shape[0]))
    description = f"Scores of {name}: {len(rows)} heads, {highest(mean)}."
    chart = Chart(data=data(rows), layer=[cells, ring], title=name if legend else alt.Undefined)
    width, height = max(120, step * mean.shape[1]), step * mean.shape[0]
    return chart.properties(description=description, width=width, height=height)


def cell(head: Head, score: Interval, rings: set[Head]) -> dict[str, Any]:
    place = {"layer": head.layer, "head": head.head, "name": str(head), "ring": head in rings}
    return {**place, "score": score.mean, "told": three_digits(score)}


def highest(mean: Float[ndarray, "layer head"]) -> str:
    """2-0 highest, 0.86"""
    if np.isnan(mean).all():
        return "none with a score"
    best = np.unravel_index(np.nanargmax(mean), mean.shape)
    return f"{Head(int(best[0]), int(best[1]))} highest, {two_decimals(float(mean[best]))}"


def axis(name: str, count: int) -> Any:
    """A column or row per index, named where there is room."""
    options = {"title": name, "scale": alt.Scale(domain=list(range(count)), paddingInner=0.1)}
    if name == "head":
        return alt.X("head:O", axis=alt.Axis(labelAngle=0, labelOverlap="parity"), **options)
    return alt.Y("layer:O", axis=alt.Axis(labelOverlap="parity"), **options)


def colour_key(reach: Extremes) -> Chart:
    """The colours of several maps that share one scale."""
    low, steps = (-most(reach), 11) if reach.low < 0 else (0.0, 10)
    width = (most(reach) - low) / steps
    edges = [low + i * width for i in range(steps)]
    rows = [{"score": edge + width / 2, "from": edge, "to": edge + width} for edge in edges]
    ticks = alt.Axis(values=[low, 0, most(reach)], format=".2~g", grid=False, domain=False)
    x = alt.X("from:Q", title=None, scale=alt.Scale(domain=[low, most(reach)], nice=False), axis=ticks)
    strip = alt.Chart().mark_rect().encode(x=x, x2="to:Q", color=shade(reach, legend=False))
    description = f"Colours from {two_decimals(low)} to {two_decimals(most(reach))}."
    return Chart(data=data(rows), layer=[strip], height=12).properties(description=description)


def most(reach: Extremes) -> Number:
    return max(abs(reach.low), abs(reach.high)) or 1.0


def shade(reach: Extremes, legend: bool) -> alt.Color:
    """Equal steps of colour: from 0 up, or to both sides of 0 where scores fall below it."""
    low, colours = (-most(reach), "diverging") if reach.low < 0 else (0, "ramp")
    key = alt.Legend(title=None, format=".2~g") if legend else None
    return alt.Color("score:Q", scale=alt.Scale(type="quantize", domain=[low, most(reach)], range=colours), legend=key)
