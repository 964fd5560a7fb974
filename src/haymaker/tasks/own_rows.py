"""Rows of one's own, whatever they are called in their file: a question over documents, or a conversation.

Evidence is what the row says, else it is found here, once: the gold documents, if an answer stands in them; of one text
the sentence in which it stands, if that is exactly once. A row without either is of no use, and counted by its reason.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unicodedata import category, normalize

from haymaker.drafts import Alternatives, Document
from haymaker.miniature.world import FILLER
from haymaker.realism.answers import JOINER, NON_JOINER, all_but_held, occurrences
from haymaker.records import digest
from haymaker.tasks.file_rows import FileRow
from haymaker.tasks.own_spans import Range, Turn, answers_within, evidence_labels, pieces, spelled_as
from haymaker.tasks.pool import Passage
from haymaker.tasks.summhay_rows import SENTENCE

NO_QUESTION = "the question or all answers are empty"
NO_PROMPT = "the prompt is empty"
NO_GOLD = "no document is marked gold, and no evidence is given"
NOWHERE = "no evidence is given, and the answer stands nowhere in a gold document"
TWICE = "no evidence is given, and the answer stands more than once in the text"


@dataclass(frozen=True)
class OwnDocument:
    """A document of a row; ranges are characters of its text. Without ranges a gold one is evidence as a whole."""

    text: str
    title: str = ""
    gold: bool = False
    evidence: tuple[Range, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question over documents, in their file's order. `steps` are its hops, where the row tells them: (question,
    answer, number of the document that holds it)."""

    question: str
    answers: tuple[str, ...]
    documents: tuple[OwnDocument, ...]
    name: str = ""  # the row's own id
    steps: tuple[tuple[str, str, int], ...] = ()
    whole: bool = False  # one text rather than documents: its evidence is the sentence with the answer
    metrics: tuple[str, ...] = ()  # that judge answers, the headline first; none: those of the task
    golds: tuple[str, ...] = ()  # what they compare with, where that is not the answers

    @property
    def judges(self) -> dict[str, list[str]]:
        return judges(self.metrics, self.golds)

    @property
    def key(self) -> str:
        """The row's name, or a digest of what it asks and of what."""
        return self.name or digest([self.question, [document.text for document in self.gold]])

    @property
    def gold(self) -> list[OwnDocument]:
        return [document for document in self.documents if document.gold]


@dataclass(frozen=True)
class Talk:
    """A conversation up to its last turn, the answer; evidence in characters of all turns one after another."""

    turns: tuple[Turn, ...]
    answers: tuple[str, ...]
    evidence: tuple[Range, ...] = ()
    question: str = ""
    name: str = ""
    metrics: tuple[str, ...] = ()
    golds: tuple[str, ...] = ()

    @property
    def judges(self) -> dict[str, list[str]]:
        return judges(self.metrics, self.golds)


def judges(metrics: Sequence[str], golds: Sequence[str]) -> dict[str, list[str]]:
    """What a row says of how its answers are judged, where that is not the task's own way."""
    told = {"metrics": list(metrics), "golds": list(golds)}
    return {key: value for key, value in told.items() if value}


Found = Question | Talk | str  # a row, or why it is of no use


def settled(row: Question, evidence: bool = True) -> Question | str:
    """The row with its evidence in place and the answer first that stands there, or why it is of no use.

    Where `evidence` is not needed, a row of which it is not known is of use without."""
    answers = as_spelled(tuple(answer for answer in row.answers if answer.strip()), row.documents)
    if not row.question.strip() or not answers:
        return NO_QUESTION
    row = replace(row, documents=tuple(without_blanks(document) for document in row.documents))
    if any(document.evidence for document in row.documents):
        documents = tuple(replace(one, gold=bool(one.evidence)) for one in row.documents)
        return replace(row, documents=documents, answers=standing_first(documents, answers))
    found = found_once(row, answers) if row.gold else NO_GOLD
    return found if evidence or not isinstance(found, str) else replace(row, answers=answers)


def without_blanks(document: OwnDocument) -> OwnDocument:
    """Evidence of blanks alone is none."""
    kept = tuple(one for one in document.evidence if document.text[slice(*one)].strip())
    return document if kept == document.evidence else replace(document, evidence=kept)


def as_spelled(answers: tuple[str, ...], documents: Sequence[OwnDocument]) -> tuple[str, ...]:
    """The answers, before each the spelling in which documents have it where that is another one (of its accents)."""
    if all(answer.isascii() for answer in answers):
        return answers
    text = "\n".join(document.text for document in documents)
    return tuple(dict.fromkeys(said for answer in answers for said in (spelled_as(answer, text), answer)))


def standing_first(documents: Sequence[OwnDocument], answers: tuple[str, ...]) -> tuple[str, ...]:
    """The answers with those that stand in evidence first, for the first is what training teaches."""

    def missing(answer: str) -> bool:
        return not any(answers_within(one.text, one.evidence, [answer]) for one in documents)

    return tuple(sorted(answers, key=missing))


def found_once(row: Question, answers: tuple[str, ...]) -> Question | str:
    """The row with the gold documents as its evidence, if one of the answers stands in them; of one text, exactly once,
    for which of its sentences is meant is not known else."""
    counts = [sum(len(occurrences(document.text, answer)) for document in row.gold) for answer in answers]
    if not any(counts):
        return NOWHERE + all_but_held([document.text for document in row.gold], answers)
    if 1 not in counts and row.whole:
        return TWICE
    target = answers[counts.index(1)] if 1 in counts else next(one for one, n in zip(answers, counts, strict=True) if n)
    order = (target, *(answer for answer in answers if answer != target))
    return replace(row, answers=order, documents=tuple(marked_gold(one, target, row.whole) for one in row.documents))


def marked_gold(document: OwnDocument, answer: str, whole: bool) -> OwnDocument:
    """A gold document with its evidence: all of it, or of a whole text the sentence with the answer."""
    if not document.gold or not document.text.strip():
        return replace(document, gold=False)
    if not whole:
        return replace(document, evidence=((0, len(document.text)),))
    return replace(document, evidence=(sentence_around(document.text, occurrences(document.text, answer)[0]),))


def sentence_around(text: str, place: Range) -> Range:
    """The sentence that holds a range, or those that do."""
    held = [match for match in SENTENCE.finditer(text) if match.start() < place[1] and place[0] < match.end()]
    start = min([place[0], *(match.end() - len(match.group().lstrip()) for match in held)])
    return start, max([place[1], *(match.start() + len(match.group().rstrip()) for match in held)])


# ---- what people should know of a row that is kept


INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
ANOTHER_TAUGHT = "another answer than the first is taught, as that one does not stand in the evidence, or not once"
NO_EVIDENCE = "kept for answers alone, as no evidence is known"
EMPTY_DOCUMENT = "a document is empty"


def remarks_on(row: Question | Talk, answers: Sequence[str], evidence: bool) -> Iterator[str]:
    """What is odd about a row of use, of which these are the answers and `evidence` is known or not."""
    documents = row.documents if isinstance(row, Question) else ()
    texts = [text for one in documents for text in (one.title, one.text)]
    texts += [row.question, *row.answers, *(turn.text for turn in (row.turns if isinstance(row, Talk) else ()))]
    found = {letter for text in texts for letter in INVISIBLE.findall(text)}
    if found := found | {letter for text in row.answers for letter in text if is_format(letter)}:
        codes = ", ".join(f"U+{ord(letter):04X}" for letter in sorted(found))
        yield f"characters that control or are not seen stand in its text ({codes})"
    if not all(document.text.strip() for document in documents):
        yield EMPTY_DOCUMENT
    if documents and not evidence:
        yield NO_EVIDENCE
    elif documents and normalize("NFC", answers[0]) != normalize("NFC", row.answers[0].strip()):
        yield ANOTHER_TAUGHT


def is_format(letter: str) -> bool:
    """Whether a letter is not seen and no part of a word, as a mark of direction: an answer without it counts wrong."""
    return category(letter) == "Cf" and letter not in (JOINER, NON_JOINER)


# ---- as what a build reads


@dataclass(frozen=True)
class OwnRow(FileRow):
    """A settled question as other tasks' rows are: its gold documents first, then the others in the file's order."""

    marks: tuple[tuple[Range, ...], ...] = ()  # evidence in each gold document
    judges: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Question) -> "OwnRow":
        others = [document for document in row.documents if not document.gold]
        gold, steps = in_hop_order(row)
        passages = tuple(Passage(document.title, document.text) for document in (*gold, *others))
        marks = tuple(document.evidence for document in gold)
        return cls(row.key, row.question, row.answers, passages, steps=steps, marks=marks, judges=row.judges)

    @property
    def evidence(self) -> tuple[Passage, ...]:
        return self.passages[: len(self.marks)]

    @property
    def distractors(self) -> tuple[Passage, ...]:
        return self.passages[len(self.marks) :]

    @property
    def source(self) -> dict[str, Any]:
        return {**super().source, "hops": len(self.marks), **self.judges}

    @property
    def has_twins(self) -> bool:
        """Whether it is known which fact each gold document gives."""
        return len(self.steps) == len(self.marks)

    def gold(self) -> tuple[Alternatives, ...]:
        """The gold documents, their evidence and the answers in it marked."""
        made, first = [], 0
        for passage, ranges in zip(self.evidence, self.marks, strict=True):
            segments = pieces(passage.text, evidence_labels(passage.text, ranges, self.answers, first), (FILLER,))
            made.append((Document(passage.key, segments, "gold", passage.title),))
            first += len(ranges)
        return tuple(made)


def in_hop_order(row: Question) -> tuple[list[OwnDocument], tuple[tuple[str, str], ...]]:
    """The gold documents in the order of the hops, and these; without hops in the file's order, as one question."""
    places = [place for *_, place in row.steps]
    gold = [i for i, document in enumerate(row.documents) if document.gold]
    if row.steps and sorted(places) == gold:
        return [row.documents[i] for i in places], tuple(step[:2] for step in row.steps)
    return [row.documents[i] for i in gold], ((row.question, row.answers[0]),)
