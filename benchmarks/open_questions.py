"""Tables for the two open questions, from studies that are run (docs/open-questions.md reads them).

    haymaker study run open-question-1 --out runs/q1
    haymaker study run open-question-2 --out runs/q2
    python benchmarks/open_questions.py parts runs/q1 --out benchmarks/results/open_question_1.md
    python benchmarks/open_questions.py construction runs/q2 --base low-high --out benchmarks/results/open_question_2.md
    python benchmarks/open_questions.py rows rows.jsonl       # of the miniature world, for open-question-2-files
    python benchmarks/open_questions.py rows needles-2.jsonl --needles 2 --seed 1

`parts` shows what patching a head set does, by its parts. `construction` sets every setting beside the one that it
differs from: its score question by question (paired bootstrap over questions, over seeds too where there are several,
sign-flip test, Holm's correction), its cosine and recall of heads; and fits what moves both.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import haymaker as hm
from haymaker.file_reading import read_json, read_jsonl
from haymaker.files import write_jsonl
from haymaker.models.load import load_tokenizer
from haymaker.stats import Interval, holm, known, paired, spearman, spearman_interval
from haymaker.study.config import parted
from haymaker.study.patterns import find_patterns
from haymaker.study.store import Store, plain

Row = dict[str, Any]
SPLITS = {"train": 900, "dev": 120, "test": 260}  # rows of the world that `rows` writes


# ---- question 1


def parts_page(results: Mapping[str, Any]) -> Iterator[str]:
    rows = results["tables"].get("parts", [])
    columns = ("setting", "seed", "heads", "k", "part", "effect", "share", "n")
    yield "Effect in nats on the gold answer, summed over its tokens, with 95 % bounds over rows; share of the whole's."
    yield ""
    yield from heading(columns)
    for row in rows:
        effect = in_words(Interval(row["effect"], row["effect_low"], row["effect_high"]))
        told = {"effect": effect, "share": number(row["share"])}
        yield line(str({**row, **told}[name]) for name in columns)


# ---- question 2


def construction_page(results: Mapping[str, Any], store: Path, base: str) -> Iterator[str]:
    """Every setting beside the one whose recipe it changes."""
    answers = answers_of(results, store)
    likeness = likeness_of(results)
    rows = [beside(name, other, answers, likeness) for name, other in compared(answers, base)]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p"] = p
    scores = ", ".join(f"{name} {in_words(score_of(runs))}" for name, runs in answers.items())
    yield f"Scores: {scores}."
    yield ""
    columns = ("setting", "beside", "score", "p, Holm", "cosine", "recall", "n")
    yield from heading(columns)
    for row in rows:
        yield line(
            (
                row["setting"],
                row["beside"],
                in_words(row["score"]),
                f"{row['p']:.3f}",
                row["cosine"],
                row["recall"],
                str(row["n"]),
            )  # fmt: skip
        )
    yield ""
    yield from fitted(answers, likeness)
    yield ""
    yield from verdicts(results)


def verdicts(results: Mapping[str, Any]) -> Iterator[str]:
    """The patterns of the paper that the study itself judged, by the rules as they are."""
    yield from heading(("pattern", "verdict", "by"))
    for row in map(plain, find_patterns(results["tables"])):
        claim, told = f"{row['pattern']}: {row['claim']}", ". ".join(filter(None, (row["why"], row["sentence"])))
        yield line((claim, row["verdict"], told))


def answers_of(results: Mapping[str, Any], store: Path) -> dict[str, list[dict[str, float]]]:
    """The headline of every question, run by run, of every setting at the study's length."""
    length = results["meta"]["config"]["length"]
    found: dict[str, list[dict[str, float]]] = {}
    cells = Store(store)
    keys = {path.name[:12]: path.name for path in (cells.root / "cells").iterdir()}
    for row in results["tables"]["evaluation"]:
        if row["length"] == length:
            path = cells.output(keys[row["key"]]) / "predictions.jsonl"
            scores = {one["example_id"]: one["scores"][row["metric"]] for _, one in read_jsonl(path)}
            found.setdefault(row["setting"], []).append(scores)
    return found


def likeness_of(results: Mapping[str, Any]) -> dict[str, dict[str, Interval]]:
    """Cosine and recall of every setting's heads with the reference's, mean over seeds; bounds of single seeds."""
    found: dict[str, dict[str, Interval]] = {}
    rows = sorted(results["tables"]["similarity"], key=lambda row: row["setting"])
    for setting, own in groupby(rows, key=lambda row: row["setting"]):
        some = list(own)
        found[setting] = {name: mean_of(some, name) for name in ("cosine", "recall")}
    return found


def mean_of(rows: Sequence[Row], name: str) -> Interval:
    return Interval(
        *(fmean(known(row.get(column)) for row in rows) for column in (name, f"{name}_low", f"{name}_high"))
    )


def compared(answers: Mapping[str, Any], base: str) -> list[tuple[str, str]]:
    """Pairs of a setting and what it differs from: a changed recipe from its own setting, others from `base`."""
    names = [name for name in answers if name not in ("base", "extended", base)]
    own = {name: parted(name)[0] for name in names}
    return [(name, own[name] if own[name] != name and own[name] in answers else base) for name in names]


def beside(name: str, other: str, answers: Mapping[str, Any], likeness: Mapping[str, dict[str, Interval]]) -> Row:
    questions = sorted(set.intersection(*(set(run) for run in (*answers[name], *answers[other]))))
    runs = min(len(answers[name]), len(answers[other]))
    one, two = (np.array([[run[q] for q in questions] for run in answers[key][:runs]]) for key in (name, other))
    found = paired(one, two)
    told = {
        key: in_words(likeness[name][key]) + (f" beside {likeness[other][key].mean:.2f}" if other in likeness else "")
        if name in likeness
        else "reference"
        for key in ("cosine", "recall")
    }
    return {"setting": name, "beside": other, "score": found.difference, "p": found.p, "n": found.n} | told


def score_of(runs: Sequence[Mapping[str, float]]) -> Interval:
    questions = sorted(set.intersection(*(set(run) for run in runs)))
    return hm.stats.bootstrap_crossed(np.array([[run[question] for question in questions] for run in runs]))


def fitted(answers: Mapping[str, Any], likeness: Mapping[str, dict[str, Interval]]) -> Iterator[str]:
    """Over all settings: does what moves the likeness of heads move the score?"""
    names = [name for name in answers if name in likeness and name != "real"]
    scores = np.array([score_of(answers[name]).mean for name in names])
    for measure in ("cosine", "recall"):
        found = spearman(np.array([likeness[name][measure].mean for name in names]), scores)
        bounds = "the same for all" if math.isnan(found.rho) else in_words(spearman_interval(found.rho, found.n))
        yield f"- {measure} of heads and score over {found.n} settings: rho {bounds}, p {found.p:.3f}."


# ---- rows of the world as a file


def write_rows(path: Path, needles: int, seed: int) -> None:
    """Questions over documents, as one's own rows are written; several needles are a chain of facts, one a document."""
    tokenizer, lines = load_tokenizer("miniature-llama"), []
    task = {"task": "mdqa"} if needles == 1 else {"task": "musique", "hops": (needles,)}
    for split, count in SPLITS.items():
        for row in hm.build(hm.Recipe(**task, length=512, rows=count, split=split, seed=seed), tokenizer):
            lines.append({"question": row.question, "answers": list(row.answers), "documents": documents_of(row)})
    write_jsonl(path, lines)
    print(f"{len(lines)} rows in {path}")


def documents_of(row: hm.Example) -> list[Row]:
    """Texts of the documents, the one with the evidence marked."""
    gold = row.spans["evidence"]
    spans = row.spans["document"]
    return [
        {"text": text_of(row, span), **({"gold": True} if any(span.overlaps(one) for one in gold) else {})}
        for span in spans
    ]


def text_of(row: hm.Example, span: hm.Span) -> str:
    """Without its number: [3] Ada ..."""
    return row.text[span.slice].partition("] ")[2].strip() or row.text[span.slice].strip()


# ---- pages


def heading(columns: Sequence[str]) -> list[str]:
    return [line(columns), "|" + "---|" * len(columns)]


def line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def number(value: Any) -> str:
    return "" if math.isnan(known(value)) else f"{value:.2f}"


def in_words(found: Interval) -> str:
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("parts", "construction", "rows"))
    parser.add_argument("place", type=Path, help="a study's folder; of `rows`, the file to write")
    parser.add_argument("--base", default="low-high", help="what settings without a change are set beside")
    parser.add_argument("--store", type=Path, help="the study's, where it stands outside of its folder")
    parser.add_argument(
        "--needles", type=int, default=1, choices=range(1, 5), help="of `rows`: facts to find for an answer"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of `rows`: the world's, so that no fact stands in both files"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.what == "rows":
        write_rows(options.place, options.needles, options.seed)
        return
    results = read_json(options.place / "results.json")
    about = results["meta"]
    seeds = len(about["config"]["seeds"])
    lines = [
        f"# {about['study']}",
        "",
        f"{about['model']['name']}, {about['cells']['finished']} cells, {seeds} seed(s).",
    ]
    if options.what == "parts":
        lines += ["", *parts_page(results)]
    else:
        lines += ["", *construction_page(results, options.store or options.place / "store", options.base)]
    text = "\n".join([*lines, ""])
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
