"""Maps of heads: every head in its place, colours from zero."""

import json
import math
from bisect import bisect
from itertools import pairwise

import numpy as np
import pytest
import vl_convert

from haymaker.charts import page, theme
from haymaker.charts.chart import Chart
from haymaker.charts.heads import Extremes, blank_map, colour_key, head_map, highest, named
from haymaker.heads.scores import HeadScores
from haymaker.records import Head


def rows_of(chart: Chart) -> list[dict]:
    (rows,) = chart.spec()["datasets"].values()
    return rows


def test_every_head_with_a_score_has_its_cell() -> None:
    mean = np.array([[0.25, math.nan, 0.5], [0.0, 1.0, 0.125]])
    rows = rows_of(head_map(mean, mean - 0.1, mean + 0.1, "copy", outlined=[Head(1, 1)]))
    assert {(row["layer"], row["head"]): row["score"] for row in rows} == {
        (0, 0): 0.25,
        (0, 2): 0.5,
        (1, 0): 0.0,
        (1, 1): 1.0,
        (1, 2): 0.125,
    }
    assert [row["name"] for row in rows if row["ring"]] == ["1-1"]
    assert rows[0]["told"] == "0.25\u00a0[0.15,\u00a00.35]"


def test_layers_and_heads_without_a_score_keep_their_places() -> None:
    mean = np.array([[math.nan, math.nan], [0.5, math.nan]])
    encoding = head_map(mean, mean, mean, "copy").spec()["layer"][0]["encoding"]
    assert encoding["x"]["scale"]["domain"] == encoding["y"]["scale"]["domain"] == [0, 1]
    assert (encoding["x"]["title"], encoding["y"]["title"]) == ("head", "layer")


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.5), (0.0, 0.0), (-0.1, 0.5), (-4.0, 1e-3), (-1e-9, 270.0)])
def test_colours_start_at_zero_or_turn_there_to_both_sides_alike(low: float, high: float) -> None:
    grid = np.array([[low, high]])
    scale = head_map(grid, grid, grid, "copy").spec()["layer"][0]["encoding"]["color"]["scale"]
    colours, steps, largest = theme.config(theme.LIGHT)["range"][scale["range"]], scale["domain"], max(-low, high)
    assert len(colours) == len(set(colours)) == len(steps) + 1  # the legend's blocks are the map's
    assert steps == sorted(steps)
    assert steps[-1] < (largest or 1)  # the largest has the strongest colour
    neutral = colours[bisect(steps, 0.0)]
    assert neutral == theme.LIGHT["ramp-0"]
    if low < 0:
        assert steps == [-step for step in reversed(steps)]
        assert colours[bisect(steps, -0.01 * largest)] == colours[bisect(steps, 0.01 * largest)] == neutral
        assert colours[bisect(steps, 0.03 * largest)] != neutral != colours[bisect(steps, -0.03 * largest)]


@pytest.mark.parametrize("reach", [Extremes(0, 0.9), Extremes(-0.1, 0.5)])
def test_the_key_of_several_maps_has_their_colours_each_once(reach: Extremes) -> None:
    spec = colour_key(reach).spec()
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    (rows,) = spec["datasets"].values()
    assert [bisect(scale["domain"], row["score"]) for row in rows] == list(range(len(scale["domain"]) + 1))
    assert all(before["to"] == after["from"] for before, after in pairwise(rows))


def test_maps_side_by_side_share_their_colours() -> None:
    color = blank_map((1, 2), Extremes(0, 0.9)).spec()["layer"][0]["encoding"]["color"]
    assert color["scale"]["domain"] == pytest.approx([0.9 * step / 10 for step in range(1, 10)])
    assert color["legend"] is None


def test_an_unscored_head_has_no_colour() -> None:
    # A cell is drawn per score: three, of four heads.
    grid = np.array([[0.1, math.nan], [0.3, 0.4]])
    drawn = vl_convert.vegalite_to_svg(head_map(grid, grid, grid, "copy").spec(), page.VEGALITE)
    assert drawn.split("mark-rect")[1].count("<path") == 3


def test_the_highest_in_words() -> None:
    assert highest(np.array([[0.25, math.nan], [0.5, -1.0]])) == "1-0 highest, 0.50"
    assert highest(np.full((2, 2), math.nan)) == "none with a score"


def test_head_scores_plot_their_means_with_intervals_and_unit() -> None:
    values = np.array([[[0.0, 1.0], [0.5, math.nan]], [[0.0, 0.5], [0.5, math.nan]]])
    scores = HeadScores(values, ("a", "b"), "causal_zero", {"unit": "nats"})
    chart = scores.plot(k=1)
    assert chart.spec()["title"] == "causal_zero (nats)"
    assert [(row["name"], row["score"], row["ring"]) for row in rows_of(chart)] == [
        ("0-0", 0.0, False),
        ("0-1", 0.75, True),
        ("1-0", 0.5, False),
    ]
    assert rows_of(chart)[1]["told"] == "0.75\u00a0[0.5,\u00a01]"


def test_only_heads_above_zero_are_outlined_and_named() -> None:
    scores = HeadScores(np.array([[[0.0, 0.5], [-0.5, 0.0]]]), ("a",), "write")
    assert [row["name"] for row in rows_of(scores.plot(k=3)) if row["ring"]] == ["0-1"]
    assert repr(scores).endswith("best 0-1 0.50)")
    assert repr(HeadScores(np.zeros((1, 2, 2)), ("a",), "copy")).endswith("best none above 0)")


def test_a_page_gives_a_map_the_shape_of_the_picture() -> None:
    grid = np.full((30, 9), 0.5)
    chart = head_map(grid, grid, grid, "copy")
    inside = page.document(chart.spec()).split('<script type="application/json">')[1].split("</script>")[0]
    assert (json.loads(inside)["width"], json.loads(inside)["height"]) == (
        chart.spec()["width"],
        chart.spec()["height"],
    )


def test_scores_that_no_example_counts_for_plot_as_nothing() -> None:
    assert rows_of(HeadScores(np.full((1, 2, 2), math.nan), ("a",), "copy").plot()) == []


@pytest.mark.parametrize(
    ("count", "labels"),
    [
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (9, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (16, [0, 2, 4, 6, 8, 10, 12, 15]),  # 14 makes room for the last
        (30, [0, 4, 8, 12, 16, 20, 24, 29]),
        (32, [0, 4, 8, 12, 16, 20, 24, 28, 31]),
        (64, [0, 8, 16, 24, 32, 40, 48, 56, 63]),
        (1, [0]),
    ],
)
def test_axes_name_enough_to_count_from(count: int, labels: list[int]) -> None:
    assert named(count) == labels
    encoding = blank_map((count, 9), Extremes(0, 1)).spec(validate=False)["layer"][0]["encoding"]
    assert encoding["y"]["axis"]["values"] == labels
    assert encoding["y"]["axis"]["labelOverlap"] is False


def test_a_blank_map_draws_the_rows_it_is_given() -> None:
    spec = blank_map((2, 2), Extremes(0, 1)).spec()  # checked against Vega-Lite's schema
    about = {"layer": 0, "ring": False, "told": ""}
    rows = [about | {"head": head, "name": f"0-{head}", "score": head / 2} for head in (0, 1)]
    drawn = vl_convert.vegalite_to_svg(spec | {"datasets": {"heads": rows}}, page.VEGALITE)
    assert drawn.split("mark-rect")[1].count("<path") == 2
    assert {one["name"] for one in spec["params"]} == {"threshold", "chosen"}
