"""results.json to report.html: the same rows give the same bytes."""

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from haymaker.charts import page as drawing
from haymaker.charts.chart import Chart
from haymaker.charts.numbers import LABELS
from haymaker.charts.scatter import blank_pairs
from haymaker.files import write_text
from haymaker.report.cells import anchor, cell_lines
from haymaker.report.findings import find
from haymaker.report.lead import group_name, lead
from haymaker.report.packed import packed
from haymaker.report.panels import PANELS
from haymaker.report.tables import GROUPED, Tables, check, groups, in_group, read_results

HERE = Path(__file__).parent
SCRIPTS = (
    "data",
    "charts",
    "maps",
    "compare",
    "examples",
    "tables",
    "page",
)  # in script/, in the order in which they run
PANEL_OF = {"a": "scores", "b": "heads", "c": "similarity", "d": "similarity", "e": "masking", "f": "patching"}


def write_report(results_path: Path | str, out_path: Path | str) -> Path:
    """Render results.json to one HTML file, which appears complete or not at all. Raises DataError for bad rows."""
    source, out = Path(results_path), Path(out_path)
    page = render(read_results(source), source=str(source))
    write_text(out, page)
    return out


def render(results: Any, source: str = "results") -> str:
    """The page for {"meta": {...}, "tables": {name: [rows]}}; a pure function.

    `source` names the rows in errors. Raises DataError for a row that is not as its table says.
    """
    meta, tables = check(results, source)
    grouped = {group: in_group(tables, group) for group in groups(*(tables[name] for name in GROUPED))}
    places = {group: place for place, group in enumerate(grouped)}
    findings = {found.group: found for found in find(tables)}
    return (
        environment()
        .get_template("page.html")
        .render(
            title=str(meta.get("study") or "Study without a name"),
            over=" · ".join(["Haymaker study", *(str(meta[key])[:10] for key in ("created",) if meta.get(key))]),
            meta=flat({key: value for key, value in meta.items() if key not in ("study", "config")}),
            config=as_yaml(meta.get("config") or {}),
            groups=[group_name(group) for group in grouped],
            leads=[
                (lead(group, rows, findings.get(group), meta), findings.get(group)) for group, rows in grouped.items()
            ],
            findings=[(places.get(group), group_name(group), found) for group, found in findings.items()],
            parts={part: figures_of(part, grouped, tables, places) for part in PANELS},
            absent={part: absent(part, table, results["tables"]) for part, (table, _) in PANELS.items()},
            cells=cell_lines(tables),
            sizes={name: len(rows) for name, rows in tables.items()},
            data=carried(meta, tables, list(grouped)),
        )
    )


def carried(meta: dict[str, Any], tables: Tables, grouped: list[Any]) -> Markup:
    """Everything that the page's script works with, once."""
    rows = {name: packed(rows) for name, rows in tables.items()}
    study = str(meta.get("name") or "study")
    return drawing.compact({"study": study, "groups": grouped, "labels": LABELS, "tables": rows})


def as_yaml(value: Any) -> str:
    return yaml.safe_dump(json.loads(json.dumps(value, default=str)), sort_keys=False, allow_unicode=True)


@cache
def environment() -> Environment:
    loader = FileSystemLoader(HERE)
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.globals |= {"place": place, "style": drawing.style, "script": drawing.script, "anchor": anchor}
    found.globals |= {
        "our_script": our_script,
        "template": template,
        "pairs_chart": blank_pairs,
        "docs": docs_address(),
    }
    found.globals |= {"panel_of": PANEL_OF, "compact": drawing.compact}
    return found


def our_script() -> Markup:
    """The page's own script: one module, so that nothing of it is global."""
    return Markup("\n".join((HERE / "script" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS))


def docs_address() -> str:
    """Where the package says its documentation is; empty where it does not."""
    try:
        lines = metadata("haymaker").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    found = dict(line.split(", ", 1) for line in lines)
    return found.get("Documentation", "")


def template(chart: Chart) -> Markup:
    """The spec of a chart that the page's script gives rows, as JSON."""
    return drawing.as_wide(chart.spec(validate=False))


def place(chart: Chart) -> Markup:
    """Where the page draws a chart; that all kinds of charts are valid is for tests to say, not for every page."""
    return drawing.place(chart.spec(validate=False))


def figures_of(part: str, grouped: dict[Any, Tables], tables: Tables, places: dict[Any, int]) -> list[Any]:
    """(place of the group, its name, its figures) for one panel; timings belong to no group."""
    table, draw = PANELS[part]
    if table not in GROUPED:
        return [(None, "", figures)] if (figures := draw(tables)) else []
    drawn = [(places[group], group_name(group), draw(rows)) for group, rows in grouped.items()]
    return [one for one in drawn if one[2]]


def absent(part: str, table: str, tables: Tables) -> str:
    """Why a panel has nothing to show."""
    if table not in tables:
        return f"The table {table} is missing from the results, so there is nothing to show here."
    if not tables[table]:
        return f"The table {table} has no rows, so there is nothing to show here."
    if part == "lengths":
        return "No setting was scored at more than one length."
    return f"The rows of the table {table} hold nothing that can be drawn here."


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as (dotted key, value) pairs."""
    pairs = []
    for key, value in values.items():
        if isinstance(value, dict):
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", f"{value:,}" if isinstance(value, int) else str(value)))
    return pairs
