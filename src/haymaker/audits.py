"""Checks of rows under the scoring metric, stored with each row and summed up in the manifest."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from haymaker.fit import Page
from haymaker.tasks.answers import holds
from haymaker.tasks.base import Draft

MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
ANSWER_TYPES = (
    ("yes or no", re.compile(r"^(?:yes|no)$", re.IGNORECASE)),
    ("date", re.compile(rf"\b(?:{MONTH})\b|^(?:in |c\. ?)?(?:1\d|20)\d\d$")),
    ("number", re.compile(r"^[^\w]?[\d.,]+(?:\s?%|\s\w+)?$")),
    ("name", re.compile(r"^(?:the )?[A-Z]")),
)


def check_page(draft: Draft, page: Page) -> dict[str, Any]:
    """What can go wrong with a row without anyone noticing.

    answer_in_gold: some gold document holds an answer; leaks: numbers of other documents whose text does; title_leaks:
    those where only title and text together do; repeats: documents whose text stood in the row before (where the
    context is not padding); cut: documents that were cut to fill the length; counted: its pieces' tokens add up.
    """
    golds = () if draft.cites else page.answers
    others = [(n, document) for n, document in enumerate(page.documents, 1) if document.role != "gold"]
    leaks = [n for n, document in others if holds(document.text, golds)]
    titled = [n for n, document in others if document.title and holds(f"{document.title} {document.text}", golds)]
    texts = Counter(document.text for document in page.documents)
    return {
        "answer_in_gold": draft.cites or any(holds(d.text, golds) for d in page.documents if d.role == "gold"),
        "leaks": leaks,
        "title_leaks": sorted(set(titled) - set(leaks)),
        "repeats": 0 if draft.context == "low" else sum(texts.values()) - len(texts),
        "cut": [n for n, document in others if document.key.endswith(" words)")],
        "counted": page.exact,
        "answer_type": "citation" if draft.cites else answer_type(page.answers[0]),
    }


def answer_type(answer: str) -> str:
    """A rough kind of answer, for the balance of a dataset."""
    for name, pattern in ANSWER_TYPES:
        if pattern.search(answer.strip()):
            return name
    return "phrase"


def summary(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Rows in which each check found something."""
    found: Counter[str] = Counter(dict.fromkeys(("rows_with_leaks", "rows_with_title_leaks", "rows_with_cuts"), 0))
    for row in rows:
        checks = json.loads(row["checks"])
        found["rows_with_leaks"] += bool(checks["leaks"])
        found["rows_with_title_leaks"] += bool(checks["leaks"] or checks["title_leaks"])
        found["rows_with_repeats"] += bool(checks["repeats"])
        found["rows_with_cuts"] += bool(checks["cut"])
        found["rows_without_answer_in_gold"] += not checks["answer_in_gold"]
        found["rows_tokenised_whole"] += not checks["counted"]
    return dict(found)
