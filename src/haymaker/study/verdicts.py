"""How a pattern is judged: effects with bounds in, one of four verdicts out. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Literal

from haymaker.markup import counted
from haymaker.stats import ROUNDING, Interval, Number, known
from haymaker.study.cell import Row

Verdict = Literal["shown", "not shown", "contradicted", "undecided"]

MARGIN = 0.05  # the smallest effect that counts: of F1, of a share of heads
SURE = 0.05  # p-values below this count
LEAST_QUESTIONS = 10

RULE = (
    "Shown if the 95 % bounds of every effect lie above 0; contradicted if those of one lie below 0; not shown if "
    f"those of one stay below {MARGIN}, the smallest effect that counts; else undecided, as where rows are missing, "
    f"there are fewer than {LEAST_QUESTIONS} questions, all answers were cut off, or nothing was there to lose or gain."
)


@dataclass(frozen=True)
class Judged:
    """A pattern in the rows of one model and task: all effects that must be there (by setting; "": of all of them),
    the one that the table shows, and why nothing can be judged (empty where something can).

    `settled` is a verdict that the pattern's own test gives in place of the rule on bounds; `stands_on` are the
    settings without which no effect says anything.
    """

    effects: Mapping[str, Interval] = field(default_factory=dict)
    shown: Interval = Interval(nan)
    n: int = 0
    seeds: int = 0
    p: float | None = None
    sentence: str = ""
    doubt: str = ""
    settled: Verdict | None = None
    stands_on: Collection[str] = ()

    @property
    def verdict(self) -> Verdict:
        if self.doubt or not (self.effects or self.settled):
            return "undecided"
        return self.settled or decided(self.effects.values())


def decided(effects: Collection[Interval], margin: float = MARGIN) -> Verdict:
    """By the rule; an effect without bounds speaks neither for nor against, and without it nothing is shown."""
    if any(effect.high < -ROUNDING for effect in effects):
        return "contradicted"
    if all(effect.low > ROUNDING for effect in effects):
        return "shown"
    return "not shown" if any(effect.high < margin for effect in effects) else "undecided"


def above(effect: Interval, bar: Number, scale: Number = 1) -> Interval:
    """How far it lies above a bar, in units of `scale`."""
    return Interval(*((number - bar) / scale for number in effect))


def interval_of(row: Row, name: str) -> Interval:
    """Columns name, name_low, name_high; NaN for what is not there."""
    return Interval(*(known(row.get(column)) for column in (name, f"{name}_low", f"{name}_high")))


def number(value: Number) -> str:
    """Two decimals, no negative zero; unknown for NaN."""
    return "unknown" if isnan(value) else f"{round(value, 2) + 0.0:.2f}"


def in_words(effect: Interval) -> str:
    """0.12 [0.05, 0.20]"""
    if isnan(effect.low):
        return f"{number(effect.mean)} (no bounds)"
    return f"{number(effect.mean)} [{number(effect.low)}, {number(effect.high)}]"


def why_not(rows: Sequence[Row]) -> str:
    """Why answers can tell nothing; empty where they can."""
    if few := too_few(rows):
        return few
    cut = [row["setting"] for row in rows if row.get("cut_off") and row["cut_off"] == row["n"]]
    if cut:
        return f"every answer of {', '.join(dict.fromkeys(cut))} was cut off"
    if rows and all(isnan(known(row.get("score"))) for row in rows):
        return "no score is a number"
    if rows and not any(known(row.get("score")) > 0 for row in rows):
        return "all scores are 0"
    return ""


def too_few(rows: Sequence[Row]) -> str:
    """Whether there are too few questions to judge from; empty where there are not."""
    least = min((row["n"] for row in rows if row.get("n") is not None), default=LEAST_QUESTIONS)
    if least >= LEAST_QUESTIONS:
        return ""
    return f"{counted(least, 'question')} {'is' if least == 1 else 'are'} too few"
