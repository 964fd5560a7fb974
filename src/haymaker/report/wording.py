"""The phrases that findings and captions share. Pure."""

from math import isnan, nan

from haymaker.charts.numbers import JOIN, two_decimals
from haymaker.report.tables import Row
from haymaker.stats import known


def share_cut_off(row: Row) -> float:
    """Share of a row's answers that ran to the length limit; NaN where that is not known."""
    return known(row.get("cut_off")) / row["n"] if row["n"] else nan


def listed(names: list[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def questions(rows: list[Row]) -> str:
    """n = 200 questions, or the range of it."""
    counts = sorted({row["n"] for row in rows})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n{JOIN}={JOIN}{number} questions"


def chance(p: float) -> str:
    """p = 0.017, or that it is smaller than three decimals can say, or unknown."""
    if isnan(p):
        return "p unknown"
    return f"p{JOIN}={JOIN}{p:.3f}" if p >= 0.001 else f"p{JOIN}<{JOIN}0.001"


def correlation(row: Row) -> str:
    """+0.90 (p = 0.083, n = 5 settings)"""
    return f"{two_decimals(row['spearman'], '+')} ({chance(known(row['p']))}, n{JOIN}={JOIN}{row['n']} settings)"


def too_few(n: int) -> str:
    """What a rank correlation over so few settings can show at all, after a space; nothing where it is enough."""
    if n < 5:
        return f" With n = {n} no order at all passes 5 %."
    return " With n = 5 only a perfect order, |rho| = 1, passes 5 %." if n == 5 else ""
