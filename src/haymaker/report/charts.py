"""Line charts and scatters of the report. Each function takes rows of one (model, task) and gives Figures."""

from dataclasses import dataclass
from math import log2

from markupsafe import Markup

from haymaker.report.estimate import Estimate, Number, known, listed, questions, two_decimals
from haymaker.report.findings import correlation, too_few
from haymaker.report.svg import (
    HEIGHT,
    WIDTH,
    Box,
    Frame,
    Scale,
    drawing,
    element,
    place_labels,
    round_ticks,
    spread_out,
)
from haymaker.report.tables import Row, Tables, at_main_length, in_order, kind, of_test, select

F1_TICKS = (0, 0.2, 0.4, 0.6, 0.8, 1)
TOP, BOTTOM, LEFT, END = 26.0, HEIGHT - 40, 40.0, 76.0  # END: room for names at the ends of lines


@dataclass(frozen=True)
class Figure:
    """A drawing or chart-table, its heading, and the caption that states n and what the interval is."""

    title: str
    body: Markup
    caption: str


@dataclass(frozen=True)
class Series:
    """A named line; `style` is a class of the style sheet, `band` draws its bounds as an area instead of whiskers."""

    name: str
    style: str
    points: list[tuple[Number, Estimate]]
    band: bool = False


def line_chart(label: str, series: list[Series], x_title: str, first: Number) -> Markup:
    """F1 against a logarithmic x from `first` on, with names at the ends of the lines."""
    values = sorted({x for line in series for x, _ in line.points})
    x = Scale(first, values[-1], LEFT, WIDTH - END, lambda value: log2(1 + value))
    frame = Frame(x, Scale(0, 1, BOTTOM, TOP), x_title)
    ends = spread_out([frame.y(line.points[-1][1].value) + 4 for line in series], limit=BOTTOM - 1)
    lines = [draw_line(frame, line, end) for line, end in zip(series, ends, strict=True)]
    told = "; ".join(f"{line.name} {in_words(line)}" for line in series)
    return drawing(f"{label} by {x_title}: {told}.", frame.axes(values, F1_TICKS), *lines)


def in_words(line: Series) -> str:
    return ", ".join(f"{two_decimals(estimate.value)} at {x:g}" for x, estimate in line.points)


def draw_line(frame: Frame, line: Series, end: Number) -> Markup:
    """A line with its interval, a marker with a hint for each point, and its name."""
    places = [(frame.x(x), frame.y(estimate.value)) for x, estimate in line.points]
    parts = [band(frame, line) if line.band else whiskers(frame, line)]
    parts.append(element("polyline", class_="line", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in places)))
    for (x, y), (value, estimate) in zip(places, line.points, strict=True):
        hint = element("title", f"{line.name}, {value:g}: F1 {estimate}")
        parts.append(element("circle", hint, class_="dot", cx=x, cy=y, r=3.6))
    parts.append(element("text", line.name, class_="name", x=places[-1][0] + 9, y=end))
    return element("g", *parts, class_=line.style)


def whiskers(frame: Frame, line: Series) -> Markup:
    bars = [
        element("line", class_="whisker", x1=frame.x(x), x2=frame.x(x), y1=frame.y(found.low), y2=frame.y(found.high))
        for x, found in line.points
        if found.low is not None and found.high is not None
    ]
    return Markup("").join(bars)


def band(frame: Frame, line: Series) -> Markup:
    lower = [(frame.x(x), frame.y(found.low if found.low is not None else found.value)) for x, found in line.points]
    upper = [(frame.x(x), frame.y(found.high if found.high is not None else found.value)) for x, found in line.points]
    return element("polygon", class_="band", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in lower + upper[::-1]))


def estimates(rows: list[Row], x: str) -> list[tuple[Number, Estimate]]:
    """(row[x], F1) of the rows whose F1 is known, from small x to large."""
    found = [(row[x], estimate) for row in rows if (estimate := Estimate.of(row)) is not None]
    return sorted(found, key=lambda point: point[0])


def length_charts(tables: Tables) -> list[Figure]:
    """F1 by context length, for the settings that were evaluated at more than one length."""
    rows = of_test(tables["evaluation"])
    curves = {name: estimates(select(rows, setting=name), "length") for name in in_order(r["setting"] for r in rows)}
    curves = {name: points for name, points in curves.items() if len({length for length, _ in points}) > 1}
    if not curves:
        return []
    series = [Series(name, f"{kind(name)} {name}", points) for name, points in curves.items()]
    shortest = min(points[0][0] for points in curves.values())
    names = listed(list(curves))
    chart = line_chart(f"F1 of {names}", series, "tokens of context (logarithmic)", shortest)
    body = element("div", chart, length_table(curves), class_="beside")
    count = questions(select(rows, setting=tuple(curves)))
    return [Figure("", body, f"{count} a point. Bars and brackets: 95 % intervals over questions.")]


def length_table(curves: dict[str, list[tuple[Number, Estimate]]]) -> Markup:
    """The same numbers as figures: a row a length, a column a setting."""
    lengths = sorted({length for points in curves.values() for length, _ in points})
    found = {name: dict(points) for name, points in curves.items()}
    head = element("tr", *(element("th", name, scope="col") for name in ("Tokens", *curves)))
    body = [
        element(
            "tr", element("th", f"{length:,}", scope="row"), *(length_cell(found[name].get(length)) for name in curves)
        )
        for length in lengths
    ]
    return element("table", element("thead", head), element("tbody", *body), class_="numbers")


def length_cell(estimate: Estimate | None) -> Markup:
    if estimate is None:
        return element("td", "–")
    return element("td", element("b", two_decimals(estimate.value)), " ", element("small", estimate.bounds()))


def masking_charts(tables: Tables) -> list[Figure]:
    """F1 against the number of masked heads, retrieval against random ones: one figure a setting."""
    rows = [row for row in tables["ablation"] if known(row["f1"]) is not None]
    return [masking_chart(name, select(rows, setting=name)) for name in in_order(row["setting"] for row in rows)]


def masking_chart(setting: str, rows: list[Row]) -> Figure:
    none = estimates(select(rows, heads="none"), "k")
    random = {row["k"]: [] for row in sorted(select(rows, heads="random"), key=lambda row: row["k"])}
    for row in select(rows, heads="random"):
        random[row["k"]].append(row["f1"])
    start = [(k, Estimate.spread([found.value])) for k, found in none]
    control = start + [(k, Estimate.spread(values)) for k, values in random.items()]
    curve = none + estimates(select(rows, heads="retrieval"), "k")
    lines = [Series("random", "random", control, band=True), Series("retrieval", "retrieval", curve)]
    body = line_chart(f"Masking heads of {setting}", [line for line in lines if line.points], "heads masked", 0)
    return Figure(setting, body, f"{questions(rows)}. Bars: 95 % intervals over questions. {draws_in_words(random)}")


def draws_in_words(random: dict[int, list[Number]]) -> str:
    """What the band over random draws is."""
    if not random:
        return "There are no random draws."
    counts = sorted({len(values) for values in random.values()})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Band: smallest to largest of {number} random draws; dashed line: their mean."


def similarity_charts(tables: Tables) -> list[Figure]:
    """F1 against the similarity of heads to the reference's, one scatter a measure."""
    found = []
    for measure in ("cosine", "recall", "overlap"):
        rows = [row for row in tables["similarity"] if row["setting"] != row["reference"]]
        rows = [row for row in rows if known(row[measure]) is not None and known(row["f1"]) is not None]
        if rows:
            words = caption_of(measure, select(tables["correlation"], measure=measure))
            found.append(Figure(f"F1 against {measure}", scatter(measure, rows, tables["evaluation"]), words))
    return found


def caption_of(measure: str, rows: list[Row]) -> str:
    known_rows = [row for row in rows if known(row["spearman"]) is not None]
    if not known_rows:
        return f"No rank correlation of {measure} with F1 in the rows."
    return f"Spearman’s rho {correlation(known_rows[0])}.{too_few(known_rows[0]['n'])}"


def scatter(measure: str, rows: list[Row], evaluation: list[Row]) -> Markup:
    """One labelled point a setting, with F1's interval where the evaluation has one."""
    ticks = round_ticks(min(row[measure] for row in rows), max(row[measure] for row in rows), count=4)
    x, y = Scale(ticks[0], ticks[-1], LEFT + 10, WIDTH - 24), Scale(0, 1, BOTTOM, TOP)
    frame = Frame(x, y, f"{measure} with the heads of {listed(in_order(row['reference'] for row in rows))}")
    measured = {name: Estimate.of(row) for name, row in at_main_length(evaluation).items()}
    shown = [measured.get(row["setting"]) or Estimate(row["f1"]) for row in rows]
    boxes = [box_of(frame, row[measure], estimate) for row, estimate in zip(rows, shown, strict=True)]
    labels = place_labels(boxes, [row["setting"] for row in rows], LEFT, WIDTH)
    points = [
        draw_point(frame, row, measure, estimate, label)
        for row, estimate, label in zip(rows, shown, labels, strict=True)
    ]
    told = "; ".join(f"{row['setting']} {two_decimals(row[measure])}, {two_decimals(row['f1'])}" for row in rows)
    return drawing(f"F1 against {measure}: {told}.", frame.axes(ticks, F1_TICKS), *points)


def draw_point(frame: Frame, row: Row, measure: str, estimate: Estimate, label: tuple[Number, Number]) -> Markup:
    name, at = row["setting"], row[measure]
    hint = element("title", f"{name}: {measure} {two_decimals(at)}, F1 {estimate}")
    bars = whiskers(frame, Series(name, "", [(at, estimate)]))
    dot = element("circle", hint, class_="dot", cx=frame.x(at), cy=frame.y(estimate.value), r=4.5)
    text = element("text", name, class_="name", x=label[0], y=label[1])
    return element("g", bars, dot, text, class_=kind(name))


def box_of(frame: Frame, at: Number, estimate: Estimate) -> Box:
    """The room that a point and its whiskers take."""
    x, y = frame.x(at), frame.y(estimate.value)
    high = y - 5 if estimate.high is None else frame.y(estimate.high)
    low = y + 5 if estimate.low is None else frame.y(estimate.low)
    return (x - 5, min(high, y - 5), x + 5, max(low, y + 5))
