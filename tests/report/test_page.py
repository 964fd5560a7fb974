"""The report's page: pure, complete, offline, escaped; and the file, which appears whole or not at all."""

import copy
import json
import math
import re
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import report_rows
from report_rows import Row, change

from haymaker.charts.page import script
from haymaker.errors import DataError
from haymaker.report import render, write_report
from haymaker.report.tables import COLUMNS

JSON = {"type": "application/json"}
# tables that may have no rows: what is said from them is not on the page then
OPTIONAL = ("tracking", "breakdown", "signs", "settings", "pairs", "maps", "examples", "reads")
# the lead, five lengths, share in form, by depth and by hops, by length, the maps' key, three measures of likeness, two
# settings masked, patching, tracking, timings
CHARTS = 1 + 5 + 1 + 2 + 1 + 1 + 3 + 2 + 1 + 2 + 1
PAPER = "https://arxiv.org/abs/2410.22316"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collects tags with their attributes, and fails where an end tag does not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.specs: list[Row] = []
        self.carried: list[tuple[str, Row]] = []  # other JSON, by id or class
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
            attributes = self.tags[-1][1]
            if attributes == JSON:
                self.specs.append(json.loads(data))
            elif attributes.get("type") == JSON["type"]:
                self.carried.append((attributes.get("id") or attributes["class"] or "", json.loads(data)))
        elif self.open[-1:] != ["style"]:
            self.words.append(data)

    def json(self, name: str) -> Row:
        """The one JSON of that id or class."""
        (found,) = [value for key, value in self.carried if key == name]
        return found

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


def only(results: Row, *tables: str) -> Row:
    """These tables alone: the page of all of them takes half a second."""
    return {**results, "tables": {name: results["tables"][name] for name in tables}}


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


def test_same_rows_same_bytes_and_rows_are_not_changed(results: Row, rendered: str) -> None:
    before = copy.deepcopy(results)
    assert render(results) == rendered
    assert results == before


@pytest.mark.parametrize("half", [0, 1])
def test_missing_tables_are_said(results: Row, half: int) -> None:
    tables = list(COLUMNS)[half::2]
    for table in tables:
        results = without(results, table)
    text = Page(render(results)).text
    for table in tables:
        said = f"The table {table} is missing from the results"
        assert (said in text) == (table not in ("correlation", "patterns", *OPTIONAL)), table
    if "patterns" in tables:
        assert "There are no rows to judge a pattern from." in text
    if "correlation" in tables:
        assert "No rank correlation of cosine with the score in the rows." in text


def test_nothing_is_said_to_be_missing_where_all_is_there(page: Page) -> None:
    assert "missing" not in page.text.replace("rows are missing", "")


@pytest.mark.parametrize("half", [0, 1])
def test_empty_tables_are_said(results: Row, half: int) -> None:
    tables = [name for name in COLUMNS if name not in ("correlation", "patterns", *OPTIONAL)][half::2]
    results["tables"] |= {table: [] for table in tables}
    text = Page(render(results)).text
    assert all(f"The table {table} has no rows" in text for table in tables)


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
    page = Page(render(results))
    assert "not measured" in page.text
    assert not re.search(r"\bnan\b", page.text.lower())
    assert "NaN" not in json.dumps([page.specs, page.carried])


@pytest.mark.parametrize(
    ("table", "values", "words"),
    [
        ("evaluation", {"score": float("nan")}, "No setting has a score that is a number, so nothing can be compared."),
        ("evaluation", {"score": 0.0}, "Every score is 0: nothing can be said of which data teach the task"),
        ("evaluation", {"score": 0.0}, "any synthetic data F1 0.00"),
        ("evaluation", {"score_low": None, "score_high": None}, "No score has an interval."),
        ("evaluation", {"cut_off": report_rows.N}, "Every answer of base, extended, real, "),
        ("evaluation", {"n": 1}, "n = 1 question, one seed"),
        ("heads", {"score": 0.3}, "real : none highest, all 0.30"),
        ("heads", {"score": float("nan")}, "The rows of the table heads hold nothing that can be drawn here."),
        ("timings", {"seconds": float("nan")}, "The rows of the table timings hold nothing that can be drawn here."),
    ],
)
def test_what_cannot_be_judged_is_said(table: str, values: Row, words: str, results: Row) -> None:
    change(results["tables"][table], {}, **values)
    text = re.sub(r"\s+", " ", Page(render(only(results, table))).text)
    assert words in text
    assert not re.search(r"\bnan\b", text)


@pytest.mark.parametrize("columns", [("setting",), ("model", "task")])
def test_markup_in_names_stays_text(results: Row, columns: tuple[str, ...]) -> None:
    """Settings are names in charts, the others are not."""
    evil = "<script>alert('x')</script>\" onload=\"y"
    for column, row in product(columns, sum(results["tables"].values(), [])):
        if row.get(column) in ("symbolic", report_rows.KEYS.get(column)):
            row[column] = evil
    results["meta"]["study"] = evil
    results["meta"]["config"] = {"a": evil}
    page = Page(render(results))
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts[-2:] == [{}, {"type": "module"}]
    assert all(attributes["type"] == JSON["type"] for attributes in scripts[:-2])
    assert len(page.specs) == CHARTS
    assert (json.dumps(evil)[1:-1] in json.dumps(page.specs)) == (columns == ("setting",))
    assert json.dumps(evil)[1:-1] in json.dumps(page.json("data"))
    assert not [attributes for _, attributes in page.tags if "onload" in attributes]
    assert evil in page.text


def test_page_needs_nothing_from_outside(rendered: str, page: Page) -> None:
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "base", "form"}
    loads = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert all(value is not None and (value.startswith("#") or value == PAPER) for value in loads)
    ours = rendered.replace(script(), "")
    assert len(ours) < len(rendered) / 2
    assert re.findall(r"https?://|\burl\(|@import|fetch\(|XMLHttp|\bimport\b", ours.replace(PAPER, "")) == []
    assert re.findall(r"\son\w+=|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", ours) == []


def test_vega_is_bundled_once(rendered: str) -> None:
    assert rendered.count(script()) == 1


def test_every_link_has_its_part(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert len(ids) == len(set(ids))
    parts = {attributes["id"] for tag, attributes in page.tags if tag == "section"}
    assert {f"#{name}" for name in parts} <= set(links)
    assert {link[1:] for link in links if link and link != PAPER} <= set(ids)


def test_charts_are_told_in_words(page: Page) -> None:
    charts = [attributes for _, attributes in page.tags if attributes.get("class") == "chart"]
    canvases = [attributes for _, attributes in page.tags if attributes.get("class") == "canvas"]
    assert len(canvases) == 8
    assert all(re.search(r"Heads of .*\d-\d highest", attributes["aria-label"] or "") for attributes in canvases)
    assert all(attributes["tabindex"] == "0" for attributes in canvases)
    assert len(charts) == len(page.specs) == CHARTS
    assert all(attributes["role"] == "img" for attributes in charts)
    assert [attributes["aria-label"] for attributes in charts] == [spec["description"] for spec in page.specs]
    assert all(re.search(r"\d", spec["description"]) for spec in page.specs)


def test_columns_of_tables_have_scopes(page: Page) -> None:
    heads = [attributes for tag, attributes in page.tags if tag == "th"]
    assert heads
    assert all(attributes.get("scope") in ("col", "row", "rowgroup") for attributes in heads)


def unpacked(page: Page, table: str) -> list[Row]:
    """The rows that the page carries, as its script reads them."""
    found = page.json("data")["tables"][table]
    columns = {name: list(values_of(column, found["length"])) for name, column in found["columns"].items()}
    return [{name: values[i] for name, values in columns.items()} for i in range(found["length"])]


def values_of(column: Any, length: int) -> list[Any]:
    if isinstance(column, list):
        return column
    if "all" in column:
        return [column["all"]] * length
    return [None if at < 0 else column["words"][at] for at in column["at"]]


def test_the_page_carries_every_row_once(results: Row, page: Page) -> None:
    for name, rows in results["tables"].items():
        assert unpacked(page, name) == rows


def test_maps_are_one_spec_and_every_setting_has_its_own(results: Row, page: Page) -> None:
    settings = [attributes["data-setting"] for _, attributes in page.tags if "data-setting" in attributes]
    assert settings == list(report_rows.F1)
    real = {(row["layer"], row["head"]): row["score"] for row in results["tables"]["heads"] if row["setting"] == "real"}
    # the reference's three best heads are outlined on all maps
    best = sorted(real, key=lambda head: -real[head])[:3]
    assert page.json("about")["outlined"] == [f"{layer}-{head}" for layer, head in best]
    assert page.json("template")["data"] == {"name": "heads"}


def test_all_maps_share_one_scale_of_colours(results: Row, page: Page) -> None:
    (key,) = [spec for spec in page.specs if spec["description"].startswith("Colours")]
    scales = [spec["layer"][0]["encoding"]["color"]["scale"] for spec in (key, page.json("template"))]
    highest = max(row["score"] for row in results["tables"]["heads"])
    steps = [highest * step / 10 for step in range(1, 10)]
    assert scales == [{"type": "threshold", "domain": pytest.approx(steps), "range": "ramp"}] * 2


def test_every_seed_has_a_map_and_scores_are_over_all(results: Row) -> None:
    """Two seeds of real at 0.81 and 0.79: their mean is 0.80, with bounds over both (12.7 x 0.01) and questions."""
    for name in ("heads", "evaluation"):
        rows = results["tables"][name]
        for row in [row for row in rows if row["setting"] == "real"]:
            row["seed"] = 0
            rows.append(row | {"seed": 1} | {key: row[key] - 0.02 for key in row if key.startswith("score")})
    page = Page(render(only(results, "heads", "evaluation")))
    assert [attributes["data-seed"] for _, attributes in page.tags if attributes.get("data-setting") == "real"] == [
        "0",
        "1",
    ]
    text = page.text.replace("\u00a0", " ")
    row = next(row for row in results["tables"]["evaluation"] if row["setting"] == "real")
    down, up = (math.hypot(0.127, row["score"] - row["score_low"]), math.hypot(0.127, row["score_high"] - row["score"]))
    assert f"real real questions and documents 0.80 [{0.8 - down:.2f}, {min(0.8 + up, 1):.2f}]" in text
    assert "95 % intervals over questions and 2 seeds of training" in text


def test_numbers_lead_to_their_cells(results: Row) -> None:
    row = next(row for row in results["tables"]["evaluation"] if row["setting"] == "real")
    row |= {"cell": "evaluate/mdqa/real", "key": "0123456789ab"}
    rendered = render(only(results, "evaluation"))
    assert rendered.count('<a href="#cell-evaluate-mdqa-real" title="evaluate/mdqa/real">0.81</a>') == 2  # lead, table
    assert '<tr id="cell-evaluate-mdqa-real"' in rendered
    assert "evaluate/mdqa/real 0123456789ab evaluate" in Page(rendered).text


def test_the_first_words_are_what_was_asked_what_came_out_and_how_sure(results: Row) -> None:
    pair = {"first": "real", "second": "high-high", "family": "reference", "difference": 0.19, "low": 0.11, "n": 200}
    pair |= {"high": 0.27, "p_holm": 0.004, "seeds": 1, "detectable": 0.1}
    results["tables"]["pairs"] = [report_rows.KEYS | pair]
    text = Page(render(only(results, "evaluation", "patterns", "pairs"))).text
    text = text.replace("\u00a0", " ").split("What the rows say")[0]
    told = (
        "Which training data teaches miniature-llama to answer mdqa over 512 tokens, though it was made for 128?",
        "real data F1 0.81 [0.76, 0.86]",
        "best synthetic data: high-high F1 0.62 [0.56, 0.68]",
        "n = 200 questions, one seed of training",
        "real minus high-high: 0.19 [0.11, 0.27], p = 0.004 after Holm’s correction; a difference of 0.10 would be",
        "Of 2 patterns looked for: 1 shown, 1 undecided.",
    )
    assert [words for words in told if words not in text] == []


def test_the_reference_is_not_a_point_of_its_own_scatter(results: Row) -> None:
    results = only(results, "similarity")
    others = Page(render(results)).specs
    itself = {**results["tables"]["similarity"][0], "setting": "real", "cosine": 1.0, "recall": 1.0, "overlap": 1.0}
    results["tables"]["similarity"].append(itself)
    assert len(others) == 3
    assert Page(render(results)).specs == others


@pytest.mark.parametrize(
    ("column", "words"),
    [("recall", "Recall is 0.750 for all 5 settings"), ("score", "F1 is 0.750 for all 5 settings"), ("", "No rank")],
)
def test_why_there_is_no_rank_correlation_is_said(column: str, words: str, results: Row) -> None:
    for row in results["tables"]["similarity"] if column else ():
        row[column] = 0.75
    for row in results["tables"]["correlation"]:
        row["spearman"] = None
    assert words in Page(render(only(results, "similarity", "correlation"))).text


def test_numbers_of_a_chart_stand_beside_it(page: Page) -> None:
    assert "real real questions and documents 0.81 [0.76, 0.86] 200 0.01" in page.text.replace("\u00a0", " ")
    assert "symbolic shared, k = 3 +0.25 [+0.17, +0.33] 0.41 → 0.66" in page.text.replace("\u00a0", " ")
    assert "1,024 0.01 [0.00, 0.07] 0.06 [0.01, 0.12]" in page.text.replace("\u00a0", " ")


def test_no_number_is_printed_as_python_would(page: Page) -> None:
    assert not re.search(r"Interval\(|\bnan\b|None\b(?! is)", page.text)


def test_every_figure_states_n(rendered: str) -> None:
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", rendered, flags=re.S)
    assert len(captions) == 1 + 5 + 1 + 2 + 1 + 1 + 3 + 2 + 1 + 1 + 1
    assert all("n\u00a0=\u00a0" in caption or "n = " in caption for caption in captions)


def test_several_models_are_named(results: Row) -> None:
    for name, rows in results["tables"].items():
        rows += [{**row, "model": "other-model"} for row in rows if name != "timings"]
    text = Page(render(results)).text
    assert "other-model, mdqa" in text
    assert "miniature-llama, mdqa" in text


def test_tracking_is_drawn_where_there_are_rows_and_nowhere_else(results: Row, page: Page) -> None:
    (recall,) = [spec for spec in page.specs if str(spec.get("description", "")).startswith("recall of the heads")]
    # two seeds of real at step 50: (0.4 + 0.6) / 2 = 0.5
    assert "real 0.10 at 0, 0.50 at 50, 1.00 at 100; symbolic 0.10 at 0, 0.20 at 50" in recall["description"]
    results = only(results, "tracking", "timings")
    assert 'href="#tracking"' in render(results)
    results["tables"]["tracking"] = []
    assert 'href="#tracking"' not in render(results)


def test_scores_stand_apart_by_depth_and_hops(results: Row) -> None:
    """Of two seeds the mean stands with bounds over both: 12.7 x 0.01 beside 0.1 of questions. Other lengths are left
    out."""
    rows = results["tables"]["breakdown"]
    first = next(row for row in rows if (row["setting"], row["group"]) == ("real", "0.0-0.2"))
    for row in rows:
        row["seed"] = 0
    first["cell"] = "evaluate/mdqa/real"
    second = {key: first[key] - 0.02 for key in ("score", "score_low", "score_high")}
    rows += [first | second | {"seed": 1, "n": 30}, first | {"length": 128, "score": 0.1, "group": "far away"}]
    results = only(results, "evaluation", "breakdown")
    rendered = render(results)
    text = Page(rendered).text.replace("\u00a0", " ")
    assert "by depth of the evidence Setting 0.0-0.2 (n = 30 to 40) 0.2-0.4 (n = 40)" in text
    assert "real 0.89 [0.73, 1.00] 0.80 [0.70, 0.90] 0.70 [0.60, 0.80]" in text
    assert "by hops of the question Setting 2 (n = 40) 3 (n = 40)" in text
    assert "95 % intervals over questions and 2 seeds of training" in text
    assert "far away" not in [word for spec in Page(rendered).specs for word in str(spec).split("'")]
    assert ">0.89\u00a0[0.73,\u00a01.00]</a>" in rendered.split('id="breakdown"')[1].split("</section>")[0]
    results["tables"]["breakdown"] = []
    assert 'id="breakdown"' not in render(results)


def test_other_measures_stand_with_their_intervals(results: Row) -> None:
    """The share in form, and every metric with bounds; squad_em has none in most rows, and gold over foil says 0.50."""
    change(
        results["tables"]["evaluation"],
        {"setting": "real"},
        squad_em_low=0.7,
        squad_em_high=0.76,
        metric="gold_over_foil",
    )
    results = only(results, "evaluation")
    text = Page(render(results)).text.replace("\u00a0", " ")
    assert "Setting exact match in the metric’s form" in text
    assert "real 0.73 [0.70, 0.76] 0.95 [0.91, 0.97]" in text
    assert "no interval 0.95 [0.91, 0.97]" in text
    assert "gold over foil (guessing 0.50)" in text
    for row in results["tables"]["evaluation"]:
        row["parsed"], row["squad_em"] = None, None
    assert 'id="measures"' not in render(results)


def test_unknown_tables_are_shown(results: Row) -> None:
    results["tables"]["extra"] = [{"colour": "ultramarine"}]
    assert unpacked(Page(render(only(results, "extra"))), "extra") == [{"colour": "ultramarine"}]


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
    source.write_text(json.dumps(only(results, "timings")))
    out.write_text("old")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(source, out)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]


@pytest.mark.parametrize(("text", "words"), [(None, "cannot be read"), ("{", "not JSON"), ("[]", "expected")])
def test_bad_files_are_named(tmp_path: Path, text: str | None, words: str) -> None:
    source = tmp_path / "results.json"
    if text is not None:
        source.write_text(text)
    with pytest.raises(DataError, match=f"results.json: {words}"):
        write_report(source, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_patterns_are_told_with_their_effects_and_signs_are_named(results: Row) -> None:
    results = only(results, "evaluation", "patterns", "signs")
    text = Page(render(results)).text
    assert "(a) Real data beats every synthetic setting" in text
    assert "Not judged: with 4 settings no order" in text
    assert "No sign of a study gone wrong." in text
    sign = {"sign": "a control fails", "found": "real changes by 1e-9", "remedy": "trust no patch"}
    results["tables"]["signs"] = [report_rows.KEYS | sign]
    text = Page(render(results)).text
    assert "A sign of a study gone wrong: a control fails." in text
    assert "a control fails : real changes by 1e-9; trust no patch." in text
    several = [report_rows.KEYS | sign | {"setting": name} for name in ("real", "symbolic", "real")]
    several.append(several[0] | {"setting": "low-low", "remedy": "another"})
    results["tables"]["signs"] = several
    text = Page(render(results)).text
    assert text.count("A sign of a study gone wrong") == 1
    assert "A sign of a study gone wrong: a control fails (real, symbolic and low-low)." in text
