"""What the report reads: the tables of results.json, their columns, and the settings' names and order."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

from haymaker.choices import SETTINGS, is_synthetic
from haymaker.errors import DataError
from haymaker.file_reading import read_json, rows_in
from haymaker.stats import Interval, known
from haymaker.stats.intervals import as_share, over_seeds

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Group = tuple[str, str]  # (model, task)

COLUMNS = {
    "evaluation": "model setting task split length n metric score score_low score_high cut_off seconds",
    "heads": "model setting task metric layer head score low high n",
    "similarity": "model task setting reference cosine recall subset overlap k active active_reference metric score",
    "ablation": "model setting task heads k draw metric score score_low score_high n head_list",
    "patching": "model task donor setting heads k draw metric score score_low score_high score_original delta n "
    "head_list",
    "correlation": "model task measure metric spearman p n",
    "patterns": "pattern claim verdict measure effect low high p n seeds paper sentence why rule",  # and model and task
    "signs": "sign found remedy",  # the same
    "tracking": "model task setting step metric cosine recall n",
    "timings": "cell stage setting seconds cached",
    "breakdown": "model task setting by group length metric score score_low score_high n",
    "settings": "model task setting metric score score_low score_high n seeds",
    "pairs": "model task first second difference low high p_holm n seeds detectable",
    "maps": "model task setting metric n threshold k",
    "examples": "model task setting metric example_id question evidence answers prediction score finish",
    "reads": "model task setting example_id layer head step produced read weight kind",
}
# Columns that hold words, and numbers that the page cannot do without; all other columns are numbers or null.
KEYS = {"model", "setting", "task", "split", "metric", "reference", "donor", "measure", "cell", "stage"}
WORDS = KEYS | set(
    "heads head_list cached draw pattern claim verdict paper sentence why rule sign found remedy first second "
    "example_id question evidence answers prediction finish produced read kind by group".split()
)
OF_A_GROUP = ("model", "task")
# Columns that rows may have, and of which kind those are that are not texts alone.
MAY_HAVE = ("seed", "cell", "key", "family")
KINDS: dict[str, Any] = dict.fromkeys(WORDS | {*MAY_HAVE}, str)
KINDS |= {"seed": int | str | None, "draw": int | str | None, "cached": int | str | None}
NEEDED = {"layer", "head", "step", "n", "seeds", "k", "length", "active", "active_reference"}
MOST, MOST_HEADS = 2**50, 4096  # of any number, and of layers and heads, of which a page draws a grid

GROUPED = tuple(name for name, columns in COLUMNS.items() if "task" in columns.split())

# What a setting means, in the order in which the page shows them.
UNTRAINED = {"base": "as pre-trained", "extended": "larger RoPE base, no training"}
MEANING = UNTRAINED | {name: axes.about for name, axes in SETTINGS.items()}


def read_results(path: Path) -> Any:
    """The contents of a results.json. Raises DataError where it cannot be read or is not JSON."""
    return read_json(path, "give the results.json of a study")


def check(results: Any, source: str = "results") -> tuple[dict[str, Any], Tables]:
    """(meta, tables) of results; tables that are missing come back empty.

    Raises DataError naming source, table, row and column where a row is not as its table says.
    """
    if not isinstance(results, dict) or not isinstance(results.get("tables"), dict):
        raise DataError(f'{source}: expected {{"meta": ..., "tables": ...}}; give the results.json of a study')
    meta = results.get("meta", {})
    check_mapping(f"{source}: expected meta", meta)
    check_mapping(f"{source}: expected meta.model", meta.get("model") or {})
    tables = {name: [] for name in COLUMNS} | results["tables"]
    for name, rows in tables.items():
        check_rows(f"{source}, table {name}", rows, name)
    return meta, tables


def check_mapping(expected: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise DataError(f"{expected} to be a mapping, found {type(value).__name__}")


def check_rows(where: str, rows: Any, table: str) -> None:
    """Raise DataError unless `rows` is a list of mappings with all columns of the table, each of its kind."""
    columns = [*COLUMNS.get(table, "").split(), *(OF_A_GROUP if table in ("patterns", "signs") else ())]
    for i, row in enumerate(rows_in(rows, where)):
        if missing := [column for column in columns if column not in row]:
            raise DataError(f"{where}, row {i}: no column {', '.join(missing)}; write null where nothing is known")
        for column in (*columns, *(name for name in (*MAY_HAVE, *bounded(row)) if name in row)):
            if (table, column, row[column]) != ("timings", "setting", None):  # cells of no setting take time too
                check_value(f"{where}, row {i}, column {column}", column, row[column])


def bounded(row: Row) -> list[str]:
    """Measures that a row has beside its table's columns, with their bounds: the page shows all that have a lower."""
    names = [name.removesuffix("_low") for name in row if name.endswith("_low")]
    return [name + bound for name in names for bound in ("", "_low", "_high")]


def check_value(where: str, column: str, value: Any) -> None:
    """Raise DataError for a value of another kind than its column's, or a number that no study can have found."""
    if column in NEEDED:
        most = MOST_HEADS if column in ("layer", "head") else MOST
        if value is None:
            raise DataError(f"{where}: expected a number, found null; write 0 where there is none")
        if type(value) is not int or not 0 <= value <= most:
            raise DataError(f"{where}: expected a whole number of 0 to {most:,}, found {value!r:.40}")
    elif column in KINDS:
        if not isinstance(value, KINDS[column]):
            raise DataError(f"{where}: expected a text, found {value!r:.40}")
    elif not isinstance(value, int | float | None) or isinstance(value, bool):
        raise DataError(f"{where}: expected a number or null, found {value!r:.40}")
    elif value is not None and abs(value) > MOST and value not in (inf, -inf):
        raise DataError(f"{where}: {value!r:.40} is too large to have been measured; write null where nothing is known")


def select(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows whose columns equal the wanted values; a tuple allows any of its members."""
    allowed = {key: value if isinstance(value, tuple) else (value,) for key, value in wanted.items()}
    return [row for row in rows if all(row[key] in values for key, values in allowed.items())]


def with_number(rows: Iterable[Row], column: str) -> list[Row]:
    """The rows whose column holds a finite number."""
    return [row for row in rows if not isnan(known(row[column]))]


def groups(*tables: list[Row]) -> list[Group]:
    """Every (model, task) of the tables, in order of appearance."""
    return list(dict.fromkeys((row["model"], row["task"]) for rows in tables for row in rows))


def in_group(tables: Tables, group: Group) -> Tables:
    """The tables with only the rows of one (model, task); timings belong to no group."""
    model, task = group
    return {name: select(tables[name], model=model, task=task) for name in GROUPED}


def in_order(settings: Iterable[str]) -> list[str]:
    """Settings once each, in the order of MEANING; unknown ones after them, as they came."""
    order = list(MEANING)
    return sorted(dict.fromkeys(settings), key=lambda name: order.index(name) if name in order else len(order))


def kind(setting: str) -> str:
    """untrained, real, synthetic or other: what a setting's colour says."""
    if is_synthetic(setting):
        return "synthetic"
    name = setting.partition(":")[0]  # behind it changes of a recipe
    return {"base": "untrained", "extended": "untrained", "real": "real", "real-limited": "real"}.get(name, "other")


def of_test(evaluation: list[Row]) -> list[Row]:
    """The rows of the split called test, or all where there is none."""
    return select(evaluation, split="test") or evaluation


def main_length(evaluation: list[Row]) -> int:
    """The length at which the settings are compared: the one with most settings, the longer of two."""
    lengths = {row["length"] for row in evaluation}
    return max(lengths, key=lambda length: (len({r["setting"] for r in evaluation if r["length"] == length}), length))


@dataclass(frozen=True)
class Measured:
    """The score of one setting at one length: its runs (a row a seed), and what they say together."""

    setting: str
    runs: list[Row]
    score: Interval | None

    @property
    def n(self) -> int:
        """Questions of every run."""
        return min(row["n"] for row in self.runs)

    @property
    def cut_off(self) -> float:
        """Share of answers that ran to the length limit; NaN where that is not known."""
        asked = sum(row["n"] for row in self.runs)
        return sum(known(row.get("cut_off")) for row in self.runs) / asked if asked else nan


def measured(tables: Tables, length: int | None = None) -> dict[str, Measured]:
    """What was scored at a length (that where settings are compared), of the test split, by setting in order."""
    rows = of_test(tables["evaluation"])
    if not rows:
        return {}
    at = main_length(rows) if length is None else length
    pooled = {row["setting"]: row for row in tables.get("settings", [])} if at == main_length(rows) else {}
    rows = select(rows, length=at)
    runs = {setting: select(rows, setting=setting) for setting in in_order(row["setting"] for row in rows)}
    return {name: Measured(name, own, together(own, pooled.get(name))) for name, own in runs.items()}


def together(runs: list[Row], pooled: Row | None) -> Interval | None:
    """What a study says of all seeds of a setting, else what their rows do."""
    return (Interval.of(pooled) if pooled else None) or over_runs(runs)


def over_runs(runs: list[Row], name: str = "score") -> Interval | None:
    """A share of one run with its own bounds; of several the mean, with bounds over questions and seeds."""
    found = [one for row in runs if (one := Interval.of(row, name)) is not None]
    return as_share(over_seeds(found)) if found else None


def seeds_in(rows: Iterable[Row]) -> int:
    """How many runs of one setting there are."""
    return len({row.get("seed") for row in rows})


def cells_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """The cells that rows came from, each once; none of rows that do not say."""
    return tuple(dict.fromkeys(str(row["cell"]) for row in rows if row.get("cell")))
