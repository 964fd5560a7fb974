"""What a panel is made of: charts, their numbers in figures, and a caption that states n."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from haymaker.charts.chart import Chart
from haymaker.charts.numbers import bounds, two_decimals
from haymaker.report.tables import Row, cells_of
from haymaker.stats import Interval


@dataclass(frozen=True)
class Told:
    """A number in words, and the cells that it comes from."""

    text: str
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class Numbers:
    """The numbers of a chart in figures; the first column names its row."""

    columns: list[str]
    rows: list[list[Told]]


@dataclass(frozen=True)
class Figure:
    """Charts under their names, the caption that states n and what an interval is, and the numbers in figures.

    Figures of one panel that have a `choice` are shown one at a time.
    """

    charts: dict[str, Chart]
    caption: str
    title: str = ""
    numbers: Numbers | None = None
    choice: str = ""


@dataclass(frozen=True)
class HeadMaps(Figure):
    """Maps of one metric: one spec without rows for all of them, the colours that they share, and which to draw."""

    spec: Chart | None = None
    key: Chart | None = None
    maps: list[dict[str, Any]] = field(default_factory=list)  # setting, seed, and the words above and for a reader
    about: dict[str, Any] = field(default_factory=dict)  # what the page's script must know: metric, outlined, ...


def plain(*words: str) -> list[Told]:
    return [Told(word) for word in words]


def number(of: Interval | None, rows: Sequence[Row], sign: str = "") -> list[Told]:
    """The mean, linked to the cells of its rows, and its interval: two columns."""
    if of is None:
        return plain("not measured", "")
    return [Told(two_decimals(of.mean, sign), cells_of(rows)), Told(bounds(of, sign))]
