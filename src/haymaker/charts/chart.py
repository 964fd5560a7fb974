"""What all charts share: points as rows of data, the scale of colours, and the chart that shows and saves itself."""

from collections.abc import Iterable, Sequence
from html import escape
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import vl_convert

from haymaker.charts import page, theme
from haymaker.charts.numbers import in_words
from haymaker.errors import ConfigError
from haymaker.files import whole_file
from haymaker.stats import Interval, Number, known


class Chart(alt.LayerChart):
    """An Altair chart in Haymaker's colours: a notebook shows it, `save` keeps it, Altair's operators combine it.

    Its spec names roles rather than colours, so that showing or saving picks light, dark, or a page's own.
    """

    def spec(self, validate: bool = True) -> dict[str, Any]:
        """The Vega-Lite spec without a theme, checked against its schema (most of the time that a chart takes)."""
        return {key: value for key, value in self.to_dict(validate).items() if key != "config"}

    def save(self, path: str | Path, dark: bool = False) -> Path:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Write .html (interactive, without network, in its reader's light or dark), .png or .svg (light unless dark).

        Raises ConfigError for another suffix. The file appears whole or not at all.
        """
        path = Path(path)
        content = self._content(path, theme.config(theme.DARK if dark else theme.LIGHT))
        with whole_file(path) as file:
            file.write_bytes(content)
        return path

    def svg(self, dark: bool = False) -> str:
        """The chart as a picture in text."""
        return vl_convert.vegalite_to_svg(
            self.spec(), page.VEGALITE, config=theme.config(theme.DARK if dark else theme.LIGHT)
        )

    def html(self) -> str:
        """The picture as it stands in a page that has its own scheme: on its light ground, told in words."""
        told = escape(self.to_dict(validate=False)["description"])
        return f'<div role="img" aria-label="{told}">{self.svg()}</div>'

    def _content(self, path: Path, config: dict[str, Any]) -> bytes:
        match path.suffix.lower():
            case ".html":
                return page.document(self.spec()).encode()
            case ".png":
                return vl_convert.vegalite_to_png(self.spec(), page.VEGALITE, config=config, scale=2)
            case ".svg":
                return vl_convert.vegalite_to_svg(self.spec(), page.VEGALITE, config=config).encode()
        raise ConfigError(f"{path}: expected a name that ends in .html, .png or .svg, found {path.suffix!r}")

    def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> Any:
        """Interactive where the notebook knows Vega-Lite, else a picture; neither needs a network. On a light ground in
        any notebook, as its scheme is not known here.

        A renderer that was chosen with `alt.renderers.enable` goes first.
        """
        if alt.renderers.active != "default":
            return super()._repr_mimebundle_(*args, **kwargs)
        config = theme.config(theme.LIGHT)
        spec, kind = self.spec(), f"application/vnd.vegalite.v{page.VEGALITE.split('.')[0]}+json"
        picture = vl_convert.vegalite_to_svg(spec, page.VEGALITE, config=config)
        return {kind: spec | {"config": config}, "image/svg+xml": picture, "text/plain": spec["description"]}


class Point(NamedTuple):
    """A number with its interval, what it stands for (one of theme.KINDS gives its colour), and where it goes."""

    name: str
    kind: str
    at: Any  # a number on the horizontal axis, or the name of a row
    value: Interval
    hint: str = ""  # what a tooltip says beside name and number

    def row(self, **more: Any) -> dict[str, Any]:
        """As a row of a chart's data, null for what is not known."""
        mean, low, high = (or_null(number) for number in self.value)
        told = f"{in_words(self.value)}{self.hint}"
        row = {"name": self.name, "kind": self.kind, "at": self.at, "value": mean, "low": low, "high": high}
        return {**row, "told": told, **more}


def or_null(number: Number | None) -> Number | None:
    """The number, or None where it is not known, which JSON has another word for than Python."""
    return None if isnan(known(number)) else number


def data(rows: Iterable[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=list(rows))


def colour_of_kind(legend: alt.Legend | None = None) -> alt.Color:
    return alt.Color("kind:N", scale=alt.Scale(domain=list(theme.KINDS), range="category"), legend=legend)


def tooltip(first: str, second: str) -> list[alt.Tooltip]:
    """A tooltip of the point's name and of its number with the interval, under these two words."""
    return [alt.Tooltip("name:N", title=first), alt.Tooltip("told:N", title=second)]


def fraction(name: str, title: str = "F1") -> alt.Y:
    """A vertical axis of a score, from 0 to 1, with its title above it."""
    above = {"titleAngle": 0, "titleAnchor": "end", "titleAlign": "right", "titleX": -7, "titleY": -10}
    axis = alt.Axis(tickCount=5, domain=False, ticks=False, **above)
    return alt.Y(name, title=title, scale=alt.Scale(domain=[0, 1]), axis=axis)


def spread_out(wanted: Sequence[Number], gap: Number, limit: Number) -> list[Number]:
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
