"""The phrases that findings and captions share. Pure."""

from collections.abc import Iterable, Sequence
from math import isnan

from haymaker.charts.numbers import JOIN, two_decimals
from haymaker.report.tables import Measured, Row, seeds_in, with_number
from haymaker.stats import known
from haymaker.stats.comparisons import p_in_words


def what_bars_are(found: Iterable[Measured]) -> str:
    """Of a figure of scores: what its intervals leave open."""
    every = [one for one in found if one.score is not None]
    if every and all(isnan(known(one.score and one.score.low)) for one in every):
        return "No score has an interval."
    return over_what(max((with_number(one.runs, "score") for one in every), key=seeds_in, default=[]))


def over_what(rows: Sequence[Row]) -> str:
    """What the intervals of these rows are, where a point may stand for several seeds."""
    several = seeds_in(rows)
    return f"Bars and brackets: 95 % intervals over questions{f' and {several} seeds of training' * (several > 1)}."


def listed(names: list[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def questions(rows: list[Row]) -> str:
    """n = 200 questions, or the range of it."""
    counts = sorted({row["n"] for row in rows})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n{JOIN}={JOIN}{number} question{'s' * (number != '1')}"


def chance(p: float) -> str:
    """p = 0.017, or that it is smaller than three decimals can say, or unknown."""
    if isnan(p):
        return "p unknown"
    told = p_in_words(p)
    return f"p{JOIN}{told.replace(' ', JOIN)}" if told.startswith("<") else f"p{JOIN}={JOIN}{told}"


def correlation(row: Row) -> str:
    """+0.90 (p = 0.083, n = 5 settings)"""
    return f"{two_decimals(row['spearman'], '+')} ({chance(known(row['p']))}, n{JOIN}={JOIN}{row['n']} settings)"


def too_few(n: int) -> str:
    """What a rank correlation over so few settings can show at all, after a space; nothing where it is enough."""
    if n < 5:
        return f" With n = {n} no order at all passes 5 %."
    return " With n = 5 only a perfect order, |rho| = 1, passes 5 %." if n == 5 else ""
