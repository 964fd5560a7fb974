"""The report's page: pure, complete, offline, escaped; and the file, which appears whole or not at all."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import report_rows
from report_rows import Row, change

from haymaker.charts.page import script
from haymaker.errors import DataError
from haymaker.report import render, write_report
from haymaker.report.tables import COLUMNS, OPTIONAL

JSON = {"type": "application/json"}
# scores, lengths, eight maps and their key, three measures, two settings masked, patching, tracking, timings
CHARTS = 1 + 1 + 8 + 1 + 3 + 2 + 1 + 2 + 1
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collects tags with their attributes, and fails where an end tag does not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.specs: list[Row] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            if self.tags[-1][1]:  # of type application/json
                self.specs.append(json.loads(data))
        elif self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def results() -> Row:
    return report_rows.results()


@pytest.fixture(scope="module")
def rendered() -> str:
    """The page of the unchanged made-up rows."""
    return render(report_rows.results())


@pytest.fixture(scope="module")
def page(rendered: str) -> Page:
    return Page(rendered)


def without(results: Row, table: str) -> Row:
    return {**results, "tables": {name: rows for name, rows in results["tables"].items() if name != table}}


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ([], "expected"),
        ({"tables": {"heads": {}}}, "table heads: expected a list"),
        ({"tables": {"heads": [3]}}, "table heads, row 0: expected a mapping"),
        (
            {"tables": {"correlation": [{"model": "m", "task": "t", "measure": "cosine", "n": 5}]}},
            "no column metric, spearman, p",
        ),
        ({"tables": {}, "meta": []}, "meta"),
    ],
)
def test_rows_that_are_not_as_expected_are_named(broken: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        render(broken)


def test_a_null_that_the_page_cannot_do_without_is_named(results: Row) -> None:
    results["tables"]["ablation"][0]["k"] = None
    with pytest.raises(DataError, match="table ablation, row 0, column k: expected a number, found null"):
        render(results)


def test_a_word_for_a_number_is_named(results: Row) -> None:
    results["tables"]["evaluation"][2]["score"] = "0.8"
    with pytest.raises(
        DataError, match="table evaluation, row 2, column score: expected a number or null, found '0.8'"
    ):
        render(results)


# The page


def test_same_rows_same_bytes(results: Row, rendered: str) -> None:
    assert render(json.loads(json.dumps(results))) == rendered


def test_rows_are_not_changed(results: Row) -> None:
    before = copy.deepcopy(results)
    render(results)
    assert results == before


@pytest.mark.parametrize("table", COLUMNS)
def test_a_missing_table_is_said(results: Row, table: str) -> None:
    text = Page(render(without(results, table))).text
    said = f"The table {table} is missing from the results"
    assert (said in text) == (table not in ("correlation", "patterns", *OPTIONAL))
    if table == "patterns":
        assert "There are no rows to judge a pattern from." in text
    if table == "correlation":
        assert "No rank correlation of cosine with the score in the rows." in text


def test_nothing_is_said_to_be_missing_where_all_is_there(page: Page) -> None:
    assert "missing" not in page.text.replace("rows are missing", "")


@pytest.mark.parametrize("table", [name for name in COLUMNS if name not in ("correlation", "patterns", *OPTIONAL)])
def test_an_empty_table_is_said(results: Row, table: str) -> None:
    results["tables"][table] = []
    assert f"The table {table} has no rows" in Page(render(results)).text


def test_no_rows_at_all_is_a_page_that_says_so() -> None:
    text = Page(render({"meta": {}, "tables": {}})).text
    assert "There are no rows of results yet" in text
    assert "There are no rows to judge a pattern from." in text


def test_unknown_numbers_are_dashes(results: Row) -> None:
    change(results["tables"]["evaluation"], {"setting": "symbolic"}, score=None, cut_off=None)
    change(results["tables"]["similarity"], {"setting": "symbolic"}, score=None, cosine=None)
    change(results["tables"]["heads"], {"setting": "base", "head": 0}, score=None)
    change(results["tables"]["patching"], {"setting": "symbolic"}, delta=None, score=None)
    change(results["tables"]["timings"], {"stage": "build"}, seconds=None)
    text = Page(render(results)).text
    assert "not measured" in text
    assert "nan" not in text.split("The tables")[0].lower()
    assert "NaN" not in json.dumps(Page(render(results)).specs)


@pytest.mark.parametrize("column", ["setting", "model", "task"])
def test_markup_in_names_stays_text(results: Row, column: str) -> None:
    evil = "<script>alert('x')</script>\" onload=\"y"
    for rows in results["tables"].values():
        for row in rows:
            if row.get(column) in ("symbolic", report_rows.KEYS.get(column)):
                row[column] = evil
    results["meta"]["study"] = evil
    results["meta"]["config"] = {"a": evil}
    page = Page(render(results))
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [JSON] * CHARTS + [{}]
    assert (json.dumps(evil)[1:-1] in json.dumps(page.specs)) == (column == "setting")
    assert not [attributes for _, attributes in page.tags if "onload" in attributes]
    assert evil in page.text


def test_page_needs_nothing_from_outside(rendered: str, page: Page) -> None:
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "base", "form"}
    loads = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert all(value is not None and value.startswith("#") for value in loads)
    ours = rendered.replace(script(), "")
    assert len(ours) < len(rendered) / 2
    assert re.findall(r"https?://|url\(|@import", ours) == []


def test_vega_is_bundled_once(rendered: str) -> None:
    assert rendered.count(script()) == 1


def test_every_link_has_its_part(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in ids} == set(links)


def test_charts_are_told_in_words(page: Page) -> None:
    charts = [attributes for _, attributes in page.tags if attributes.get("class") == "chart"]
    assert len(charts) == len(page.specs) == CHARTS
    assert all(attributes["role"] == "img" for attributes in charts)
    assert [attributes["aria-label"] for attributes in charts] == [spec["description"] for spec in page.specs]
    assert all(re.search(r"\d", spec["description"]) for spec in page.specs)


def test_columns_of_tables_have_scopes(page: Page) -> None:
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("col", "row", "rowgroup") for attributes in heads)


def maps_of(page: Page) -> list[list[Row]]:
    """The rows of every map of heads."""
    data = [rows for spec in page.specs for rows in spec["datasets"].values()]
    return [rows for rows in data if "layer" in rows[0]]


def test_every_head_is_on_every_map_with_its_score(results: Row, page: Page) -> None:
    maps = maps_of(page)
    assert [len(rows) for rows in maps] == [4 * 8] * 8
    real = {(row["layer"], row["head"]): row["score"] for row in results["tables"]["heads"] if row["setting"] == "real"}
    assert {(row["layer"], row["head"]): row["score"] for row in maps[2]} == real
    # the reference's three best heads are outlined on all maps
    best = sorted(real, key=lambda head: -real[head])[:3]
    assert all({(row["layer"], row["head"]) for row in rows if row["ring"]} == set(best) for rows in maps)


def test_all_maps_share_one_scale_of_colours(results: Row, page: Page) -> None:
    maps = [spec for spec in page.specs if spec["description"].startswith(("Scores of", "Colours"))]
    scales = [spec["layer"][0]["encoding"]["color"]["scale"] for spec in maps]
    highest = max(row["score"] for row in results["tables"]["heads"])
    assert scales == [{"type": "quantize", "domain": [0, highest], "range": "ramp"}] * 9


def test_the_reference_is_not_a_point_of_its_own_scatter(results: Row, page: Page) -> None:
    itself = {**results["tables"]["similarity"][0], "setting": "real", "cosine": 1.0, "recall": 1.0, "overlap": 1.0}
    results["tables"]["similarity"].append(itself)
    assert Page(render(results)).specs == page.specs


def test_numbers_of_a_chart_stand_beside_it(page: Page) -> None:
    assert "real real questions and documents 0.81 [0.76, 0.86] 0.01" in page.text.replace("\u00a0", " ")
    assert "symbolic shared, k = 3 +0.25 [+0.17, +0.33] 0.41 → 0.66" in page.text.replace("\u00a0", " ")
    assert "1,024 0.01 [0.00, 0.07] 0.06 [0.01, 0.12]" in page.text.replace("\u00a0", " ")


def test_no_number_is_printed_as_python_would(page: Page) -> None:
    assert not re.search(r"Interval\(|\bnan\b|None\b(?! is)", page.text)


def test_every_figure_states_n(rendered: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", rendered, flags=re.S)
    assert len(captions) == 1 + 1 + 1 + 3 + 2 + 1 + 1 + 1
    assert all("n\u00a0=\u00a0" in caption or "n = " in caption for caption in captions)


def test_several_models_are_named(results: Row) -> None:
    for name, rows in results["tables"].items():
        rows += [{**row, "model": "other-model"} for row in rows if name != "timings"]
    text = Page(render(results)).text
    assert "other-model, mdqa" in text
    assert "miniature-llama, mdqa" in text


def test_long_tables_say_what_they_leave_out(results: Row) -> None:
    results["tables"]["timings"] *= 10
    assert "The first 400 of 480 rows; results.json has them all." in Page(render(results)).text


def test_tracking_is_drawn_where_there_are_rows_and_nowhere_else(results: Row, page: Page) -> None:
    (recall,) = [spec for spec in page.specs if str(spec.get("description", "")).startswith("recall of the heads")]
    # two seeds of real at step 50: (0.4 + 0.6) / 2 = 0.5
    assert "real 0.10 at 0, 0.50 at 50, 1.00 at 100; symbolic 0.10 at 0, 0.20 at 50" in recall["description"]
    assert 'href="#tracking"' in render(results)
    results["tables"]["tracking"] = []
    assert "tracking" not in render(results).split('id="tables"')[0].split("<main>")[1]


def test_unknown_tables_are_shown(results: Row) -> None:
    results["tables"]["extra"] = [{"colour": "ultramarine"}]
    assert "ultramarine" in Page(render(results)).text


def test_page_is_small(rendered: str) -> None:
    assert len(rendered.replace(script(), "").encode()) < 300_000


# The file


def test_write_report_writes_the_page(results: Row, rendered: str, tmp_path: Path) -> None:
    source = tmp_path / "results.json"
    source.write_text(json.dumps(results))
    out = write_report(source, tmp_path / "new" / "report.html")
    assert out.read_text(encoding="utf-8") == rendered
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_a_failed_write_leaves_the_old_page(results: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = tmp_path / "results.json", tmp_path / "report.html"
    source.write_text(json.dumps(results))
    out.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(source, out)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]


@pytest.mark.parametrize(("text", "words"), [(None, "cannot be read"), ("{", "expected JSON"), ("[]", "expected")])
def test_bad_files_are_named(tmp_path: Path, text: str | None, words: str) -> None:
    source = tmp_path / "results.json"
    if text is not None:
        source.write_text(text)
    with pytest.raises(DataError, match=f"results.json: {words}"):
        write_report(source, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_patterns_are_told_with_their_effects_and_signs_are_named(results: Row) -> None:
    text = Page(render(results)).text
    assert "(a) Real data beats every synthetic setting" in text
    assert "Not judged: with 4 settings no order" in text
    assert "No sign of a study gone wrong." in text
    sign = {"sign": "a control fails", "found": "real changes by 1e-9", "remedy": "trust no patch"}
    results["tables"]["signs"] = [report_rows.KEYS | sign]
    assert "A sign of a study gone wrong: a control fails: real changes by 1e-9" in Page(render(results)).text
