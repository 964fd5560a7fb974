"""What a study found of the paper's patterns, in words. Pure: rows of the tables patterns and signs in, sentences out.

Nothing is judged here: a study judges its rows once, when it writes them (study/patterns.py, study/signs.py).
"""

from dataclasses import dataclass
from math import isnan

from haymaker.charts.numbers import JOIN, in_words, with_minus
from haymaker.report.tables import Group, Row, Tables, groups, select
from haymaker.report.wording import chance
from haymaker.stats import Interval, known

EVERYTHING: Group = ("all", "all")  # the group of the rows that pool all others
VERDICTS = ("shown", "not shown", "contradicted", "undecided")


@dataclass(frozen=True)
class Finding:
    """A pattern of the paper, its verdict, the numbers in sentences, and the rule applied."""

    letter: str
    pattern: str
    verdict: str
    sentence: str
    rule: str
    of_one_run: bool


@dataclass(frozen=True)
class Sign:
    """A sign that the study went wrong, in which settings, where it was found, and what to do."""

    name: str
    settings: list[str]
    found: str
    remedy: str


@dataclass(frozen=True)
class Findings:
    """All that was judged of one (model, task), and the signs that its study went wrong."""

    group: Group
    patterns: list[Finding]
    signs: list[Sign]

    def counts(self) -> str:
        """How many of the patterns have which verdict."""
        tally = {verdict: sum(one.verdict == verdict for one in self.patterns) for verdict in VERDICTS}
        told = ", ".join(f"{count} {verdict}" for verdict, count in tally.items() if count)
        return f"Of {len(self.patterns)} patterns looked for: {told}."


def find(tables: Tables) -> list[Findings]:
    """The findings of every (model, task), and of all together where a study pools them."""
    return [
        Findings(
            group,
            [finding(row) for row in of_group(tables["patterns"], group)],
            signs(of_group(tables["signs"], group)),
        )
        for group in groups(tables["patterns"])
    ]


def signs(rows: list[Row]) -> list[Sign]:
    """Every sign once, with all that it was found in."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row["sign"], row["remedy"]), []).append(row)
    return [
        Sign(name, settings_of(own), with_minus("; ".join(row["found"] for row in own)), remedy)
        for (name, remedy), own in found.items()
    ]


def settings_of(rows: list[Row]) -> list[str]:
    """Every setting that they name, once."""
    return list(dict.fromkeys(row["setting"] for row in rows if row.get("setting")))


def of_group(rows: list[Row], group: Group) -> list[Row]:
    return select(rows, model=group[0], task=group[1])


def finding(row: Row) -> Finding:
    parts = [row["why"], row["sentence"], effect_in_words(row), f"the paper: {row['paper']}"]
    sentence = " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)
    alone = row["seeds"] == 1 and row["verdict"] in ("shown", "contradicted")
    claim = f"({row['pattern']}) {row['claim']}"
    return Finding(row["pattern"], claim, row["verdict"], with_minus(sentence), row["rule"], alone)


def effect_in_words(row: Row) -> str:
    """The effect with its bounds, p, n and seeds; empty where there is none."""
    effect = Interval(*(known(row[name]) for name in ("effect", "low", "high")))
    if isnan(effect.mean):
        return ""
    p = "" if isnan(known(row["p"])) else f"{chance(row['p'])}, "
    return f"{row['measure']}: {in_words(effect)} ({p}n{JOIN}={JOIN}{row['n']}, seeds{JOIN}={JOIN}{row['seeds']})"
