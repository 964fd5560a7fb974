"""Judge the committed studies by the rules as they are: `python tools/judge_again.py` rewrites the tables `patterns`
and `signs` of benchmarks/results/*/results.json, and their pages. What docs/findings.md says is to be read again."""

import argparse
import json
from pathlib import Path

from haymaker.files import write_json
from haymaker.report import write_report
from haymaker.study.patterns import find_patterns
from haymaker.study.signs import find_signs
from haymaker.study.store import plain

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"


def judge_again(path: Path) -> None:
    """The same rows and their verdicts."""
    results = json.loads(path.read_text(encoding="utf-8"))
    tables = results["tables"]
    for name, find in (("patterns", find_patterns), ("signs", find_signs)):
        tables[name] = list(map(plain, find(tables)))
    write_json(path, results)
    print(write_report(path, path.with_name("report.html")))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for path in sorted(RESULTS.glob("*/results.json")):
        judge_again(path)
