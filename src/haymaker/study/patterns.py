"""The table of patterns: the paper's six, judged for each model and task, and for all of them together. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from math import isnan

from haymaker.stats import Interval, pooled_effect, share_interval, spearman_within
from haymaker.stats.intervals import as_share
from haymaker.study.cell import Row, Tables
from haymaker.study.judges import (
    JUDGES,
    MEASURES,
    MOST,
    PAPER,
    Group,
    by_signs,
    correlations_in_words,
    groups,
    of_group,
    points_of,
    rows_of,
    seeds_of,
)  # fmt: skip
from haymaker.study.signs import signs_against
from haymaker.study.verdicts import RULE, SURE, Judged, above, in_words

EVERYTHING = "all"
OF_ONE_RUN = "one training run a setting: the bounds are over questions, not over runs, which may differ by more"
OWN_RULES = {
    "d": "Spearman's rho over settings, exact permutations, Holm over recall and cosine: shown or contradicted where "
    f"sure (p < {SURE}) and of one sign; not judged of fewer than 5 settings.",
    "f": f"Wilson's 95 % bounds of the share of cells that gain, and more than by random heads: shown above {MOST}, "
    "contradicted below; only cells whose donor scores higher are counted.",
    "c": f"{RULE} The effect is the share above {MOST}; undecided where heads of the same layers would share as much "
    f"(p >= {SURE}).",
}


def find_patterns(tables: Tables) -> list[Row]:
    """A row per pattern, model and task; with several of these also one over all."""
    grouped = {group: of_group(tables, group) for group in groups(tables)}
    found = {group: {name: judged(name, rows) for name in JUDGES} for group, rows in grouped.items()}
    rows = [row_of(name, group, one) for group, every in found.items() for name, one in every.items()]
    if len(found) > 1:
        pooled = {name: over_groups(name, {g: every[name] for g, every in found.items()}, grouped) for name in JUDGES}
        rows += [row_of(name, (EVERYTHING, EVERYTHING), one) for name, one in pooled.items()]
    return rows


def judged(name: str, tables: Tables) -> Judged:
    """A pattern in the rows of one model and task. A sign of a study gone wrong that denies what the pattern stands on
    keeps all from being judged, or the effect of the setting in which it was found."""
    found, against = JUDGES[name][2](tables), signs_against(name, tables)
    whole = [sign for setting, signs in against.items() for sign in signs if setting in ("", *found.stands_on)]
    parts = {setting: signs for setting, signs in against.items() if setting in found.effects}
    if whole and not found.doubt:
        return replace(found, doubt=", ".join(dict.fromkeys(whole)))
    if not parts:
        return found
    open_ones = {*parts, ""}
    told = "; ".join(f"of {setting} nothing is judged: {', '.join(signs)}" for setting, signs in parts.items())
    effects = {key: Interval(one.mean) if key in open_ones else one for key, one in found.effects.items()}
    return replace(found, effects=effects, sentence=f"{found.sentence}; {told}")


def row_of(name: str, group: Group, judged: Judged) -> Row:
    claim, measure, _ = JUDGES[name]
    return {
        **{"model": group[0], "task": group[1], "pattern": name, "claim": claim, "verdict": judged.verdict},
        **{"measure": measure, "effect": judged.shown.mean, "low": judged.shown.low, "high": judged.shown.high},
        **{"p": judged.p, "n": judged.n, "seeds": judged.seeds, "paper": PAPER[name]},
        "sentence": judged.sentence,
        "why": why_so(judged),
        "rule": OWN_RULES.get(name, RULE),
    }


def why_so(judged: Judged) -> str:
    """What a verdict does not stand on."""
    if judged.doubt:
        return f"not judged: {judged.doubt}"
    return OF_ONE_RUN if judged.seeds == 1 and judged.verdict in ("shown", "contradicted") else ""


def over_groups(name: str, judged: Mapping[Group, Judged], grouped: Mapping[Group, Tables]) -> Judged:
    """One pattern over all models and tasks in which it could be judged, of every setting."""
    kept = {
        group: one
        for group, one in judged.items()
        if not one.doubt and not any(isnan(effect.low) for effect in one.effects.values())
    }
    if not kept:
        return Judged(doubt="in no model and task could it be judged")
    if name == "d":
        return correlated([grouped[group] for group in kept])
    if name == "f":
        return counted(list(kept.values()))
    effect = pooled_effect([least_effect(one) for one in kept.values()])
    shown = effect
    if name == "c":  # judged by how far the share lies above MOST
        shown = as_share(above(effect, -MOST))
    n, seeds = sum(one.n for one in kept.values()), min(one.seeds for one in kept.values())
    sentence = f"{len(kept)} models and tasks, random effects: {in_words(shown)}"
    return Judged(effects={"": effect}, shown=shown, n=n, seeds=seeds, sentence=sentence)


def least_effect(judged: Judged) -> Interval:
    """The effect that is hardest to show: its weakest."""
    return min(judged.effects.values(), key=lambda effect: effect.mean)


def correlated(several: list[Tables]) -> Judged:
    """Rank correlation inside each model and task, pooled."""
    found = {measure: spearman_within([points_of(tables, measure) for tables in several]) for measure in MEASURES}
    varying = {name: one for name, one in found.items() if not isnan(one.rho)}
    sure = {1 if one.rho > 0 else -1 for one in varying.values() if one.p * len(MEASURES) < SURE}
    shown = next(iter(varying.values()), found["recall"])
    return Judged(
        shown=Interval(shown.rho), n=shown.n, p=shown.p, settled=by_signs(sure, 0, ()),
        seeds=min(seeds_of(rows_of(tables, "similarity")) for tables in several),
        sentence=f"within {len(several)} models and tasks: {correlations_in_words(found)}",
        doubt="" if varying else "recall and cosine are the same for all",
    )  # fmt: skip


def counted(several: list[Judged]) -> Judged:
    """Cells that gain, of the cells of all models and tasks."""
    cells = sum(one.n for one in several)
    share = share_interval(sum(round(one.shown.mean * one.n) for one in several), cells)
    return Judged(
        shown=share, n=cells, seeds=min(one.seeds for one in several), sentence=f"cells that gain: {in_words(share)}",
        settled="shown" if share.low > MOST else "contradicted" if share.high < MOST else "undecided",
    )  # fmt: skip
