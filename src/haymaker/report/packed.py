"""Rows as the page carries them: once, column by column, for its script to draw maps, tables and csv from. Pure."""

from typing import Any

from haymaker.report.tables import Row

DIGITS = 9  # of fractions, what a 32-bit number needs: fewer moved a head across a threshold


def packed(rows: list[Row]) -> dict[str, Any]:
    """{"length": n, "columns": {name: column}} with the columns of all rows, in the order in which they come."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {"length": len(rows), "columns": {name: column([row.get(name) for row in rows]) for name in names}}


def column(values: list[Any]) -> Any:
    """{"all": value} where one fills it, {"words": [...], "at": [...]} where few texts repeat, else the values."""
    short = [rounded(value) for value in values]
    if all(type(value) is type(short[0]) and value == short[0] for value in short):
        return {"all": short[0]}
    words = list(dict.fromkeys(value for value in short if isinstance(value, str)))
    if len(words) * 2 < len(short) and all(isinstance(value, str | None) for value in short):
        place = {word: at for at, word in enumerate(words)}
        return {"words": words, "at": [-1 if value is None else place[value] for value in short]}
    return short


def rounded(value: Any) -> Any:
    """A fraction to its digits; what is no single number or text as text."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if value == value and abs(value) != float("inf") else None
    return value if isinstance(value, str | int | None) else str(value)
