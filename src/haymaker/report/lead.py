"""The first screen: what was asked, what came out, how sure that is. Numbers and words of rows; nothing is judged here.
Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import Any

from haymaker.charts.chart import Chart
from haymaker.charts.numbers import JOIN, bounds, in_words, metric_label, two_decimals
from haymaker.choices import is_synthetic
from haymaker.report.findings import EVERYTHING, Findings, Sign
from haymaker.report.score_panels import score_chart
from haymaker.report.tables import (
    Group,
    Measured,
    Row,
    Tables,
    cells_of,
    measured,
    seeds_in,
    select,
    with_number,
)
from haymaker.report.wording import chance, listed, questions, what_bars_are
from haymaker.stats import Interval, known


@dataclass(frozen=True)
class Headline:
    """A number that carries the story."""

    name: str
    kind: str  # the colour that its setting has on the chart
    value: str
    bounds: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Lead:
    """What the page says of one (model, task) before anything else."""

    asked: str
    metric: str
    headlines: list[Headline]
    sure: list[str]
    chart: Chart | None
    caption: str


def group_name(group: Group) -> str:
    return "All models and tasks" if group == EVERYTHING else f"{group[0]}, {group[1]}"


def lead(group: Group, tables: Tables, found: Findings | None, meta: dict[str, Any]) -> Lead:
    """The lead of one (model, task)."""
    scored = measured(tables)
    runs = [row for one in scored.values() for row in one.runs]
    label = metric_label(runs)
    caption = f"{label} of every setting, {questions(runs)}. {what_bars_are(scored.values())}" if scored else ""
    return Lead(
        asked(group, runs, meta), label, headlines(scored), sure(tables, scored, found), score_chart(scored), caption
    )


def asked(group: Group, runs: list[Row], meta: dict[str, Any]) -> str:
    """What was asked of which model."""
    model, task = group
    if not runs:
        return f"{model} on {task}: no score was measured, so there is no number to lead with."
    length, own = runs[0]["length"], (meta.get("model") or {})
    context = own.get("context") if own.get("name") == model else None
    beyond = isinstance(context, int) and context < length
    told = f", though it was made for {context:,}" if beyond else ""
    return f"Which training data teaches {model} to answer {task} over {length:,} tokens{told}?"


def headlines(scored: dict[str, Measured]) -> list[Headline]:
    """Real data, the best of synthetic data, and the model untrained; those that there are."""
    found = {name: one for name, one in scored.items() if one.score is not None}
    synthetic = [name for name in found if is_synthetic(name)]
    best = max(synthetic, key=lambda name: found[name].score.mean, default=None)  # type: ignore[union-attr]
    words = f"best synthetic data: {best}" if best and is_taught(found[best]) else "any synthetic data"
    chosen = [("real", "real data", "real"), (best, words, "synthetic")]
    chosen += [("extended", "larger RoPE base alone", "untrained"), ("base", "as pre-trained", "untrained")]
    return [headline(found[name], words, kind) for name, words, kind in chosen if name in found]


def is_taught(of: Measured) -> bool:
    """Whether any answer earned anything."""
    return of.score is not None and of.score.mean > 0


def headline(of: Measured, name: str, kind: str) -> Headline:
    score = of.score or Interval(float("nan"))
    return Headline(name, kind, two_decimals(score.mean), bounds(score), cells_of(of.runs))


def sure(tables: Tables, scored: dict[str, Measured], found: Findings | None) -> list[str]:
    """How many questions and seeds, what the study can tell apart, and what speaks against it."""
    if not scored:
        return []
    if all(one.score is None for one in scored.values()):
        return ["No setting has a score that is a number, so nothing can be compared."]
    several = max(seeds_in(with_number(one.runs, "score")) for one in scored.values())
    runs = [row for one in scored.values() for row in one.runs]
    seeds = f"{several} seeds" if several > 1 else "one seed of training, so nothing is said of others"
    told = [f"{questions(runs)}, {seeds}; in brackets 95{JOIN}% intervals.", *nearest(tables["pairs"])]
    if not any(is_taught(one) for one in scored.values()):
        told.append("Every score is 0: nothing can be said of which data teach the task, or of what heads do for it.")
    if cut := [name for name, one in scored.items() if one.cut_off == 1]:
        told.append(f"Every answer of {listed(cut)} was cut off, so nothing is known of what else they say.")
    return told + list(signs_in_words(found.signs if found else []))


def signs_in_words(signs: list[Sign]) -> Iterator[str]:
    """Every sign once, and of which settings where it is of some."""
    for name in dict.fromkeys(sign.name for sign in signs):
        settings = list(dict.fromkeys(one for sign in signs if sign.name == name for one in sign.settings))
        where = f" ({listed(settings)})" if settings else ""
        yield f"A sign of a study gone wrong: {name}{where}."


def nearest(pairs: list[Row]) -> list[str]:
    """The reference beside the synthetic setting that comes nearest to it, as the study tested it."""
    rows = [row for row in pairs if is_synthetic(row["second"]) and not isnan(known(row["difference"]))]
    rows = select(rows, family="reference") if all("family" in row for row in rows) else rows
    if not rows:
        return []
    row = min(rows, key=lambda row: row["difference"])
    gap = in_words(Interval(*(known(row[name]) for name in ("difference", "low", "high"))))
    told = f"{row['first']} minus {row['second']}: {gap}, {chance(known(row['p_holm']))} after Holm’s correction"
    least = known(row["detectable"])
    return [
        f"{told}; a difference of {two_decimals(least)} would be found in 4 of 5 such studies."
        if least == least
        else f"{told}."
    ]
