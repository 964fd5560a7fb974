"""Scores of answers: pure text in, fractions 0 to 1 out, bit-equal to the official scorers they are named after.

A row metric takes a prediction (text) and its golds (texts) and returns one row's score; `METRICS` of
choices.py lists them by name.
A name means one rule: variants that official scorers do not have (uncut, words, lenient) carry names of their own.
Where an official scorer crashes or reads the wrong thing, DataError or a counted error row says so here; so does a
prediction that is no text, or golds that are no list of texts, in every row metric.
"""

from haymaker.choices import METRICS
from haymaker.metrics.best_score import ceiling
from haymaker.metrics.citation import (
    citation_f1,
    citation_f1_lenient,
    citation_scores,
    citations,
    citations_lenient,
)
from haymaker.metrics.forced_choice import gold_over_foil
from haymaker.metrics.likeness import mrcr
from haymaker.metrics.long_bench import (
    LONGBENCH_F1,
    LONGBENCH_FIRST_LINE,
    longbench,
    longbench_choice,
    longbench_count,
    longbench_f1,
    longbench_retrieval,
)
from haymaker.metrics.musique import MusiqueScores, musique_em, musique_f1, musique_scores, musique_support_f1
from haymaker.metrics.shared import CitationScores, PairScore, RowMetric, normalise
from haymaker.metrics.squad import helmet_f1, squad_em, squad_f1, squad_v2_em, squad_v2_f1
from haymaker.metrics.string_match import ruler, ruler_all, ruler_part
from haymaker.metrics.subspan import best_subspan_em, best_subspan_em_uncut, best_subspan_em_words, kv_accuracy
from haymaker.metrics.summhay import (
    InsightScore,
    SummhayScores,
    summhay_references,
    summhay_rows,
    summhay_rows_official,
    summhay_scores,
)

__all__ = [
    "LONGBENCH_F1",
    "LONGBENCH_FIRST_LINE",
    "METRICS",
    "CitationScores",
    "InsightScore",
    "MusiqueScores",
    "PairScore",
    "RowMetric",
    "SummhayScores",
    "best_subspan_em",
    "best_subspan_em_uncut",
    "best_subspan_em_words",
    "ceiling",
    "citation_f1",
    "citation_f1_lenient",
    "citation_scores",
    "citations",
    "citations_lenient",
    "gold_over_foil",
    "helmet_f1",
    "kv_accuracy",
    "longbench",
    "longbench_choice",
    "longbench_count",
    "longbench_f1",
    "longbench_retrieval",
    "mrcr",
    "musique_em",
    "musique_f1",
    "musique_scores",
    "musique_support_f1",
    "normalise",
    "ruler",
    "ruler_all",
    "ruler_part",
    "squad_em",
    "squad_f1",
    "squad_v2_em",
    "squad_v2_f1",
    "summhay_references",
    "summhay_rows",
    "summhay_rows_official",
    "summhay_scores",
]
