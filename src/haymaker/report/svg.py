"""Hand-made SVG: elements with everything escaped, scales, axes, and labels that keep apart.

Colours are classes of the page's style sheet, so that one drawing serves light and dark. A drawing is about 360 units
wide and the page shows it at about that many pixels, so that its text stays legible on a phone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape

from haymaker.report.estimate import Number

WIDTH, HEIGHT = 360.0, 240.0
LINE = 14.0  # height of a label
LETTER = 6.5  # mean width of a letter in a label

Box = tuple[Number, Number, Number, Number]  # left, top, right, bottom


def compact(value: Number) -> str:
    """At most two decimals, without trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def tick_text(value: Number) -> str:
    return compact(value).replace("-", "\u2212")


def element(name: str, *children: object, **attributes: object) -> Markup:
    """<name ...>children</name> with all text escaped; class_ is class, aria_label is aria-label; None is left out."""
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            shown = compact(value) if isinstance(value, float) else value
            parts.append(f'{key.rstrip("_").replace("_", "-")}="{escape(shown)}"')
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{' '.join(parts)}>{inner}</{name}>")


def drawing(label: str, *children: object, width: Number = WIDTH, height: Number = HEIGHT) -> Markup:
    """An inline picture that tells a screen reader its `label`."""
    box = f"0 0 {compact(width)} {compact(height)}"
    return element("svg", *children, viewBox=box, role="img", aria_label=label, class_="chart")


@dataclass(frozen=True)
class Scale:
    """Values [low, high] to positions [start, stop]; `bend` is applied to values first, as for a logarithmic axis."""

    low: Number
    high: Number
    start: Number
    stop: Number
    bend: Callable[[Number], Number] = float

    def __call__(self, value: Number) -> Number:
        low, high = self.bend(self.low), self.bend(self.high)
        share = (self.bend(value) - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.stop - self.start)


def step(low: Number, high: Number, count: int = 5) -> Number:
    """The distance of about `count` round ticks (1, 2 or 5 times a power of ten) over [low, high]."""
    rough = max(high - low, 1e-9) / count
    power = 10.0 ** floor(log10(rough))
    return power * min((factor for factor in (1, 2, 5, 10)), key=lambda factor: abs(factor * power - rough))


def round_ticks(low: Number, high: Number, count: int = 5) -> list[Number]:
    """Round ticks that enclose [low, high]."""
    distance = step(low, high, count)
    first, last = floor(low / distance + 1e-9), ceil(high / distance - 1e-9)
    return [round(i * distance, 10) for i in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Frame:
    """A plot's two scales and the words at its axes."""

    x: Scale
    y: Scale
    x_title: str
    y_title: str = "F1"

    def axes(self, x_ticks: Iterable[Number], y_ticks: Iterable[Number]) -> Markup:
        left, right, bottom = self.x.start, self.x.stop, self.y.start
        parts = []
        for tick in y_ticks:
            y = self.y(tick)
            parts.append(element("line", class_="grid", x1=left, x2=right, y1=y, y2=y))
            parts.append(element("text", tick_text(tick), class_="tick end", x=left - 7, y=y + 4))
        for tick in x_ticks:
            x = self.x(tick)
            parts.append(element("line", class_="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4))
            parts.append(element("text", tick_text(tick), class_="tick middle", x=x, y=bottom + 18))
        parts.append(element("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom))
        parts.append(element("text", self.x_title, class_="tick middle", x=(left + right) / 2, y=bottom + 35))
        parts.append(element("text", self.y_title, class_="tick end", x=left - 7, y=self.y.stop - 9))
        return Markup("").join(parts)


def spread_out(wanted: list[Number], limit: Number, gap: Number = LINE) -> list[Number]:
    """Positions at least `gap` apart and none beyond `limit`, in the order of the wanted ones and near to them."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    for before, after in zip(order, order[1:], strict=False):
        placed[after] = max(placed[after], placed[before] + gap)
    highest = limit
    for i in reversed(order):
        placed[i] = min(placed[i], highest)
        highest = placed[i] - gap
    return placed


def place_labels(boxes: list[Box], texts: list[str], left: Number, right: Number) -> list[tuple[Number, Number]]:
    """Left end and baseline of one label per box (a point with its whiskers), clear of all boxes where possible."""
    taken, found = list(boxes), []
    for box, text in zip(boxes, texts, strict=True):
        width, middle = LETTER * len(text), (box[1] + box[3]) / 2
        around = [(box[2] + 4, middle + 4 + 9 * i) for i in (0, -1, 1, -2, 2)]
        around += [(box[0] - 4 - width, middle + 4 + 9 * i) for i in (0, -1, 1, -2, 2)]
        center = (box[0] + box[2] - width) / 2
        around += [(center, box[1] - 4), (center, box[3] + LINE)]
        choices = [(x, y) for x, y in around if x >= left and x + width <= right] or around
        x, y = min(choices, key=lambda at: clashes((at[0], at[1] - 10, at[0] + width, at[1] + 3), taken))
        taken.append((x, y - 10, x + width, y + 3))
        found.append((x, y))
    return found


def clashes(box: Box, others: list[Box]) -> int:
    """How many boxes meet `box`."""
    return sum(box[0] < c and a < box[2] and box[1] < d and b < box[3] for a, b, c, d in others)
