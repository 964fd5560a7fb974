"""Charts on a page that needs no network: a place for each, and one script that draws them all."""

from functools import cache
from typing import Any

import altair as alt
import vl_convert
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from haymaker.charts import theme

VEGALITE = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])  # what Altair writes, vl-convert must draw

STYLE = """
.chart { width: 100%; } .chart svg { display: block; max-width: 100%; height: auto; }
.chart .mark-text.role-mark text { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
#vg-tooltip-element { position: fixed; z-index: 1000; visibility: hidden; padding: .4rem .6rem; max-width: 22rem;
  border: 1px solid var(--soft); background: var(--paper); color: var(--ink); font: 12px/1.4 sans-serif; }
#vg-tooltip-element.visible { visibility: visible; }
#vg-tooltip-element td { padding: 0 .3rem 0 0; vertical-align: top; } #vg-tooltip-element .key { color: var(--soft); }
"""
DRAW = """
globalThis.drawChart = (host, spec) => {
  const options = {mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, config: CONFIG,
    tooltip: {disableDefaultStyle: true}};
  const tell = (error) => { host.textContent = "This chart cannot be drawn: " + error; };
  // The host tells the chart in words and has its keys: on it Vega would put a role and words of its own.
  let picture = host.querySelector(":scope > .picture");
  if (!picture) {
    picture = Object.assign(document.createElement("div"), {className: "picture", ariaHidden: "true"});
    host.replaceChildren(picture);
  }
  picture.style.minHeight = `${picture.offsetHeight}px`;  // drawn again: what stands below it stays there
  const settle = (drawn) => { picture.style.minHeight = ""; return drawn; };
  return vegaEmbed(picture, spec, options).then(settle).catch(tell);
};
"""
DRAW_ALL = """
for (const host of document.querySelectorAll(".chart")) {
  drawChart(host, JSON.parse(host.querySelector("script").textContent));
}
"""


def style() -> Markup:
    """The colours of charts, for light and dark, and the look of tooltips: the contents of a <style>."""
    return Markup(f"{theme.css()}{STYLE}")


def place(spec: dict[str, Any]) -> Markup:
    """Where a chart is drawn, as wide as the page lets it where it has no width of its own. It tells its description
    to a screen reader."""
    holder = '<div class="chart" role="img" aria-label="{}"><script type="application/json">{}</script></div>'
    return Markup(holder).format(spec["description"], as_wide(spec))


def as_wide(spec: dict[str, Any]) -> Markup:
    """A spec as JSON for a page, as wide as what holds it where it has no width of its own."""
    return compact({"width": "container"} | {key: value for key, value in spec.items() if key != "$schema"})


def compact(value: Any) -> Markup:
    """JSON that may stand in a <script> of a page."""
    return htmlsafe_json_dumps(value, separators=(",", ":"))


@cache
def script() -> Markup:
    """Vega, Vega-Lite and Vega-Embed, and `drawChart(host, spec)`: the contents of a <script>."""
    config = htmlsafe_json_dumps(theme.config(theme.PAGE) | {"background": None})
    return Markup(vl_convert.javascript_bundle(DRAW.replace("CONFIG", config), VEGALITE))


def document(spec: dict[str, Any]) -> str:
    """One chart as a page of its own, in the reader's light or dark."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(spec['description'])}</title>\n"
        f"<style>{style()} body {{ background: var(--paper); margin: 2rem auto; max-width: 48rem; }}</style></head>\n"
        f"<body>{place(spec)}<script>{script()}</script><script>{DRAW_ALL}</script></body></html>\n"
    )
