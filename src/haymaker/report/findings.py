"""The patterns of the paper, each judged from rows and said in words. Pure: rows in, sentences out.

Every judge takes the tables of one (model, task) and returns one Finding. The rule by which it decides stands in the
Finding, so the page can print it. Here: training and heads; `interventions.py` judges masking and patching.
"""

from collections.abc import Callable
from math import isnan

from haymaker.charts.numbers import JOIN, in_words, metric_label, two_decimals
from haymaker.report.interventions import (
    identity_changes_nothing,
    intersection_helps,
    masking_random_does_not,
    masking_retrieval_hurts,
)
from haymaker.report.tables import SYNTHETIC, Row, Tables, at_main_length, in_order, select, with_number
from haymaker.report.wording import RULE, Finding, decide, from_to, listed, overlap_chance, questions, why_not
from haymaker.stats import Interval, known

SURE = 0.05  # p-values below this count


def find(tables: Tables) -> list[Finding]:
    """All patterns, judged from the tables of one model and task."""
    judges: tuple[Callable[[Tables], Finding], ...] = (
        real_beats_extension,
        real_beats_synthetic,
        synthetic_heads_inside_real,
        similarity_tracks_scores,
        masking_retrieval_hurts,
        masking_random_does_not,
        intersection_helps,
        identity_changes_nothing,
    )
    return [judge(tables) for judge in judges]


def real_beats_extension(tables: Tables) -> Finding:
    pattern = "Training on real data does what a larger RoPE base alone does not"
    rule = f"Shows if the interval of the difference lies above 0; does not show if none of it does. {RULE}"
    rows = at_main_length(tables["evaluation"])
    real, extended = (Interval.of(rows[name]) if name in rows else None for name in ("real", "extended"))
    if real is None or extended is None:
        return Finding(pattern, "cannot be told", "The score of real or of extended is missing.", rule)
    gain = real.minus(extended)
    sentence = (
        f"Real reaches {metric_label([rows['real']])} {in_words(real)}, extended without training "
        f"{in_words(extended)}: a difference of "
        f"{in_words(gain, '+')} ({questions([rows['real'], rows['extended']])} of {rows['real']['length']:,} tokens)."
    )
    if doubt := why_not([rows["real"], rows["extended"]]):
        return Finding(pattern, "cannot be told", sentence + doubt, rule)
    return Finding(pattern, decide(gain.low > 0, gain.high <= 0), sentence, rule)


def real_beats_synthetic(tables: Tables) -> Finding:
    pattern = "Real data beats every synthetic substitute"
    rule = (
        "Shows if the interval of real minus synthetic lies above 0 for every synthetic setting; "
        f"does not show if none of it does for one of them. {RULE}"
    )
    rows = at_main_length(tables["evaluation"])
    scores = {name: found for name, row in rows.items() if (found := Interval.of(row)) is not None}
    others = [name for name in scores if name in SYNTHETIC]
    if "real" not in scores or not others:
        return Finding(pattern, "cannot be told", "The score of real or of every synthetic setting is missing.", rule)
    real, best = scores["real"], max(others, key=lambda name: scores[name].mean)
    gaps = {name: real.minus(scores[name]) for name in others}
    sentence = (
        f"Real reaches {metric_label([rows['real']])} {in_words(real)}; the best synthetic data, {best}, "
        f"{in_words(scores[best])}: a difference of "
        f"{in_words(gaps[best], '+')} ({questions([rows['real'], rows[best]])} of {rows[best]['length']:,} tokens)."
    )
    if close := [name for name in others if gaps[name].mean > 0 and not gaps[name].low > 0]:
        sentence += f" The interval of the difference holds 0 for {listed(close)}."
    if ahead := [name for name in others if gaps[name].mean <= 0]:
        sentence += f" Real is not ahead of {listed(ahead)}."
    if doubt := why_not([rows[name] for name in ("real", *others)]):
        return Finding(pattern, "cannot be told", sentence + doubt, rule)
    fails = any(gap.high <= 0 for gap in gaps.values())
    return Finding(pattern, decide(all(gap.low > 0 for gap in gaps.values()), fails), sentence, rule)


def synthetic_heads_inside_real(tables: Tables) -> Finding:
    pattern = "Heads that retrieve after synthetic training lie inside the set that retrieves after real training"
    rule = (
        "Shows if for every synthetic setting most of its heads are shared, and more than chance would share "
        f"(hypergeometric, p < {SURE}); does not show if one shares no more than chance."
    )
    compared = select(tables["similarity"], setting=SYNTHETIC)
    rows = with_number(compared, "subset")
    total = len({(row["layer"], row["head"]) for row in tables["heads"]})
    if not rows or total < max(max(row["active"], row["active_reference"]) for row in rows):
        return Finding(pattern, "cannot be told", "The rows of similarity or of head scores are missing.", rule)
    if not min(row["active_reference"] for row in rows):
        return Finding(pattern, "cannot be told", "No head retrieves after training on real data.", rule)
    chances = {row["setting"]: chance_of_sharing(row, total) for row in rows}
    outside = [row["setting"] for row in rows if row["subset"] <= row["active_reference"] / total]
    sentence = " ".join([shared_in_words(rows, total), *emptiness(compared)])
    sentence += f" As many would be shared by chance with {chance(max(chances.values()))} (largest of all settings)."
    shows = all(chances[row["setting"]] < SURE and row["subset"] > 0.5 for row in rows)
    return Finding(pattern, decide(shows, bool(outside)), sentence, rule)


def shared_in_words(rows: list[Row], total: int) -> str:
    """How much of each synthetic set is in the real one, against what chance would give."""
    reference = rows[0]["active_reference"]
    strict = in_order(row["setting"] for row in rows if row["subset"] == 1)
    return (
        f"{from_to([row['subset'] for row in rows])} of a synthetic set is in the real one, which holds {reference} of "
        f"n{JOIN}={JOIN}{total} heads, so chance would give {two_decimals(reference / total)}. "
        + (f"Wholly inside: {listed(strict)}." if strict else "None is wholly inside.")
    )


def emptiness(rows: list[Row]) -> list[str]:
    """Says which settings have no retrieval head at all: their sets are inside any other and prove nothing."""
    empty = in_order(row["setting"] for row in rows if row["active"] == 0)
    return [f"No head retrieves after {listed(empty)}."] if empty else []


def chance_of_sharing(row: Row, total: int) -> float:
    """Probability that random heads are shared at least as often as in a row of similarity."""
    shared = round(row["subset"] * row["active"])
    return overlap_chance(total, row["active_reference"], row["active"], shared)


def similarity_tracks_scores(tables: Tables) -> Finding:
    pattern = "The more its heads resemble real’s, the better a synthetic setting scores"
    rule = (
        f"Shows if Spearman’s rho with the score is positive with p < {SURE} for every measure; does not show if it is "
        "positive for none. Nothing is judged of fewer than 5 settings."
    )
    rows = with_number(tables["correlation"], "spearman")
    if not rows:
        return Finding(pattern, "cannot be told", "There are no rows with a correlation.", rule)
    parts = [f"{row['measure']} {correlation(row)}" for row in rows]
    sentence = f"Spearman’s rho with {metric_label(rows)}: {'; '.join(parts)}." + too_few(min(row["n"] for row in rows))
    if min(row["n"] for row in rows) < 5:
        return Finding(pattern, "cannot be told", sentence, rule)
    shows = all(row["spearman"] > 0 and known(row["p"]) < SURE for row in rows)
    return Finding(pattern, decide(shows, all(row["spearman"] <= 0 for row in rows)), sentence, rule)


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
