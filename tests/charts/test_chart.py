"""What holds of every chart: it draws, it is told in words, its data are JSON; and what shows and saves one."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest
import vl_convert

from haymaker.charts import page, theme
from haymaker.charts.chart import Chart, Point, spread_out
from haymaker.charts.heads import Extremes, colour_key, head_map
from haymaker.charts.intervals import bars, dots
from haymaker.charts.lines import line_chart
from haymaker.charts.scatter import scatter
from haymaker.errors import ConfigError
from haymaker.stats import Interval

EVIL = "</script><b>\u2028 & 'evil'"
POINTS = [
    Point("one", "real", 1, Interval(0.5, 0.4, 0.6)),
    Point("one", "real", 3, Interval(0.25)),
    Point(EVIL, "random", 1, Interval(0.75, 0.7, 0.8)),
]
SCORES = np.array([[0.1, math.nan], [0.5, 0.25]])

CHARTS: dict[str, Callable[[], Chart]] = {
    "lines": lambda: line_chart(POINTS, "tokens", banded=[EVIL]),
    "scatter": lambda: scatter(POINTS, "cosine", "F1 against cosine"),
    "dots": lambda: dots([point._replace(at=point.name) for point in POINTS[1:]], "F1", title="F1", reach=(0, 1)),
    "groups": lambda: dots(POINTS, "change", title="Change", words={"real": "it's real", "random": "random"}),
    "bars": lambda: bars({"build": 2.0, EVIL: 30.0}, "seconds", title="Seconds"),
    "map": lambda: head_map(SCORES, SCORES, SCORES, "copy"),
    "losses": lambda: head_map(SCORES - 0.3, SCORES, SCORES, EVIL),
    "nothing": lambda: head_map(np.full((2, 2), np.nan), SCORES, SCORES, "1 without a score"),
    "key": lambda: colour_key(Extremes(-0.5, 1)),
}


@pytest.fixture(params=CHARTS)
def chart(request: pytest.FixtureRequest) -> Chart:
    return CHARTS[request.param]()


def test_it_is_a_valid_spec_of_json_that_draws(chart: Chart) -> None:
    spec = json.loads(json.dumps(chart.spec(), allow_nan=False))  # to_dict checks it against Vega-Lite's schema
    assert vl_convert.vegalite_to_svg(spec, page.VEGALITE).startswith("<svg")


def test_it_is_told_in_words_with_its_numbers(chart: Chart) -> None:
    assert any(letter.isdigit() for letter in chart.spec()["description"])


def test_the_same_rows_give_the_same_spec(request: pytest.FixtureRequest, chart: Chart) -> None:
    again = CHARTS[request.node.callspec.params["chart"]]()
    assert json.dumps(again.spec()) == json.dumps(chart.spec())


def test_a_spec_holds_no_colour(chart: Chart) -> None:
    text = json.dumps(chart.spec())
    assert "#" not in text
    assert "var(" not in text


def test_names_cannot_leave_their_place_on_a_page(chart: Chart) -> None:
    text = str(page.place(chart.spec()))
    assert text.count("<script") == text.count("</script") == 1
    assert "<b>" not in text
    inside = text.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(inside)["description"] == chart.spec()["description"]


def test_more_heads_than_altair_lets_a_table_have() -> None:
    scores = np.zeros((80, 80))
    assert "6400 heads" in head_map(scores, scores, scores, "copy").spec()["description"]


# ---- showing and saving


def test_a_picture_has_the_theme(tmp_path: Path) -> None:
    chart = CHARTS["lines"]()
    light, dark = chart.save(tmp_path / "a.svg"), chart.save(tmp_path / "b.SVG", dark=True)
    assert theme.LIGHT["real"] in light.read_text()
    assert theme.DARK["real"] in dark.read_text()
    assert theme.DARK["real"] not in light.read_text()
    assert chart.save(str(tmp_path / "new" / "c.png")).read_bytes().startswith(b"\x89PNG")


def test_a_saved_page_loads_nothing(tmp_path: Path) -> None:
    text = CHARTS["groups"]().save(tmp_path / "a.html").read_text()
    assert "src=" not in text.split("<script>")[0]
    assert len(text) > 500_000  # Vega is inside
    assert all(f"{name}:" in text for name in ("--real", "--ramp-9", "--harm-4"))


@pytest.mark.parametrize("name", ["chart.pdf", "chart", "chart.json"])
def test_another_suffix_is_an_error_that_names_the_three(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.html, \.png or \.svg, found"):
        CHARTS["bars"]().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.svg").write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        CHARTS["bars"]().save(tmp_path / "a.svg")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.svg", "old")]


def test_a_notebook_shows_it_without_a_network() -> None:
    shown = CHARTS["map"]()._repr_mimebundle_()
    assert shown["image/svg+xml"].startswith("<svg")
    assert shown["text/plain"] == "Scores of copy: 3 heads, 1-0 highest, 0.50."
    assert "text/html" not in shown
    interactive = shown[f"application/vnd.vegalite.v{page.VEGALITE[0]}+json"]
    assert interactive["config"]["range"]["ramp"][0] == theme.LIGHT["ramp-0"]


def test_a_picture_in_a_page_is_told_in_words_that_cannot_leave_their_place() -> None:
    picture = CHARTS["losses"]().html()
    assert "<svg" in picture
    assert "<b>" not in picture
    assert escape(EVIL) in picture.split("<svg")[0]


def test_a_chosen_renderer_goes_first() -> None:
    with alt.renderers.enable("json"):
        assert "application/json" in CHARTS["bars"]()._repr_mimebundle_()[0]


def test_charts_combine_as_altair_charts_do(tmp_path: Path) -> None:
    both = CHARTS["map"]() | CHARTS["lines"]()
    both.save(tmp_path / "both.svg")
    wide = CHARTS["bars"]().properties(width=700)
    assert isinstance(wide, Chart)
    assert wide.spec()["width"] == 700


def test_altair_is_imported_only_where_something_is_drawn() -> None:
    code = (
        "import sys, numpy as np, haymaker as hm; scores = hm.HeadScores(np.ones((1, 2, 2)), ('a',), 'copy'); "
        "assert 'altair' not in sys.modules; scores.plot(); assert 'altair' in sys.modules; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_keep_apart_and_inside() -> None:
    assert spread_out([50, 52, 10], gap=10, limit=200) == [50, 60, 10]
    assert spread_out([100, 99], gap=10, limit=100) == [100, 90]
