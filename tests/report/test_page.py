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

from haymaker.errors import DataError
from haymaker.report import render, write_report
from haymaker.report.estimate import two_decimals
from haymaker.report.tables import COLUMNS

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collects tags with their attributes, and fails where an end tag does not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
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
            "no column spearman, p",
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
    results["tables"]["evaluation"][2]["f1"] = "0.8"
    with pytest.raises(DataError, match="table evaluation, row 2, column f1: expected a number or null, found '0.8'"):
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
    assert (said in text) == (table != "correlation")
    if table == "correlation":
        assert "No rank correlation of cosine with F1 in the rows." in text


def test_nothing_is_said_to_be_missing_where_all_is_there(page: Page) -> None:
    assert "missing" not in page.text.replace("rows are missing", "")


@pytest.mark.parametrize("table", [name for name in COLUMNS if name != "correlation"])
def test_an_empty_table_is_said(results: Row, table: str) -> None:
    results["tables"][table] = []
    assert f"The table {table} has no rows" in Page(render(results)).text


def test_no_rows_at_all_is_a_page_that_says_so() -> None:
    text = Page(render({"meta": {}, "tables": {}})).text
    assert "There are no rows of results yet" in text
    assert "There are no rows to judge a pattern from." in text


def test_unknown_numbers_are_dashes(results: Row) -> None:
    change(results["tables"]["evaluation"], {"setting": "symbolic"}, f1=None, em=float("nan"))
    change(results["tables"]["similarity"], {"setting": "symbolic"}, f1=None, cosine=None)
    change(results["tables"]["heads"], {"setting": "base", "head": 0}, score=None)
    change(results["tables"]["patching"], {"setting": "symbolic"}, delta=None, f1=None)
    change(results["tables"]["timings"], {"stage": "build"}, seconds=None)
    text = Page(render(results)).text
    assert "not measured" in text
    assert "nan" not in text.split("The tables")[0].lower()


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
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert not [attributes for _, attributes in page.tags if "onload" in attributes]
    assert evil in page.text


def test_page_needs_nothing_from_outside(rendered: str, page: Page) -> None:
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    loads = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert all(value is not None and value.startswith("#") for value in loads)
    assert re.findall(r"https?://|url\(|@import", rendered) == []


def test_every_link_has_its_part(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in ids} == set(links)


def test_charts_are_told_in_words(page: Page) -> None:
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    labels = [attributes.get("aria-label") or "" for attributes in charts]
    # one of lengths, eight maps, three measures, two settings masked
    assert len(charts) == 1 + 8 + 3 + 2
    assert all(attributes.get("role") == "img" for attributes in charts)
    assert all(re.search(r"\d", label) for label in labels)


def test_columns_of_tables_have_scopes(page: Page) -> None:
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("col", "row", "rowgroup") for attributes in heads)


def test_every_head_is_on_every_map_with_its_score(results: Row, rendered: str) -> None:
    cells = re.findall(r'<path class="(s\d)(?: ring)?"[^>]*><title>(\d+)-(\d+): ([^<]*)</title>', rendered)
    assert len(cells) == 8 * 4 * 8
    scores = {row["score"] for row in results["tables"]["heads"] if row["setting"] == "real" and row["layer"] == 2}
    assert f"2-0: {two_decimals(max(scores))}" in rendered.replace("\u00a0", " ")
    # three heads outlined in each of eight maps
    assert len(re.findall(r'class="s\d ring"', rendered)) == 24


def test_the_reference_is_not_a_point_of_its_own_scatter(results: Row, rendered: str) -> None:
    itself = {**results["tables"]["similarity"][0], "setting": "real", "cosine": 1.0, "recall": 1.0, "overlap": 1.0}
    results["tables"]["similarity"].append(itself)
    found = re.findall("F1 against cosine.*?</svg>", render(results), flags=re.S)
    assert found == re.findall("F1 against cosine.*?</svg>", rendered, flags=re.S)


def test_a_recipient_is_named_once_over_all_its_head_sets(page: Page) -> None:
    spans = [attributes["rowspan"] for tag, attributes in page.tags if tag == "th" and "rowspan" in attributes]
    # real has the identity check; five recipients have shared, other and random heads
    assert spans == ["1", "3", "3", "3", "3", "3"]


def test_every_figure_states_n(rendered: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", rendered, flags=re.S)
    assert len(captions) == 1 + 1 + 1 + 3 + 2 + 1 + 1
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


def test_unknown_tables_are_shown(results: Row) -> None:
    results["tables"]["extra"] = [{"colour": "ultramarine"}]
    assert "ultramarine" in Page(render(results)).text


def test_page_is_small(rendered: str) -> None:
    assert len(rendered.encode()) < 300_000


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
