"""The fuzzed tests in numbers: readers of real rows, row metrics, and every file and folder that commands leave.

    python benchmarks/data_fuzz.py [--examples 10000] [--kinds readers,metrics,...] [--only TEXT]

Ends with an error at the first example that gives a traceback, or something that is kept and wrong. Prints a line for
each test. What takes a second an example (`dear`: reports, adapters, trainings, models) runs a hundredth of them.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tasks", "metrics", "evaluation", "heads", "data")
sys.path[:0] = [str(ROOT / "tests"), *(str(ROOT / "tests" / name) for name in FOLDERS)]
os.environ.setdefault("HAYMAKER_FUZZED", "10000")

import test_fuzzed_answers as metrics  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_artifacts as artifacts  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_files as scores  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_folders as folders  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_predictions as predictions  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_sources as readers  # noqa: E402  # pyright: ignore[reportMissingImports]

import haymaker as hm  # noqa: E402
from haymaker.choices import METRICS  # noqa: E402
from haymaker.console import said  # noqa: E402
from haymaker.data.layouts import pool  # noqa: E402
from haymaker.models.packaged import MINIATURES  # noqa: E402

Run = tuple[str, Callable[[Path], Any]]  # a name, and what runs in an empty folder


def runs(kind: str) -> Iterator[Run]:
    """The tests of a kind."""
    if kind == "readers":
        tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
        for task in readers.ROWS:
            check = readers.test_a_broken_row_is_an_error_a_reason_or_right
            yield f"rows of {task}", lambda home, task=task, check=check: check(task, tokenizer, home)
    elif kind == "metrics":
        for name in METRICS:
            yield f"{name}", lambda home, name=name: metrics.test_any_answer_scores_a_fraction_or_is_refused(name)
    elif kind == "predictions":
        yield "predictions", predictions.test_a_broken_file_is_an_error_or_what_it_says
    elif kind == "scores":
        for form in ("haymaker", *scores.FORMATS):
            check = scores.test_a_broken_file_is_an_error_or_what_it_says
            yield f"scores, {form}, bytes", lambda home, form=form, check=check: check(form, home)
        for form in ("haymaker", "wu"):
            parts = scores.test_broken_json_is_an_error_or_what_it_says
            yield f"scores, {form}, JSON", lambda home, form=form, parts=parts: parts(form, home)
    elif kind in ("artifacts", "dear"):
        for name, artifact in (artifacts.ARTIFACTS if kind == "artifacts" else artifacts.DEAR).items():
            yield name, lambda home, artifact=artifact: artifacts.check(artifact, home)
    else:
        yield from folder_runs()


def folder_runs() -> Iterator[Run]:
    checks = {
        "bytes": folders.test_spoilt_bytes_are_refused_or_change_no_row,
        "manifest": folders.test_a_broken_manifest_is_refused_or_changes_no_row,
        "bytes, resealed": folders.test_bytes_that_are_no_parquet_are_refused_whatever_the_manifest_says,
        "cells": folders.test_changed_cells_are_refused_or_read_as_they_are,
    }
    tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
    with tempfile.TemporaryDirectory() as name:
        rows = hm.build(hm.Recipe(task="mdqa", setting="real", length=256, rows=2), tokenizer).save(Path(name) / "rows")
        layouts = {"rows": rows, "pooled": pool(rows, Path(name) / "pooled").path}
        for layout, written in layouts.items():
            for what, check in checks.items():
                yield f"folder, {layout}, {what}", lambda home, check=check, written=written: check(written, home)


def main() -> int:
    """Prints how many examples passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=10_000, help="of each test")
    parser.add_argument("--kinds", default="readers,metrics,predictions,scores,folders,artifacts,dear")
    parser.add_argument("--only", default="", help="tests whose name has this text")
    asked = parser.parse_args()
    said["quiet"] = True
    for kind in asked.kinds.split(","):
        examples = max(1, asked.examples // 100) if kind == "dear" else asked.examples
        os.environ["HAYMAKER_FUZZED"] = str(examples)
        for name, run in runs(kind):
            if asked.only not in name:
                continue
            with tempfile.TemporaryDirectory() as folder:
                run(Path(folder))
            print(f"| {name} | {examples} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
