"""Charts that are tables: every row a name, a drawn number with its interval, and the number in figures."""

from dataclasses import dataclass

from markupsafe import Markup

from haymaker.report.charts import Figure
from haymaker.report.estimate import Estimate, Number, known, listed, questions, two_decimals
from haymaker.report.interventions import change_of, is_paired
from haymaker.report.svg import Scale, compact, element, round_ticks, tick_text
from haymaker.report.tables import MEANING, Row, Tables, at_main_length, in_order, kind, select

SETS = {
    "identity": "its own",
    "intersection": "shared",
    "complement": "donor’s other",
    "random": "random",
}
PERCENT = 100.0  # of a track's width, for the style sheet


def track(estimate: Estimate, scale: Scale, style: str, from_zero: bool = False) -> Markup:
    """A dot with its interval on a track; with `from_zero`, a bar from zero to the value as well."""
    parts = []
    if from_zero:
        parts.append(stretch("zero", scale(0), scale(0)))
        parts.append(stretch("bar", *sorted((scale(0), scale(estimate.value)))))
    if estimate.low is not None and estimate.high is not None:
        parts.append(stretch("range", scale(estimate.low), scale(estimate.high)))
    parts.append(element("i", class_="dot", style=f"left:{compact(scale(estimate.value))}%"))
    return element("div", *parts, class_=f"track {style}", aria_hidden="true")


def stretch(style: str, start: Number, stop: Number) -> Markup:
    return element("i", class_=style, style=f"left:{compact(start)}%;width:{compact(stop - start)}%")


def track_axis(scale: Scale, ticks: list[Number]) -> Markup:
    marks = [element("span", tick_text(tick), style=f"left:{compact(scale(tick))}%") for tick in ticks]
    return element("div", *marks, class_="scale", aria_hidden="true")


def chart_table(heads: list[str | Markup], extras: list[str], bodies: list[list[Markup]], label: str) -> Markup:
    """A table of one or more row groups under column heads; the columns of `extras` give way on a phone."""
    shown = [element("th", head, scope="col") for head in heads]
    columns = element("tr", *shown, *(element("th", head, scope="col", class_="wide") for head in extras))
    groups = [element("tbody", *rows) for rows in bodies]
    caption = element("caption", label, class_="unseen")
    return element("table", caption, element("thead", columns), *groups, class_="tracks")


def f1_tracks(tables: Tables) -> list[Figure]:
    """F1 of every setting at the length where they are compared."""
    rows = at_main_length(tables["evaluation"])
    if not rows:
        return []
    scale, ticks = Scale(0, 1, 0, PERCENT), [0, 0.2, 0.4, 0.6, 0.8, 1]
    heads = ["Setting", track_axis(scale, ticks), "F1"]
    kinds = dict.fromkeys(kind(setting) for setting in rows)
    bodies = [[f1_row(row, scale) for name, row in rows.items() if kind(name) == one] for one in kinds]
    body = chart_table(heads, ["95 % interval", "EM", "Cut off"], bodies, "F1 of every setting")
    some = next(iter(rows.values()))
    caption = (
        f"{questions(list(rows.values()))} a setting, split {some['split']}, {some['length']:,} tokens. Bars: 95 % "
        "intervals over questions. EM: share of exact matches. Cut off: share of answers that ran to the length limit."
    )
    return [Figure("", body, caption)]


def f1_row(row: Row, scale: Scale) -> Markup:
    setting, estimate = row["setting"], Estimate.of(row)
    name = element("th", setting, element("small", MEANING.get(setting, "")), scope="row")
    drawn = track(estimate, scale, kind(setting)) if estimate else "not measured"
    numbers = (estimate.value, estimate.bounds()) if estimate else (None, "")
    return element(
        "tr",
        name,
        element("td", drawn, class_="drawn ruled"),
        element("td", element("b", two_decimals(numbers[0]))),
        element("td", numbers[1], class_="wide"),
        element("td", two_decimals(known(row["em"])), class_="wide"),
        element("td", two_decimals(known(row["cut_off"])), class_="wide"),
    )


@dataclass(frozen=True)
class Change:
    """What one head set, patched from the donor into one recipient, did to F1."""

    setting: str
    heads: str
    k: int
    before: Number
    change: Estimate


def changes(patching: list[Row]) -> list[Change]:
    """One per recipient, head set and size, in that order."""
    rows = [row for row in select(patching, heads=tuple(SETS)) if known(row["delta"]) is not None]
    order = in_order(row["setting"] for row in rows), list(SETS)
    keys = {(row["setting"], row["heads"], row["k"]) for row in rows}
    ranked = sorted(keys, key=lambda key: (order[0].index(key[0]), order[1].index(key[1]), key[2]))
    return [change(select(rows, setting=setting, heads=heads, k=k), patching) for setting, heads, k in ranked]


def change(rows: list[Row], patching: list[Row]) -> Change:
    """Rows of one recipient, head set and size as one; random draws become their mean with smallest and largest."""
    first = rows[0]
    drawn = Estimate.spread([row["delta"] for row in rows])
    if first["heads"] == "identity":
        drawn = Estimate(drawn.value)
    found = drawn if first["heads"] in ("random", "identity") else change_of(first, patching) or drawn
    return Change(first["setting"], first["heads"], first["k"], first["f1_original"], found)


def patching_tracks(tables: Tables) -> list[Figure]:
    """Change of F1 for every recipient and head set."""
    found = changes(tables["patching"])
    if not found:
        return []
    ends = [end for one in found for end in (one.change.value, one.change.low, one.change.high) if end is not None]
    ticks = round_ticks(min(0.0, *ends), max(0.0, *ends))
    scale = Scale(ticks[0], ticks[-1], 0, PERCENT)
    groups = [[one for one in found if one.setting == name] for name in in_order(one.setting for one in found)]
    bodies = [[change_row(one, scale, len(group) if one is group[0] else 0) for one in group] for group in groups]
    heads = ["Recipient", "Heads", track_axis(scale, ticks), "Change"]
    return [
        Figure("", chart_table(heads, ["Interval", "F1"], bodies, "Change of F1 by patching"), patching_words(tables))
    ]


def patching_words(tables: Tables) -> str:
    """What was lent by whom, n, and what the bars are."""
    donors = listed(in_order(row["donor"] for row in tables["patching"]))
    patched = select(tables["patching"], heads=("intersection", "complement"))
    paired = "paired" if all(map(is_paired, patched)) else "taking the two runs as independent"
    return (
        f"Donor {donors}; {questions(tables['patching'])} each; k heads patched. Bars: 95 % intervals over questions, "
        f"{paired}; for random heads, smallest to largest draw about their mean."
    )


def change_row(one: Change, scale: Scale, spans: int) -> Markup:
    """A row of the patching table; the first of a recipient carries its name over `spans` rows."""
    name = element("th", one.setting, scope="rowgroup", rowspan=spans) if spans else ""
    after = one.before + one.change.value
    return element(
        "tr",
        name,
        element("td", SETS[one.heads], element("small", f"k = {one.k}"), class_="words"),
        element("td", track(one.change, scale, one.heads, from_zero=True), class_="drawn"),
        element("td", element("b", two_decimals(one.change.value, "+"))),
        element("td", one.change.bounds("+"), class_="wide"),
        element("td", f"{two_decimals(one.before)} → {two_decimals(after)}", class_="wide"),
    )


def timing_tracks(tables: Tables) -> list[Figure]:
    """Seconds by stage, in the order in which stages appear."""
    rows = [row for row in tables["timings"] if known(row["seconds"]) is not None]
    if not rows:
        return []
    stages = {name: select(rows, stage=name) for name in dict.fromkeys(row["stage"] for row in rows)}
    longest = max(sum(row["seconds"] for row in own) for own in stages.values())
    scale = Scale(0, longest or 1, 0, PERCENT)
    bodies = [[timing_row(name, own, scale) for name, own in stages.items()]]
    body = chart_table(["Stage", "", "Seconds"], ["Cells", "Cached"], bodies, "Seconds by stage")
    total, cached = sum(row["seconds"] for row in rows), sum(bool(row["cached"]) for row in rows)
    caption = (
        f"{total:,.0f} seconds in n = {len(rows)} cells, each run once, so without an interval. {cached} cells were "
        "there already; their seconds are those of the run that made them."
    )
    return [Figure("", body, caption)]


def timing_row(name: str, rows: list[Row], scale: Scale) -> Markup:
    seconds = sum(row["seconds"] for row in rows)
    drawn = element("div", stretch("bar", 0, scale(seconds)), class_="track plain", aria_hidden="true")
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", drawn, class_="drawn"),
        element("td", element("b", f"{seconds:,.1f}")),
        element("td", len(rows), class_="wide"),
        element("td", sum(bool(row["cached"]) for row in rows), class_="wide"),
    )
