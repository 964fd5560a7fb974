"""One row's prompt, written from measured pieces: its text, and the place of every label in characters and tokens."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from haymaker.data.fit.measure import Measure
from haymaker.data.fit.pieces import Ending, Opening, Piece
from haymaker.drafts import Document, Draft
from haymaker.records import Label, Span
from haymaker.tokens import align

Place = tuple[Label, int, int, int, int]  # characters of the content, tokens of the prompt; half-open


@dataclass
class Page:
    """One row's prompt, written and measured."""

    content: str
    places: list[Place]
    documents: list[Document]
    answers: tuple[str, ...]
    prompt_tokens: int
    target_tokens: int
    exact: bool  # every piece is closed, so the counts add up

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.target_tokens


def write(draft: Draft, documents: list[Document], measure: Measure) -> Page:
    """The prompt with every label's place in characters and in tokens."""
    pieces = measure.pieces(documents)
    opening, ending = measure.ends.opening(documents[0]), measure.ends.ending(documents[-1], draft.question)
    writer = Writer(measure, opening)
    for document, piece in zip(documents, pieces, strict=True):
        writer.add(document, piece)
    content, places, tokens = writer.finish(draft.question, ending)
    answers = draft.answers
    if draft.cites:
        answers = cited(n for n, document in enumerate(documents, 1) if document.role == "gold")
    target = measure.answer(draft.question, answers[0])
    sure = starts_surely(documents[0], opening) and ends_surely(documents[-1], ending)
    exact = measure.adds_up and sure and all(piece.closed for piece in pieces)
    page = Page(content, places, documents, answers, tokens, target, exact)
    text = measure.rendered(content)
    return page if exact else tokenised(page, text, measure)


def counted_right(page: Page, measure: Measure) -> bool:
    """Whether a page's counts and places are those of tokenising it whole."""
    whole = tokenised(replace(page), measure.rendered(page.content), measure)
    return (whole.prompt_tokens, whole.places) == (page.prompt_tokens, page.places)


def starts_surely(first: Document, opening: Opening) -> bool:
    """Whether none of the first document's labels starts or ends where its tokens depend on what stands before it."""
    cuts = [cut for _, *places in first.marks for cut in places if cut]
    return opening.closed and all(cut >= opening.unsure for cut in cuts)


def ends_surely(last: Document, ending: Ending) -> bool:
    """Whether none of the last document's labels starts or ends where its tokens depend on what follows it."""
    size = len(last.text)
    sure = size - ending.unsure
    cuts = [cut for _, *places in last.marks for cut in places if cut != size]
    return ending.closed and (not ending.unsure or all(cut < sure for cut in cuts))


def tokenised(page: Page, text: str, measure: Measure) -> Page:
    """The page with counts and places from tokenising it whole."""
    found = measure.whole(text)
    shift, special = len(measure.prefix), measure.special_before
    labelled = [(label, Span(start, stop).shifted(shift)) for label, start, stop, _, _ in page.places]
    spans = align(labelled, found, "the row")
    page.places = [
        (label, start, stop, span.start + special, span.stop + special)
        for (label, start, stop, _, _), (_, span) in zip(page.places, spans, strict=True)
    ]
    page.prompt_tokens = len(found) + special + measure.special_after
    return page


class Writer:
    """Writes documents one after another and notes where everything stands."""

    def __init__(self, measure: Measure, opening: Opening) -> None:
        self.measure, self.style = measure, measure.style
        self.parts = [self.style.head]
        self.at, self.token, self.first = len(self.style.head), opening.tokens, opening.first
        self.number = 0
        self.places: list[Place] = []
        if self.style.head:
            self.places.append((Label("instruction"), 0, self.at, *opening.instruction))

    def add(self, document: Document, piece: Piece) -> None:
        self.number += 1
        number, style = self.number, self.style
        numbering = self.measure.numbering(number)
        before, after = style.around(document.title, number)
        joiner = style.joiner if number > 1 else ""
        start = self.at + len(joiner)
        body = start + len(before)
        stop = body + len(document.text) + len(after)
        shift = self.token + numbering.extra
        if number > 1 and not before:
            self.first = shift + piece.body
        places = [(Label("document", number), start, stop, self.first, shift + piece.end)]
        if document.role == "gold" and style.number_kinds:
            places += self.number_places(start, numbering.number)
        for label, first, last, begin, end in piece.marks:
            label = Label(label.kind, number) if label.index < 0 else label
            places.append((label, body + first, body + last, shift + begin, shift + end))
        if len(places) > 2:  # one label alone stands behind the document that holds it
            places.sort(key=lambda place: (place[1], -place[2], place[0]))
        self.places += places
        self.parts += (joiner, before, document.text, after)
        self.at, self.token, self.first = stop, shift + piece.tokens, shift + piece.following

    def number_places(self, start: int, tokens: tuple[int, int]) -> list[Place]:
        at, length = self.style.number_place(self.number)
        place = (start + at, start + at + length, self.token + tokens[0], self.token + tokens[1])
        return [(Label(kind, self.number), *place) for kind in self.style.number_kinds]

    def finish(self, question: str, ending: Ending) -> tuple[str, list[Place], int]:
        """The content, all places in order, and the prompt's tokens."""
        lead, tail = self.style.tail_around(question)
        if ending.end:
            self.places = [
                (*place[:4], place[4] + ending.end) if place[2] == self.at else place for place in self.places
            ]
        start = self.at + len(lead)
        asked = (ending.question[0] + self.token, ending.question[1] + self.token)
        self.places.append((Label("question"), start, start + len(question), *asked))
        return "".join((*self.parts, lead, question, tail)), self.places, self.token + ending.tokens


def cited(numbers: Iterable[int]) -> tuple[str, ...]:
    """The answer that cites these documents."""
    return ("".join(f"[{number}]" for number in numbers),)
