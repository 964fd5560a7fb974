"""SummHay's scores of a judged summary: coverage, citation and joint (Laban et al. 2024)."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any, NamedTuple

from haymaker.errors import DataError
from haymaker.metrics.citation import citations
from haymaker.metrics.shared import CitationScores, field, set_scores, whole_number

_COVERAGE = {"FULL_COVERAGE": 1.0, "PARTIAL_COVERAGE": 0.5, "NO_COVERAGE": 0.0}


class InsightScore(NamedTuple):
    """One judged insight, all scores 0 to 1.

    Attributes:
        insight_id: The insight's.
        coverage: 1, 0.5 or 0.
        citation: Precision, recall and F1 of what its bullet cites.
        error: Why it could not be scored as judged; then scores are 0.

    Source:
        SummHay (Laban et al. 2024).

    Examples:
        >>> hm.metrics.InsightScore("rain", 0.5, hm.metrics.CitationScores(1.0, 1.0, 1.0)).joint
        0.5
    """

    insight_id: str
    coverage: float
    citation: CitationScores = CitationScores(0.0, 0.0, 0.0)
    error: str | None = None

    @property
    def joint(self) -> float:
        """Coverage times citation F1."""
        return self.coverage * self.citation.f1


class SummhayScores(NamedTuple):
    """Means, 0 to 1: coverage and joint over all insights, the rest over covered ones only (None: none covered).

    Attributes:
        coverage: Mean coverage.
        joint: Mean of coverage times citation F1.
        citation: Mean citation F1 of covered insights.
        precision: Their mean precision.
        recall: Their mean recall.
        insights: How many there are.
        covered: How many are covered.
        errors: How many could not be scored as judged.

    Source:
        SummHay (Laban et al. 2024).

    Examples:
        >>> hm.metrics.summhay_scores([hm.metrics.InsightScore("rain", 0.0)]).citation is None
        True
    """

    coverage: float
    joint: float
    citation: float | None
    precision: float | None
    recall: float | None
    insights: int
    covered: int
    errors: int


def summhay_references(documents: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[int]]:
    """For each insight of a SummHay topic, the numbers of the documents that hold it.

    Args:
        documents: The topic's documents, with `insights_included`.

    Returns:
        Document numbers, from 1, by insight id.

    Raises:
        DataError: A document without `insights_included`.

    Source:
        SummHay (Laban et al. 2024).

    Examples:
        >>> hm.metrics.summhay_references([{"insights_included": ["rain"]}, {"insights_included": []}])
        {'rain': frozenset({1})}
    """
    holders: dict[str, set[int]] = {}
    for number, document in enumerate(documents, start=1):
        for insight in field(document, "insights_included"):
            holders.setdefault(insight, set()).add(number)
    return {insight: frozenset(numbers) for insight, numbers in holders.items()}


def summhay_rows(
    bullets: Sequence[str],
    judgements: Iterable[Mapping[str, Any]],
    references: Mapping[str, frozenset[int]],
    cite_offset: int = 0,
) -> list[InsightScore]:
    """Scores one summary's bullets by a judge's labels; the safe reading.

    A label that is none of SummHay's scores 0; a covered insight whose bullet id is no bullet's number, or whose bullet
    has an unreadable citation, keeps its coverage and scores 0 for citation. Each such row carries an `error`.

    Args:
        bullets: The summary's bullets, in order.
        judgements: A judge's labels, `{insight_id, coverage, bullet_id}`; coverage is FULL_COVERAGE, PARTIAL_COVERAGE
            or NO_COVERAGE.
        references: The documents that hold each insight, by `summhay_references`.
        cite_offset: Added to every citation (1 for annotators' files, which count from 0).

    Returns:
        A score for each judgement.

    Raises:
        DataError: An insight that no document holds: then the topic is broken, not the judgement; a missing field.

    Source:
        SummHay (Laban et al. 2024).

    Examples:
        >>> judged = [{"insight_id": "rain", "coverage": "FULL_COVERAGE", "bullet_id": 1}]
        >>> hm.metrics.summhay_rows(["Rain fell [1]."], judged, {"rain": frozenset({1, 2})})[0].citation.recall
        0.5
    """
    return [_insight_score(judgement, bullets, references, cite_offset) for judgement in judgements]


def summhay_rows_official(
    bullets: Sequence[str],
    judgements: Iterable[Mapping[str, Any]],
    references: Mapping[str, frozenset[int]],
    cite_offset: int = 0,
) -> list[InsightScore]:
    """As the official scorer reads judgements, silent misreadings included, to reproduce published numbers.

    Bullet id 0 means the last bullet, an unreadable one the last but one, an unknown label no coverage.

    Args:
        bullets: The summary's bullets, in order.
        judgements: A judge's labels, `{insight_id, coverage, bullet_id}`; coverage is FULL_COVERAGE, PARTIAL_COVERAGE
            or NO_COVERAGE.
        references: The documents that hold each insight, by `summhay_references`.
        cite_offset: Added to every citation (1 for annotators' files, which count from 0).

    Returns:
        A score for each judgement.

    Raises:
        DataError: Where the official scorer crashes: an id past the end, `[1 2]`, a covered insight that no document
            holds.

    Source:
        SummHay (Laban et al. 2024).

    Examples:
        >>> judged = [{"insight_id": "rain", "coverage": "FULL_COVERAGE", "bullet_id": 1}]
        >>> hm.metrics.summhay_rows_official(["Rain fell [1]."], judged, {"rain": frozenset({1})})[0].joint
        1.0
    """
    return [_official_insight_score(judgement, bullets, references, cite_offset) for judgement in judgements]


def summhay_scores(rows: Sequence[InsightScore], *, none_covered: float | None = None) -> SummhayScores:
    """Pools rows over insights, of one summary or of a whole topic's (a model's score is the pooled one).

    Args:
        rows: Scores of insights.
        none_covered: Stands for the citation means where no insight is covered (officially math.nan).

    Returns:
        The means.

    Raises:
        DataError: No rows.

    Source:
        SummHay (Laban et al. 2024).

    Examples:
        >>> insights = [hm.metrics.InsightScore("rain", 1.0), hm.metrics.InsightScore("sun", 0.0)]
        >>> hm.metrics.summhay_scores(insights).coverage
        0.5
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
    insight, label = field(judgement, "insight_id"), field(judgement, "coverage")
    wanted = _holders(references, insight)
    if label not in _COVERAGE:
        return InsightScore(insight, 0.0, error=f"coverage label {label!r} is none of {', '.join(_COVERAGE)}")
    if not _COVERAGE[label]:
        return InsightScore(insight, 0.0)
    try:
        cited = citations(_judged_bullet(bullets, judgement.get("bullet_id")))
    except DataError as error:
        return InsightScore(insight, _COVERAGE[label], error=str(error))
    return InsightScore(insight, _COVERAGE[label], set_scores({number + offset for number in cited}, wanted))


def _judged_bullet(bullets: Sequence[str], bullet_id: Any) -> str:
    number = whole_number(bullet_id, "bullet id")
    if not 1 <= number <= len(bullets):
        raise DataError(f"bullet id {bullet_id!r} is not one of the summary's bullets 1 to {len(bullets)}")
    return bullets[number - 1]


def _official_insight_score(
    judgement: Mapping[str, Any], bullets: Sequence[str], references: Mapping[str, frozenset[int]], offset: int
) -> InsightScore:
    insight, coverage = field(judgement, "insight_id"), _COVERAGE.get(field(judgement, "coverage"), 0.0)
    if not coverage:
        return InsightScore(insight, 0.0)
    number = -1
    with suppress(TypeError, ValueError, OverflowError):
        number = int(judgement.get("bullet_id"))  # type: ignore[arg-type]
    if not -len(bullets) < number <= len(bullets):
        raise DataError(f"{insight}: the official scorer crashes on bullet id {number} of {len(bullets)} bullets")
    cited = {cite + offset for cite in citations(bullets[number - 1])}
    return InsightScore(insight, coverage, set_scores(cited, _holders(references, insight)))


def _holders(references: Mapping[str, frozenset[int]], insight: str) -> frozenset[int]:
    if not references.get(insight):
        raise DataError(f"expected documents that hold the judged insight {insight!r}, found none in the topic")
    return references[insight]
