"""Scores of settings, at the length where they are compared and at others."""

from haymaker.charts.chart import Chart, Point
from haymaker.charts.intervals import dots
from haymaker.charts.lines import line_chart
from haymaker.charts.numbers import in_words, metric_label, two_decimals
from haymaker.report.figures import Figure, Numbers, Told, number, plain
from haymaker.report.tables import MEANING, Measured, Tables, cells_of, in_order, kind, main_length, measured, of_test
from haymaker.report.wording import listed, questions, what_bars_are


def scores(tables: Tables) -> list[Figure]:
    """The score of every setting: where settings are compared, and at every other length that several were asked at."""
    rows = of_test(tables["evaluation"])
    lengths = sorted({row["length"] for row in rows}, key=lambda length: (length != main_length(rows), length))
    found = {length: measured(tables, length) for length in lengths}
    figures = [scores_at(length, own) for length, own in found.items()]
    shown = [figure for figure in figures if figure is not None]
    return shown if len(shown) > 1 else [Figure(one.charts, one.caption, numbers=one.numbers) for one in shown]


def scores_at(length: int, found: dict[str, Measured]) -> Figure | None:
    """None where nothing was measured."""
    chart = score_chart(found)
    if chart is None:
        return None
    runs = [row for one in found.values() for row in one.runs]
    caption = (
        f"{questions(runs)} a setting, split {runs[0]['split']}, {length:,} tokens. {what_bars_are(found.values())} "
        "Cut off: share of answers that ran to the length limit. A number leads to the cell that made it."
    )
    columns = ["Setting", "What it is", metric_label(runs), "95 % interval", "n", "Cut off"]
    numbers = Numbers(columns, [score_row(one) for one in found.values()])
    return Figure({"": chart}, caption, numbers=numbers, choice=f"{length:,} tokens ({len(found)} settings)")


def score_chart(found: dict[str, Measured]) -> Chart | None:
    """A dot with its interval for every setting."""
    scored = {name: one.score for name, one in found.items() if one.score is not None}
    if not scored:
        return None
    label = metric_label([row for one in found.values() for row in one.runs])
    points = [Point(name, kind(name), name, score) for name, score in scored.items()]
    return dots(points, label, title=f"{label} of every setting", reach=(0, 1))


def score_row(of: Measured) -> list[Told]:
    about = plain(of.setting, MEANING.get(of.setting, ""))
    return [*about, *number(of.score, of.runs), *plain(f"{of.n:,}", two_decimals(of.cut_off))]


def lengths(tables: Tables) -> list[Figure]:
    """The score by context length, for the settings that were evaluated at more than one length."""
    rows = of_test(tables["evaluation"])
    found = {length: measured(tables, length) for length in sorted({row["length"] for row in rows})}
    scored = {
        (name, length): one for length, own in found.items() for name, one in own.items() if one.score is not None
    }
    names = in_order(name for name, _ in scored)
    several = [name for name in names if sum(name == other for other, _ in scored) > 1]
    if not several:
        return []
    at = {key: one for key, one in scored.items() if key[0] in several}
    ordered = sorted(at.items(), key=lambda item: (several.index(item[0][0]), item[0][1]))
    points = [Point(name, style(name), length, one.score) for (name, length), one in ordered if one.score is not None]
    table = [[Told(f"{length:,}"), *(length_cell(at.get((name, length))) for name in several)] for length in found]
    runs = [row for one in at.values() for row in one.runs]
    caption = f"{questions(runs)} a point. {what_bars_are(at.values())}"
    label = metric_label(runs)
    chart = line_chart(points, "tokens of context", title=f"{label} of {listed(several)}", score=label)
    return [Figure({"": chart}, caption, numbers=Numbers(["Tokens", *several], table))]


def length_cell(of: Measured | None) -> Told:
    return Told("–") if of is None or of.score is None else Told(in_words(of.score), cells_of(of.runs))


def style(setting: str) -> str:
    """Of a line: untrained settings stand alone there, so that the extended one has a colour of its own."""
    return "extended" if setting == "extended" else kind(setting)
