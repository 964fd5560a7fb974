"""The page of a plan: by stage what there is, and what the rest will take on a device."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from haymaker.commands.output import show_rows
from haymaker.study.costs import Prediction
from haymaker.study.machines import Machine
from haymaker.study.survey import Standing

COLUMNS = ("stage", "cells", "done", "missing", "failed", "rows", "tokens", "hours", "peak GiB", "storage GiB", "cost")
STATES = {"done": ("done",), "failed": ("failed",), "missing": ("missing", "waiting", "absent", "running")}
LISTED = ("cell", "state", "key", "rows", "tokens", "hours", "peak_gib", "seconds", "note")


@dataclass(frozen=True)
class Priced:
    """What cells are to be reckoned on: a machine, dollars an hour of it, and cells at a time."""

    machine: Machine
    dollars: float | None
    workers: int

    def cost(self, hours: float | None) -> float | None:
        return None if hours is None or self.dollars is None else hours * self.dollars


def cell_rows(standings: Mapping[str, Standing], found: Mapping[str, Prediction]) -> list[dict[str, Any]]:
    """Every cell as a flat row: `seconds` that a finished one took, `hours` that another is predicted to take."""
    return [cell_row(standing, found[name]) for name, standing in standings.items()]


def cell_row(standing: Standing, prediction: Prediction) -> dict[str, Any]:
    left = 0.0 if standing.state == "done" else prediction.seconds
    return {
        "cell": standing.cell.name,
        "stage": standing.cell.stage.name,
        "state": standing.state,
        "key": standing.key,
        "seconds": standing.manifest["seconds"] if standing.manifest else None,
        "note": standing.note,
        "rows": prediction.rows,
        "tokens": prediction.tokens,
        "hours": None if left is None else left / 3600,
        "peak_gib": None if prediction.peak_bytes is None else prediction.peak_bytes / 2**30,
        "storage_gib": prediction.stored_bytes / 2**30,
    }


def stage_row(name: str, cells: list[dict[str, Any]], priced: Priced) -> dict[str, Any]:
    """The sums of a stage. Hours are a device's: one cell after the other."""
    hours = total(row["hours"] for row in cells)
    peaks = [row["peak_gib"] for row in cells if row["peak_gib"] is not None]
    counts = {state: sum(row["state"] in states for row in cells) for state, states in STATES.items()}
    return {
        "stage": name,
        "cells": len(cells),
        **counts,
        "rows": sum(row["rows"] for row in cells),
        "tokens": sum(row["tokens"] for row in cells),
        "hours": hours,
        "peak GiB": max(peaks, default=None),
        "storage GiB": sum(row["storage_gib"] for row in cells),
        "cost": priced.cost(hours),
    }


def total(values: Iterable[float | None]) -> float | None:
    """The sum; None where a part is not known."""
    found = list(values)
    return None if any(value is None for value in found) else float(sum(value or 0.0 for value in found))


def by_stage(cells: list[dict[str, Any]], priced: Priced) -> list[dict[str, Any]]:
    """A row for each stage, in the order of the plan, and one for all."""
    stages = dict.fromkeys(row["stage"] for row in cells)
    rows = [stage_row(name, [row for row in cells if row["stage"] == name], priced) for name in stages]
    return [*rows, stage_row("all", cells, priced)]


def show_page(study: str, model: str, settings: Iterable[str], cells: list[dict[str, Any]], priced: Priced) -> None:
    """The page, for people."""
    device = priced.machine.device
    about = f" ({device.about})" if device.about else ""
    typer.echo(f"{study}: {len(cells)} cells with {model}, on {priced.machine.name}{about}")
    typer.echo(f"settings: {', '.join(settings)}\n")
    show_rows([readable(row) for row in by_stage(cells, priced)], COLUMNS)
    typer.echo("")
    for line in (*remarks(cells, priced), *absences(cells)):
        typer.echo(line)


def readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as people read them; a question mark for what is not known."""
    cost, hours, peak = row["cost"], row["hours"], row["peak GiB"]
    return {
        **row,
        "tokens": short(row["tokens"]),
        "hours": "?" if hours is None else f"{hours:.2f}",
        "peak GiB": "?" if peak is None else f"{peak:.1f}",
        "storage GiB": f"{row['storage GiB']:.2f}",
        "cost": "?" if cost is None else f"${cost:,.0f}",
    }


def short(number: int) -> str:
    """As in 12.3M."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return f"{number:.0f}"


def remarks(cells: list[dict[str, Any]], priced: Priced) -> list[str]:
    """What the figures mean."""
    hours = total(row["hours"] for row in cells)
    lines = []
    if hours is None:
        lines.append("Hours are not known: the model's sizes are not, as it is not on this machine.")
    else:
        at_once = f", {hours / priced.workers:.1f} h with {priced.workers} at a time" if priced.workers > 1 else ""
        lines.append(f"Left to do: {hours:.1f} h one cell after the other{at_once}; predicted, see docs/studies.md.")
    if any(row["stage"] == "patch" and row["hours"] for row in cells):
        lines.append("Patching takes at least that: where sets of heads differ in size, each size is patched.")
    if priced.dollars is not None:
        lines.append(f"Cost: ${priced.dollars:.2f} an hour (--price).")
    largest = max((row["peak_gib"] or 0.0 for row in cells), default=0.0)
    memory = priced.machine.device.memory / 2**30
    if memory and largest > memory:
        lines.append(f"A cell needs {largest:.0f} GiB, and {priced.machine.name} has {memory:.0f}: it will not fit.")
    return lines


def absences(cells: list[dict[str, Any]]) -> list[str]:
    """Each thing that is not on this machine, once, with how many cells read it; and failures."""
    notes: dict[str, int] = {}
    for row in cells:
        if row["state"] == "absent":
            notes[row["note"]] = notes.get(row["note"], 0) + 1
    lines = [f"absent, for {number} cells: {note}" for note, number in notes.items()]
    return lines + [f"failed {row['cell']}: {row['note']}" for row in cells if row["state"] == "failed"]


def show_cells(cells: list[dict[str, Any]]) -> None:
    """A line for each cell."""
    show_rows([row | {"key": (row["key"] or "")[:12], "tokens": short(row["tokens"])} for row in cells], LISTED)
