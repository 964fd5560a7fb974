"""Four signs of a study gone wrong, named where they occur, and the patterns that they keep from being judged. Pure.

1. Training taught nothing: the reference does not score above the untrained model.
2. Answers fail on their form: many are cut off, or are not in the form that the metric reads (a few words, citations).
3. A control fails: a model patched with its own heads changes, or random heads cost as much as retrieval heads.
4. Maps do not tell heads apart: most heads are active, or none; or half of the examples give another map.
"""

from collections.abc import Callable, Iterator
from math import isnan

from haymaker.stats import ROUNDING, Interval, known
from haymaker.study.cell import Row, Tables
from haymaker.study.judges import groups, masking_hurts, of_group
from haymaker.study.verdicts import in_words

CUT_OFF = 0.1  # share of answers
CROWDED = 0.4  # share of heads that are active
UNTRAINED = ("base", "extended")  # that such a model has no heads is what a study starts from
RELIABLE = 0.7  # split-half reliability of a map
NO_CONTROL = "trust no patch of this study; run with one thread, and report it"
NEAR_TIES = (
    "on a GPU rows of one batch may be rounded differently, which turns answers that are near ties: trust no effect of "
    "patching of this size; where more than an answer or two changes, trust none, and report it"
)

Found = tuple[str, str, str]  # the setting (empty: the study), what shows the sign, what to do


def find_signs(tables: Tables) -> list[Row]:
    """A row per sign that occurs, with what shows it and what to do."""
    return [
        {"model": model, "task": task, "setting": setting, "sign": sign, "found": found, "remedy": remedy}
        for model, task in groups(tables)
        for sign, (check, _) in SIGNS.items()
        for setting, found, remedy in check(of_group(tables, (model, task)))
    ]


def signs_against(pattern: str, tables: Tables) -> dict[str, list[str]]:
    """By setting (empty: the study), the signs in the rows of one model and task that deny what a pattern stands on."""
    found = {
        (setting, sign): None
        for sign, (check, voids) in SIGNS.items()
        for setting, _, _ in check(tables)
        if pattern in voids
    }
    return {setting: [sign for one, sign in found if one == setting] for setting, _ in found}


def untaught(tables: Tables) -> Iterator[Found]:
    scores = {row["setting"]: row for row in tables.get("settings", [])}
    references = {row["first"] for row in tables.get("pairs", []) if row["family"] == "reference"}
    for row in tables.get("pairs", []):
        if row["first"] in references and row["second"] in ("extended", "base") and not known(row["low"]) > ROUNDING:
            if row["second"] == "base" and "extended" in scores:
                continue
            change = Interval(*(known(row[name]) for name in ("difference", "low", "high")))
            yield (
                row["first"],
                f"{row['first']} minus {row['second']}: {in_words(change)} (n = {row['n']}, seeds = {row['seeds']})",
                "train longer or at a higher rate, chosen on a dev split, or give more test rows",
            )


def malformed(tables: Tables) -> Iterator[Found]:
    for row in tables.get("evaluation", []):
        for name, said in (("cut_off", "were cut off"), ("unread", "are not in the form that the metric reads")):
            if row.get("seed", 0) is not None and row.get(name) and row[name] > CUT_OFF * row["n"]:
                yield (
                    row["setting"],
                    f"{row['setting']} at {row['length']} tokens: {row[name]} of {row['n']} answers {said}",
                    "raise evaluation.new_tokens, or read the predictions: failing on form is not failing to retrieve",
                )


def uncontrolled(tables: Tables) -> Iterator[Found]:
    own = [row for row in tables.get("patching", []) if row["heads"] == "identity" and known(row["delta"]) != 0]
    for row in own:
        yield (
            "",
            f"{row['setting']} patched with its own heads changes by {known(row['delta']):+.2g} (n = {row['n']})",
            NO_CONTROL if row.get("device", "cpu") == "cpu" else NEAR_TIES,
        )
    judged = masking_hurts(tables)
    if judged.effects and not judged.doubt and judged.verdict in ("contradicted", "not shown"):
        yield (
            "",
            f"random heads cost as much as retrieval heads ({judged.sentence})",
            "score heads on more rows, by another metric, or mask fewer",
        )


def flat_maps(tables: Tables) -> Iterator[Found]:
    for row in tables.get("maps", []):
        share = row["active"] / row["heads"] if row["heads"] else 0.0
        where = row["setting"] + (f"@{row['seed']}" if row.get("seed") else "")
        if share > CROWDED or (not share and row["setting"] not in UNTRAINED):
            yield (
                row["setting"],
                f"{where}: {row['active']} of {row['heads']} heads score over {row['threshold']:g}",
                "choose another threshold; where most heads copy, use a model whose copying is sparse",
            )
        reliability = known(row["reliability"])
        if not isnan(reliability) and reliability < RELIABLE and row["setting"] not in UNTRAINED:
            yield (
                row["setting"],
                f"{where}: two halves of the examples agree at {reliability:.2f} only (n = {row['n']})",
                "score heads on more rows",
            )


# Each with the patterns that stand on what it denies. Scores: a, d, f. What training did to heads: b, c, d, f. Maps:
# b to f. Answers that say what was retrieved: a, d, e, f. A failed control is what (e) itself finds.
SIGNS: dict[str, tuple[Callable[[Tables], Iterator[Found]], str]] = {
    "training taught nothing": (untaught, "abcdf"),
    "answers fail on their form": (malformed, "adef"),
    "a control fails": (uncontrolled, "f"),
    "maps do not tell heads apart": (flat_maps, "bcdef"),
}
