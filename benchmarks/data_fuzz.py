"""The fuzzed tests in numbers: readers of real rows, row metrics, and every file and folder that commands leave.

    python benchmarks/data_fuzz.py [--examples 10000] [--seed N] [--kinds readers,metrics,...] [--only TEXT]

A test fails at an example that gives a traceback, or something that is kept and wrong. Prints a line for each: how
many examples (of damaged files, how many different ones: some draws leave the same) and seconds of CPU.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tasks", "metrics", "evaluation", "heads", "data", "models")
sys.path[:0] = [str(ROOT / "tests"), *(str(ROOT / "tests" / name) for name in FOLDERS)]
MEMORY = Path("/dev/shm")  # files there cost no disk

import test_fuzzed_answers as metrics  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_artifacts as artifacts  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_files as scores  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_folders as folders  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_layouts as layouts  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_models as models  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_predictions as predictions  # noqa: E402  # pyright: ignore[reportMissingImports]
import test_fuzzed_sources as readers  # noqa: E402  # pyright: ignore[reportMissingImports]
from fuzzed_artifacts import check as check_artifact  # noqa: E402  # pyright: ignore[reportMissingImports]

import haymaker as hm  # noqa: E402
from haymaker.choices import METRICS  # noqa: E402
from haymaker.console import said  # noqa: E402
from haymaker.data.layouts import pool  # noqa: E402
from haymaker.models.packaged import MINIATURES  # noqa: E402

KINDS = ("readers", "metrics", "predictions", "scores", "folders", "artifacts", "models")
Run = tuple[str, Callable[[Path], Any]]  # a name, and what runs in an empty folder


def runs(kind: str) -> Iterator[Run]:
    """The tests of a kind."""
    if kind == "readers":
        tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
        for task in readers.ROWS:
            check = readers.test_a_broken_row_is_an_error_a_reason_or_right
            yield f"rows of {task}", lambda home, task=task, check=check: check(task, tokenizer, home)
        yield "rows of every layout", layouts.test_a_broken_row_is_an_error_a_reason_or_right
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
    elif kind in ("artifacts", "models"):
        found = artifacts.ARTIFACTS if kind == "artifacts" else models.MODELS | {"a report": artifacts.REPORT}
        for name, artifact in found.items():
            yield name, lambda home, artifact=artifact: check_artifact(artifact, home)
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
    """Prints how many examples each test passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=10_000, help="of each test")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", default="", help="tests whose name has this text")
    parser.add_argument("--seed", type=int, help="which examples; the suite's first ones without it")
    asked = parser.parse_args()
    if unknown := set(asked.kinds.split(",")) - set(KINDS):
        parser.error(f"--kinds: expected {', '.join(KINDS)}; found {', '.join(sorted(unknown))}")
    said["quiet"] = True
    os.environ["HAYMAKER_FUZZED"] = str(asked.examples)
    if asked.seed is not None:
        os.environ["HAYMAKER_FUZZ_SEED"] = str(asked.seed)
    failed = 0
    for kind in asked.kinds.split(","):
        for name, run in runs(kind):
            if asked.only in name:
                failed += not passed(name, run, asked.examples)
    return min(failed, 1)


def passed(name: str, run: Callable[[Path], Any], examples: int) -> bool:
    """Whether a test passed; a failure is printed with its smallest example."""
    begun = time.process_time()
    try:
        with (
            tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
            redirect_stdout(StringIO()),
        ):
            counted = run(Path(folder))
    except Exception:
        print(f"| {name} | failed |", flush=True)
        traceback.print_exc()
        return False
    print(f"| {name} | {counted or examples} | {time.process_time() - begun:.0f} s |", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
