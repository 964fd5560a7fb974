"""Cases checked and cases equal, metric by metric, against scores that the official scorers gave.

    python benchmarks/metric_parity.py [FOLDER]     # default: ../shared/golden beside the repository

FOLDER holds golden_metrics.json (hand-made cases) and fuzz_qa_metrics.*.jsonl.gz (perturbed real answers). Equal means
the same number to the last digit stored: the files hold some scores rounded, some as percentages, some as a crash.
Exit code 1 if a case differs.
"""

import gzip
import json
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from haymaker import metrics
from haymaker.errors import DataError

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "golden"

# Column of the golden file, and the metric of ours that must give it.
SQUAD_COLUMNS = {
    "em": "squad_em",
    "f1_v1_1": "squad_f1",
    "em_v2": "squad_v2_em",
    "f1_v2": "squad_v2_f1",
    "em_musique": "musique_em",
    "f1_musique": "musique_f1",
    "f1_longbench": "longbench_f1",
    "f1_helmet": "helmet_f1",
    "subem_helmet": "best_subspan_em_uncut",
    "best_subspan_em": "best_subspan_em",
}
FUZZ_COLUMNS = {
    "em": "squad_em",
    "f1_squad_v1": "squad_f1",
    "f1_musique": "musique_f1",
    "f1_longbench": "longbench_f1",
    "best_subspan_em_after_first_line": "best_subspan_em",
    "best_subspan_em_raw": "best_subspan_em_uncut",
    "ruler_all": "ruler_all",
    "ruler_part": "ruler_part",
}


class Comparison(NamedTuple):
    """One case of one metric: what ours gave and what the official scorer gave."""

    metric: str
    case: str
    found: Any
    expected: Any

    @property
    def equal(self) -> bool:
        """Whether they are the same; where the official scorer crashes, ours must raise DataError."""
        return self.found == self.expected


def comparisons(folder: Path) -> Iterator[Comparison]:
    """Every case of the golden files in `folder`."""
    golden = json.loads((folder / "golden_metrics.json").read_text(encoding="utf-8"))
    yield from squad_cases(golden["squad"])
    yield from mdqa_cases(golden["mdqa_best_subspan_em"], golden["kv_accuracy"])
    yield from musique_cases(golden["musique"])
    yield from summhay_cases(golden["summhay"], golden["summhay_topic"])
    yield from ruler_cases(golden["ruler"], golden["ruler_corpus_level"])
    yield from longbench_cases(golden["longbench"])
    for path in sorted(folder.glob("fuzz_qa_metrics.*.jsonl.gz")):
        yield from fuzz_cases(path)


def squad_cases(cases: list[dict[str, Any]]) -> Iterator[Comparison]:
    """Ten scores a case, stored with six digits."""
    for case in cases:
        for column, name in SQUAD_COLUMNS.items():
            score = metrics.METRICS[name](case["pred"], case["golds"])
            yield Comparison(name, f"squad: {case['case']}", round(score, 6), case[column])


def mdqa_cases(subspan: list[dict[str, Any]], key_values: list[dict[str, Any]]) -> Iterator[Comparison]:
    """lost-in-the-middle's two scores."""
    for case in subspan:
        found = metrics.best_subspan_em(case["model_answer"], case["golds"])
        yield Comparison("best_subspan_em", f"mdqa: {case['case']}", found, case["score"])
    for case in key_values:
        found = metrics.kv_accuracy(case["model_answer"], [case["value"]])
        yield Comparison("kv_accuracy", f"kv: {case['model_answer']!r}", found, case["score"])


def musique_cases(cases: list[dict[str, Any]]) -> Iterator[Comparison]:
    """Prediction files of a few rows; all numbers of a file are one case, rounded to three digits."""
    for case in cases:
        expected = crash_or(case["official"])
        found = scored_or_crash(lambda case=case: musique_report(case["preds"], case["golds"]))
        yield Comparison("musique_scores", f"musique: {case['case']}", found, expected)


def musique_report(predictions: list[dict[str, Any]], golds: list[dict[str, Any]]) -> dict[str, float]:
    """The official script's output: rounded, group scores only for MuSiQue-Full."""
    scores = metrics.musique_scores(predictions, golds)._asdict()
    return {name: round(score, 3) for name, score in scores.items() if score is not None}


def summhay_cases(cases: list[dict[str, Any]], topic: dict[str, Any]) -> Iterator[Comparison]:
    """Summaries with their judgements; all five numbers are one case, stored with six digits, NaN as a word."""
    references = metrics.summhay_references(topic["documents"])
    for case in cases:
        expected = crash_or(case["official"])
        found = scored_or_crash(lambda case=case: summhay_report(case, references))
        yield Comparison("summhay_rows_official", f"summhay: {case['case']}", found, expected)


def summhay_report(case: dict[str, Any], references: dict[str, frozenset[int]]) -> dict[str, float | str]:
    """The official result's five numbers, under its names."""
    rows = metrics.summhay_rows_official(case["bullets"], case["evals"], references, case.get("cite_offset", 0))
    scores = metrics.summhay_scores(rows, none_covered=math.nan)
    named = {
        "coverage_score": scores.coverage,
        "citation_score": scores.citation,
        "joint_score": scores.joint,
        "citation_precision": scores.precision,
        "citation_recall": scores.recall,
    }
    return {name: "nan" if math.isnan(score) else round(score, 6) for name, score in named.items()}


def ruler_cases(cases: list[dict[str, Any]], corpus: dict[str, Any]) -> Iterator[Comparison]:
    """Both string matches of each case and of a corpus of two rows, as percentages of two digits."""
    for case in cases:
        for column, score in (("string_match_all", metrics.ruler_all), ("string_match_part", metrics.ruler_part)):
            found = scored_or_crash(lambda case=case, score=score: as_percentage([score(case["pred"], case["refs"])]))
            yield Comparison(score.__name__, f"ruler: {case['case']}", found, crash_or(case[column]))
    for column, score in (("all", metrics.ruler_all), ("part", metrics.ruler_part)):
        rows = [score(*row) for row in zip(corpus["preds"], corpus["refs"], strict=True)]
        yield Comparison(score.__name__, "ruler: corpus", as_percentage(rows), corpus[column])


def longbench_cases(cases: list[dict[str, Any]]) -> Iterator[Comparison]:
    """Corpora of one to three rows, each under its dataset's rule, as percentages of two digits."""
    for case in cases:
        rows = zip(case["preds"], case["answers"], strict=True)
        scores = [metrics.longbench(*row, dataset=case["dataset"]) for row in rows]
        yield Comparison("longbench", f"longbench: {case['case']}", as_percentage(scores), case["score"])


def fuzz_cases(path: Path) -> Iterator[Comparison]:
    """Eight scores a row, unrounded; RULER's as percentages of two digits."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            row = json.loads(line)
            for column, name in FUZZ_COLUMNS.items():
                score = metrics.METRICS[name](row["pred"], row["golds"])
                found = as_percentage([score]) if name.startswith("ruler") else score
                yield Comparison(name, f"{path.name}:{number}", found, row[column])


def as_percentage(scores: list[float]) -> float:
    """A corpus score as RULER and LongBench print it."""
    return round(100 * fmean(scores), 2)


def crash_or(stored: Any) -> Any:
    """What is stored for a case, with every crash spelt the same."""
    return "raises" if isinstance(stored, str) and stored.startswith("raises ") else stored


def scored_or_crash(score: Callable[[], Any]) -> Any:
    """What `score` gives, or "raises" where ours refuses the case with DataError."""
    try:
        return score()
    except DataError:
        return "raises"


def main() -> int:
    """Prints one line a metric, then each case that differs."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    if not (folder / "golden_metrics.json").is_file():
        print(f"expected golden_metrics.json in {folder}, found none; give the folder as argument", file=sys.stderr)
        return 2
    by_metric: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in comparisons(folder):
        by_metric[comparison.metric].append(comparison)
    print(f"{'metric':<24}{'checked':>8}{'equal':>8}")
    for metric, found in sorted(by_metric.items()):
        print(f"{metric:<24}{len(found):>8}{sum(one.equal for one in found):>8}")
    everything = [one for found in by_metric.values() for one in found]
    different = [one for one in everything if not one.equal]
    print(f"{'all':<24}{len(everything):>8}{len(everything) - len(different):>8}")
    for one in different:
        print(f"differs: {one.metric}, {one.case}: expected {one.expected!r}, found {one.found!r}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
