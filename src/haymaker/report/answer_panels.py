"""What lies behind a score: other measures of the same answers, and the score by depth, length and hops."""

from haymaker.charts.chart import Chart, Point
from haymaker.charts.groups import group_chart
from haymaker.charts.intervals import dots
from haymaker.charts.numbers import JOIN, in_words, label_of, metric_label
from haymaker.report.figures import Figure, Numbers, Told
from haymaker.report.tables import (
    Measured,
    Row,
    Tables,
    cells_of,
    in_order,
    kind,
    main_length,
    measured,
    over_runs,
    seeds_in,
    select,
    with_number,
)
from haymaker.report.wording import over_what, questions

BY = {"depth": "depth of the evidence", "length": "tokens of the prompt", "hops": "hops of the question"}
TOLD = {
    "depth": "Depth: the share of the context before the evidence, 0 where it opens the context.",
    "length": "A group is a doubling of the prompt’s tokens.",
    "hops": "Hops: pieces of evidence that an answer rests on.",
}


def measures(tables: Tables) -> list[Figure]:
    """Every other measure of the answers behind the scores: further metrics, and the share in the headline's form."""
    found = measured(tables)
    names = further(found)
    if not names:
        return []
    charts = {label_of(name): measure_chart(found, name) for name in names}
    table = [
        [Told(setting), *(measure_told(one.runs, name) for name in names)] for setting, one in found.items() if one.runs
    ]
    runs = [row for one in found.values() for row in one.runs]
    caption = f"{questions(runs)} a setting, {runs[0]['length']:,} tokens. {over_what(most_seeds(found))}"
    if "parsed" in names:
        caption += f" In the metric’s form: the share of answers that {metric_label(runs)} can read as meant."
    return [Figure(charts, caption, numbers=Numbers(["Setting", *map(label_of, names)], table))]


def further(found: dict[str, Measured]) -> list[str]:
    """Columns beside the headline that have bounds in some row, the share in form last."""
    rows = [row for one in found.values() for row in one.runs]
    names = dict.fromkeys(name.removesuffix("_low") for row in rows for name in row if name.endswith("_low"))
    kept = [name for name in names if name != "score" and any(over_runs([row], name) is not None for row in rows)]
    return sorted(kept, key=lambda name: name == "parsed")


def measure_chart(found: dict[str, Measured], name: str) -> Chart:
    """A dot with its interval for every setting that has the measure."""
    scored = {setting: over_runs(one.runs, name) for setting, one in found.items()}
    points = [Point(setting, kind(setting), setting, one) for setting, one in scored.items() if one is not None]
    label = label_of(name)
    return dots(points, label, title=f"{label} of every setting", reach=(0, 1))


def measure_told(runs: list[Row], name: str) -> Told:
    found = over_runs(runs, name)
    return Told("–") if found is None else Told(in_words(found), cells_of(runs))


def most_seeds(found: dict[str, Measured]) -> list[Row]:
    """The runs of the setting that has most."""
    return max((one.runs for one in found.values()), key=seeds_in)


# ---- by groups of questions


def breakdown(tables: Tables) -> list[Figure]:
    """The score by what a question is like, one figure for each way of grouping; at the length of the scores."""
    rows = with_number(tables["breakdown"], "score")
    if not rows:
        return []
    rows = select(rows, length=main_length(tables.get("evaluation") or rows))
    return [breakdown_of(by, select(rows, by=by)) for by in dict.fromkeys(row["by"] for row in rows)]


def breakdown_of(by: str, rows: list[Row]) -> Figure:
    settings = in_order(row["setting"] for row in rows)
    groups = list(dict.fromkeys(row["group"] for row in rows))
    own = {(s, g): found for s in settings for g in groups if (found := select(rows, setting=s, group=g))}
    scored = {key: over_runs(found) for key, found in own.items()}
    points = [Point(s, kind(s), g, score) for (s, g), score in scored.items() if score is not None]
    about, label = BY.get(by, by), metric_label(rows)
    chart = group_chart(points, groups, about, title=f"{label} by {about}", score=label)
    heads = [f"{group} (n{JOIN}={JOIN}{counts(select(rows, group=group))})" for group in groups]
    table = [[Told(s), *(measure_told(own.get((s, g), []), "score") for g in groups)] for s in settings]
    most = max((select(rows, setting=setting) for setting in settings), key=seeds_in)
    caption = f"{questions(rows)} a group; groups are of different questions. {over_what(most)} {TOLD.get(by, '')}"
    return Figure({"": chart}, caption.strip(), numbers=Numbers(["Setting", *heads], table), choice=f"by {about}")


def counts(rows: list[Row]) -> str:
    """How many questions a group has, or from how few to how many where settings differ."""
    found = sorted({row["n"] for row in rows})
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"
