"""What a ranking decides and what it does not, in words, and the ranking as a text for people. No torch."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import Any

from haymaker.markup import plain_table
from haymaker.recommender.names import REAL, UNTRAINED
from haymaker.stats import known

SURE = 0.95  # of draws of the real rows in which the first candidate has to come first
SHOWN = ("rank", "candidate", "measure", "bounds", "first", "loss", "metric", "score", "ladm", "longattn")
COSTS = ("writer_tokens", "build_seconds", "training_hours")
FURTHER = (
    "a short training finds a candidate that teaches little, not which of several good ones is best: train the first "
    "two or three longer"
)
Row = Mapping[str, Any]


def verdict_on(rows: Sequence[Row]) -> str:
    """Whether the real rows tell the candidates apart, which are told from the first, and what that is worth."""
    against = list(reasons_against(rows))
    said = (
        f"these rows do not decide: {'; '.join(against)}" if against else "the real rows tell the first from the others"
    )
    behind = behind_the_first(rows)
    return f"{said}. Bounds apart from the first's: {', '.join(behind) or 'none'}; {FURTHER}."


def reasons_against(rows: Sequence[Row]) -> Iterator[str]:
    ranked = [row for row in rows if row["rank"]]
    others = {row["candidate"]: row for row in rows if not row["rank"]}
    best, real = ranked[0], others[REAL]
    scores = [row["score"] for row in (*ranked, real) if row.get("score") is not None]
    if scores and not any(scores):
        yield "no probe answers a real row right (all scores are 0)"
    if better := [row["candidate"] for row in ranked if row["loss"] <= real["loss"]]:
        yield f"a training on real rows is no better in loss than one on {', '.join(better)}"
    if best["loss"] >= others[UNTRAINED]["loss"]:
        yield f"{best['candidate']} does not lower the loss of the untrained model"
    first = best.get("first")
    if first is not None and not first >= SURE:
        yield f"{best['candidate']} comes first in {first:.0%} of draws of the real rows, fewer than {SURE:.0%}"


def behind_the_first(rows: Sequence[Row]) -> list[str]:
    """Candidates whose bounds by what ranks lie wholly on the worse side of the first one's."""
    best, *others = [row for row in rows if row["rank"]]
    by = best["by"]
    sides = [(row, *bounds(row, by), *bounds(best, by)) for row in others]
    lower = by == "loss"
    return [row["candidate"] for row, low, high, least, most in sides if (low > most if lower else high < least)]


def bounds(row: Row, by: str) -> tuple[float, float]:
    return known(row[f"{by}_low"]), known(row[f"{by}_high"])


# ---- as a text


def as_text(rows: Sequence[Row]) -> str:
    """The ranking as `haymaker recommend` prints it: measures, costs, and what they decide."""
    best = rows[0]
    told = [readable(row, best["by"]) for row in rows]
    whole = f"To train on {best['full_rows']} rows for {best['full_steps']} steps, estimated:"
    costs = plain_table([row for row in told if row["rank"]], ("candidate", *COSTS))
    return "\n\n".join([plain_table(told, SHOWN), f"{whole}\n{costs}", verdict_on(rows)])


def readable(row: Row, by: str) -> dict[str, Any]:
    """Numbers as people read them, and of what ranks the bounds."""
    wanted = (*SHOWN[4:], by, f"{by}_low", f"{by}_high")
    numbers = {key: "" if isnan(known(row.get(key))) else f"{row[key]:.3f}" for key in wanted if key != "metric"}
    told = {"measure": f"{by} {numbers[by]}", "bounds": f"[{numbers[f'{by}_low']}, {numbers[f'{by}_high']}]"}
    costs = {key: f"{row[key]:,.2f}" if key in row else "" for key in COSTS}
    named = {"rank": row["rank"] or "", "candidate": row["candidate"], "metric": row.get("metric") or ""}
    return named | numbers | told | costs
