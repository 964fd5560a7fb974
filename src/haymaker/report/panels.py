"""The panels of the page, as PANELS lists them: each takes tables and gives figures, none where there is nothing.

To add one: a function here, a line in PANELS, and its heading and introduction in page.html.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

import numpy as np
from jaxtyping import Float

from haymaker.charts.chart import Chart, Point
from haymaker.charts.heads import Extremes, colour_key, head_map, highest
from haymaker.charts.intervals import bars, dots
from haymaker.charts.lines import line_chart, masking_chart
from haymaker.charts.numbers import bounds, in_words, metric_label, two_decimals
from haymaker.charts.scatter import scatter
from haymaker.records import Head
from haymaker.report.tables import MEANING, Row, Tables, at_main_length, in_order, kind, of_test, select, with_number
from haymaker.report.wording import correlation, listed, questions, share_cut_off, too_few
from haymaker.stats import Interval, Number, known

SETS = {"identity": "its own", "intersection": "shared", "complement": "donor’s other", "random": "random"}


@dataclass(frozen=True)
class Numbers:
    """The numbers of a chart in figures; the first column names its row."""

    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Figure:
    """Charts under their names, the caption that states n and what an interval is, and the numbers in figures."""

    charts: dict[str, Chart]
    caption: str
    title: str = ""
    numbers: Numbers | None = None
    key: Chart | None = None  # the colours that several charts share


# ---- Scores


def scores(tables: Tables) -> list[Figure]:
    """The score of every setting at the length where they are compared."""
    rows = at_main_length(tables["evaluation"])
    measured = {name: score for name, row in rows.items() if (score := Interval.of(row)) is not None}
    if not measured:
        return []
    points = [Point(name, kind(name), name, score) for name, score in measured.items()]
    label = metric_label(list(rows.values()))
    chart = dots(points, label, title=f"{label} of every setting", reach=(0, 1))
    some = next(iter(rows.values()))
    caption = (
        f"{questions(list(rows.values()))} a setting, split {some['split']}, {some['length']:,} tokens. Bars: 95 % "
        "intervals over questions. Cut off: share of answers that ran to the length limit."
    )
    columns = ["Setting", "What it is", label, "95 % interval", "Cut off"]
    numbers = Numbers(columns, [score_row(row, measured.get(name)) for name, row in rows.items()])
    return [Figure({"": chart}, caption, numbers=numbers)]


def score_row(row: Row, score: Interval | None) -> list[str]:
    told = [two_decimals(score.mean), bounds(score)] if score else ["not measured", ""]
    return [row["setting"], MEANING.get(row["setting"], ""), *told, two_decimals(share_cut_off(row))]


def lengths(tables: Tables) -> list[Figure]:
    """The score by context length, for the settings that were evaluated at more than one length."""
    rows = [row for row in of_test(tables["evaluation"]) if Interval.of(row) is not None]
    several = [name for name in in_order(row["setting"] for row in rows) if len(lengths_of(rows, name)) > 1]
    if not several:
        return []
    found = select(rows, setting=tuple(several))
    points = [Point(row["setting"], style(row["setting"]), row["length"], score_of(row)) for row in found]
    points.sort(key=lambda point: several.index(point.name))
    told = {(point.name, point.at): in_words(point.value) for point in points}
    table = [
        [f"{length:,}", *(told.get((name, length), "–") for name in several)]
        for length in sorted({row["length"] for row in found})
    ]
    caption = f"{questions(found)} a point. Bars and brackets: 95 % intervals over questions."
    label = metric_label(found)
    chart = line_chart(points, "tokens of context", title=f"{label} of {listed(several)}", score=label)
    return [Figure({"": chart}, caption, numbers=Numbers(["Tokens", *several], table))]


def lengths_of(rows: list[Row], setting: str) -> set[int]:
    return {row["length"] for row in select(rows, setting=setting)}


def style(setting: str) -> str:
    """Of a line: untrained settings stand alone there, so that the extended one has a colour of its own."""
    return "extended" if setting == "extended" else kind(setting)


def score_of(row: Row) -> Interval:
    """The score of a row that has one."""
    return Interval.of(row) or Interval(row["score"])


# ---- Heads


def head_maps(tables: Tables) -> list[Figure]:
    """One figure a metric: the maps of all settings side by side, on one scale of colours."""
    rows = with_number(tables["heads"], "score")
    return [maps_of(metric, select(rows, metric=metric), tables) for metric in dict.fromkeys(r["metric"] for r in rows)]


def maps_of(metric: str, rows: list[Row], tables: Tables) -> Figure:
    shape = 1 + max(row["layer"] for row in rows), 1 + max(row["head"] for row in rows)
    extremes = Extremes.of(row["score"] for row in rows)
    reference, outlined = best_heads(rows, tables["similarity"])
    charts = {}
    for setting in in_order(row["setting"] for row in rows):
        mean, low, high = grids(select(rows, setting=setting), shape)
        chart = head_map(mean, low, high, setting, outlined=outlined, extremes=extremes, legend=False)
        charts[f"{setting}: {highest(mean)}"] = chart
    caption = f"{questions(rows)} a map. Point at a head for its score with the 95 % interval over questions."
    if outlined:
        caption += f" Outlined everywhere: the {len(outlined)} heads that score highest after {reference}."
    return Figure(charts, caption, f"Score: {metric}", key=colour_key(extremes))


def grids(rows: list[Row], shape: tuple[int, int]) -> list[Float[np.ndarray, "layer head"]]:
    """Score, low and high as tables of layer and head; NaN where there is no row."""
    found = [np.full(shape, np.nan) for _ in range(3)]
    for row in rows:
        for grid, column in zip(found, ("score", "low", "high"), strict=True):
            grid[row["layer"], row["head"]] = known(row[column])
    return found


def best_heads(rows: list[Row], similarity: list[Row]) -> tuple[str, list[Head]]:
    """The reference, and as many of its top heads as similarity compared, else a tenth of all."""
    reference = similarity[0]["reference"] if similarity else "real"
    ranked = sorted(select(rows, setting=reference), key=lambda row: (-row["score"], row["layer"], row["head"]))
    k = similarity[0]["k"] if similarity else max(1, round(len(ranked) / 10))
    return reference, [Head(row["layer"], row["head"]) for row in ranked[:k] if row["score"] > 0]


def similarity(tables: Tables) -> list[Figure]:
    """The score against the similarity of heads to the reference's, one scatter a measure."""
    measured = {name: Interval.of(row) for name, row in at_main_length(tables["evaluation"]).items()}
    found = []
    for measure in ("cosine", "recall", "overlap"):
        rows = [row for row in tables["similarity"] if row["setting"] != row["reference"]]
        if rows := with_number(with_number(rows, measure), "score"):
            label = metric_label(rows)
            title = f"{label} against {measure}"
            points = similarity_points(rows, measure, measured)
            chart = scatter(points, against(rows, measure), title, label)
            found.append(Figure({"": chart}, correlation_words(measure, tables["correlation"]), title))
    return found


def similarity_points(rows: list[Row], measure: str, measured: dict[str, Interval | None]) -> list[Point]:
    """The score with its interval where the evaluation has one."""
    points = []
    for row in rows:
        name, at = row["setting"], row[measure]
        score = measured.get(name) or Interval(row["score"])
        points.append(Point(name, kind(name), at, score, f", {measure} {two_decimals(at)}"))
    return points


def against(rows: list[Row], measure: str) -> str:
    return f"{measure} with the heads of {listed(in_order(row['reference'] for row in rows))}"


def correlation_words(measure: str, rows: list[Row]) -> str:
    found = with_number(select(rows, measure=measure), "spearman")
    if not found:
        return f"No rank correlation of {measure} with the score in the rows."
    return f"Spearman’s rho {correlation(found[0])}.{too_few(found[0]['n'])}"


# ---- Interventions


def masking(tables: Tables) -> list[Figure]:
    """The score against the number of masked heads, retrieval against random ones: one figure a setting."""
    rows = with_number(tables["ablation"], "score")
    return [masking_of(name, select(rows, setting=name)) for name in in_order(row["setting"] for row in rows)]


def masking_of(setting: str, rows: list[Row]) -> Figure:
    caption = f"{questions(rows)}. Bars: 95 % intervals over questions. {draws_in_words(select(rows, heads='random'))}"
    return Figure({"": masking_chart(rows, setting)}, caption, setting)


def draws_in_words(random: list[Row]) -> str:
    """What the band over random draws is."""
    if not random:
        return "There are no random draws."
    counts = sorted({len(select(random, k=row["k"])) for row in random})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Band: smallest to largest of {number} random draws; dashed line: their mean."


@dataclass(frozen=True)
class Change:
    """What one head set, patched from the donor into one recipient, did to the score."""

    setting: str
    heads: str
    k: int
    before: Number
    change: Interval

    @property
    def name(self) -> str:
        return f"{SETS[self.heads]}, k = {self.k}"

    def numbers(self) -> list[str]:
        after = f"{two_decimals(self.before)} → {two_decimals(self.before + self.change.mean)}"
        return [self.setting, self.name, two_decimals(self.change.mean, "+"), bounds(self.change, "+"), after]


def patching(tables: Tables) -> list[Figure]:
    """Change of the score for every recipient and head set."""
    found = changes(tables["patching"])
    if not found:
        return []
    points = [Point(one.name, one.heads, one.setting, one.change) for one in found]
    label = metric_label(tables["patching"])
    chart = dots(points, f"change of {label}", title=f"Change of {label} by patching", words=SETS)
    numbers = Numbers(["Recipient", "Heads", "Change", "Interval", label], [one.numbers() for one in found])
    return [Figure({"": chart}, patching_words(tables), numbers=numbers)]


def changes(rows: list[Row]) -> list[Change]:
    """One per recipient, head set and size, in that order."""
    found = with_number(select(rows, heads=tuple(SETS)), "delta")
    order = in_order(row["setting"] for row in found), list(SETS)
    keys = {(row["setting"], row["heads"], row["k"]) for row in found}
    ranked = sorted(keys, key=lambda key: (order[0].index(key[0]), order[1].index(key[1]), key[2]))
    return [change(select(found, setting=setting, heads=heads, k=k), rows) for setting, heads, k in ranked]


def change(rows: list[Row], every: list[Row]) -> Change:
    """Rows of one recipient, head set and size as one; random draws become their mean with smallest and largest."""
    first = rows[0]
    found = Interval.spread([row["delta"] for row in rows])
    if first["heads"] == "identity":
        found = Interval(found.mean)
    elif first["heads"] != "random":
        found = change_of(first, every) or found
    return Change(first["setting"], first["heads"], first["k"], first["score_original"], found)


def change_of(row: Row, patching: list[Row]) -> Interval | None:
    """The score with patched heads minus that without.

    The interval is the row's own (delta_low, delta_high, of paired questions) where it has one, else that of two
    independent runs where the recipient has a row without patched heads, else unknown.
    """
    if is_paired(row):
        return Interval.of(row, "delta")
    patched, original = Interval.of(row), known(row["score_original"])
    if patched is None or isnan(original):
        return None
    plain = select(patching, setting=row["setting"], donor=row["donor"], heads="none")
    before = Interval.of(plain[0]) if plain else None
    return patched.minus(before if before is not None else Interval(original))


def is_paired(row: Row) -> bool:
    return row.get("delta_low") is not None and row.get("delta_high") is not None


def patching_words(tables: Tables) -> str:
    """What was lent by whom, n, and what the bars are."""
    donors = listed(in_order(row["donor"] for row in tables["patching"]))
    patched = select(tables["patching"], heads=("intersection", "complement"))
    paired = "paired" if all(map(is_paired, patched)) else "taking the two runs as independent"
    return (
        f"Donor {donors}; {questions(tables['patching'])} each; k heads patched. Bars: 95 % intervals over questions, "
        f"{paired}; for random heads, smallest to largest draw about their mean."
    )


# ---- Training


def tracking(tables: Tables) -> list[Figure]:
    """Recall and cosine of the heads over the steps of training, a line a setting; one figure a metric."""
    rows = tables["tracking"]
    return [tracking_of(metric, select(rows, metric=metric)) for metric in dict.fromkeys(row["metric"] for row in rows)]


def tracking_of(metric: str, rows: list[Row]) -> Figure:
    charts = {}
    for measure in ("recall", "cosine"):
        if found := with_number(rows, measure):
            title = f"{measure} of the heads that score {metric}"
            charts[measure] = line_chart(tracking_points(found, measure), "training steps", title=title, score=measure)
    caption = (
        f"{questions(rows)} a reading. A point is the mean over training runs of a setting, a bar their smallest and "
        "largest."
    )
    return Figure(charts, caption, f"Score: {metric}")


def tracking_points(rows: list[Row], measure: str) -> list[Point]:
    """One per setting and step: several where several seeds were trained."""
    drawn: dict[tuple[str, int], list[Number]] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        drawn.setdefault((row["setting"], row["step"]), []).append(row[measure])
    order = in_order(setting for setting, _ in drawn)
    points = [Point(name, kind(name), step, Interval.spread(values)) for (name, step), values in drawn.items()]
    return sorted(points, key=lambda point: order.index(point.name))


# ---- Time


def timings(tables: Tables) -> list[Figure]:
    """Seconds by stage, in the order in which stages appear."""
    rows = with_number(tables["timings"], "seconds")
    if not rows:
        return []
    stages = {name: select(rows, stage=name) for name in dict.fromkeys(row["stage"] for row in rows)}
    seconds = {name: sum(row["seconds"] for row in own) for name, own in stages.items()}
    cached = {name: sum(bool(row["cached"]) for row in own) for name, own in stages.items()}
    table = [[name, f"{seconds[name]:,.1f}", str(len(own)), str(cached[name])] for name, own in stages.items()]
    caption = (
        f"{sum(seconds.values()):,.0f} seconds in n = {len(rows)} cells, each run once, so without an interval. "
        f"{sum(cached.values())} cells were there already; their seconds are those of the run that made them."
    )
    numbers = Numbers(["Stage", "Seconds", "Cells", "Cached"], table)
    return [Figure({"": bars(seconds, "seconds", title="Seconds by stage")}, caption, numbers=numbers)]


# Name of a panel: the table it is drawn from, and how. Its heading and its prose are in page.html.
PANELS: dict[str, tuple[str, Callable[[Tables], list[Figure]]]] = {
    "scores": ("evaluation", scores),
    "lengths": ("evaluation", lengths),
    "heads": ("heads", head_maps),
    "similarity": ("similarity", similarity),
    "masking": ("ablation", masking),
    "patching": ("patching", patching),
    "tracking": ("tracking", tracking),
    "timings": ("timings", timings),
}
