"""LongBench's row scores (Bai et al. 2023)."""

import re
from collections.abc import Sequence

from haymaker.errors import DataError
from haymaker.metrics.shared import RowMetric, best, named
from haymaker.metrics.squad import word_f1

_NUMBER = re.compile(r"\d+")

# Datasets whose predictions are cut to their first line.
LONGBENCH_FIRST_LINE: tuple[str, ...] = ("trec", "triviaqa", "samsum", "lsht")
LONGBENCH_F1: tuple[str, ...] = (
    "narrativeqa",
    "qasper",
    "multifieldqa_en",
    "hotpotqa",
    "2wikimqa",
    "musique",
    "triviaqa",
)


def longbench_f1(prediction: str, golds: Sequence[str], *, dataset: str | None = None) -> float:
    """LongBench's qa_f1 of a row: `squad_f1`, and 0 without golds.

    With `dataset`, its first-line rule: a prediction for triviaqa (or trec, samsum, lsht) is its first line after any
    leading line breaks; the other F1 datasets keep theirs whole. Any other name raises ConfigError.
    """
    if dataset is not None:
        named(dict.fromkeys((*LONGBENCH_F1, *LONGBENCH_FIRST_LINE)), dataset, "LongBench F1 dataset")
    cut = dataset in LONGBENCH_FIRST_LINE
    return best(word_f1, prediction, golds, without_golds=0.0, prepare=_first_text_line if cut else str)


def longbench_retrieval(prediction: str, golds: Sequence[str]) -> float:
    """passage_retrieval_en: share of the prediction's numbers that are a gold's ("Paragraph 3"); 0 without golds.

    A gold that names no paragraph raises DataError.
    """
    return best(_share_of_paragraph, prediction, golds, without_golds=0.0)


def longbench_count(prediction: str, golds: Sequence[str]) -> float:
    """passage_count: share of the prediction's numbers that are spelt as a gold is; 0 without golds."""
    return best(_share_of_numbers, prediction, golds, without_golds=0.0)


def longbench(prediction: str, golds: Sequence[str], *, dataset: str) -> float:
    """The row's score under its dataset's rule; a dataset scored by neither F1 nor numbers raises ConfigError."""
    rules: dict[str, RowMetric] = {"passage_retrieval_en": longbench_retrieval, "passage_count": longbench_count}
    if dataset in rules:
        return rules[dataset](prediction, golds)
    named(dict.fromkeys((*LONGBENCH_F1, *rules)), dataset, "LongBench dataset")
    return longbench_f1(prediction, golds, dataset=dataset)


def _first_text_line(text: str) -> str:
    return text.lstrip("\n").partition("\n")[0]


def _share_of_numbers(prediction: str, number: str) -> float:
    numbers = _NUMBER.findall(prediction)
    return numbers.count(number) / len(numbers) if numbers else 0.0


def _share_of_paragraph(prediction: str, gold: str) -> float:
    named = re.search(r"Paragraph (\d+)", gold)
    if named is None:
        raise DataError(f"expected a gold that names its paragraph (Paragraph 3), found {gold!r}")
    return _share_of_numbers(prediction, named[1])
