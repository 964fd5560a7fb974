"""Where the names of a scatter's points go: beside their dots where they cover nothing, else in a column. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Literal

from haymaker.stats import Number, known

Side = Literal["left", "right", "column"]
WIDTH = 230  # pixels between the axes of the narrowest scatter; in a wider one everything is further apart
LETTER, HALF_LINE = 6.8, 7.5  # the width of a letter and half the height of a line, at 12 pixels
SHIFTS = (0.0, 5.0, -5.0, 10.0, -10.0)  # how far above its dot a name may stand: no nearer to another one's
DOT, GAP = 5.5, 9  # from a dot's middle to its rim, and to its name


@dataclass(frozen=True)
class Box:
    """A rectangle, in pixels from the left and from the foot."""

    left: float
    right: float
    low: float
    high: float

    def meets(self, other: "Box") -> bool:
        return self.left < other.right and other.left < self.right and self.low < other.high and other.low < self.high


@dataclass(frozen=True)
class Spot:
    """A point with its name: its place across (0 to 1), its height, and where its whisker ends (of `tall` pixels)."""

    name: str
    across: Number
    up: Number
    low: Number
    high: Number

    def marks(self, tall: float) -> list[Box]:
        """The dot and the whisker."""
        x, y = self.across * WIDTH, self.up * tall
        ends = [y if isnan(known(end)) else end * tall for end in (self.low, self.high)]
        return [Box(x - DOT, x + DOT, y - DOT, y + DOT), Box(x - 1, x + 1, min(ends), max(ends))]

    def beside(self, side: Side, tall: float, shift: float = 0) -> Box:
        """The name's rectangle on this side of the dot, and so much higher."""
        x, y, wide = self.across * WIDTH, self.up * tall + shift, LETTER * len(self.name)
        left = x + GAP if side == "right" else x - GAP - wide
        return Box(left, left + wide, y - HALF_LINE, y + HALF_LINE)


def sides_of(spots: Sequence[Spot], tall: float) -> list[tuple[Side, float]]:
    """For every point the side on which its name covers no dot, no whisker, no other name and no axis, and how much
    higher than the dot it stands; else the column right of the chart. Names from above to below."""
    taken = [box for spot in spots for box in spot.marks(tall)]
    found: dict[int, tuple[Side, float]] = {}
    for i in sorted(range(len(spots)), key=lambda i: -spots[i].up):
        found[i] = side, shift = first_free(spots[i], tall, taken)
        if side != "column":
            taken.append(spots[i].beside(side, tall, shift))
    return [found[i] for i in range(len(spots))]


def first_free(spot: Spot, tall: float, taken: Sequence[Box]) -> tuple[Side, float]:
    places: list[tuple[Side, float]] = [(side, shift) for shift in SHIFTS for side in ("right", "left")]
    free = (place for place in places if is_free(spot.beside(place[0], tall, place[1]), taken))
    return next(free, ("column", 0.0))


def is_free(box: Box, taken: Sequence[Box]) -> bool:
    inside = box.left >= 0 and box.right <= WIDTH
    return inside and not any(box.meets(other) for other in taken)
