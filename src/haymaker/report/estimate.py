"""A number with its 95 % interval, the difference of two, and the chance of an overlap. Pure, no rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, isfinite, sqrt
from typing import Any, Literal

from haymaker.report.tables import Row

Number = int | float  # rows come from JSON, where 1.0 may be written 1
JOIN = "\u00a0"  # a space at which no line breaks: an interval stays in one piece


def known(value: Any) -> float | None:
    """The value as a float, or None where it is null or not finite."""
    return float(value) if value is not None and isfinite(value) else None


def two_decimals(value: Number | None, sign: str = "") -> str:
    """0.83, with sign="+" +0.83; a typographic minus, no negative zero, and a dash for what is not known."""
    if value is None:
        return "–"
    return f"{round(value, 2) + 0.0:{sign}.2f}".replace("-", "−")


@dataclass(frozen=True)
class Estimate:
    """A value with the bounds of its interval; bounds may be unknown."""

    value: Number
    low: Number | None = None
    high: Number | None = None

    @classmethod
    def of(cls, row: dict[str, Any], name: str = "f1") -> "Estimate | None":
        """Columns `name`, `name`_low and `name`_high of a row; None where the value is not known."""
        value = known(row[name])
        return None if value is None else cls(value, known(row[f"{name}_low"]), known(row[f"{name}_high"]))

    @classmethod
    def spread(cls, values: Sequence[Number]) -> "Estimate":
        """The mean of several draws with the smallest and the largest."""
        return cls(sum(values) / len(values), min(values), max(values))

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference with an interval from the two intervals (MOVER: Zou and Donner 2008).

        It takes the two as independent. Scores of the same questions rise and fall together, which makes it too wide
        rather than too narrow.
        """
        value = self.value - other.value
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return Estimate(value)
        down = sqrt((self.value - self.low) ** 2 + (other.high - other.value) ** 2)
        up = sqrt((self.high - self.value) ** 2 + (other.value - other.low) ** 2)
        return Estimate(value, value - down, value + up)

    @property
    def above_zero(self) -> bool:
        return self.low is not None and self.low > 0

    @property
    def below_zero(self) -> bool:
        return self.high is not None and self.high < 0

    def bounds(self, sign: str = "") -> str:
        if self.low is None or self.high is None:
            return "no interval"
        return f"[{two_decimals(self.low, sign)},{JOIN}{two_decimals(self.high, sign)}]"

    def signed(self) -> str:
        return f"{two_decimals(self.value, '+')}{JOIN}{self.bounds('+')}"

    def __str__(self) -> str:
        return f"{two_decimals(self.value)}{JOIN}{self.bounds()}"


def overlap_chance(total: int, first: int, second: int, shared: int) -> float:
    """Probability that random sets of `first` and `second` out of `total` share at least `shared` (hypergeometric)."""
    ways = sum(
        comb(first, common) * comb(total - first, second - common) for common in range(shared, min(first, second) + 1)
    )
    return ways / comb(total, second)


# ---- What a finding is, and the phrases that findings share. Pure.

Verdict = Literal["shows", "does not show", "cannot be told"]


@dataclass(frozen=True)
class Finding:
    """A pattern of the paper, whether it shows in these rows, the numbers in a sentence, and the rule applied."""

    pattern: str
    verdict: Verdict
    sentence: str
    rule: str


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
