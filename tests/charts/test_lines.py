"""Lines and scatters: what is at which place, by hand."""

from haymaker.charts.chart import Chart, Point
from haymaker.charts.lines import LINE, line_chart, masking_chart
from haymaker.charts.scatter import scatter
from haymaker.interventions.ablation import AblationCurve
from haymaker.stats import Interval


def rows_of(chart: Chart) -> list[dict]:
    (rows,) = chart.spec()["datasets"].values()
    return rows


def masked(heads: str, k: int, f1: float) -> dict:
    scores = {"metric": "squad_f1", "score": f1, "score_low": f1 - 0.1, "score_high": f1 + 0.1}
    return {"heads": heads, "k": k, **scores}


MASKED = [
    masked("none", 0, 0.75),
    masked("retrieval", 2, 0.25),
    masked("random", 2, 0.5),
    masked("random", 2, 1.0),
    masked("retrieval", 1, 0.5),
]


def test_the_band_is_the_random_draws_and_both_lines_start_unmasked() -> None:
    rows = rows_of(masking_chart(MASKED, "real"))
    found = [(row["name"], row["at"], row["value"], row["low"], row["high"]) for row in rows]
    assert found == [
        ("random", 0, 0.75, 0.75, 0.75),
        ("random", 2, 0.75, 0.5, 1.0),
        ("retrieval", 0, 0.75, 0.65, 0.85),
        ("retrieval", 1, 0.5, 0.4, 0.6),
        ("retrieval", 2, 0.25, 0.15, 0.35),
    ]
    assert {row["name"] for row in rows if row["band"]} == {"random"}


def test_without_random_draws_there_is_one_line() -> None:
    rows = rows_of(masking_chart([row for row in MASKED if row["heads"] != "random"], "real"))
    assert {row["name"] for row in rows} == {"retrieval"}


def test_an_ablation_curve_is_a_list_of_rows_that_plots() -> None:
    curve = AblationCurve(MASKED)
    assert curve == MASKED
    assert curve.plot().spec()["description"] == (
        "F1 of the model by heads masked: random 0.75 at 0, 0.75 at 2; retrieval 0.75 at 0, 0.50 at 1, 0.25 at 2."
    )


def test_names_stand_at_the_ends_of_their_lines_and_apart() -> None:
    points = [Point(name, "real", x, Interval(0.5)) for name in ("one", "two") for x in (2, 1)]
    ends = [(row["name"], row["at"], row["end"]) for row in rows_of(line_chart(points, "x")) if row["end"] is not None]
    assert ends == [("one", 2, 0.5), ("two", 2, 0.5 + LINE)]


def test_names_of_a_scatter_look_inwards() -> None:
    points = [Point(str(x), "real", x, Interval(x)) for x in (0.0, 0.25, 1.0)]
    assert [row["side"] for row in rows_of(scatter(points, "x", "F1"))] == ["right", "right", "left"]
