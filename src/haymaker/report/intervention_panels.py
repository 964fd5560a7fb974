"""What masking and patching heads does to the score."""

from collections import Counter
from dataclasses import dataclass
from math import isnan, nan

from haymaker.charts.chart import Point
from haymaker.charts.intervals import dots
from haymaker.charts.lines import masking_chart
from haymaker.charts.numbers import bounds, in_words, metric_label, two_decimals
from haymaker.report.figures import Figure, Numbers, Told, plain
from haymaker.report.tables import Row, Tables, cells_of, in_order, over_runs, seeds_in, select, with_number
from haymaker.report.wording import listed, over_what, questions
from haymaker.stats import Interval, Number, known
from haymaker.stats.intervals import over_seeds

SETS = {"identity": "its own", "intersection": "shared", "complement": "donor’s other", "random": "random"}


def masking(tables: Tables) -> list[Figure]:
    """The score against the number of masked heads, retrieval against random ones: one figure a setting."""
    rows = with_number(tables["ablation"], "score")
    return [masking_of(name, select(rows, setting=name)) for name in in_order(row["setting"] for row in rows)]


def masking_of(setting: str, rows: list[Row]) -> Figure:
    caption = f"{questions(rows)}. {over_what(rows)} {draws_in_words(select(rows, heads='random'))}"
    sizes = sorted({row["k"] for row in rows if row["heads"] != "none"})
    plain_rows = select(rows, heads="none")
    first = [[Told("0"), score_told(plain_rows), Told("")]] if plain_rows else []
    table = first + [
        [Told(str(k)), *(score_told(select(rows, heads=kind, k=k)) for kind in ("retrieval", "random"))] for k in sizes
    ]
    numbers = Numbers(["Heads masked", "retrieval", "random"], table)
    return Figure({"": masking_chart(of_all_seeds(rows), setting)}, caption, setting, numbers)


def score_told(rows: list[Row]) -> Told:
    """The score with its bounds; of random heads the mean of the draws, with the smallest and the largest."""
    drawn = [row["score"] for row in rows if row["heads"] == "random"]
    found = Interval.spread(drawn) if len(drawn) > 1 else over_runs(rows)
    return Told("–") if found is None else Told(in_words(found), cells_of(rows))


def of_all_seeds(rows: list[Row]) -> list[Row]:
    """One row for every head set and size, where several seeds were trained; random draws stay apart."""
    if seeds_in(rows) == 1:
        return rows
    fixed = [row for row in rows if row["heads"] != "random"]
    found = []
    for heads, k in dict.fromkeys((row["heads"], row["k"]) for row in fixed):
        own = select(fixed, heads=heads, k=k)
        score = over_runs(own) or Interval(nan)
        found.append(own[0] | {"score": score.mean, "score_low": score.low, "score_high": score.high})
    return found + select(rows, heads="random")


def draws_in_words(random: list[Row]) -> str:
    """What the band over random draws is."""
    if not random:
        return "There are no random draws."
    counts = sorted({len(select(random, k=row["k"])) for row in random})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if counts == [1]:
        return "There is one random draw, so nothing is said of others."
    return f"Of random heads: smallest to largest of {number} draws; dashed line: their mean."


# ---- Patching


@dataclass(frozen=True)
class Change:
    """What one head set, patched from the donor into one recipient, did to the score."""

    setting: str
    heads: str
    k: int
    before: Number
    change: Interval
    cells: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{SETS[self.heads]}, k = {self.k}"

    def numbers(self) -> list[Told]:
        after = f"{two_decimals(self.before)} → {two_decimals(self.before + self.change.mean)}"
        told = Told(two_decimals(self.change.mean, "+"), self.cells)
        return [*plain(self.setting, self.name), told, *plain(bounds(self.change, "+"), after)]


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
    """One per recipient, size and head set, in that order."""
    found = with_number(select(rows, heads=tuple(SETS)), "delta")
    order = in_order(row["setting"] for row in found), list(SETS)
    keys = {(row["setting"], row["heads"], row["k"]) for row in found}
    ranked = sorted(keys, key=lambda key: (order[0].index(key[0]), key[2], order[1].index(key[1])))
    return [change(select(found, setting=setting, heads=heads, k=k), rows) for setting, heads, k in ranked]


def change(rows: list[Row], every: list[Row]) -> Change:
    """Rows of one recipient, head set and size as one: the mean with bounds over questions and seeds; of random heads
    with the smallest and the largest draw."""
    first = rows[0]
    found = Interval.spread([row["delta"] for row in rows])
    before = sum(known(row["score_original"]) for row in rows) / len(rows)
    if first["heads"] == "identity" or (first["heads"] == "random" and len(rows) == 1):
        found = Interval(found.mean)
    elif first["heads"] != "random":
        found = over_seeds([change_of(row, every) or Interval(row["delta"]) for row in rows])
    return Change(first["setting"], first["heads"], first["k"], before, found, cells_of(rows))


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
    runs = Counter((row["setting"], row["heads"], row["k"]) for row in patched)
    fewer = " (of those that have sets of the size)" if min(runs.values(), default=1) < seeds_in(patched) else ""
    return (
        f"Donor {donors}; {questions(tables['patching'])} each; k heads patched. {over_what(patched)[:-1]}{fewer}, "
        f"{paired}; for random heads, smallest to largest draw about their mean."
    )
