"""Over time: heads while a model is trained, and what the stages took."""

from haymaker.charts.chart import Point
from haymaker.charts.intervals import bars
from haymaker.charts.lines import line_chart
from haymaker.report.figures import Figure, Numbers, plain
from haymaker.report.tables import Row, Tables, in_order, kind, select, with_number
from haymaker.report.wording import questions
from haymaker.stats import Interval, Number


def tracking(tables: Tables) -> list[Figure]:
    """Recall and cosine of the heads over the steps of training, a line a setting; one figure a metric."""
    rows = tables["tracking"]
    metrics = dict.fromkeys(row["metric"] for row in rows)
    found = [tracking_of(metric, select(rows, metric=metric)) for metric in metrics]
    return [figure for figure in found if figure.charts]


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


def timings(tables: Tables) -> list[Figure]:
    """Seconds by stage, in the order in which stages appear."""
    rows = with_number(tables["timings"], "seconds")
    if not rows:
        return []
    stages = {name: select(rows, stage=name) for name in dict.fromkeys(row["stage"] for row in rows)}
    seconds = {name: sum(row["seconds"] for row in own) for name, own in stages.items()}
    cached = {name: sum(bool(row["cached"]) for row in own) for name, own in stages.items()}
    table = [plain(name, f"{seconds[name]:,.1f}", str(len(own)), str(cached[name])) for name, own in stages.items()]
    caption = (
        f"{sum(seconds.values()):,.0f} seconds in n = {len(rows)} cells, each run once, so without an interval. "
        f"{sum(cached.values())} cells were there already; their seconds are those of the run that made them."
    )
    numbers = Numbers(["Stage", "Seconds", "Cells", "Cached"], table)
    return [Figure({"": bars(seconds, "seconds", title="Seconds by stage")}, caption, numbers=numbers)]
