"""results.json: the rows that cells wrote, told apart by the cells' columns, and what follows from several cells.

What setting, task, length or seed the rows of a cell belong to is added here from the plan.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from haymaker import __version__
from haymaker.file_reading import read_json_if_there, read_jsonl
from haymaker.files import write_json
from haymaker.stats import spearman
from haymaker.study.answers import Answers, pair_rows, setting_rows
from haymaker.study.breakdown import breakdown
from haymaker.study.cell import Row, Tables, library_version
from haymaker.study.config import StudyConfig
from haymaker.study.examples import example_rows
from haymaker.study.judges import points_of
from haymaker.study.patterns import find_patterns
from haymaker.study.plan import Plan
from haymaker.study.results import TABLES, write_table_files
from haymaker.study.signs import find_signs
from haymaker.study.store import REMEDY, Manifest, Store, plain, read_tables
from haymaker.study.survey import Standing

NAMES = (
    "evaluation", "breakdown", "settings", "pairs", "heads", "maps", "similarity", "ablation", "patching",
    "correlation", "patterns", "signs", "tracking", "examples", "reads", "timings",
)  # fmt: skip
MEASURES = ("cosine", "recall", "subset", "overlap")
VERSIONS = ("torch", "transformers", "peft", "numpy")


def collect(
    config: StudyConfig, plan: Plan, standings: Mapping[str, Standing], store: Store, ran: Collection[str] = ()
) -> dict[str, Any]:
    """Everything that results.json holds, from the cells that are finished. `ran` are those of the latest run."""
    done = {name: standing for name, standing in standings.items() if standing.state == "done"}
    tables: Tables = {name: [] for name in NAMES}
    for name, standing in done.items():
        for table, rows in read_tables(store.output(key_of(standing))).items():
            tables.setdefault(table, []).extend(dress(row, plan.cells[name].columns, standing) for row in rows)
    join_scores(tables, config.length)
    tables["correlation"] = correlations(tables["similarity"])
    answers = answers_of(config, tables["evaluation"], done, store)
    tables["breakdown"] = [
        plain(row) for row in breakdown(tables["evaluation"], lambda row: answers_file(row, done, store))
    ]
    tables["examples"] = examples_of(
        [row for row in tables["evaluation"] if row["length"] == config.length], plan, done, store
    )
    tables["settings"] = [plain(row) for row in setting_rows(answers, metrics_of(tables["evaluation"]))]
    tables["pairs"] = [
        plain(row) for row in pair_rows(answers, config.similarity.reference if config.similarity else "real")
    ]
    tables["patterns"], tables["signs"] = (
        list(map(plain, rows)) for rows in (find_patterns(tables), find_signs(tables))
    )
    tables["timings"] = [timing(name, standing, name not in ran) for name, standing in done.items()]
    return {"meta": about(config, len(plan.cells), done), "tables": tables}


def dress(row: Row, columns: Mapping[str, Any], standing: Standing) -> Row:
    """A row of a cell with the columns of the cell, and the cell it comes from."""
    clash = set(row) & set(columns)
    assert not clash, f"{standing.cell.name}: rows may not repeat the cell's columns {clash}"
    dressed = {**columns, **row, "cell": standing.cell.name, "key": key_of(standing)[:12]}
    return dressed | ({"seconds": manifest_of(standing)["seconds"]} if standing.cell.stage.name == "evaluate" else {})


def answers_of(config: StudyConfig, rows: list[Row], done: Mapping[str, Standing], store: Store) -> Answers:
    """The headline of every answer at the study's length, by model; of cells that keep their answers."""
    found = {}
    for row in rows:
        path = answers_file(row, done, store)
        if row["length"] == config.length and path is not None:
            found[model_of(row)] = {line["example_id"]: line["scores"][row["metric"]] for _, line in read_jsonl(path)}
    return found


def answers_file(row: Row, done: Mapping[str, Standing], store: Store) -> Path | None:
    """Where the cell of an evaluation keeps its answers."""
    path = store.output(key_of(done[row["cell"]])) / "predictions.jsonl"
    return path if path.is_file() else None


def examples_of(rows: list[Row], plan: Plan, done: Mapping[str, Standing], store: Store) -> list[Row]:
    """The first questions as the models of these rows of evaluation answered them."""
    found = []
    for row in rows:
        answers, data = answers_file(row, done, store), done.get(plan.cells[row["cell"]].inputs.get("data", ""))
        if data is not None and answers is not None:
            found += example_rows(row, answers, store.output(key_of(data)))
    return [plain(row) for row in found]


def metrics_of(rows: list[Row]) -> dict[tuple[str, str], str]:
    """The headline's name by model and task."""
    return {(row["model"], row["task"]): row["metric"] for row in rows}


def join_scores(tables: Tables, length: int) -> None:
    """Put the headline at the study's length beside the similarity of the same model."""
    found = {model_of(row): row for row in tables["evaluation"] if row["length"] == length}
    for row in tables["similarity"]:
        scored = found.get(model_of(row), {})
        row |= {name: scored.get(name) for name in ("metric", "score")}


def model_of(row: Row) -> tuple[Any, ...]:
    return row["model"], row["task"], row["setting"], row["seed"]


def correlations(similarity: list[Row]) -> list[Row]:
    """Spearman of every measure with the headline, over settings other than the reference (Zhao et al. 2025, 4)."""
    groups = dict.fromkeys((row["model"], row["task"]) for row in similarity)
    return [correlation(similarity, model, task, measure) for model, task in groups for measure in MEASURES]


def correlation(similarity: list[Row], model: str, task: str, measure: str) -> Row:
    rows = [row for row in similarity if (row["model"], row["task"]) == (model, task)]
    rows = [row for row in rows if row["setting"] != row["reference"]]
    found = spearman(*points_of({"similarity": rows}, measure))
    about = {"model": model, "task": task, "measure": measure, "metric": rows[0]["metric"] if rows else None}
    return plain(about | {"spearman": found.rho, "p": found.p, "n": found.n})


def timing(name: str, standing: Standing, cached: bool) -> Row:
    """Wall time of the call that made a cell; `cached`: not by the latest run."""
    return {
        "cell": name,
        "stage": standing.cell.stage.name,
        "setting": standing.cell.columns.get("setting"),
        "seconds": manifest_of(standing)["seconds"],
        "cached": cached,
        "key": key_of(standing)[:12],
    }


def about(config: StudyConfig, cells: int, done: Mapping[str, Standing]) -> Row:
    """What the numbers come from. Nothing here changes unless a cell is made."""
    return {
        "study": config.title or config.name,
        "name": config.name,
        "created": max((manifest_of(standing)["started"] for standing in done.values()), default=None),
        "cells": {"finished": len(done), "planned": cells},
        "model": {"name": config.model_name, "context": config.context, "length": config.length},
        "versions": {"haymaker": __version__} | {name: library_version(name) for name in VERSIONS},
        "machine": f"{os.cpu_count()} CPU cores",
        "config": config.of_numbers,
    }


def key_of(standing: Standing) -> str:
    assert standing.key is not None
    return standing.key


def manifest_of(standing: Standing) -> Manifest:
    assert standing.manifest is not None
    return standing.manifest


def same_numbers(path: Path, results: Mapping[str, Any]) -> bool:
    """Whether results.json holds these rows already, whichever run made them."""
    before = read_json_if_there(path, REMEDY)
    return before is not None and numbers_of(before) == numbers_of(results)


def numbers_of(results: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rows for name, rows in results["tables"].items() if name != "timings"}


def write_results(path: Path, results: Mapping[str, Any]) -> bool:
    """Write results.json, and last of all, unless it says the same already; whether it was written."""
    if read_json_if_there(path, REMEDY) == results and path.with_name(TABLES).is_dir():
        return False
    write_table_files(results["tables"], path.with_name(TABLES))
    write_json(path, results)
    return True
