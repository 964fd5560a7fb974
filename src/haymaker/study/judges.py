"""The six patterns that the paper's sources report, each judged from the rows of one model and task. Pure.

Zhao, Yin and Durrett 2025 (arXiv 2410.22316): (a) real data beats every synthetic variant; (b) it leaves more heads
with a score, and symbolic data the fewest; (c) synthetic heads are mostly inside the real set; (d) likeness of heads
goes with the score; (e) masking the top heads costs far more than random ones; (f) patching the shared heads helps in
about three quarters of cells.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan, nan
from statistics import fmean
from typing import Any

import numpy as np

from haymaker.choices import is_synthetic
from haymaker.markup import counted
from haymaker.stats import ROUNDING, Correlation, Interval, holm, known, share_interval, spearman, spearman_interval
from haymaker.stats.comparisons import p_in_words
from haymaker.stats.intervals import as_share, over_seeds
from haymaker.study.cell import Row, Tables
from haymaker.study.verdicts import (
    SURE,
    Judged,
    Verdict,
    above,
    in_words,
    interval_of,
    number,
    too_few,
    why_not,
)

MEASURES = ("recall", "cosine")
CROWDED = 0.9  # where chance alone shares so much, sharing says nothing
MOST = 0.5  # of a set; of the cells that patching helps
NOTHING = 0.05  # a score that cannot fall by anything that counts


def rows_of(tables: Tables, name: str, **wanted: Any) -> list[Row]:
    """The rows of a table whose columns equal the wanted values."""
    return [row for row in tables.get(name, []) if all(row.get(key) == value for key, value in wanted.items())]


def settings_in(rows: Sequence[Row], column: str = "setting") -> list[str]:
    """The synthetic settings there are."""
    return [name for name in dict.fromkeys(row[column] for row in rows) if is_synthetic(name)]


def seeds_of(rows: Sequence[Row]) -> int:
    return len({row.get("seed") for row in rows})


Group = tuple[str, str]  # model, task


def groups(tables: Tables) -> list[Group]:
    """Every model and task, in order of appearance."""
    names = ("evaluation", "similarity", "ablation", "patching")
    return list(dict.fromkeys((row["model"], row["task"]) for name in names for row in tables.get(name, [])))


def of_group(tables: Tables, group: Group) -> Tables:
    """The rows of one model and task."""
    return {
        name: [row for row in rows if (row.get("model"), row.get("task")) == group] for name, rows in tables.items()
    }


# ---- (a)


def real_beats_synthetic(tables: Tables) -> Judged:
    rows = [row for row in rows_of(tables, "pairs", family="reference") if is_synthetic(row["second"])]
    if not rows:
        return Judged(doubt="no pairs of real and synthetic settings")
    scored = [
        row for row in rows_of(tables, "settings") if row["setting"] in {rows[0]["first"], *settings_in(rows, "second")}
    ]
    gaps = {row["second"]: difference_of(row) for row in rows}
    best = min(gaps, key=lambda name: gaps[name].mean)
    least = next(row for row in rows if row["second"] == best)
    return Judged(
        effects=gaps,
        stands_on={least["first"]},
        shown=gaps[best],
        n=least["n"],
        seeds=least["seeds"],
        p=max(known(row["p"]) for row in rows),
        sentence="; ".join(f"{name} {in_words(gap)}" for name, gap in gaps.items()),
        doubt=too_few(rows) or why_not(scored) or why_not(of_evaluation(tables, scored)),
    )


def difference_of(row: Row) -> Interval:
    """Of a pair; one that goes the other way counts against the pattern only if it does after Holm's correction."""
    found = Interval(known(row["difference"]), known(row["low"]), known(row["high"]))
    by_chance = found.high < -ROUNDING and known(row.get("p_holm")) >= SURE
    return Interval(found.mean, found.low, 0.0) if by_chance else found


def of_evaluation(tables: Tables, scored: Sequence[Row]) -> list[Row]:
    """The rows with the answers of those settings at the longest length, which count what was cut off."""
    rows = [row for row in rows_of(tables, "evaluation") if row["setting"] in {one["setting"] for one in scored}]
    longest = max((row["length"] for row in rows if is_synthetic(row["setting"])), default=None)
    return [row for row in rows if row["length"] == longest]


# ---- (b), (c), (d): heads


def of_synthetic(tables: Tables, column: str) -> dict[str, Interval]:
    """A column of similarity by synthetic setting, over seeds."""
    rows = rows_of(tables, "similarity")
    return {
        name: over_seeds([interval_of(row, column) for row in rows if row["setting"] == name])
        for name in settings_in(rows)
    }


def real_has_more_heads(tables: Tables) -> Judged:
    rows = [row for row in rows_of(tables, "similarity") if is_synthetic(row["setting"])]
    active = fmean(row["active_reference"] for row in rows) if rows else 0
    if not active:
        return Judged(doubt="no head of the reference has a score" if rows else "no rows of similarity")
    fewer = {name: above(one, 0, active) for name, one in of_synthetic(tables, "fewer").items()}
    others = {name: one for name, one in fewer.items() if name.partition(":")[0] != "symbolic"}
    last = {"": fewer["symbolic"].minus(max(others.values()))} if "symbolic" in fewer and others else {}
    best = min(fewer, key=lambda name: fewer[name].mean)
    counts = {name: fmean(row["active"] for row in rows if row["setting"] == name) for name in fewer}
    said = ", ".join(f"{name} {round(count, 1):g}" for name, count in counts.items())
    return Judged(
        effects=fewer | last,
        stands_on={row["reference"] for row in rows},
        shown=fewer[best],
        n=min(row.get("n") or 0 for row in rows_of(tables, "maps") or rows),
        seeds=seeds_of(rows),
        sentence=f"active heads: real {round(active, 1):g}, {said}; the shares of real's that are missing: "
        + "; ".join(f"{name} {in_words(one)}" for name, one in fewer.items()),
        doubt=too_few(rows_of(tables, "maps")),
    )


def synthetic_heads_inside_real(tables: Tables) -> Judged:
    told = [row for row in rows_of(tables, "similarity") if is_synthetic(row["setting"])]
    rows = [row for row in told if row["active"]]
    if not rows:
        return Judged(doubt="no synthetic setting has a head with a score" if told else "no rows of similarity")
    chance = max(known(row.get("subset_null")) for row in rows)
    inside = {name: as_share(one) for name, one in of_synthetic(tables, "subset").items() if not isnan(one.mean)}
    if not inside:
        return Judged(doubt="no share of heads is a number")
    beyond = {name: above(one, MOST) for name, one in inside.items()}
    least = min(beyond, key=lambda name: beyond[name].mean)
    p = max(known(row.get("subset_p")) for row in rows)
    crowded = f"heads of the same layers alone would share {number(chance)}" if chance >= CROWDED else ""
    less = any(one.high < -ROUNDING for one in beyond.values())
    by_chance: Verdict | None = None if p < SURE or less else "undecided"
    return Judged(
        effects=beyond,
        stands_on={row["reference"] for row in rows},
        shown=inside[least],
        n=min(row.get("n") or 0 for row in rows_of(tables, "maps") or rows),
        seeds=seeds_of(rows),
        p=p,
        sentence="; ".join(f"{name} {in_words(one)}" for name, one in inside.items())
        + f"; heads of the same layers would share up to {number(chance)}",
        doubt=too_few(rows_of(tables, "maps")) or crowded,
        settled=by_chance,
    )


def points_of(tables: Tables, measure: str) -> tuple[np.ndarray, np.ndarray]:
    """A measure of likeness and the score of every setting but the reference, each the mean over its seeds."""
    rows = [row for row in rows_of(tables, "similarity") if row["setting"] != row["reference"]]
    rows = [row for row in rows if not isnan(known(row[measure])) and not isnan(known(row["score"]))]
    names = dict.fromkeys(row["setting"] for row in rows)
    means = [
        [fmean(row[column] for row in rows if row["setting"] == name) for column in (measure, "score")]
        for name in names
    ]
    first, second = np.array(means, dtype=np.float64).reshape(-1, 2).T
    return first, second


def likeness_goes_with_score(tables: Tables) -> Judged:
    found = {measure: spearman(*points_of(tables, measure)) for measure in MEASURES}
    sure = holm([one.p for one in found.values()])
    varying = {name: one for name, one in found.items() if not isnan(one.rho)}
    shown = next(iter(varying.values()), max(found.values(), key=lambda one: one.n))
    n, rows = shown.n, rows_of(tables, "similarity")
    signs = {np.sign(one.rho) for one, p in zip(found.values(), sure, strict=True) if p < SURE}
    scores = points_of(tables, MEASURES[0])[1]
    level = len(scores) > 1 and float(np.ptp(scores)) <= ROUNDING
    doubt = too_few([*rows_of(tables, "maps"), *rows_of(tables, "settings")])
    if not doubt and n < 5:
        doubt = f"with {counted(n, 'setting')} no order passes 5 %"
    elif not doubt and not varying:
        doubt = "all scores are the same" if level else "recall and cosine are the same for all"
    return Judged(
        shown=spearman_interval(shown.rho, n),
        n=n,
        seeds=seeds_of(rows),
        stands_on={row[column] for row in rows for column in ("setting", "reference")},
        p=shown.p,
        sentence="all scores are the same" if level else correlations_in_words(found),
        doubt=doubt,
        settled=by_signs(signs, n, [spearman_interval(one.rho, one.n) for one in varying.values()]),
    )


def correlations_in_words(found: Mapping[str, Correlation]) -> str:
    """Every measure's correlation with the score, or that it does not vary."""
    return "; ".join(
        f"{name} is the same for all settings" if isnan(one.rho)
        else f"{name}: rho {number(one.rho)}, p {p_in_words(one.p)}, n {one.n}"
        for name, one in found.items()
    )  # fmt: skip


def by_signs(signs: set[Any], n: int, bounds: Sequence[Interval]) -> Verdict:
    """The verdict on a correlation: of what is sure, else whether many settings leave no room for a strong one."""
    if signs in ({1}, {-1}):
        return "shown" if signs == {1} else "contradicted"
    return "not shown" if n >= 10 and all(one.high < MOST for one in bounds) else "undecided"


# ---- (e), (f): interventions


def masking_hurts(tables: Tables) -> Judged:
    rows = rows_of(tables, "ablation", heads="retrieval")
    if not rows:
        return Judged(doubt="no rows with retrieval heads masked")
    tenth = len({(row["layer"], row["head"]) for row in tables.get("heads", [])}) / 10
    k = min({row["k"] for row in rows}, key=lambda size: (abs(size - tenth), size))
    at = [row for row in rows if row["k"] == k]
    names = dict.fromkeys(row["setting"] for row in at)
    losses = {
        name: over_seeds([beyond_random(row, tables, "ablation", -1) for row in at if row["setting"] == name])
        for name in names
    }
    plain = [row for row in rows_of(tables, "ablation", heads="none") if row["setting"] in names]
    least = min(losses, key=lambda name: losses[name].mean)
    nothing = "there was next to nothing to lose" if max(known(r["score"]) for r in plain or at) <= NOTHING else ""
    return Judged(
        effects=losses,
        shown=losses[least],
        n=min(row["n"] for row in at),
        seeds=seeds_of(at),
        sentence=f"{counted(k, 'head')}: "
        + "; ".join(f"{name} loses {in_words(one)} more" for name, one in losses.items()),
        doubt=why_not(plain) or too_few(at) or nothing,
    )


def beyond_random(row: Row, tables: Tables, table: str, sign: int = 1) -> Interval:
    """What a head set changed beyond random ones of its size: paired by question where the row says so, else from the
    row's own bounds beside the mean of the random sets."""
    found = interval_of(row, "beyond_random")
    if isnan(found.mean):
        same = {name: row.get(name) for name in ("setting", "seed", "k", "donor")}
        drawn = [known(one["delta"]) for one in rows_of(tables, table, heads="random", **same)]
        found = above(interval_of(row, "delta"), fmean(drawn)) if drawn else Interval(nan)
    return found if sign > 0 else Interval(-found.mean, -found.high, -found.low)


def patching_helps(tables: Tables) -> Judged:
    rows = largest([row for row in rows_of(tables, "patching", heads="intersection") if is_synthetic(row["setting"])])
    if not rows:
        return Judged(doubt="no rows with shared heads patched")
    beyond = [beyond_random(row, tables, "patching").mean for row in rows]
    if all(map(isnan, beyond)):
        return Judged(doubt="no random heads were patched to compare with")
    told = [(row, gain) for row, gain in zip(rows, beyond, strict=True) if not isnan(gain) and can_gain(row, tables)]
    able, helped = [row for row, _ in told], [row for row, gain in told if min(known(row["delta"]), gain) > ROUNDING]
    share = share_interval(len(helped), len(able)) if able else Interval(nan)
    settled: Verdict = "shown" if share.low > MOST else "contradicted" if share.high < MOST else "undecided"
    return Judged(
        shown=share,
        n=len(able),
        seeds=seeds_of(rows),
        stands_on={row[column] for row in able for column in ("setting", "donor")},
        sentence=f"{len(helped)} of {len(able)} cells gain, and more than by random heads; sets of "
        f"{spread_of((row['k'] for row in able), 'head')}; change of score by setting: " + changes_in_words(able),
        doubt=why_not(able) if able else "no recipient scores below the donor, so there is nothing to gain",
        settled=settled,
    )


def largest(rows: Sequence[Row]) -> list[Row]:
    """Of every setting, run and donor the row of the largest set: smaller ones are there to be compared with others."""
    kept: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        cell = tuple(row.get(name) for name in ("setting", "seed", "donor"))
        kept[cell] = max(kept.get(cell, row), row, key=lambda one: one["k"])
    return list(kept.values())


def spread_of(numbers: Iterable[int], what: str) -> str:
    """1 head, 3 heads, or 1 to 3 heads"""
    found = sorted(set(numbers))
    return f"{f'{found[0]} to ' * (len(found) > 1)}{counted(found[-1], what)}" if found else f"no {what}s"


def changes_in_words(able: Sequence[Row]) -> str:
    """Every setting's change, over its seeds."""
    names = dict.fromkeys(row["setting"] for row in able)
    runs = {name: [interval_of(row, "delta") for row in able if row["setting"] == name] for name in names}
    return "; ".join(f"{name} {in_words(over_seeds(found))}" for name, found in runs.items())


def can_gain(row: Row, tables: Tables) -> bool:
    """Whether the donor scores higher than the recipient, on all test rows."""
    scores = {one["setting"]: known(one["score"]) for one in rows_of(tables, "settings")}
    donor, own = scores.get(row["donor"], nan), scores.get(row["setting"], nan)
    return isnan(donor) or isnan(own) or donor > own + ROUNDING


JUDGES: dict[str, tuple[str, str, Callable[[Tables], Judged]]] = {
    "a": ("Real data beats every synthetic setting", "difference of score, the smallest", real_beats_synthetic),
    "b": (
        "Real data leaves more heads with a score than synthetic data, symbolic the fewest",
        "share of real's heads that are missing, the smallest",
        real_has_more_heads,
    ),
    "c": (
        "Most heads of a synthetic setting are among real's",
        "share of its heads, the smallest",
        synthetic_heads_inside_real,
    ),
    "d": ("Settings whose heads are more like real's score higher", "rho", likeness_goes_with_score),
    "e": ("Masking the top heads costs more than random ones", "score lost beyond random, the smallest", masking_hurts),
    "f": ("Patching the shared heads from real helps most cells", "share of cells", patching_helps),
}
PAPER = {
    "a": "yes: by 0.34 on MDQA, by 0.02 to 0.04 on MuSiQue and SummHay",
    "b": "yes, on MuSiQue with Llama-3: 129, 112, 39 of 1,024",
    "c": "mostly, not strictly",
    "d": "yes on MuSiQue and SummHay, not on MDQA (+0.23, -0.27)",
    "e": "yes",
    "f": "in about three quarters of cells",
}
