"""The cells of a study, which numbers link to. Pure."""

import re
from dataclasses import dataclass

from haymaker.report.tables import Row, Tables, with_number


@dataclass(frozen=True)
class CellLine:
    """A cell, and which of the page's tables hold rows of it."""

    name: str
    key: str  # where its output lies in the store; empty where no row says
    stage: str
    seconds: str
    rows: str


def anchor(name: str) -> str:
    """The place of a cell on the page: cell-evaluate-mdqa-real of evaluate/mdqa/real."""
    return "cell-" + re.sub(r"[^\w.]+", "-", name).strip("-")


def cell_lines(tables: Tables) -> list[CellLine]:
    """Every cell that has rows or a time, once for each place on the page."""
    made = {row["cell"]: row for row in tables["timings"]}
    counts: dict[str, dict[str, int]] = {name: {} for name in made}
    keys = {name: str(row["key"]) for name, row in made.items() if row.get("key")}
    for table, rows in tables.items():
        for row in rows if table != "timings" else []:
            if isinstance(name := row.get("cell"), str):
                found = counts.setdefault(name, {})
                found[table] = found.get(table, 0) + 1
                keys.setdefault(name, str(row.get("key") or ""))
    places = {anchor(name): name for name in counts}
    return [line(name, made.get(name), keys.get(name, ""), counts[name]) for name in places.values()]


def line(name: str, timing: Row | None, key: str, counts: dict[str, int]) -> CellLine:
    stage = timing["stage"] if timing else name.split("/")[0]
    seconds = f"{timing['seconds']:,.1f}" if timing and with_number([timing], "seconds") else ""
    return CellLine(name, key, stage, seconds, ", ".join(f"{table} {count:,}" for table, count in counts.items()))
