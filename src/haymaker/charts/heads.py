"""Maps of heads: a score for every (layer, head), as a grid of colours."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import altair as alt
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from haymaker.charts.chart import Chart, data
from haymaker.charts.numbers import three_digits, two_decimals
from haymaker.records import Head
from haymaker.stats import Interval, Number

FADED = 0.3  # of heads under a threshold
# Of the largest score, where colours of signed ones change: a few heads have effects far beyond all others, so equal
# steps would leave the other top heads blank, and a step at 0 would colour half of the heads for nothing.
EDGES = (0.02, 0.1, 0.25, 0.5, 0.75)


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
) -> Chart:
    """Scores with the bounds of their intervals, layer 0 at the top, `outlined` heads marked; NaN stays empty.

    Scores that all are 0 or more go from pale to dark in equal steps; others from one colour to another through a
    neutral one about 0, up to 2 % of the largest, in steps that widen (`EDGES`).
    """
    rings = set(outlined)
    scored = [Head(*at) for at in np.argwhere(~np.isnan(mean)).tolist()]
    rows = [cell(head, Interval(*(float(grid[head]) for grid in (mean, low, high))), rings) for head in scored]
    reach = Extremes.of(row["score"] for row in rows)
    description = f"Scores of {name}: {len(rows)} heads, {highest(mean)}."
    shape = mean.shape[0], mean.shape[1]
    width, height = size_of(shape)
    return Chart(
        data=data(rows),
        layer=layers(shape, reach, legend=True),
        title=name,
        description=description,
        width=width,
        height=height,
    )


Shape = tuple[int, int]  # layers, heads of each


def layers(shape: Shape, reach: Extremes, legend: bool) -> list[alt.Chart]:
    """Cells in their colours, and rings about those that are marked."""
    base = alt.Chart().encode(x=axis("head", shape[1]), y=axis("layer", shape[0]))
    hints = [alt.Tooltip("name:N", title="head"), alt.Tooltip("told:N", title="score")]
    cells = base.mark_rect().encode(color=shade(reach, legend), tooltip=hints)
    return [cells, base.transform_filter("datum.ring").mark_rect(style="ring").encode(tooltip=hints)]


def size_of(shape: Shape) -> tuple[int, int]:
    """Width and height in pixels."""
    step = max(9, min(18, 240 // shape[0]))
    return max(120, step * shape[1]), step * shape[0]


def blank_map(shape: Shape, extremes: Extremes) -> Chart:
    """A map without rows, for many maps on one page: whoever draws it gives the data set `heads`, with rows as of
    `head_map`. Its parameters: heads at or under `threshold` fade, the one whose name is `chosen` is framed.
    """
    cells, ring = layers(shape, extremes, legend=False)
    seen = alt.condition("datum.score > threshold", alt.value(1), alt.value(FADED))
    named = alt.Chart().encode(x=axis("head", shape[1]), y=axis("layer", shape[0]))
    frame = named.transform_filter("datum.name === chosen").mark_rect(style="chosen")
    parameters = [alt.VariableParameter(name="threshold", value=-1e9), alt.VariableParameter(name="chosen", value="")]
    return Chart(
        data=alt.NamedData("heads"),
        layer=[cells.encode(opacity=seen), ring, frame],
        params=parameters,
        description="A map of heads.",
        height=size_of(shape)[1],
    )


def cell(head: Head, score: Interval, rings: set[Head]) -> dict[str, Any]:
    place = {"layer": head.layer, "head": head.head, "name": str(head), "ring": head in rings}
    return {**place, "score": score.mean, "told": three_digits(score)}


def highest(mean: Float[ndarray, "layer head"]) -> str:
    """2-0 highest, 0.86; or how many are equally high."""
    if np.isnan(mean).all():
        return "none with a score"
    best = [Head(*at) for at in np.argwhere(mean == np.nanmax(mean)).tolist()]
    if len(best) == (~np.isnan(mean)).sum() > 1:
        return f"none highest, all {two_decimals(float(np.nanmax(mean)))}"
    equal = f" and {len(best) - 1} more" if len(best) > 1 else ""
    return f"{best[0]}{equal} highest, {two_decimals(float(np.nanmax(mean)))}"


def axis(name: str, count: int) -> Any:
    """A column or row per index; every one is named where there are few, else every second or fourth, and the last."""
    options = {"title": name, "scale": alt.Scale(domain=list(range(count)), paddingInner=0.1)}
    labels = alt.Axis(labelAngle=0, labelOverlap=False, labelFontSize=10, values=named(count))
    return alt.X("head:O", axis=labels, **options) if name == "head" else alt.Y("layer:O", axis=labels, **options)


def named(count: int) -> list[int]:
    """0, 4, ..., 28, 31 of 32: the last takes the place of a number too near to it."""
    step = 1 if count <= 12 else 2 if count <= 18 else 4 if count <= 48 else 8
    found = [index for index in range(0, count, step) if index == 0 or count - 1 - index > step / 2]
    return [*found, count - 1] if found[-1] != count - 1 else found


def colour_key(reach: Extremes) -> Chart:
    """The colours of several maps that share one scale."""
    edges = [-most(reach) if reach.low < 0 else 0.0, *steps_of(reach), most(reach)]
    rows = [{"score": (low + high) / 2, "from": low, "to": high} for low, high in pairwise(edges)]
    ticks = alt.Axis(values=[edges[0], 0, edges[-1]], format=".2~g", grid=False, domain=False)
    x = alt.X("from:Q", title=None, scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False), axis=ticks)
    strip = alt.Chart().mark_rect().encode(x=x, x2=alt.X2("to:Q"), color=shade(reach, legend=False))
    description = f"Colours from {two_decimals(edges[0])} to {two_decimals(edges[-1])}."
    return Chart(data=data(rows), layer=[strip], height=12, description=description)


def most(reach: Extremes) -> Number:
    return max(abs(reach.low), abs(reach.high)) or 1.0


def steps_of(reach: Extremes) -> list[Number]:
    """Where one colour ends and the next begins."""
    if reach.low >= 0:
        return [most(reach) * step / 10 for step in range(1, 10)]
    return [most(reach) * sign * share for sign in (-1, 1) for share in EDGES[::sign]]


def shade(reach: Extremes, legend: bool) -> alt.Color:
    """Steps of colour from 0 up; or, where scores fall below it, to both sides of a neutral one about 0."""
    key = alt.Legend(title=None, format=".2~g", type="gradient") if legend else None
    colours = "diverging" if reach.low < 0 else "ramp"
    return alt.Color("score:Q", scale=alt.Scale(type="threshold", domain=steps_of(reach), range=colours), legend=key)
