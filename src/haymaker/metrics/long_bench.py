"""LongBench's row scores (Bai et al. 2023)."""

import re
from collections.abc import Sequence

from haymaker.errors import DataError
from haymaker.metrics.shared import RowMetric, best, named
from haymaker.metrics.squad import word_f1

_NUMBER = re.compile(r"\d+")
_CHOICE_IN_BRACKETS = re.compile(r"The correct answer is \(([A-D])\)")
_CHOICE = re.compile(r"The correct answer is ([A-D])")

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
    r"""LongBench's qa_f1 of a row: `squad_f1`, and 0 without golds.

    With `dataset`, its first-line rule: a prediction for triviaqa (or trec, samsum, lsht) is its first line after any
    leading line breaks; the other F1 datasets keep theirs whole.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.
        dataset: The dataset's name in LongBench; None: no cutting.

    Returns:
        The row's score, 0 to 1.

    Raises:
        ConfigError: Another dataset.
        DataError: A prediction that is no text, or golds that are no list of texts.

    Source:
        LongBench (Bai et al. 2023), qa_f1_score.

    Examples:
        >>> hm.metrics.longbench_f1("\nParis\nand more", ["Paris"], dataset="triviaqa")
        1.0
    """
    if dataset is not None:
        named(dict.fromkeys((*LONGBENCH_F1, *LONGBENCH_FIRST_LINE)), dataset, "LongBench F1 dataset")
    cut = dataset in LONGBENCH_FIRST_LINE
    return best(word_f1, prediction, golds, without_golds=0.0, prepare=_first_text_line if cut else str)


def longbench_retrieval(prediction: str, golds: Sequence[str]) -> float:
    """passage_retrieval_en: share of the prediction's numbers that are a gold's; 0 without golds.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: A gold that names no paragraph, a prediction that is no text, or golds that are no list of texts.

    Source:
        LongBench (Bai et al. 2023), retrieval_score.

    Examples:
        >>> hm.metrics.longbench_retrieval("Paragraph 3 or 4", ["Paragraph 3"])
        0.5
    """
    return best(_share_of_paragraph, prediction, golds, without_golds=0.0)


def longbench_count(prediction: str, golds: Sequence[str]) -> float:
    """passage_count: share of the prediction's numbers that are spelt as a gold is; 0 without golds.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: A prediction that is no text, or golds that are no list of texts.

    Source:
        LongBench (Bai et al. 2023), count_score.

    Examples:
        >>> hm.metrics.longbench_count("7, or 8", ["7"])
        0.5
    """
    return best(_share_of_numbers, prediction, golds, without_golds=0.0)


def longbench_choice(prediction: str, golds: Sequence[str]) -> float:
    """LongBench v2: 1 if the answer names a gold's letter as it was asked to ("The correct answer is (A)"), else 0.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right, as an answer says them, or their letters alone.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        LongBench v2 (Bai et al. 2024), extract_answer.

    Examples:
        >>> hm.metrics.longbench_choice("**The correct answer is (B)**, as said.", ["B"])
        1.0
    """
    return best(_same_choice, prediction, golds)


def choice_of(text: str) -> str | None:
    """The letter that a text names, stars aside: the first in brackets behind the phrase, else the first without."""
    plain = text.replace("*", "")
    found = _CHOICE_IN_BRACKETS.search(plain) or _CHOICE.search(plain)
    return found[1] if found else None


def longbench(prediction: str, golds: Sequence[str], *, dataset: str) -> float:
    """The row's score under its dataset's rule.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.
        dataset: The dataset's name in LongBench.

    Returns:
        The row's score, 0 to 1.

    Raises:
        ConfigError: A dataset scored by neither F1 nor numbers.
        DataError: What the dataset's rule refuses.

    Source:
        LongBench (Bai et al. 2023).

    Examples:
        >>> hm.metrics.longbench("7, or 8", ["7"], dataset="passage_count")
        0.5
    """
    rules: dict[str, RowMetric] = {"passage_retrieval_en": longbench_retrieval, "passage_count": longbench_count}
    if dataset in rules:
        return rules[dataset](prediction, golds)
    named(dict.fromkeys((*LONGBENCH_F1, *rules)), dataset, "LongBench dataset")
    return longbench_f1(prediction, golds, dataset=dataset)


def _first_text_line(text: str) -> str:
    return text.lstrip("\n").partition("\n")[0]


def _same_choice(prediction: str, gold: str) -> float:
    return float(choice_of(prediction) == (choice_of(gold) or gold.strip()))


def _share_of_numbers(prediction: str, number: str) -> float:
    numbers = _NUMBER.findall(prediction)
    return numbers.count(number) / len(numbers) if numbers else 0.0


def _share_of_paragraph(prediction: str, gold: str) -> float:
    named = re.search(r"Paragraph (\d+)", gold)
    if named is None:
        raise DataError(f"expected a gold that names its paragraph (Paragraph 3), found {gold!r}")
    return _share_of_numbers(prediction, named[1])
