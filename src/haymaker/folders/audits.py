"""Checks of a row under the scoring metric, stored with it; summary.py adds them up."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from haymaker.building.fit import Page
from haymaker.records import digest
from haymaker.tasks.answers import holds, may_hold, normalised_gold
from haymaker.tasks.base import Document, Draft

MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
ANSWER_TYPES = (
    ("yes or no", re.compile(r"^(?:yes|no)$", re.IGNORECASE)),
    ("date", re.compile(rf"\b(?:{MONTH})\b|^(?:in |c\. ?)?(?:1\d|20)\d\d$")),
    ("number", re.compile(r"^[^\w]?[\d.,]+(?:\s?%|\s\w+)?$")),
    ("name", re.compile(r"^(?:the )?[A-Z]")),
)


def check_page(draft: Draft, page: Page) -> dict[str, Any]:
    """What can go wrong with a row without anyone noticing.

    answer_in_gold: some gold document holds an answer; answer_in_question: the question does; leaks: numbers of other
    documents whose text does; title_leaks: those where only title and text together do; repeats: documents whose text
    stood in the row before (where the context is not padding); cut: documents that were cut to fill the length;
    counted: its pieces' tokens add up; evidence: digests of the gold documents, to find them in other rows.
    """
    golds = () if draft.cites else page.answers
    gold = [document for document in page.documents if document.role == "gold"]
    leaks, titled = leaks_of(page.documents, golds)
    texts = Counter(document.text for document in page.documents)
    return {
        "answer_in_gold": draft.cites or any(holds(document.text, golds) for document in gold),
        "answer_in_question": holds(draft.question, golds),
        "leaks": leaks,
        "title_leaks": titled,
        "repeats": 0 if draft.context == "low" else sum(texts.values()) - len(texts),
        "cut": [n for n, document in enumerate(page.documents, 1) if document.key.endswith(" words)")],
        "counted": page.exact,
        "answer_type": "citation" if draft.cites else answer_type(page.answers[0]),
        "evidence": [digest([document.title, document.text])[:16] for document in gold],
    }


def leaks_of(documents: Sequence[Document], golds: Sequence[str]) -> tuple[list[int], list[int]]:
    """Numbers of documents that are not gold and hold an answer: in their text, and only with their title before it."""
    others = [(n, document) for n, document in enumerate(documents, 1) if document.role != "gold"]
    texts = [text for _, document in others for text in (document.title, document.text)]
    # Seldom is any left, and then no document is looked through.
    golds = [gold for gold in golds if may_hold(texts, normalised_gold(gold))]
    leaks = [n for n, document in others if holds(document.text, golds)]
    titled = [n for n, document in others if document.title and holds(f"{document.title} {document.text}", golds)]
    return leaks, sorted(set(titled) - set(leaks))


def answer_type(answer: str) -> str:
    """A rough kind of answer, for the balance of a dataset."""
    for name, pattern in ANSWER_TYPES:
        if pattern.search(answer.strip()):
            return name
    return "phrase"
