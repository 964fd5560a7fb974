"""The page in one browser: everything is drawn, every control works, nothing fails and nothing is fetched."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import report_rows
from browser import CHROMIUM, Browser, browser

from haymaker.charts import theme
from haymaker.report import render

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine, so no page can be looked at")

EVIL = "<img src=x onerror=alert(1)>"
HOSTS = "[...document.querySelectorAll('.chart, .canvas, .pairs')].filter((host) => host.offsetParent)"
READY = f"'ready' in document.documentElement.dataset && {HOSTS}.every((host) => host.querySelector('svg'))"
CELL = "#heads [data-group='0'] .map[data-setting='real'] .mark-rect path:nth-of-type(18)"  # head 2-1 of 4 x 8


def pages() -> dict:
    """Two tasks, a score that is missing, cells, and a name that is markup."""
    results = report_rows.results()
    tables = results["tables"]
    report_rows.change(tables["heads"], {"setting": "base", "head": 0}, score=None)
    for name, stage in (("evaluation", "evaluate"), ("heads", "heads")):
        for row in tables[name]:
            row |= {"cell": f"{stage}/mdqa/{row['setting']}", "key": "0123456789ab"}
    pair = {
        "first": "real",
        "second": "high-high",
        "family": "reference",
        "difference": 0.19,
        "low": 0.11,
        "high": 0.27,
    }
    tables["pairs"] = [report_rows.KEYS | pair | {"p_holm": 0.004, "n": 200, "seeds": 1, "detectable": 0.1}]
    tables["examples"], tables["reads"] = report_rows.examples(), report_rows.reads()
    tables["extra"] = [{"name": EVIL, "n": n} for n in (10, 9, None, 100)]
    for name in ("evaluation", "heads", "patterns"):
        tables[name] += [{**row, "task": "niah"} for row in tables[name]]
    return results


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(pages()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def opened(running: Browser, page: Path) -> Iterator[Browser]:
    """The page on a screen of 1280 x 800, drawn. In the end the console is empty, and nothing was fetched."""
    running.open(page)
    running.until(READY)
    yield running
    assert running.console == []
    assert {one for one in running.requests if not one.startswith(("blob:", "data:"))} == {page.as_uri()}


def text(opened: Browser, selector: str) -> str:
    return opened.run(f"document.querySelector({selector!r}).innerText")


def test_the_first_screen_holds_question_numbers_verdicts_and_chart(opened: Browser) -> None:
    inside = "(s) => document.querySelector(s).getBoundingClientRect().bottom <= innerHeight"
    for part in (".asked", ".headlines", ".sure", ".lead .chart svg", ".strip"):
        assert opened.run(f"({inside})({part!r})"), part
    assert "cannot be drawn" not in opened.run("document.body.innerText")


def test_hover_and_arrow_keys_read_heads_with_their_cells(opened: Browser) -> None:
    opened.hover(CELL)
    told = opened.until("document.querySelector('.reading').innerText")
    score = report_rows.head_score("real", 2, 1)
    assert f"real {score:.3f} [" in told
    assert "n = 200" in told
    opened.run("document.querySelector(\"#heads .map[data-setting='real'] .canvas\").focus()")
    opened.press("ArrowRight")
    opened.press("ArrowDown")
    assert "Head 3-2" in text(opened, ".reading .label")
    opened.press("ArrowDown")  # the last layer: it stays
    assert "Head 3-2" in text(opened, ".reading .label")
    assert opened.run("document.querySelector('.reading a').hash") == "#cell-heads-mdqa-base"


def test_the_slider_counts_the_heads_over_it(opened: Browser) -> None:
    scores = [report_rows.head_score("real", layer, head) for layer in range(4) for head in range(8)]
    opened.choose(".threshold", "0.3")
    over = sum(score > 0.3 for score in scores)
    assert f"{over} of 32 over 0.3" in text(opened, "#heads .map[data-setting='real'] .count")
    faded = "document.querySelectorAll(\"#heads .map[data-setting='real'] .mark-rect path[opacity='0.3']\").length"
    opened.until(f"{faded} === {32 - over}")


def test_two_settings_are_compared(opened: Browser) -> None:
    """The study's pair is real minus high-high: turned round for high-high first. Cosine is computed by the page."""
    opened.choose("#first", "high-high")
    opened.choose("#second", "real")
    found = text(opened, "#pair")
    assert "difference\t−0.19\t[−0.27, −0.11]\tthe study’s paired test, n = 200, p\u00a0=\u00a00.004" in found
    assert "F1 of high-high\t0.62" in found, "the words of the charts"
    assert "cosine of all heads\t0.980" in found  # the study's own, of similarity
    opened.choose("#second", "low-low")
    found = text(opened, "#pair")
    assert "the study did not test this pair" in found
    pairs = [
        tuple(report_rows.head_score(name, layer, head) for name in ("high-high", "low-low"))
        for layer in range(4)
        for head in range(8)
    ]
    dot, lengths = sum(a * b for a, b in pairs), math.hypot(*(a for a, _ in pairs)) * math.hypot(*(b for _, b in pairs))
    assert f"cosine of all heads\t{dot / lengths:.3f}" in found


def test_the_switch_shows_one_task_at_a_time(opened: Browser) -> None:
    opened.choose("#group", "1")
    shown = "[...document.querySelectorAll('[data-group]')].filter((p) => p.offsetParent).map((p) => p.dataset.group)"
    assert set(opened.run(shown)) == {"1"}
    assert "niah" in text(opened, ".lead:not([hidden]) .asked")
    opened.until(READY)
    opened.choose('#scores [data-group="1"] .controls select', "1")
    opened.until("document.querySelector('#scores [data-group=\"1\"] figure').hidden")
    opened.choose("#group", "0")


def test_every_task_has_its_chart_on_the_first_screen(opened: Browser) -> None:
    """A chart that was drawn before its place was hidden has no width, and stays so."""
    for group in ("1", "0"):
        opened.choose("#group", group)
        shown = "[...document.querySelectorAll('.lead')].find((e) => e.offsetParent).querySelector('.chart svg')"
        assert opened.until(f"{shown}?.getBoundingClientRect().height && {shown}.getBoundingClientRect().width") > 300


def test_one_way_of_grouping_is_shown_at_a_time(opened: Browser) -> None:
    """Five groups of two settings: a dot each, the settings' names at the right, inside the picture."""
    shown = (
        "[...document.querySelectorAll('#breakdown figure')].filter((f) => f.offsetParent).map((f) => f.dataset.choice)"
    )
    assert opened.run(shown) == ["by depth of the evidence"]
    figure = "#breakdown figure:not([hidden])"
    assert opened.run(f"document.querySelectorAll('{figure} .mark-symbol path').length") == 10
    names = f"[...document.querySelectorAll('{figure} .mark-text.role-mark text')]"
    assert opened.run(f"{names}.map((name) => name.textContent)") == ["real", "symbolic"]
    edge = f"document.querySelector('{figure} svg').getBoundingClientRect().right"
    assert opened.run(f"{names}.every((name) => name.getBoundingClientRect().right <= {edge})")
    opened.choose("#breakdown .controls select", "1")
    assert opened.run(shown) == ["by hops of the question"]
    opened.until(READY)
    assert "real\t0.60 [0.50, 0.70]\t0.40 [0.30, 0.50]" in text(opened, f"{figure} tbody").replace("\u00a0", " ")
    opened.choose("#breakdown .controls select", "0")


def test_tables_open_sort_filter_and_are_saved_as_csv(opened: Browser) -> None:
    assert opened.run("document.querySelectorAll('details.table tbody').length") == 0
    opened.click("[data-table=extra] summary")
    opened.until("document.querySelectorAll('[data-table=extra] tbody tr').length === 4")
    assert opened.run("document.querySelectorAll('[data-table=extra] img').length") == 0
    column = "[...document.querySelectorAll('[data-table=extra] tbody tr')].map((row) => row.cells[1].textContent)"
    opened.click("[data-table=extra] th:nth-child(2) .sort")
    assert opened.run(column) == ["9", "10", "100", ""]  # as numbers, what is empty last
    opened.run("document.querySelector('[data-table=extra] th:nth-child(2) .sort').focus()")
    opened.press("Enter")
    assert opened.run(column) == ["100", "10", "9", ""]
    assert opened.run("document.querySelector('[data-table=extra] [aria-sort]').ariaSort") == "descending"
    opened.choose("[data-table=extra] input", "100")
    assert opened.run(column) == ["100"]
    # The click makes a blob; what is in it is read before it is saved.
    opened.run(
        "window.made = []; const make = URL.createObjectURL; "
        "URL.createObjectURL = (blob) => { blob.text().then((text) => made.push(text)); return make(blob); }"
    )
    opened.click("[data-table=extra] .csv")
    assert opened.until("made[0]") == f"name,n\r\n{EVIL},10\r\n{EVIL},9\r\n{EVIL},\r\n{EVIL},100\r\n"
    opened.click("#scores figure:not([hidden]) th:nth-child(3) .sort")
    first = text(opened, "#scores figure:not([hidden]) tbody tr")
    assert first.startswith("base")  # 0.05 is the lowest


def test_a_number_leads_to_its_cell(opened: Browser) -> None:
    opened.click("#scores figure:not([hidden]) tbody a[title='evaluate/mdqa/real']")
    assert opened.until("location.hash") == "#cell-evaluate-mdqa-real"
    assert opened.until("document.activeElement.id") == "cell-evaluate-mdqa-real"


def test_examples_are_read_one_by_one(opened: Browser) -> None:
    assert "Who founded the mill?" in text(opened, "#example")
    assert EVIL in text(opened, "#example")  # an answer of a model
    assert opened.run("document.querySelectorAll('#example img').length") == 0
    assert text(opened, "#place") == "1 of 2"
    assert "squad_f1" not in text(opened, "#example")
    assert "F1 " in text(opened, "#example")
    opened.click("#after")
    assert text(opened, "#place") == "2 of 2"
    opened.choose("#outcome", "right")
    assert text(opened, "#place") == "1 of 1"
    assert "Ada 0.90 evidence" in " ".join(text(opened, "#example").split())


def test_controls_have_names_and_pictures_words(opened: Browser) -> None:
    opened.call("Accessibility.enable")
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    opened.call("Accessibility.disable")
    roles = ("button", "combobox", "slider", "link", "image", "application", "region", "searchbox")
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    # Vega puts a role and words of its own where it draws: the map would lose its keys and its best heads.
    maps = [node["name"]["value"] for node in nodes if node.get("role", {}).get("value") == "application"]
    assert len(maps) == 8
    assert all(name.startswith("Heads of ") for name in maps)
    assert {node["role"]["value"] for node in nodes if not node["ignored"]}.isdisjoint(
        {"graphics-document", "graphics-symbol"}
    )


def test_the_first_key_skips_the_bar(opened: Browser) -> None:
    opened.run("document.querySelector('.skip').focus()")
    assert opened.run("document.querySelector('.skip').getBoundingClientRect().top") >= 0
    opened.press("Enter")
    opened.press("Tab")
    assert opened.run("document.querySelector('main').contains(document.activeElement)")
    assert opened.run("document.querySelectorAll('a[href], button, select')[0].className") == "skip"


def test_print_holds_the_charts_and_no_controls(opened: Browser) -> None:
    opened.call("Emulation.setEmulatedMedia", media="print")
    assert not opened.run("document.querySelector('.bar').offsetParent")
    shown = (
        "[...document.querySelectorAll('button:not(.sort), input, .skip, details.table')].some((e) => e.offsetParent)"
    )
    assert not opened.run(shown)
    assert opened.run("!!document.querySelector('#answerer').offsetParent"), "what was chosen is said"
    assert "of one of 2 models and tasks" in text(opened, ".paper")
    opened.run("dispatchEvent(new Event('beforeprint'))")
    assert opened.run("[...document.querySelectorAll('details:not(.table)')].every((e) => e.open)")
    opened.run("dispatchEvent(new Event('afterprint'))")
    assert not opened.run("[...document.querySelectorAll('details:not(.table)')].some((e) => e.open)")
    # Twice the columns, on A4 less its margins.
    opened.call("Emulation.setDeviceMetricsOverride", width=673, height=1000, deviceScaleFactor=1, mobile=False)
    rows = "document.querySelectorAll('#breakdown figure:not([hidden]) tr')"
    opened.run(f"for (const row of {rows}) for (const cell of [...row.cells]) row.append(cell.cloneNode(true))")
    right = "[...document.querySelectorAll('table')].map((e) => e.getBoundingClientRect().right)"
    assert opened.run(f"Math.max(...{right})") <= 673
    opened.call("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
    assert opened.run("document.querySelector('.lead .chart svg').getBoundingClientRect().width") > 100
    # Drawn for a wide screen, the chart of pairs may not cover the table beside it on narrower paper.
    assert opened.run("getComputedStyle(document.querySelector('.pairs svg')).maxWidth") == "100%"
    for rule in ("breakAfter", "breakInside"):  # a heading that the next page's chart has left behind
        assert opened.run(f"getComputedStyle(document.querySelector('#scores .intro')).{rule}") == "avoid"
    opened.call("Emulation.setEmulatedMedia", media="")


# These load the page again.


@pytest.mark.parametrize(("dark", "colours"), [(False, theme.LIGHT), (True, theme.DARK)], ids=["light", "dark"])
def test_colours_follow_light_and_dark(opened: Browser, page: Path, dark: bool, colours: dict[str, str]) -> None:
    opened.open(page, dark=dark)
    opened.until(READY)
    fill = opened.run("getComputedStyle(document.querySelector('.chart [fill=\"var(--real)\"]')).fill")
    assert fill == f"rgb{tuple(int(colours['real'][i : i + 2], 16) for i in (1, 3, 5))}"


def test_a_narrow_screen_scrolls_down_only_and_a_tap_reads_a_head(opened: Browser, page: Path) -> None:
    opened.open(page, width=390, height=844)
    opened.until(READY)
    assert opened.run("document.documentElement.scrollWidth") == 390
    assert opened.run(f"Math.max(...{HOSTS}.map((h) => h.querySelector('svg').getBoundingClientRect().right))") <= 390
    opened.tap(CELL)
    assert "Head 2-1 (layer 2, head 1" in opened.until("document.querySelector('.reading').innerText")
    wide = "[...document.querySelectorAll('table')].filter((t) => t.offsetParent && t.scrollWidth > innerWidth)"
    assert opened.run(f"{wide}.every((t) => t.closest('.scroll[tabindex]'))")
