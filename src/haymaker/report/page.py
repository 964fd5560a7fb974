"""results.json to report.html: the same rows give the same bytes."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from haymaker.charts import page as drawing
from haymaker.charts.chart import Chart
from haymaker.charts.numbers import in_words, metric_label
from haymaker.files import write_text
from haymaker.report.findings import EVERYTHING, Findings, find
from haymaker.report.panels import PANELS
from haymaker.report.tables import (
    GROUPED,
    SYNTHETIC,
    Group,
    Row,
    Tables,
    at_main_length,
    check,
    groups,
    in_group,
    read_results,
)
from haymaker.report.wording import questions
from haymaker.stats import Interval

MOST_ROWS = 400  # of a table in full; results.json holds the rest, and the page says so


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
    several = len(grouped) > 1
    names = {group: group_name(group) if several else "" for group in grouped}
    findings = {found.group: found for found in find(tables)}
    return (
        environment()
        .get_template("page.html")
        .render(
            title=str(meta.get("study") or "Study without a name"),
            over=" · ".join(["Haymaker study", *(str(meta[key])[:10] for key in ("created",) if meta.get(key))]),
            meta=flat({key: value for key, value in meta.items() if key not in ("study", "config")}),
            config=as_yaml(meta.get("config") or {}),
            summaries=[summary(group, rows, findings.get(group), meta) for group, rows in grouped.items()],
            findings=[(names.get(group, group_name(group)), found) for group, found in findings.items()],
            parts={part: figures_of(part, grouped, tables, names) for part in PANELS},
            absent={part: absent(table, results["tables"]) for part, (table, _) in PANELS.items()},
            tables=[Listing.of(name, rows) for name, rows in tables.items()],
        )
    )


def as_yaml(value: Any) -> str:
    return yaml.safe_dump(json.loads(json.dumps(value, default=str)), sort_keys=False, allow_unicode=True)


@cache
def environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent)
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.globals |= {"place": place, "style": drawing.style, "script": drawing.script}
    return found


def place(chart: Chart) -> Markup:
    """Where the page draws a chart; that all kinds of charts are valid is for tests to say, not for every page."""
    return drawing.place(chart.spec(validate=False))


def figures_of(part: str, grouped: dict[Any, Tables], tables: Tables, names: dict[Any, str]) -> list[Any]:
    """(name of the group, its figures) for one panel; timings belong to no group."""
    table, draw = PANELS[part]
    if table not in GROUPED:
        return [("", figures)] if (figures := draw(tables)) else []
    drawn = [(names[group], draw(rows)) for group, rows in grouped.items()]
    return [(name, figures) for name, figures in drawn if figures]


def absent(table: str, tables: Tables) -> str:
    """Why a panel has nothing to show."""
    if table not in tables:
        return f"The table {table} is missing from the results, so there is nothing to show here."
    if not tables[table]:
        return f"The table {table} has no rows, so there is nothing to show here."
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


@dataclass(frozen=True)
class Listing:
    """A table's rows as the page prints them."""

    name: str
    columns: list[str]
    rows: list[list[str]]
    total: int

    @classmethod
    def of(cls, name: str, rows: list[Row]) -> "Listing":
        columns = list(dict.fromkeys(column for row in rows for column in row))
        return cls(name, columns, [[printed(row.get(key)) for key in columns] for row in rows[:MOST_ROWS]], len(rows))


def printed(value: Any) -> str:
    """A cell of a table: fractions with four digits, nothing for null."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


# ---- The page's first paragraph: what was done to which model, the main numbers, and how many patterns show. Pure.


def group_name(group: Group) -> str:
    return "All models and tasks" if group == EVERYTHING else f"{group[0]}, {group[1]}"


def summary(group: Group, tables: Tables, findings: Findings | None, meta: dict[str, Any]) -> str:
    """One paragraph for one (model, task)."""
    rows = at_main_length(tables["evaluation"])
    return " ".join([opening(group, rows, meta), *numbers(rows), *([findings.counts()] if findings else [])])


def opening(group: Group, rows: dict[str, Row], meta: dict[str, Any]) -> str:
    """What was asked of which model."""
    model = meta.get("model") or {}
    parameters, context = model.get("parameters"), model.get("context")
    traits = [f"{parameters / 1e6:,.1f} million parameters"] if isinstance(parameters, int) else []
    traits += [f"a context of {context:,} tokens"] if isinstance(context, int) else []
    name = f"{group[0]} ({', '.join(traits)})" if traits and model.get("name") == group[0] else group[0]
    if not rows:
        return f"{name} on {group[1]}: no score was measured, so there is no number to lead with."
    some = next(iter(rows.values()))
    asked = questions(list(rows.values())).split(maxsplit=2)[2]
    return f"{name} answered {asked} of {group[1]} over {some['length']:,} tokens, in {len(rows)} settings."


def numbers(rows: dict[str, Row]) -> list[str]:
    """The scores that carry the story, with their intervals."""
    scores = {name: found for name, row in rows.items() if (found := Interval.of(row)) is not None}
    synthetic = [name for name in scores if name in SYNTHETIC]
    parts = (
        [f"real data takes it to {metric_label([rows['real']])} {in_words(scores['real'])}"] if "real" in scores else []
    )
    if synthetic:
        best = max(synthetic, key=lambda name: scores[name].mean)
        parts.append(f"the best synthetic data ({best}) to {in_words(scores[best])}")
    parts += [f"a larger RoPE base alone to {in_words(scores['extended'])}"] if "extended" in scores else []
    before = "unextended" if "extended" in scores else "untrained"
    parts += [f"{before} it has {in_words(scores['base'])}"] if "base" in scores else []
    text = "; ".join(parts)
    return [f"{text[0].upper()}{text[1:]}."] if text else []
