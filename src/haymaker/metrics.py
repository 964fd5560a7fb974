"""Scores of answers: pure text in, fractions 0 to 1 out, bit-equal to the official scorers they are named after.

A row metric takes a prediction (text) and its golds (texts) and returns one row's score; `METRICS` lists them by name.
A name means one rule: variants that official scorers do not have (uncut, words, lenient) carry names of their own.
Where an official scorer crashes or reads the wrong thing, DataError or a counted error row says so here; so does a
prediction that is no text, or golds that are no list of texts, in every row metric.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any, NamedTuple

from haymaker.errors import ConfigError, DataError

RowMetric = Callable[..., float]
PairScore = Callable[[str, str], float]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_CONTROL = re.compile(r"[\x00-\x1f]")
_NUMBER = re.compile(r"\d+")


def normalise(text: str) -> str:
    """SQuAD's spelling of an answer: lower case, no ASCII punctuation, no articles, single blanks.

    Source: SQuAD evaluate-v1.1 (Rajpurkar et al. 2016). Curly quotes, dashes, accents and zero-width characters stay.
    """
    # Punctuation goes before articles, so "A-ha" becomes "aha" and keeps its a.
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


# --- SQuAD, HotpotQA and HELMET ---------------------------------------------------------------------------------------


def squad_em(prediction: str, golds: Sequence[str]) -> float:
    """1 if the prediction equals any gold after `normalise`, else 0 (SQuAD v1.1). No golds: DataError."""
    return _best(_same, prediction, golds)


def squad_f1(prediction: str, golds: Sequence[str]) -> float:
    """Best F1 over golds of the words shared, counted with repeats (SQuAD v1.1). No golds: DataError.

    F1 = 2PR / (P + R), P and R the shared words over those of prediction and gold; 0 where nothing is shared, also
    where both sides normalise to nothing.
    """
    return _best(_word_f1, prediction, golds)


def squad_v2_em(prediction: str, golds: Sequence[str]) -> float:
    """`squad_em` after SQuAD 2.0's rule: golds that normalise to nothing are dropped; none left means "no answer"."""
    return _best(_same, prediction, _answerable_golds(golds))


def squad_v2_f1(prediction: str, golds: Sequence[str]) -> float:
    """`squad_f1` after SQuAD 2.0's rules: as `squad_v2_em`, and 1 where both sides normalise to nothing."""
    return _best(_word_f1_or_both_empty, prediction, _answerable_golds(golds))


def helmet_f1(prediction: str, golds: Sequence[str]) -> float:
    """`squad_f1`, but 0 where one side is yes, no or noanswer and the other differs (HotpotQA's rule, in HELMET)."""
    return _best(_word_f1_unless_closed, prediction, golds)


def _same(prediction: str, gold: str) -> float:
    return float(normalise(prediction) == normalise(gold))


def _word_f1(prediction: str, gold: str) -> float:
    predicted, expected = normalise(prediction).split(), normalise(gold).split()
    shared = (Counter(predicted) & Counter(expected)).total()
    return _harmonic(shared / len(predicted), shared / len(expected)) if shared else 0.0


def _word_f1_or_both_empty(prediction: str, gold: str) -> float:
    sides = normalise(prediction), normalise(gold)
    return float(sides[0] == sides[1]) if "" in sides else _word_f1(prediction, gold)


def _word_f1_unless_closed(prediction: str, gold: str) -> float:
    sides = {normalise(prediction), normalise(gold)}
    return 0.0 if len(sides) == 2 and sides & {"yes", "no", "noanswer"} else _word_f1(prediction, gold)


def _answerable_golds(golds: Sequence[str]) -> Sequence[str]:
    _require_golds(golds)
    return [gold for gold in golds if normalise(gold)] or [""]


# --- MDQA and key-value retrieval (lost-in-the-middle, Liu et al. 2023) -----------------------------------------------


def best_subspan_em(prediction: str, golds: Sequence[str]) -> float:
    r"""1 if any normalised gold is a substring of the prediction's normalised first line, else 0; 0 without golds.

    The official MDQA score, with its traps: only "\n" ends the line, so an answer that starts with one scores 0; there
    are no word boundaries ("US" is in "because"); a gold that normalises to nothing is in everything.
    """
    return _best(_holds, prediction, golds, without_golds=0.0, prepare=_first_line)


def best_subspan_em_uncut(prediction: str, golds: Sequence[str]) -> float:
    """`best_subspan_em` over the whole prediction (also HELMET's substring match); the one for chat models."""
    return _best(_holds, prediction, golds, without_golds=0.0)


def best_subspan_em_words(prediction: str, golds: Sequence[str]) -> float:
    """`best_subspan_em` where the gold must be consecutive whole words; one that normalises to nothing never is."""
    return _best(_holds_words, prediction, golds, without_golds=0.0, prepare=_first_line)


def kv_accuracy(prediction: str, golds: Sequence[str]) -> float:
    """1 if any gold value is in the whole answer, letter case aside, else 0. No golds: DataError."""
    return _best(_holds_literally, prediction, golds)


def _first_line(text: str) -> str:
    return text.partition("\n")[0].strip()


def _holds(prediction: str, gold: str) -> float:
    return float(normalise(gold) in normalise(prediction))


def _holds_words(prediction: str, gold: str) -> float:
    words = normalise(gold)
    return float(bool(words) and f" {words} " in f" {normalise(prediction)} ")


def _holds_literally(prediction: str, gold: str) -> float:
    # lower(), not casefold(), as the official scorers have it: "STRASSE" does not hold "straße".
    return float(gold.lower() in prediction.lower())


# --- RULER (Hsieh et al. 2024) ----------------------------------------------------------------------------------------


def ruler_all(prediction: str, golds: Sequence[str]) -> float:
    """Share of golds in the prediction, letter case aside, repeats counted (string_match_all). No golds: DataError."""
    _best(_holds_literally, prediction, golds)  # refuses what no row metric can score
    return fmean(_holds_literally(_ruler_text(prediction), gold) for gold in golds)


def ruler_part(prediction: str, golds: Sequence[str]) -> float:
    """1 if any gold is in the prediction, letter case aside, else 0 (string_match_part). No golds: DataError."""
    return _best(_holds_literally, prediction, golds, prepare=_ruler_text)


def ruler(prediction: str, golds: Sequence[str], *, task: str) -> float:
    """The row's score under the rule of a RULER task (niah_single_1, vt, qa_2): any gold for qa, the share elsewhere.

    An unknown task raises ConfigError.
    """
    rules: dict[str, RowMetric] = dict.fromkeys(("niah", "vt", "cwe", "fwe"), ruler_all) | {"qa": ruler_part}
    return _named(rules, task.partition("_")[0], f"family of RULER task {task!r}")(prediction, golds)


def _ruler_text(prediction: str) -> str:
    # RULER's own clean-up: a tab in the answer becomes a line break and so splits "New York".
    return _CONTROL.sub("\n", prediction.strip()).strip()


# --- LongBench (Bai et al. 2023) --------------------------------------------------------------------------------------

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
        _named(dict.fromkeys((*LONGBENCH_F1, *LONGBENCH_FIRST_LINE)), dataset, "LongBench F1 dataset")
    cut = dataset in LONGBENCH_FIRST_LINE
    return _best(_word_f1, prediction, golds, without_golds=0.0, prepare=_first_text_line if cut else str)


def longbench_retrieval(prediction: str, golds: Sequence[str]) -> float:
    """passage_retrieval_en: share of the prediction's numbers that are a gold's ("Paragraph 3"); 0 without golds.

    A gold that names no paragraph raises DataError.
    """
    return _best(_share_of_paragraph, prediction, golds, without_golds=0.0)


def longbench_count(prediction: str, golds: Sequence[str]) -> float:
    """passage_count: share of the prediction's numbers that are spelt as a gold is; 0 without golds."""
    return _best(_share_of_numbers, prediction, golds, without_golds=0.0)


def longbench(prediction: str, golds: Sequence[str], *, dataset: str) -> float:
    """The row's score under its dataset's rule; a dataset scored by neither F1 nor numbers raises ConfigError."""
    rules: dict[str, RowMetric] = {"passage_retrieval_en": longbench_retrieval, "passage_count": longbench_count}
    if dataset in rules:
        return rules[dataset](prediction, golds)
    _named(dict.fromkeys((*LONGBENCH_F1, *rules)), dataset, "LongBench dataset")
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


# --- MuSiQue (Trivedi et al. 2022, evaluate_v1.0) ---------------------------------------------------------------------


class MusiqueScores(NamedTuple):
    """Means over a file, 0 to 1, unrounded (the official script rounds to three digits).

    The group scores exist where the file has unanswerable rows (MuSiQue-Full): an id counts with its answerable row's
    F1 if both its rows were rightly called answerable or not, else with 0.
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
    """1 if the prediction equals the answer or an alias after `normalise`, else 0. No golds: DataError."""
    return _best(_same, prediction, golds)


def musique_f1(prediction: str, golds: Sequence[str]) -> float:
    """`squad_f1`, but 1 where prediction and gold both normalise to nothing. No golds: DataError."""
    return _best(_word_f1_or_both_empty, prediction, golds)


def musique_support_f1(predicted: Iterable[int | str], golds: Iterable[int | str]) -> float:
    """F1 of two sets of paragraph numbers, 0 to 1; 1 if both are empty. A number that is none raises DataError."""
    found, wanted = _number_set(predicted, "predicted paragraph"), _number_set(golds, "supporting paragraph")
    return _set_scores(found, wanted).f1 if found or wanted else 1.0


def musique_scores(predictions: Sequence[Mapping[str, Any]], golds: Sequence[Mapping[str, Any]]) -> MusiqueScores:
    """Scores a prediction file's rows against the gold file's, both in the official layout and in one order.

    Raises DataError, naming the id, where files differ in length or order, a field is missing, an answer is not text,
    or (MuSiQue-Full) an id lacks its one answerable and one unanswerable row.
    """
    if not golds or len(predictions) != len(golds):
        raise DataError(f"expected one prediction for each gold row, found {len(predictions)} for {len(golds)}")
    rows: dict[str, list[_MusiqueRow]] = {}
    for prediction, gold in zip(predictions, golds, strict=True):
        rows.setdefault(_field(gold, "id"), []).append(_musique_row(prediction, gold))
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
    if (found := _field(prediction, "id")) != (wanted := _field(gold, "id")):
        raise DataError(f"expected the predictions in the order of the gold rows: {wanted!r} next, found {found!r}")
    answerable = _field(gold, "answerable")
    called_rightly = _field(prediction, "predicted_answerable") == answerable
    if not answerable:
        return _MusiqueRow(False, called_rightly)
    answer, answers = _field(prediction, "predicted_answer"), [_field(gold, "answer"), *_field(gold, "answer_aliases")]
    if not isinstance(answer, str):
        raise DataError(f"{wanted}: expected predicted_answer to be text, found {answer!r}; an empty text scores 0")
    paragraphs = _field(gold, "paragraphs")
    support = [_field(paragraph, "idx") for paragraph in paragraphs if _field(paragraph, "is_supporting")]
    support_f1 = musique_support_f1(_field(prediction, "predicted_support_idxs"), support)
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


# --- Citations and SummHay (Laban et al. 2024) ------------------------------------------------------------------------

_STRICT_BRACKET = re.compile(r"\[([\d, ]+)\]")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_NOUN = r"\b(?:article|document|doc|passage|source)"
_ITEM = r"(?<!\d)\d{1,6}(?:\s?[-–—]\s?\d{1,6})?(?!\d)"
_LENIENT_PART = re.compile(rf"{_ITEM}|{_NOUN}s?\b|\band\b|[\s,;&#]", re.IGNORECASE)
# A list needs the plural: "Article 5, 20 people died" cites one document.
_NAMED = re.compile(rf"{_NOUN}(?:s {_ITEM}(?:(?:,? and |[,;&] ?){_ITEM})*|\s?#?{_ITEM})", re.IGNORECASE)
_NUMBER_OR_RANGE = re.compile(r"(\d+)(?:\s?[-–—]\s?(\d+))?")
_LONGEST_RANGE = 1000  # documents; a longer range is a number with a dash in it, and would fill the memory
_COVERAGE = {"FULL_COVERAGE": 1.0, "PARTIAL_COVERAGE": 0.5, "NO_COVERAGE": 0.0}


class CitationScores(NamedTuple):
    """Agreement of two sets of document numbers, each 0 to 1: found among cited, found among wanted, harmonic mean."""

    precision: float
    recall: float
    f1: float


class InsightScore(NamedTuple):
    """One judged insight, all scores 0 to 1; `error` says why it could not be scored as judged (then scores are 0)."""

    insight_id: str
    coverage: float
    citation: CitationScores = CitationScores(0.0, 0.0, 0.0)
    error: str | None = None

    @property
    def joint(self) -> float:
        """Coverage times citation F1."""
        return self.coverage * self.citation.f1


class SummhayScores(NamedTuple):
    """Means, 0 to 1: coverage and joint over all insights, the rest over covered ones only (None: none covered)."""

    coverage: float
    joint: float
    citation: float | None
    precision: float | None
    recall: float | None
    insights: int
    covered: int
    errors: int


def citations(text: str) -> frozenset[int]:
    """Document numbers in brackets of digits, commas and blanks, by SummHay's parser: "[1][3, 4]" has 1, 3 and 4.

    "[1; 2]", "[1-4]" and "[Article 1]" hold none. "[1 2]" raises DataError; the official scorer crashes there.
    """
    parts = [part for inside in _STRICT_BRACKET.findall(text) for part in inside.split(",") if part.strip()]
    return _number_set(parts, "citation")


def citations_lenient(text: str) -> frozenset[int]:
    """Document numbers however a model writes them: "[1; 2]", "[1 2]", "[2-4]", "[Article 1 and 3]", "Documents 5, 6".

    A bracket that says anything else ("[Word count: 45]") holds none, nor does a range backwards or over 1000.
    """
    cited = [bracket for bracket in _BRACKET.findall(text) if not _LENIENT_PART.sub("", bracket)]
    cited += _NAMED.findall(_BRACKET.sub(" ", text))
    ends = [ends for part in cited for ends in _NUMBER_OR_RANGE.findall(part)]
    return frozenset(number for first, last in ends for number in _range(int(first), int(last or first)))


def citation_scores(prediction: str, golds: Sequence[str | int], *, lenient: bool = False) -> CitationScores:
    """Precision, recall and F1 of the documents that a text cites against the gold document numbers ("1", "4").

    Source: SummHay's citation score of one covered insight. Raises DataError without golds, for a gold that is no
    number, and (unless `lenient`) for a bracket like "[1 2]".
    """
    if not isinstance(prediction, str):
        raise DataError(f"expected a prediction that is text, found {type(prediction).__name__}")
    if isinstance(golds, str) or not golds:
        raise DataError(f"expected golds as a list of document numbers, at least one, found {golds!r}")
    cited = citations_lenient(prediction) if lenient else citations(prediction)
    return _set_scores(cited, _number_set(golds, "gold document"))


def citation_f1(prediction: str, golds: Sequence[str | int]) -> float:
    """F1 of `citation_scores`, with SummHay's own parser."""
    return citation_scores(prediction, golds).f1


def citation_f1_lenient(prediction: str, golds: Sequence[str | int]) -> float:
    """F1 of `citation_scores`, with the lenient parser."""
    return citation_scores(prediction, golds, lenient=True).f1


def summhay_references(documents: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[int]]:
    """For each insight of a SummHay topic, the numbers (from 1) of the documents whose `insights_included` hold it."""
    holders: dict[str, set[int]] = {}
    for number, document in enumerate(documents, start=1):
        for insight in _field(document, "insights_included"):
            holders.setdefault(insight, set()).add(number)
    return {insight: frozenset(numbers) for insight, numbers in holders.items()}


def summhay_rows(
    bullets: Sequence[str],
    judgements: Iterable[Mapping[str, Any]],
    references: Mapping[str, frozenset[int]],
    cite_offset: int = 0,
) -> list[InsightScore]:
    """Scores one summary's bullets by a judge's labels, `{insight_id, coverage, bullet_id}`; the safe reading.

    A label that is none of SummHay's scores 0; a covered insight whose bullet id is no bullet's number, or whose bullet
    has an unreadable citation, keeps its coverage and scores 0 for citation. Each such row carries an `error`.
    `cite_offset` is added to every citation (1 for annotators' files, which count from 0). An insight that no document
    holds raises DataError: then the topic is broken, not the judgement.
    """
    return [_insight_score(judgement, bullets, references, cite_offset) for judgement in judgements]


def summhay_rows_official(
    bullets: Sequence[str],
    judgements: Iterable[Mapping[str, Any]],
    references: Mapping[str, frozenset[int]],
    cite_offset: int = 0,
) -> list[InsightScore]:
    """As the official scorer reads judgements, silent misreadings included, to reproduce published numbers.

    Bullet id 0 means the last bullet, an unreadable one the last but one, an unknown label no coverage. DataError where
    the official scorer crashes: an id past the end, "[1 2]", a covered insight that no document holds.
    """
    return [_official_insight_score(judgement, bullets, references, cite_offset) for judgement in judgements]


def summhay_scores(rows: Sequence[InsightScore], *, none_covered: float | None = None) -> SummhayScores:
    """Pools rows over insights, of one summary or of a whole topic's (a model's score is the pooled one).

    `none_covered` stands for the citation means where no insight is covered (officially math.nan). No rows: DataError.
    """
    if not rows:
        raise DataError("expected at least one judged insight to average, found none")
    covered = [row.citation for row in rows if row.coverage]
    return SummhayScores(
        coverage=fmean(row.coverage for row in rows),
        joint=fmean(row.joint for row in rows),
        citation=fmean(row.f1 for row in covered) if covered else none_covered,
        precision=fmean(row.precision for row in covered) if covered else none_covered,
        recall=fmean(row.recall for row in covered) if covered else none_covered,
        insights=len(rows),
        covered=len(covered),
        errors=sum(row.error is not None for row in rows),
    )


def _insight_score(
    judgement: Mapping[str, Any], bullets: Sequence[str], references: Mapping[str, frozenset[int]], offset: int
) -> InsightScore:
    insight, label = _field(judgement, "insight_id"), _field(judgement, "coverage")
    wanted = _holders(references, insight)
    if label not in _COVERAGE:
        return InsightScore(insight, 0.0, error=f"coverage label {label!r} is none of {', '.join(_COVERAGE)}")
    if not _COVERAGE[label]:
        return InsightScore(insight, 0.0)
    try:
        cited = citations(_judged_bullet(bullets, judgement.get("bullet_id")))
    except DataError as error:
        return InsightScore(insight, _COVERAGE[label], error=str(error))
    return InsightScore(insight, _COVERAGE[label], _set_scores({number + offset for number in cited}, wanted))


def _judged_bullet(bullets: Sequence[str], bullet_id: Any) -> str:
    number = _whole_number(bullet_id, "bullet id")
    if not 1 <= number <= len(bullets):
        raise DataError(f"bullet id {bullet_id!r} is not one of the summary's bullets 1 to {len(bullets)}")
    return bullets[number - 1]


def _official_insight_score(
    judgement: Mapping[str, Any], bullets: Sequence[str], references: Mapping[str, frozenset[int]], offset: int
) -> InsightScore:
    insight, coverage = _field(judgement, "insight_id"), _COVERAGE.get(_field(judgement, "coverage"), 0.0)
    if not coverage:
        return InsightScore(insight, 0.0)
    number = -1
    with suppress(TypeError, ValueError, OverflowError):
        number = int(judgement.get("bullet_id"))  # type: ignore[arg-type]
    if not -len(bullets) < number <= len(bullets):
        raise DataError(f"{insight}: the official scorer crashes on bullet id {number} of {len(bullets)} bullets")
    cited = {cite + offset for cite in citations(bullets[number - 1])}
    return InsightScore(insight, coverage, _set_scores(cited, _holders(references, insight)))


def _holders(references: Mapping[str, frozenset[int]], insight: str) -> frozenset[int]:
    if not references.get(insight):
        raise DataError(f"expected documents that hold the judged insight {insight!r}, found none in the topic")
    return references[insight]


def _range(first: int, last: int) -> range:
    return range(first, last + 1) if last - first < _LONGEST_RANGE else range(0)


# --- Shared -----------------------------------------------------------------------------------------------------------


def _best(
    score: PairScore,
    prediction: str,
    golds: Sequence[str],
    *,
    without_golds: float | None = None,
    prepare: Callable[[str], str] = str,
) -> float:
    """Best score of the prepared prediction over the golds, the border of every row metric."""
    _require(prediction, golds)
    if golds:
        prepared = prepare(prediction)
        return max(score(prepared, gold) for gold in golds)
    if without_golds is None:
        raise DataError("expected at least one gold text, found none; drop the row when the data is built")
    return without_golds


def _require(prediction: str, golds: Sequence[str]) -> None:
    if not isinstance(prediction, str):
        found = type(prediction).__name__
        raise DataError(f"expected a prediction that is text, found {found}; count a failed call as a failed row")
    _require_golds(golds)


def _require_golds(golds: Sequence[str]) -> None:
    # One text alone is the likely slip, and would be scored letter by letter.
    if isinstance(golds, str) or not isinstance(golds, Sequence):
        raise DataError(f"expected golds as a list of texts, found {golds!r}")
    for gold in golds:
        if not isinstance(gold, str):
            raise DataError(f"expected every gold to be text, found {gold!r}")


def _harmonic(precision: float, recall: float) -> float:
    # In this order of operations the official scorers round the same way, to the last bit.
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _set_scores(found: frozenset[int] | set[int], wanted: frozenset[int]) -> CitationScores:
    shared = len(found & wanted)
    precision = shared / len(found) if found else 0.0
    recall = shared / len(wanted) if wanted else 0.0
    return CitationScores(precision, recall, _harmonic(precision, recall))


def _number_set(values: Iterable[int | str], what: str) -> frozenset[int]:
    return frozenset(_whole_number(value, what) for value in values)


def _whole_number(value: Any, what: str) -> int:
    if isinstance(value, int | str) and not isinstance(value, bool):
        with suppress(ValueError):
            return int(value)
    raise DataError(f"expected a {what} that is a whole number, found {value!r:.80}")


def _field(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise DataError(f"{row.get('id', 'a row')}: expected a field {name!r}, found {', '.join(row) or 'none'}")
    return row[name]


def _named(known: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in known:
        raise ConfigError(f"unknown {what}: {name!r}; known are {', '.join(sorted(known))}")
    return known[name]


METRICS: dict[str, RowMetric] = {
    score.__name__: score
    for score in (
        squad_em, squad_f1, squad_v2_em, squad_v2_f1, helmet_f1,
        best_subspan_em, best_subspan_em_uncut, best_subspan_em_words, kv_accuracy,
        ruler_all, ruler_part, longbench_f1, longbench_retrieval, longbench_count,
        musique_em, musique_f1, citation_f1, citation_f1_lenient,
    )
}  # fmt: skip


def row_metric(name: str) -> RowMetric:
    """The row metric of that name, as a config names it; an unknown name raises ConfigError and lists the known."""
    return _named(METRICS, name, "metric")
