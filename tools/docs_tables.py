"""Keep the tables of docs/ equal to choices.py and the configs: `python tools/docs_tables.py` rewrites what differs.

A table stands between `<!-- table: detectors -->` and `<!-- /table -->`. Its first columns come from choices.py, row by
row, or are the keys of a config (docs_keys.py); columns behind them are written by hand, and stay with their row.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from docs_keys import CONFIGS, keys_of

from haymaker.choices import (
    CONCEPTS,
    CONTEXTS,
    DETECTORS,
    EDITS,
    EXPORTS,
    FORMATS,
    METRICS,
    PROMPTS,
    READERS,
    REGISTRIES,
    SETTINGS,
    TASKS,
)
from haymaker.registry import Registry

ROOT = Path(__file__).resolve().parents[1]
TABLE = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
BAR = re.compile(r"(?<!\\)\|")
Cells = list[str]


def code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def lines_of(table: Registry) -> list[Cells]:
    """Name and what it is of every line that Haymaker itself brings."""
    return [[f"`{name}`", entry.about] for name, entry in table.own.items()]


def generated() -> dict[str, list[Cells]]:
    """The first columns of every table by its name."""
    tables = {
        table.group.removeprefix("haymaker."): lines_of(table)
        for table in (CONCEPTS, CONTEXTS, METRICS, FORMATS, EXPORTS)
    }
    tables |= {"prompts": lines_of(PROMPTS), "detectors": lines_of(DETECTORS), "edits": lines_of(EDITS)}
    tables["tasks"] = [
        [*line, code(TASKS[name].METRICS)] for name, line in zip(TASKS.own, lines_of(TASKS), strict=True)
    ]
    tables["readers"] = [
        [*line, code(READERS[name].keys)] for name, line in zip(READERS.own, lines_of(READERS), strict=True)
    ]
    tables["settings"] = [
        [f"`{name}`", axes.about, f"`{axes.concept}`", f"`{axes.context}`"] for name, axes in SETTINGS.items()
    ]
    tables |= {name: keys_of(kind) for name, kind in CONFIGS.items()}
    tables["groups"] = [[f"`{table.group}`"] for table in REGISTRIES]
    return tables


def rewritten(page: str, tables: dict[str, list[Cells]]) -> str:
    """The page with each of its tables as choices.py has it; an unknown table raises KeyError."""
    return TABLE.sub(lambda found: found[1] + table_text(found[3], tables[found[2]]) + found[4], page)


def table_text(old: str, rows: list[Cells]) -> str:
    """The table under its old heading; cells that are not generated are those of the old row of the same name."""
    heading, rule, *lines = old.strip().splitlines()
    width, own = len(cells_of(heading)), len(rows[0])
    by_hand = {cells[0]: cells[own:] for cells in map(cells_of, lines)}
    filled = [[*row, *by_hand.get(row[0], [""] * (width - own))] for row in rows]
    return "\n".join([heading, rule, *(f"| {' | '.join(cells)} |" for cells in filled)]) + "\n"


def cells_of(line: str) -> Cells:
    return [cell.strip() for cell in BAR.split(line.strip())[1:-1]]


def main() -> None:
    tables = generated()
    for path in sorted((ROOT / "docs").rglob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (new := rewritten(page, tables)) != page:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: rewritten")


if __name__ == "__main__":
    main()
