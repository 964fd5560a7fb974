"""The page's first paragraph: what was done to which model, the main numbers, and how many patterns show. Pure."""

from typing import Any

from haymaker.report.estimate import Estimate
from haymaker.report.tables import SYNTHETIC, Group, Row, Tables, at_main_length
from haymaker.report.verdicts import Finding, questions


def group_name(group: Group) -> str:
    return f"{group[0]}, {group[1]}"


def summary(group: Group, tables: Tables, findings: list[Finding], meta: dict[str, Any]) -> str:
    """One paragraph for one (model, task)."""
    rows = at_main_length(tables["evaluation"])
    return " ".join([opening(group, rows, meta), *numbers(rows), *counts(findings)])


def opening(group: Group, rows: dict[str, Row], meta: dict[str, Any]) -> str:
    """What was asked of which model."""
    model = meta.get("model") or {}
    parameters, context = model.get("parameters"), model.get("context")
    traits = [f"{parameters / 1e6:,.1f} million parameters"] if isinstance(parameters, int) else []
    traits += [f"a context of {context:,} tokens"] if isinstance(context, int) else []
    name = f"{group[0]} ({', '.join(traits)})" if traits and model.get("name") == group[0] else group[0]
    if not rows:
        return f"{name} on {group[1]}: no F1 was measured, so there is no number to lead with."
    some = next(iter(rows.values()))
    asked = questions(list(rows.values())).split(maxsplit=2)[2]
    return f"{name} answered {asked} of {group[1]} over {some['length']:,} tokens, in {len(rows)} settings."


def numbers(rows: dict[str, Row]) -> list[str]:
    """The scores that carry the story, with their intervals."""
    scores = {name: found for name, row in rows.items() if (found := Estimate.of(row)) is not None}
    synthetic = [name for name in scores if name in SYNTHETIC]
    parts = [f"real data takes it to F1 {scores['real']}"] if "real" in scores else []
    if synthetic:
        best = max(synthetic, key=lambda name: scores[name].value)
        parts.append(f"the best synthetic data ({best}) to {scores[best]}")
    parts += [f"a larger RoPE base alone to {scores['extended']}"] if "extended" in scores else []
    parts += [f"unextended it has {scores['base']}"] if "base" in scores else []
    text = "; ".join(parts)
    return [f"{text[0].upper()}{text[1:]}."] if text else []


def counts(findings: list[Finding]) -> list[str]:
    """How many of the patterns show, do not, or cannot be told."""
    tally = {verdict: sum(one.verdict == verdict for one in findings) for verdict in ("shows", "does not show")}
    open_ones = len(findings) - sum(tally.values())
    return [
        f"Of {len(findings)} patterns looked for, {tally['shows']} show, {tally['does not show']} do not, and "
        f"{open_ones} cannot be told from these rows."
    ]
