"""Rows of real files against what the files say: official prompts, support sets, and twins solved from their text.

    python benchmarks/data_rows.py [--rows N] [--data FOLDER]

Prompts: every row of lost-in-the-middle at gold positions 0, 4, 9, 14, 19 of 20 documents and 0, 4, 9 of 10, and every
key-value row at 0, 37, 74 of 75, must be the official prompt, character for character. Support: hop k's evidence stands
in the paragraph that step k names. Twins: a solver that reads the prompt alone finds the answer of every templated and
symbolic row, and does not once any one evidence is cut out. Writes benchmarks/results/data_rows.md; exit code 1 if a
row fails. `--rows` takes the first rows of every file only.
"""

# pyright: reportMissingImports=false
import argparse
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from data_common import DEFAULT_DATA, KV, MDQA, MUSIQUE, require_data
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # its solvers and official prompts

from task_solvers import context_of, solver_of  # noqa: E402
from tasks import test_mdqa, test_musique, test_probes  # noqa: E402

from haymaker.choices import axes_of  # noqa: E402
from haymaker.config import Recipe  # noqa: E402
from haymaker.data.builder import Builder  # noqa: E402
from haymaker.data.schema import example_of, table_of  # noqa: E402
from haymaker.models.packaged import MINIATURES  # noqa: E402
from haymaker.records import Example  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "data_rows.md"
PLACES = {20: (0, 4, 9, 14, 19), 10: (0, 4, 9)}  # documents -> gold positions
RECORDS, RECORD_PLACES = 75, (0, 37, 74)
SOLVED = ("low-low", "low-high", "symbolic")
TWIN_LENGTHS = {"mdqa": 3_000, "musique": 3_000, "summhay": 9_000}  # tokens of the packaged tokenizer
Tally = tuple[str, int, int]  # what was checked, rows, rows that were as they should be


def examples(rows: int, **values: Any) -> Iterator[Example]:
    """Rows of a recipe, one after another; padding holds rivals, so that the solver has a choice."""
    recipe = Recipe(**({"rows": rows, "chat_template": False, "padding_competitors": 4} | values))
    builder = Builder(recipe, AutoTokenizer.from_pretrained(MINIATURES / "llama"))
    for number in range(min(rows, builder.drafts.count or rows)):
        yield example_of(table_of([builder.row(number)]).to_pylist()[0])


def first_rows(path: Path, rows: int | None, folder: Path) -> tuple[str, list[dict[str, Any]]]:
    """A file of the first rows of a file, and the rows."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        kept = [json.loads(line) for line in islice(lines, rows)]
    short = folder / path.name.removesuffix(".gz")
    short.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return str(short), kept


def document_prompts(source: str, rows: list[dict[str, Any]]) -> Iterator[Tally]:
    by_question = {row["question"]: row for row in rows}
    for documents, places in PLACES.items():
        for place in places:
            values = {"task": "mdqa", "length": 64_000, "documents": documents, "gold_position": place}
            equal = [
                example.text == test_mdqa.official_prompt(by_question[example.question], documents, place)
                for example in examples(len(rows), source=source, **values)
            ]
            yield f"official prompt, gold at {place} of {documents} documents", len(equal), sum(equal)


def record_prompts(source: str, rows: list[dict[str, Any]]) -> Iterator[Tally]:
    by_key = {row["key"]: row["ordered_kv_records"] for row in rows}
    for place in RECORD_PLACES:
        values = {"task": "kv", "length": 64_000, "documents": RECORDS, "gold_position": place}
        equal = []
        for example in examples(len(rows), source=source, **values):
            records = test_probes.moved(by_key[example.question], example.question, place)
            equal.append(example.text == test_probes.official_prompt(records, example.question))
        yield f"official prompt, key at {place} of {RECORDS} records", len(equal), sum(equal)


def supports(source: str, rows: list[dict[str, Any]]) -> Iterator[Tally]:
    by_id = {row["id"]: row for row in rows}
    kept = []
    for example in examples(len(rows), task="musique", source=source, length=24_000):
        try:
            test_musique.check_support(example, by_id[example.source["row_id"]])
            kept.append(True)
        except AssertionError:
            kept.append(False)
    yield "support and decomposition of MuSiQue rows", len(kept), sum(kept)


def twins(task: str, source: str, rows: int) -> Iterator[Tally]:
    for setting in SOLVED:
        solve, solved = solver_of(task, axes_of(setting).concept), []
        for example in examples(rows, task=task, setting=setting, source=source, length=TWIN_LENGTHS[task]):
            whole = solve(context_of(example), example.question) == example.target
            parts = range(len(example.spans["evidence"]))
            cut = [solve(context_of(example, part), example.question) == example.target for part in parts]
            solved.append(whole and not any(cut))
        yield f"{task} twins, {setting}, solved with all evidence and not without", len(solved), sum(solved)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    options = parser.parse_args()
    require_data(options.data)
    found: list[Tally] = []
    with tempfile.TemporaryDirectory() as folder:
        mdqa, kv, musique = (
            first_rows(options.data / name, options.rows, Path(folder)) for name in (MDQA, KV, MUSIQUE)
        )
        topics = str(options.data / "summhay")
        checks = (
            document_prompts(*mdqa),
            record_prompts(*kv),
            supports(*musique),
            twins("mdqa", mdqa[0], len(mdqa[1])),
        )
        for check in (
            *checks,
            twins("musique", musique[0], len(musique[1])),
            twins("summhay", topics, options.rows or 150),
        ):
            for tally in check:
                print(f"{tally[0]}: {tally[2]} of {tally[1]}", flush=True)
                found.append(tally)
    lines = [f"| {what} | {rows} | {right} |" for what, rows, right in found]
    if options.rows is None:
        RESULTS.write_text(
            "\n".join(["# Rows of real files", "", "| checked | rows | right |", "|---|---|---|", *lines, ""])
        )
    return 0 if all(rows == right for _, rows, right in found) else 1


if __name__ == "__main__":
    sys.exit(main())
