"""What a finding is, the chance of an overlap, and the phrases that findings and captions share. Pure."""

from dataclasses import dataclass
from math import nan
from typing import Literal

from scipy.stats import hypergeom

from haymaker.charts.numbers import JOIN, two_decimals
from haymaker.report.tables import Row
from haymaker.stats import Number, known

Verdict = Literal["shows", "does not show", "cannot be told"]


@dataclass(frozen=True)
class Finding:
    """A pattern of the paper, whether it shows in these rows, the numbers in a sentence, and the rule applied."""

    pattern: str
    verdict: Verdict
    sentence: str
    rule: str


def overlap_chance(total: int, first: int, second: int, shared: int) -> float:
    """Probability that random sets of `first` and `second` out of `total` share at least `shared`."""
    return float(hypergeom.sf(shared - 1, total, first, second))


LEAST_QUESTIONS = 10  # fewer say nothing: of two the bootstrap has three values, of six its bounds are guesses
RULE = f"Nothing is judged of fewer than {LEAST_QUESTIONS} questions, or where answers are all cut off or all scores 0."


def share_cut_off(row: Row) -> float:
    """Share of a row's answers that ran to the length limit; NaN where that is not known."""
    return known(row.get("cut_off")) / row["n"] if row["n"] else nan


def why_not(rows: list[Row], zeros: bool = True) -> str:
    """Why nothing can be judged from rows with answers, as a sentence after a space; empty where something can.

    `zeros`: scores that all are 0 tell nothing either.
    """
    fewest = min((row["n"] for row in rows), default=0)
    cut = list(dict.fromkeys(row["setting"] for row in rows if share_cut_off(row) == 1))
    if fewest < LEAST_QUESTIONS:
        return f" n = {fewest} is too few to judge by."
    if cut:
        return f" Every answer of {listed(cut)} was cut off, so nothing is judged."
    if zeros and not any(known(row["score"]) > 0 for row in rows):
        return " All scores are 0, so there is nothing to compare."
    return ""


def decide(shows: bool, fails: bool) -> Verdict:
    return "shows" if shows else "does not show" if fails else "cannot be told"


def listed(names: list[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def from_to(values: list[Number], sign: str = "") -> str:
    low, high = two_decimals(min(values), sign), two_decimals(max(values), sign)
    return low if low == high else f"{low} to {high}"


def questions(rows: list[Row]) -> str:
    """n = 200 questions, or the range of it."""
    counts = sorted({row["n"] for row in rows})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n{JOIN}={JOIN}{number} questions"
