"""Checks of a row under the scoring metric, stored with it, and their sums."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from haymaker.choices import METRICS
from haymaker.data.fit.page import Page
from haymaker.drafts import Document, Draft
from haymaker.errors import DataError
from haymaker.metrics.best_score import golds_for
from haymaker.realism.answers import holds, letters_of, may_hold, normalised_gold, to_look_for
from haymaker.records import digest

MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
ANSWER_TYPES = (
    ("yes or no", re.compile(r"^(?:yes|no)$", re.IGNORECASE)),
    ("date", re.compile(rf"\b(?:{MONTH})\b|^(?:in |c\. ?)?(?:1\d|20)\d\d$")),
    ("number", re.compile(r"^[^\w]?[\d.,]+(?:\s?%|\s\w+)?$")),
    ("name", re.compile(r"^(?:the )?[A-Z]")),
)


def check_page(draft: Draft, page: Page, metrics: Sequence[str] = ()) -> dict[str, Any]:
    """What can go wrong with a row without anyone noticing.

    answer_in_gold: some gold document holds an answer; answer_in_question: the question does; leaks: numbers of other
    documents whose text does; title_leaks: those where only title and text together do; repeats: documents whose text
    stood in the row before (where the context is not padding); cut: documents that were cut to fill the length;
    best: the score that the best answer can have, of metrics where that is not 1; answer_room: tokens that are free
    behind the prompt; evidence: digests of the gold documents, to find them in other rows.
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
        "answer_type": "citation" if draft.cites else answer_type(page.answers[0]),
        "best": {} if draft.cites else best_scores(page.answers, draft.target, metrics),
        "answer_room": page.room,
        "evidence": [digest([document.title, document.text])[:16] for document in gold],
    }


def best_scores(answers: Sequence[str], target: str, metrics: Sequence[str]) -> dict[str, float]:
    """Of every metric under which neither a gold nor what is taught scores 1, given as the answer: the best score."""
    said = dict.fromkeys((*answers, target))
    golds = {name: golds_for(name, answers) for name in metrics}
    best = {name: max(METRICS[name](answer, read) for answer in said) for name, read in golds.items()}
    return {name: score for name, score in best.items() if score < 1}


def leaks_of(documents: Sequence[Document], golds: Sequence[str]) -> tuple[list[int], list[int]]:
    """Numbers of documents that are not gold and hold an answer: in their text, and only with their title before it."""
    others = [(n, document) for n, document in enumerate(documents, 1) if document.role != "gold"]
    letters = letters_of("\n".join(text for _, document in others for text in (document.title, document.text)))
    # Seldom is any left, and then no document is looked through.
    golds = [gold for gold in to_look_for(golds) if may_hold(letters, normalised_gold(gold))]
    if not golds:
        return [], []
    leaks = [n for n, document in others if holds(document.text, golds)]
    titled = [n for n, document in others if document.title and holds(f"{document.title} {document.text}", golds)]
    return leaks, sorted(set(titled) - set(leaks))


def answer_type(answer: str) -> str:
    """A rough kind of answer, for the balance of a dataset."""
    for name, pattern in ANSWER_TYPES:
        if pattern.search(answer.strip()):
            return name
    return "phrase"


# ---- What a dataset's rows come to: their checks, lengths and places added up, for its card and for `haymaker stats`.

TENTHS = 10
FULL = 0.99  # a row with this share of its length counts as filled
FOUND: dict[str, Callable[[dict[str, Any]], bool]] = {  # what is counted, and the rows in which a check found it
    "rows_with_leaks": lambda checks: bool(checks["leaks"]),
    "rows_with_title_leaks": lambda checks: bool(checks["leaks"] or checks["title_leaks"]),
    "rows_with_answer_in_question": lambda checks: checks["answer_in_question"],
    "rows_with_repeats": lambda checks: checks["repeats"] > 0,
    "rows_with_cuts": lambda checks: bool(checks["cut"]),
    "rows_with_a_best_score_below_1": lambda checks: bool(checks.get("best")),
    "rows_without_answer_in_gold": lambda checks: not checks["answer_in_gold"],
}
CHECKED = {"leaks": list, "title_leaks": list, "repeats": int, "cut": list, "answer_in_gold": bool,
           "answer_in_question": bool, "answer_type": str, "evidence": list, "answer_room": int}  # fmt: skip
SUMMED = ("question", "gold_depths", "n_prompt_tokens", "n_target_tokens", "max_tokens", "checks")
"""Columns that a summary reads."""


def wrong_in_sums(row: dict[str, Any]) -> Iterator[str]:
    """In words, what keeps a row from being counted: rows of files may have been edited."""
    yield from wrong_in_checks(row)
    depths, prompt = row["gold_depths"], row["n_prompt_tokens"]
    if depths is None or not all(isinstance(depth, int | float) and 0 <= depth <= 1 for depth in depths):
        yield f"its gold_depths are not parts of the prompt: {depths}"
    counts = {name: row[name] for name in ("n_prompt_tokens", "n_target_tokens", "max_tokens")}
    if prompt is not None and (None in counts.values() or min(counts.values()) < 0 or not row["max_tokens"]):
        yield f"its counts of tokens cannot be: {counts}"
    if not isinstance(row["question"], str):
        yield "its question is missing"


def wrong_in_checks(row: dict[str, Any]) -> Iterator[str]:
    """In words, what its checks lack or have of another type."""
    try:
        checks = json.loads(row["checks"])
    except (TypeError, ValueError, RecursionError):
        checks = None
    if not isinstance(checks, dict):
        yield "its checks are not JSON of an object"
        return
    found: dict[str, Any] = {"answer_room": 0, **checks}
    for name, kind in CHECKED.items():
        value: Any = found.get(name)
        parts = str if name == "evidence" else int
        if type(value) is not kind or (kind is list and not all(type(part) is parts for part in value)):
            yield f"its checks have no right {name}, found {value!r:.50}"


class Summary:
    """Adds rows up, one at a time: what their checks found, and how evenly answers and places are spread."""

    def __init__(self) -> None:
        self.found = Counter(dict.fromkeys(FOUND, 0))
        self.questions: set[str] = set()
        self.evidence: set[str] = set()
        self.repeated = Counter(dict.fromkeys(("rows_with_a_repeated_question", "rows_with_repeated_evidence"), 0))
        self.answer_types: Counter[str] = Counter()
        self.positions = [0] * TENTHS
        self.rows = self.tokens = self.tokens_most = self.filled = 0
        self.tokens_least = sys.maxsize
        self.fill, self.fill_least = 0.0, 1.0

    def add(self, row: dict[str, Any]) -> None:
        """Count a row; of its columns only those of SUMMED are read. Raises DataError for one that they do not hold."""
        for wrong in wrong_in_sums(row):
            raise DataError(f"row {self.rows}: {wrong}; build its dataset again")
        self.rows += 1
        checks = json.loads(row["checks"])
        self.found.update(name for name, is_found in FOUND.items() if is_found(checks))
        self.repeated["rows_with_a_repeated_question"] += row["question"] in self.questions
        self.repeated["rows_with_repeated_evidence"] += not self.evidence.isdisjoint(checks["evidence"])
        self.questions.add(row["question"])
        self.evidence.update(checks["evidence"])
        self.answer_types[checks["answer_type"]] += 1
        for depth in row["gold_depths"]:
            self.positions[min(TENTHS - 1, int(depth * TENTHS))] += 1
        if row["n_prompt_tokens"] is not None:  # rows of one's own may not have been counted
            spare = max(0, checks.get("answer_room", 0) - row["n_target_tokens"])  # of the room for an answer
            self.measure(row["n_prompt_tokens"] + row["n_target_tokens"], spare, row["max_tokens"])

    def measure(self, tokens: int, spare: int, length: int) -> None:
        fill = (tokens + spare) / length
        self.tokens += tokens
        self.tokens_least, self.tokens_most = min(self.tokens_least, tokens), max(self.tokens_most, tokens)
        self.fill, self.fill_least = self.fill + fill, min(self.fill_least, fill)
        self.filled += fill >= FULL

    def result(self) -> dict[str, Any]:
        """The sums. Fractions are 0 to 1; `positions` are starts of evidence per tenth of the prompt."""
        rows = max(1, self.rows)
        return {
            "tokens": self.tokens,
            "tokens_least": self.tokens_least if self.tokens else 0,
            "tokens_most": self.tokens_most,
            "fill_mean": self.fill / rows,
            "fill_least": self.fill_least if self.tokens else 0.0,
            "rows_filled": self.filled / rows,
            **self.found,
            **self.repeated,
            "positions": self.positions,
            "answer_types": dict(sorted(self.answer_types.items(), key=lambda item: (-item[1], item[0]))),
        }


def summary(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All rows added up."""
    summed = Summary()
    for row in rows:
        summed.add(row)
    return summed.result()
