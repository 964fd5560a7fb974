"""Head maps: retrieval scores as layer x head grids, one small multiple a setting, on one colour scale."""

from dataclasses import dataclass

from markupsafe import Markup

from haymaker.report.charts import Figure
from haymaker.report.estimate import Estimate, Number, known, questions, two_decimals
from haymaker.report.svg import element
from haymaker.report.tables import Row, Tables, in_order, select

SHADES = 9  # steps of colour above zero; the style sheet has as many


@dataclass(frozen=True)
class Outline:
    """The heads to outline in every map: the `k` that score highest after training on `reference`."""

    reference: str
    heads: frozenset[tuple[int, int]]


def head_maps(tables: Tables) -> list[Figure]:
    """One figure a metric: the maps of all settings side by side."""
    rows = [row for row in tables["heads"] if known(row["score"]) is not None]
    metrics = dict.fromkeys(row["metric"] for row in rows)
    return [maps_of(metric, select(rows, metric=metric), tables["similarity"]) for metric in metrics]


def maps_of(metric: str, rows: list[Row], similarity: list[Row]) -> Figure:
    highest = max(row["score"] for row in rows)
    outline = outlined(rows, similarity)
    layers, heads = 1 + max(row["layer"] for row in rows), 1 + max(row["head"] for row in rows)
    maps = [
        head_map(setting, select(rows, setting=setting), highest, (layers, heads), outline)
        for setting in in_order(row["setting"] for row in rows)
    ]
    body = element("div", *maps, class_="maps")
    caption = (
        f"A row is a layer (0 at the top), a column a head (0 at the left). {questions(rows)} a map. Point at a head "
        "for its score with the 95 % interval over questions."
    )
    if outline.heads:
        caption += f" Outlined everywhere: the {len(outline.heads)} heads that score highest after {outline.reference}."
    return Figure(f"Score: {metric}", legend(highest) + body, caption)


def outlined(rows: list[Row], similarity: list[Row]) -> Outline:
    """As many top heads of the reference as similarity compared, else a tenth of all."""
    reference = similarity[0]["reference"] if similarity else "real"
    ranked = sorted(select(rows, setting=reference), key=lambda row: (-row["score"], row["layer"], row["head"]))
    k = similarity[0]["k"] if similarity else max(1, round(len(ranked) / 10))
    return Outline(reference, frozenset((row["layer"], row["head"]) for row in ranked[:k] if row["score"] > 0))


def shade(score: Number, highest: Number) -> int:
    """0 for no score, else 1 to SHADES in equal steps of the score."""
    return 0 if score <= 0 else min(SHADES, 1 + int(score / highest * SHADES))


def head_map(setting: str, rows: list[Row], highest: Number, shape: tuple[int, int], outline: Outline) -> Markup:
    cells = [cell(row, highest, (row["layer"], row["head"]) in outline.heads) for row in rows]
    best = max(rows, key=lambda row: row["score"])
    told = f"{best['layer']}-{best['head']} highest, {two_decimals(best['score'])}"
    box = f"-0.1 -0.1 {shape[1] + 0.1:g} {shape[0] + 0.1:g}"
    label = f"Retrieval scores of {setting}: {len(rows)} heads, {told}."
    picture = element("svg", *cells, viewBox=box, role="img", aria_label=label, class_="map")
    return element("div", element("p", setting, class_="label"), picture, element("p", told))


def cell(row: Row, highest: Number, is_outlined: bool) -> Markup:
    """A head as a square; a short path, since a large model has thousands of them."""
    x, y = row["head"], row["layer"]
    score = Estimate(row["score"], known(row["low"]), known(row["high"]))
    style = f"s{shade(row['score'], highest)}" + (" ring" if is_outlined else "")
    return element("path", element("title", f"{y}-{x}: {score}"), class_=style, d=f"M{x} {y}h.9v.9h-.9z")


def legend(highest: Number) -> Markup:
    """The shared colour scale, from 0 to the highest score of all maps."""
    steps = [element("i", class_=f"s{i}") for i in range(SHADES + 1)]
    ends = element("span", "0"), element("span", two_decimals(highest))
    label = f"Colours from 0 to {two_decimals(highest)}"
    return element("div", ends[0], *steps, ends[1], class_="legend", role="img", aria_label=label)
