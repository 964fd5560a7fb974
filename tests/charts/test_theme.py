"""One theme: every role in light and dark, legible in both."""

import json
import re

import pytest

from haymaker.charts import theme


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_the_paper(colours: dict[str, str]) -> None:
    assert all(contrast(colours[name], colours["paper"]) >= 4.5 for name in ("ink", "soft", *theme.KINDS))


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_a_higher_score_stands_out_more(colours: dict[str, str]) -> None:
    for name, count in (("ramp", len(theme.RAMP)), ("harm", len(theme.HARM))):
        steps = [contrast(colours[f"{name}-{i}"], colours["paper"]) for i in range(count)]
        assert steps == sorted(steps)


def test_a_page_defines_every_colour_that_its_charts_name() -> None:
    light, dark = theme.css().split("@media")
    names = set(re.findall(r"var\((--[\w-]+)\)", json.dumps(theme.config(theme.PAGE))))
    assert names
    for block in (light, dark):
        assert names <= set(re.findall(r"(--[\w-]+):", block))


def test_the_three_configs_differ_in_colours_alone() -> None:
    configs = [json.dumps(theme.config(colours)) for colours in (theme.LIGHT, theme.DARK, theme.PAGE)]
    assert len({re.sub(r"#\w{6}|var\([\w-]+\)", "colour", config) for config in configs}) == 1
