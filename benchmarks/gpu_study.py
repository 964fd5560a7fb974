"""A small study on a GPU: every stage of it, in the seconds that its cells took."""

import json
import subprocess
import sys
from typing import Any

from gpu_common import Page, Setting

SMALL = (
    "settings=[extended, real, low-low, symbolic]", "tasks.mdqa.train.rows=64", "tasks.mdqa.test.rows=16",
    "train.steps=8", "train.track={every: 4, rows: 8}", "heads.rows=16", "ablation.rows=8", "ablation.draws=1",
    "patching.rows=8", "patching.draws=1",
)  # fmt: skip
TINY = (
    "settings=[extended, real]",
    "tasks.mdqa.train.rows=8",
    "tasks.mdqa.test.rows=4",
    "train.steps=2",
    "train.track.rows=4",
    "heads.rows=4",
    "patching.rows=4",
    "ablation=null",
)
HEADER = ["stage", "cells", "seconds"]


def measure_study(setting: Setting, study: str) -> None:
    changed = SMALL + TINY if setting.tiny else SMALL
    page = Page(
        setting, "study", f"The study {study}, in small", f"`haymaker study run {study}`, {', '.join(changed)}.", HEADER
    )
    out = setting.out / f"study-{study}"
    overrides = [part for value in changed for part in ("--set", value)]
    command = [sys.executable, "-m", "haymaker", "study", "run", study, "--out", str(out), "--no-report", *overrides]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=max(30.0, setting.seconds_left))
    except subprocess.TimeoutExpired:
        page.note("not finished in its time; what its cells made is kept, and the same command goes on")
        return
    if finished.returncode:
        page.note(f"exit {finished.returncode}: {finished.stderr[-2000:]}")
        raise SystemExit(finished.returncode)
    tables = json.loads((out / "results.json").read_text())["tables"]
    for stage, seconds in by_stage(tables["timings"]).items():
        page.add([stage, str(len(seconds)), f"{sum(seconds):.1f}"])
    page.note(f"evaluation: {json.dumps(tables['evaluation'])}")


def by_stage(timings: list[dict[str, Any]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in timings:
        found.setdefault(row["stage"], []).append(row["seconds"])
    return found


def default_study() -> str:
    """SmolLM2's study where it and its model are on this machine, else the miniature."""
    from haymaker.commands.study_opened import PACKAGED
    from haymaker.errors import HaymakerError
    from haymaker.models.names import find_model

    if not (PACKAGED / "smollm2.yaml").is_file():
        return "miniature"
    try:
        return "smollm2" if find_model("smollm2-135m") else "miniature"
    except HaymakerError:
        return "miniature"
