"""One theme: every role in light and dark, legible in both."""

import json
import re
from pathlib import Path

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


STYLE = (Path(theme.__file__).parents[1] / "report" / "style.html").read_text()
OWN = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)]


@pytest.mark.parametrize(("colours", "own"), [*zip((theme.LIGHT, theme.DARK), OWN, strict=True)], ids=["light", "dark"])
def test_words_of_the_page_are_legible_on_paper_and_on_tables(colours: dict[str, str], own: dict[str, str]) -> None:
    """4.5:1 for text of any size (WCAG AA, 1.4.3): words, links, verdicts, names in charts."""
    for ground in (colours["paper"], own["raised"]):
        for name, colour in (colours | own).items():
            if name in ("ink", "soft", "good", "bad", *theme.KINDS):
                assert contrast(colour, ground) >= 4.5, (name, ground)


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_text_and_marks_stand_out_from_the_paper(colours: dict[str, str]) -> None:
    assert all(contrast(colours[name], colours["paper"]) >= 4.5 for name in ("ink", "soft", *theme.KINDS))


def blended(colour: str, opacity: float, paper: str) -> str:
    """What is seen of a colour that lets some of the paper through."""
    parts = [[int(one[i : i + 2], 16) for i in (1, 3, 5)] for one in (colour, paper)]
    return "#" + "".join(f"{round(opacity * a + (1 - opacity) * b):02x}" for a, b in zip(*parts, strict=True))


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_thin_marks_stand_out_too(colours: dict[str, str]) -> None:
    """3:1, as WCAG asks of what is no text (1.4.11)."""
    opacity = theme.config(colours)["style"]["whisker"]["opacity"]
    for kind in theme.KINDS:
        assert contrast(blended(colours[kind], opacity, colours["paper"]), colours["paper"]) >= 3, kind


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
