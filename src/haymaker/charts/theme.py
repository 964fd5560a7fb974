"""Colours and type of every chart, once for light and dark. No Altair: a chart names roles, and a theme fills them in.

A page reads the colours as CSS variables, so that one drawing follows `prefers-color-scheme` and prints in light; a
file gets them as they are.
"""

from collections.abc import Mapping
from typing import Any

FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

# Role: (light, dark). The first ten are what a mark can stand for, in the order of the colour scale.
COLOURS = {
    "real": ("#b04a00", "#ff9a52"),
    "synthetic": ("#1f63a8", "#6cb2f5"),
    "untrained": ("#666d75", "#98a1ab"),
    "extended": ("#1d2126", "#e6e7e8"),
    "other": ("#7a5195", "#c39be0"),
    "retrieval": ("#00735f", "#3ecaa9"),
    "random": ("#666d75", "#98a1ab"),
    "identity": ("#7a5195", "#c39be0"),
    "intersection": ("#00735f", "#3ecaa9"),
    "complement": ("#8a6100", "#dcae45"),
    "paper": ("#fdfdfb", "#15181c"),
    "ink": ("#1d2126", "#e6e7e8"),
    "soft": ("#565d66", "#a3abb4"),
    "grid": ("#e8eaec", "#262b31"),
}
KINDS = tuple(COLOURS)[:10]
RAMP = (  # from nothing to the highest score
    ("#f0f1f2", "#22272d"),
    ("#dbe7f0", "#1d3346"),
    ("#bdd7ea", "#1d4360"),
    ("#97c2e0", "#20567b"),
    ("#6fa9d2", "#2a6c97"),
    ("#4a8dc0", "#3d84b0"),
    ("#2f71a8", "#5a9dc5"),
    ("#1d568b", "#80b7d8"),
    ("#113d6b", "#add2e9"),
    ("#08264a", "#e2f1fa"),
)
HARM = (  # from nothing to the lowest score, where scores fall below zero
    ("#f8dcc6", "#4f2b14"),
    ("#efae7d", "#8f4a18"),
    ("#d97a35", "#d0712b"),
    ("#b04a00", "#ff9a52"),
    ("#7a2f00", "#ffd9bb"),
)
SHADES = {f"ramp-{i}": pair for i, pair in enumerate(RAMP)} | {f"harm-{i}": pair for i, pair in enumerate(HARM)}
LIGHT = {name: light for name, (light, _) in (COLOURS | SHADES).items()}
DARK = {name: dark for name, (_, dark) in (COLOURS | SHADES).items()}
PAGE = {name: f"var(--{name})" for name in LIGHT}


def css() -> str:
    """The variables that PAGE names: light, and dark on a screen that asks for it."""
    light, dark = ("".join(f" --{name}: {value};" for name, value in colours.items()) for colours in (LIGHT, DARK))
    return (
        f":root {{ color-scheme: light;{light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark;{dark} }} }}"
    )


def config(colours: Mapping[str, str]) -> dict[str, Any]:
    """Vega-Lite's config for LIGHT, DARK or PAGE."""
    text = {"labelColor": colours["soft"], "titleColor": colours["soft"], "titleFontWeight": "normal"}
    sizes = {"labelFontSize": 12, "titleFontSize": 12}
    lines = {
        "labelFlush": False,
        "domainColor": colours["soft"],
        "tickColor": colours["soft"],
        "gridColor": colours["grid"],
    }
    ramp = [colours[f"ramp-{i}"] for i in range(len(RAMP))]
    harm = [colours[f"harm-{i}"] for i in reversed(range(len(HARM)))]
    signed = [*harm, ramp[0], *ramp[1::2]]  # a neutral one, and as many above as below
    return {
        "font": FONT,
        "background": colours["paper"],
        "aria": False,  # what holds a chart tells it in words, rather than every mark
        "view": {"stroke": None, "continuousWidth": 360, "continuousHeight": 220},
        "axis": text | sizes | lines,
        "axisBand": {"domain": False, "ticks": False, "grid": False, "labelPadding": 6},
        "title": {"color": colours["ink"], "fontSize": 13, "anchor": "start"},
        "legend": text | sizes | {"gradientLength": 110},
        "range": {"category": [colours[kind] for kind in KINDS], "ramp": ramp, "diverging": signed},
        "style": {
            "name": {"fontSize": 12, "fontWeight": 500, "baseline": "middle"},
            "whisker": {"strokeWidth": 1.5, "opacity": 0.8},
            "leader": {"strokeWidth": 0.75, "opacity": 0.6},
            "band": {"opacity": 0.2},
            "dot": {"filled": True, "size": 64, "opacity": 1, "stroke": colours["paper"], "strokeWidth": 1},
            "ring": {"filled": False, "color": colours["retrieval"], "strokeWidth": 2},
            "chosen": {"filled": False, "color": colours["ink"], "strokeWidth": 2.5},
            "equal": {"color": colours["soft"], "strokeWidth": 1, "strokeDash": [4, 4]},
            "zero": {"color": colours["soft"]},
            "bar": {"color": colours["untrained"]},
        },
    }
