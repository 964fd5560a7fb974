"""Numbers as people read them, for tooltips, tables and sentences. Pure."""

import re
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from haymaker.stats import Interval, Number

JOIN = "\u00a0"  # a space at which no line breaks: an interval stays in one piece


def two_decimals(value: Number | None, sign: str = "") -> str:
    """0.83, with sign="+" +0.83; a typographic minus, no negative zero, and a dash for what is not known."""
    if value is None or isnan(value):
        return "–"
    return f"{round(value, 2) + 0.0:{sign}.2f}".replace("-", "−")


def bounds(of: Interval, sign: str = "") -> str:
    """[0.80, 0.86], or that there is no interval."""
    if isnan(of.low) or isnan(of.high):
        return "no interval"
    return f"[{two_decimals(of.low, sign)},{JOIN}{two_decimals(of.high, sign)}]"


def three_digits(of: Interval) -> str:
    """0.0123 [0.0101, 0.0144]: of a score whose size depends on its unit."""
    mean, low, high = (f"{number:.3g}".replace("-", "−") for number in of)
    return f"{mean}{JOIN}" + ("no interval" if isnan(of.low) or isnan(of.high) else f"[{low},{JOIN}{high}]")


def in_words(of: Interval, sign: str = "") -> str:
    """0.83 [0.80, 0.86]"""
    return f"{two_decimals(of.mean, sign)}{JOIN}{bounds(of, sign)}"


def with_minus(text: str) -> str:
    """The same text with a typographic minus before numbers; ranges (0-1), heads (3-5) and names stay."""
    return BEFORE_NUMBER.sub("−", text)


BEFORE_NUMBER = re.compile(r"(?<![\w.)\]-])-(?=\.?\d)")
LABELS = {
    **dict.fromkeys(("squad_f1", "squad_v2_f1", "musique_f1", "longbench_f1", "helmet_f1"), "F1"),
    **dict.fromkeys(("squad_em", "squad_v2_em", "musique_em"), "exact match"),
    "citation_f1": "citation F1",
    "citation_f1_lenient": "lenient citation F1",
    "kv_accuracy": "accuracy",
    "best_subspan_em": "gold within the answer",
    "gold_over_foil": "gold over foil (guessing 0.50)",
    "parsed": "in the metric’s form",
}


def metric_label(rows: Sequence[Mapping[str, Any]]) -> str:
    """What people call the metric that scored these rows: of their column `metric`; "score" where they name none."""
    names = dict.fromkeys(str(row["metric"]) for row in rows if row.get("metric"))
    return " or ".join(dict.fromkeys(map(label_of, names))) or "score"


def label_of(metric: str) -> str:
    """What people call a measure of answers."""
    return LABELS.get(metric, metric)
