"""Names of a scatter cover nothing: no dot, no whisker, no other name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haymaker.charts.chart import Point
from haymaker.charts.labels import WIDTH, Spot, sides_of
from haymaker.charts.lines import LINE
from haymaker.charts.scatter import across, rows_with_names
from haymaker.stats import Interval

TALL = 190


def spot(name: str, across: float, up: float, half: float = 0.0) -> Spot:
    return Spot(name, across, up, up - half, up + half)


@pytest.mark.parametrize(
    ("spots", "sides"),
    [
        ([spot("alone", 0.5, 0.5)], ["right"]),
        ([spot("at the edge", 0.95, 0.5)], ["left"]),
        # two far apart look right; the right one has no room there and looks back, where there is room
        ([spot("one", 0.05, 0.5), spot("two", 0.95, 0.5)], ["right", "left"]),
        # the second dot stands where the first one's name would: it looks left, which is over the axis, so aside
        ([spot("a long name", 0.05, 0.5), spot("b", 0.2, 0.5)], ["column", "right"]),
        # one above the other at the right edge: heights of 19 pixels apart are enough
        ([spot("up", 0.95, 0.6), spot("down", 0.95, 0.5)], ["left", "left"]),
        # on one place: the highest name stands left of all, the others nowhere
        (
            [spot("first", 0.95, 0.5), spot("second", 0.95, 0.5), spot("third", 0.95, 0.52)],
            ["column", "column", "left"],
        ),
        # a whisker through the name (0.4 * 190 = 76 pixels each way)
        ([spot("name", 0.05, 0.5), spot("x", 0.15, 0.9, 0.45)], ["column", "right"]),
    ],
)
def test_a_name_goes_where_it_covers_nothing(spots: list[Spot], sides: list[str]) -> None:
    assert [side for side, _ in sides_of(spots, TALL)] == sides


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.floats(0.05, 0.95), st.floats(0, 1), st.floats(0, 0.2)), min_size=1, max_size=9))
def test_no_name_meets_a_mark_or_a_name(places: list[tuple[float, float, float]]) -> None:
    spots = [spot(f"setting-{i}", *place) for i, place in enumerate(places)]
    sides = sides_of(spots, TALL)
    names = [one.beside(side, TALL, up) for one, (side, up) in zip(spots, sides, strict=True) if side != "column"]
    marks = [box for one in spots for box in one.marks(TALL)]
    assert not any(name.meets(mark) for name in names for mark in marks)
    assert not any(name.meets(other) for i, name in enumerate(names) for other in names[:i])
    assert all(name.left >= 0 and name.right <= WIDTH for name in names)


def test_a_name_moves_a_little_before_it_leaves() -> None:
    """Dots 11 pixels apart, names 15 high: the one between both moves down by 5 and would still meet the upper name."""
    near = [spot(name, 0.05, up) for name, up in (("up", 0.62), ("down", 0.56))]
    assert sides_of(near, TALL) == [("right", 0.0), ("right", -5.0)]


def test_names_in_the_column_stand_apart_in_the_order_of_their_dots() -> None:
    points = [Point(name, "synthetic", 1.0, Interval(0.5)) for name in ("one", "two", "three")]
    rows = rows_with_names(points, 1.0, 1.0)
    assert [row["side"] for row in rows] == ["left", "column", "column"]
    assert [row["name_at"] for row in rows] == [0.5, 0.5, pytest.approx(0.5 + LINE)]
    assert across(1.0, 1.0, 1.0) == across(2.0, 1.0, 2.0) > across(1.0, 1.0, 2.0)
