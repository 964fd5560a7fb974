"""MuSiQue's answer, support and group scores (Trivedi et al. 2022, evaluate_v1.0)."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from haymaker.errors import DataError
from haymaker.metrics.shared import best, field, number_set, set_scores
from haymaker.metrics.squad import same, word_f1_or_both_empty


class MusiqueScores(NamedTuple):
    """Means over a file, 0 to 1, unrounded (the official script rounds to three digits).

    The group scores exist where the file has unanswerable rows (MuSiQue-Full): an id counts with its answerable row's
    F1 if both its rows were rightly called answerable or not, else with 0.

    Attributes:
        answer_f1: Mean F1 of the answers.
        answer_em: Mean exact match.
        support_f1: Mean F1 of the supporting paragraphs.
        group_answer_sufficiency_f1: Over ids, answers; None without unanswerable rows.
        group_support_sufficiency_f1: Over ids, paragraphs; None without unanswerable rows.

    Source:
        MuSiQue evaluate_v1.0 (Trivedi et al. 2022).

    Examples:
        >>> hm.metrics.MusiqueScores(answer_f1=0.5, answer_em=0.4, support_f1=0.6).answer_em
        0.4
    """

    answer_f1: float
    answer_em: float
    support_f1: float
    group_answer_sufficiency_f1: float | None = None
    group_support_sufficiency_f1: float | None = None


class _MusiqueRow(NamedTuple):
    answerable: bool
    called_rightly: bool
    answer_f1: float = 0.0
    answer_em: float = 0.0
    support_f1: float = 0.0


def musique_em(prediction: str, golds: Sequence[str]) -> float:
    """1 if the prediction equals the answer or an alias after `normalise`, else 0.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        MuSiQue evaluate_v1.0 (Trivedi et al. 2022).

    Examples:
        >>> hm.metrics.musique_em("The mill", ["mill", "a water mill"])
        1.0
    """
    return best(same, prediction, golds)


def musique_f1(prediction: str, golds: Sequence[str]) -> float:
    """`squad_f1`, but 1 where prediction and gold both normalise to nothing.

    Args:
        prediction: The answer, as text.
        golds: The texts that count as right.

    Returns:
        The row's score, 0 to 1.

    Raises:
        DataError: No golds, a prediction that is no text, or golds that are no list of texts.

    Source:
        MuSiQue evaluate_v1.0 (Trivedi et al. 2022).

    Examples:
        >>> hm.metrics.musique_f1("the", ["a"])
        1.0
    """
    return best(word_f1_or_both_empty, prediction, golds)


def musique_support_f1(predicted: Iterable[int | str], golds: Iterable[int | str]) -> float:
    """F1 of two sets of paragraph numbers, 0 to 1; 1 if both are empty.

    Args:
        predicted: Numbers that the model named.
        golds: Numbers of the supporting paragraphs.

    Returns:
        F1, 0 to 1.

    Raises:
        DataError: A number that is none.

    Source:
        MuSiQue evaluate_v1.0 (Trivedi et al. 2022).

    Examples:
        >>> hm.metrics.musique_support_f1([1, 2], [2, 3])
        0.5
    """
    found, wanted = number_set(predicted, "predicted paragraph"), number_set(golds, "supporting paragraph")
    return set_scores(found, wanted).f1 if found or wanted else 1.0


def musique_scores(predictions: Sequence[Mapping[str, Any]], golds: Sequence[Mapping[str, Any]]) -> MusiqueScores:
    """Scores a prediction file's rows against the gold file's, both in the official layout and in one order.

    Args:
        predictions: Rows with id, predicted_answer, predicted_support_idxs, predicted_answerable.
        golds: Rows with id, answer, answer_aliases, paragraphs, answerable.

    Returns:
        Means over the file.

    Raises:
        DataError: Naming the id: files differ in length or order, a field is missing, an answer is not text, or
            (MuSiQue-Full) an id lacks its one answerable and one unanswerable row.

    Source:
        MuSiQue evaluate_v1.0 (Trivedi et al. 2022).

    Examples:
        >>> gold = {"id": "a", "answer": "mill", "answer_aliases": [], "answerable": True}
        >>> gold["paragraphs"] = [{"idx": 0, "is_supporting": True}]
        >>> found = {"id": "a", "predicted_answer": "mill", "predicted_answerable": True, "predicted_support_idxs": [0]}
        >>> hm.metrics.musique_scores([found], [gold]).answer_f1
        1.0
    """
    if not golds or len(predictions) != len(golds):
        raise DataError(f"expected one prediction for each gold row, found {len(predictions)} for {len(golds)}")
    rows: dict[str, list[_MusiqueRow]] = {}
    for prediction, gold in zip(predictions, golds, strict=True):
        rows.setdefault(field(gold, "id"), []).append(_musique_row(prediction, gold))
    every = [row for group in rows.values() for row in group if row.answerable]
    groups = [] if all(row.answerable for group in rows.values() for row in group) else _musique_groups(rows)
    return MusiqueScores(
        answer_f1=fmean(row.answer_f1 for row in every),
        answer_em=fmean(row.answer_em for row in every),
        support_f1=fmean(row.support_f1 for row in every),
        group_answer_sufficiency_f1=fmean(row.answer_f1 * row.called_rightly for row in groups) if groups else None,
        group_support_sufficiency_f1=fmean(row.support_f1 * row.called_rightly for row in groups) if groups else None,
    )


def _musique_row(prediction: Mapping[str, Any], gold: Mapping[str, Any]) -> _MusiqueRow:
    if (found := field(prediction, "id")) != (wanted := field(gold, "id")):
        raise DataError(f"expected the predictions in the order of the gold rows: {wanted!r} next, found {found!r}")
    answerable = field(gold, "answerable")
    called_rightly = field(prediction, "predicted_answerable") == answerable
    if not answerable:
        return _MusiqueRow(False, called_rightly)
    answer, answers = field(prediction, "predicted_answer"), [field(gold, "answer"), *field(gold, "answer_aliases")]
    if not isinstance(answer, str):
        raise DataError(f"{wanted}: expected predicted_answer to be text, found {answer!r}; an empty text scores 0")
    paragraphs = field(gold, "paragraphs")
    support = [field(paragraph, "idx") for paragraph in paragraphs if field(paragraph, "is_supporting")]
    support_f1 = musique_support_f1(field(prediction, "predicted_support_idxs"), support)
    return _MusiqueRow(True, called_rightly, musique_f1(answer, answers), musique_em(answer, answers), support_f1)


def _musique_groups(rows: Mapping[str, Sequence[_MusiqueRow]]) -> list[_MusiqueRow]:
    """Each id's answerable row, called rightly only if both of its rows were."""
    groups = []
    for identifier, pair in rows.items():
        if sorted(row.answerable for row in pair) != [False, True]:
            found = f"{len(pair)}, {sum(row.answerable for row in pair)} of them answerable"
            raise DataError(f"{identifier}: MuSiQue-Full needs one answerable and one unanswerable row, found {found}")
        answerable = max(pair, key=lambda row: row.answerable)
        groups.append(answerable._replace(called_rightly=all(row.called_rightly for row in pair)))
    return groups
