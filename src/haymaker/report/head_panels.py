"""Heads: maps of their scores, and how alike the heads of two settings are."""

from collections.abc import Sequence
from math import isnan
from typing import Any

import numpy as np

from haymaker.charts.chart import Point
from haymaker.charts.heads import Extremes, blank_map, colour_key, highest
from haymaker.charts.numbers import JOIN, metric_label, two_decimals
from haymaker.charts.scatter import scatter
from haymaker.records import Head
from haymaker.report.figures import Figure, HeadMaps, Numbers, Told, plain
from haymaker.report.tables import Row, Tables, cells_of, in_order, kind, measured, select, with_number
from haymaker.report.wording import correlation, listed, questions, too_few
from haymaker.stats import Interval, known

MEASURES = ("cosine", "recall", "overlap")


def head_maps(tables: Tables) -> list[Figure]:
    """One figure a metric: the maps of all settings side by side, on one scale of colours."""
    rows = with_number(tables["heads"], "score")
    return [maps_of(metric, select(rows, metric=metric), tables) for metric in dict.fromkeys(r["metric"] for r in rows)]


def maps_of(metric: str, rows: list[Row], tables: Tables) -> HeadMaps:
    shape = 1 + max(row["layer"] for row in rows), 1 + max(row["head"] for row in rows)
    extremes = Extremes.of(row["score"] for row in rows)
    reference, outlined = best_heads(rows, tables["similarity"])
    told = select(tables["maps"], metric=metric)
    about = {
        "metric": metric,
        "outlined": [str(head) for head in outlined],
        "threshold": told[0]["threshold"] if told else 0,
        "most": extremes.high,
        "k": told[0]["k"] if told else len(outlined),
    }
    caption = f"{questions(rows)} a map; intervals over questions, 95 %."
    if outlined:
        caption += f" Outlined everywhere: the {len(outlined)} heads that score highest after {reference}."
    spec, key = blank_map(shape, extremes), colour_key(extremes)
    return HeadMaps({}, caption, f"Score: {metric}", spec=spec, key=key, maps=runs_of(rows), about=about)


def runs_of(rows: list[Row]) -> list[dict[str, Any]]:
    """One map for every setting and seed."""
    runs: dict[tuple[str, Any], list[Row]] = {}
    for row in rows:
        runs.setdefault((row["setting"], row.get("seed")), []).append(row)
    order = in_order(setting for setting, _ in runs)
    ranked = sorted(runs.items(), key=lambda run: (order.index(run[0][0]), str(run[0][1])))
    return [map_of(setting, seed, own) for (setting, seed), own in ranked]


def map_of(setting: str, seed: Any, rows: list[Row]) -> dict[str, Any]:
    grid = np.full((1 + max(row["layer"] for row in rows), 1 + max(row["head"] for row in rows)), np.nan)
    for row in rows:
        grid[row["layer"], row["head"]] = row["score"]
    told = highest(grid)
    run = setting if seed is None else f"{setting}, seed {seed}"
    return {
        "setting": setting,
        "seed": "" if seed is None else str(seed),
        "told": told,
        "label": f"Heads of {run}: {told}",
    }


def best_heads(rows: list[Row], similarity: list[Row]) -> tuple[str, list[Head]]:
    """The reference, and as many of its top heads as similarity compared, else a tenth of all; of its first seed."""
    reference = similarity[0]["reference"] if similarity else "real"
    own = select(rows, setting=reference)
    own = [row for row in own if row.get("seed") == own[0].get("seed")]
    ranked = sorted(own, key=lambda row: (-row["score"], row["layer"], row["head"]))
    k = similarity[0]["k"] if similarity else max(1, round(len(ranked) / 10))
    return reference, [Head(row["layer"], row["head"]) for row in ranked[:k] if row["score"] > 0]


# ---- Similarity


def similarity(tables: Tables) -> list[Figure]:
    """The score against the similarity of heads to the reference's, one scatter a measure."""
    scores = {name: one.score for name, one in measured(tables).items()}
    found = []
    for measure in MEASURES:
        runs = by_setting(tables["similarity"], measure)
        if runs:
            rows = [row for own in runs.values() for row in own]
            label = metric_label(rows)
            title = f"{label} against {measure}"
            points = [similarity_point(name, own, measure, scores.get(name)) for name, own in runs.items()]
            chart = scatter(points, against(rows, measure), title, label)
            numbers = Numbers(
                ["Setting", measure, "Interval", "By chance"],
                [similarity_row(name, own, measure) for name, own in runs.items()],
            )
            found.append(Figure({"": chart}, correlation_words(measure, tables["correlation"], runs), title, numbers))
    return found


def by_setting(rows: Sequence[Row], measure: str) -> dict[str, list[Row]]:
    """The runs of every setting but the reference that have the measure and a score."""
    rows = [row for row in rows if row["setting"] != row["reference"]]
    rows = with_number(with_number(rows, measure), "score")
    return {name: select(rows, setting=name) for name in in_order(row["setting"] for row in rows)}


def mean_of(rows: Sequence[Row], column: str) -> float:
    return float(np.mean([known(row.get(column)) for row in rows]))


def similarity_point(name: str, rows: list[Row], measure: str, score: Interval | None) -> Point:
    """The score with its interval where the evaluation has one; the mean over seeds."""
    at = mean_of(rows, measure)
    return Point(name, kind(name), at, score or Interval(mean_of(rows, "score")), f", {measure} {two_decimals(at)}")


def similarity_row(name: str, rows: list[Row], measure: str) -> list[Told]:
    """The measure, its bounds over questions, and what heads of the same layers share by chance."""
    at = Interval(*(mean_of(rows, column) for column in (measure, f"{measure}_low", f"{measure}_high")))
    chance = mean_of(rows, f"{measure}_null")
    between = "" if isnan(at.low) else f"[{at.low:.3f},{JOIN}{at.high:.3f}]"
    return [Told(name), Told(f"{at.mean:.3f}", cells_of(rows)), *plain(between, two_decimals(chance))]


def against(rows: list[Row], measure: str) -> str:
    return f"{measure} with the heads of {listed(in_order(row['reference'] for row in rows))}"


def correlation_words(measure: str, rows: list[Row], runs: dict[str, list[Row]]) -> str:
    """The rank correlation as the study computed it; else why there is none."""
    found = with_number(select(rows, measure=measure), "spearman")
    if found:
        return f"Spearman’s rho {correlation(found[0])}.{too_few(found[0]['n'])}"
    for column, what in ((measure, measure.capitalize()), ("score", metric_label(sum(runs.values(), [])))):
        values = {round(mean_of(own, column), 9) for own in runs.values()}
        if len(runs) > 1 and len(values) == 1:
            return f"{what} is {min(values):.3f} for all {len(runs)} settings: nothing to rank, so no rank correlation."
    return f"No rank correlation of {measure} with the score in the rows."
