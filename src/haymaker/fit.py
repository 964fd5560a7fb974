"""A draft written to its token budget: which documents, in which order, and where everything stands.

Counts of pieces are added, never estimated, and a row is as long as its pieces together; see measure.py. A row whose
pieces do not add up is tokenised whole, and its plan is repaired by what it was off.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from random import Random

from haymaker.config import Recipe
from haymaker.errors import LengthError
from haymaker.measure import Measure, Piece
from haymaker.randomness import keyed
from haymaker.records import Label, Segment, Span
from haymaker.tasks.base import Alternatives, Document, Draft
from haymaker.tokens import align

STRATA = 10  # parts of the context's depth that planned positions visit equally often
LAST_CHOICES = 24  # documents among which the last ones are chosen to fill the length exactly
LEAST_FILL = 0.99
REPAIRS = 6
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


class Fitter:
    """Fits drafts of one recipe. What comes out depends on the recipe, the draft and its row number alone."""

    def __init__(self, recipe: Recipe, measure: Measure) -> None:
        self.recipe, self.measure = recipe, measure

    def fit(self, draft: Draft, number: int) -> Page:
        """The draft written as full as its pieces allow, never over the recipe's length."""
        best: Page | None = None
        wide = tuple(range(990, 990 + len(draft.gold)))
        answers = cited(wide) if draft.cites else draft.answers
        correction = 0
        for _ in range(REPAIRS):
            page = self.page(draft, number, self.measure.answer(draft.question, answers[0]), correction)
            over = page.tokens - self.recipe.length
            if over <= 0 and (best is None or page.tokens > best.tokens):
                best = page
            if over <= 0 and (page.exact or -over <= self.slack) and page.answers == answers:
                break
            correction += max(over, 0)
            answers = page.answers
        if best is None:
            raise self.too_short(draft, page.tokens)
        return best

    @property
    def slack(self) -> int:
        """Tokens that a row may fall short of its length."""
        return int((1 - LEAST_FILL) * self.recipe.length)

    def page(self, draft: Draft, number: int, answer_tokens: int, correction: int) -> Page:
        """The draft written to a room that is `correction` tokens smaller than the counts say."""
        closing = self.measure.closing(draft.question)
        room = self.recipe.length - self.measure.opening.tokens - closing.tokens - answer_tokens - correction
        chosen = self.choose(draft, room)
        others = self.fill(draft, chosen, room)
        return self.write(draft, self.order(draft, number, chosen, others))

    def too_short(self, draft: Draft, needed: int) -> LengthError:
        return LengthError(
            f"length: {self.recipe.length} tokens are too few for {draft.question!r}: with its evidence the row takes "
            f"{needed}; raise the length"
        )

    # ---- choosing

    def costs(self, documents: Sequence[Document]) -> list[int]:
        return [piece.tokens for piece in self.measure.pieces(documents)]

    def numbers_cost(self, count: int, first: int = 1) -> int:
        """Tokens that the numbers of `count` documents take beyond those of as many documents number 1."""
        return sum(self.measure.numbering(n).extra for n in range(first, first + count))

    def choose(self, draft: Draft, room: int) -> list[Document]:
        """Gold and (unranked) competitors, as many as fit, each in its preferred wording where the room allows."""
        wordings = [*draft.gold, *(() if draft.ranked else draft.competitors)]
        if self.recipe.documents:
            wordings = wordings[: max(len(draft.gold), self.recipe.documents)]
        preferred = [alternatives[0] for alternatives in wordings]
        if sum(self.costs(preferred)) + self.numbers_cost(len(preferred)) <= room:
            return preferred
        return self.squeeze(draft, wordings, room)

    def squeeze(self, draft: Draft, wordings: Sequence[Alternatives], room: int) -> list[Document]:
        """As many of the documents as fit in their shortest wordings, and longer ones where room is left."""
        costs = [self.costs(alternatives) for alternatives in wordings]
        shortest = [min(options) for options in costs]
        least = len(draft.gold) + (0 if draft.ranked else draft.least_competitors)
        kept = len(wordings)
        while kept > least and sum(shortest[:kept]) + self.numbers_cost(kept) > room:
            kept -= 1
        spare = room - sum(shortest[:kept]) - self.numbers_cost(kept)
        if spare < 0:
            raise self.too_short(draft, self.recipe.length - spare)
        chosen = []
        for alternatives, options, short in zip(wordings[:kept], costs, shortest, strict=False):
            pick = next(i for i, cost in enumerate(options) if cost - short <= spare)
            spare -= options[pick] - short
            chosen.append(alternatives[pick])
        return chosen

    # ---- filling

    def fill(self, draft: Draft, chosen: list[Document], room: int) -> list[Document]:
        """Further documents that fill the room beside the chosen ones: all in turn, the last few picked to size."""
        ranked = [alternatives[0] for alternatives in draft.competitors] if draft.ranked else []
        stream = Stream(chain(ranked, draft.further()), self.measure)
        if self.recipe.documents:
            return stream.take(max(0, self.recipe.documents - len(chosen)))
        room -= sum(self.costs(chosen)) + self.numbers_cost(len(chosen))
        closers = list(islice(draft.closers(), LAST_CHOICES)) if draft.closers else None
        sizes = self.costs(closers or stream.ahead(LAST_CHOICES))
        reserve = min(4 * sum(sizes) // max(1, len(sizes)), sum(sizes) // 2)
        taken: list[Document] = []
        while room > reserve:
            document, cost = stream.next(room)
            cost += self.numbers_cost(1, len(chosen) + len(taken) + 1)
            if cost > room:
                stream.back()
                break
            room -= cost
            taken.append(document)
        used = {document.key for document in (*chosen, *taken)} if closers else ()
        choices = [document for document in closers or stream.ahead(LAST_CHOICES) if document.key not in used]
        return self.close(draft.trim, choices, chosen, taken, room)

    def close(
        self, trim: bool, choices: list[Document], chosen: list[Document], taken: list[Document], room: int
    ) -> list[Document]:
        """The documents taken, with those added that fill the rest of the room best."""
        number = len(chosen) + len(taken)
        label = self.numbers_cost(1, number + 1)
        costs = [cost + label for cost in self.costs(choices)]
        picked = closest_sum(costs, room)
        documents = [*taken, *(choices[i] for i in picked)]
        gap = room - sum(costs[i] for i in picked)
        if not trim or gap <= self.slack:
            return documents
        return self.trim(documents, gap, [choices[i] for i in range(len(choices)) if i not in picked], number)

    def trim(self, documents: list[Document], gap: int, unused: list[Document], number: int) -> list[Document]:
        """The documents with one more that is cut to the gap, or with two cut ones in the place of the last.

        One alone may not do: a gap can be smaller than a document's number and title.
        """
        label = self.numbers_cost(1, number + 2)
        cut = self.cut(unused[0], gap - label) if unused else None
        if cut is not None:
            return [*documents, cut]
        if not documents or len(unused) < 2:
            return documents
        room = gap + self.costs(documents[-1:])[0] - label
        first = self.cut(unused[0], room // 2)
        second = self.cut(unused[1], room - self.costs([first])[0]) if first else None
        return [*documents[:-1], first, second] if first and second else documents

    def cut(self, document: Document, room: int) -> Document | None:
        """The document's first words, as many as the room holds; None if not one fits."""
        text = self.measure.first_words(document, room)
        labels = document.segments[0].labels
        while text:
            key = f"{document.key} (first {len(text.split())} words)"
            short = replace(document, key=key, segments=(Segment(text, labels),))
            if self.costs([short])[0] <= room:
                return short
            text = text.rpartition(" ")[0]
        return None

    # ---- placing

    def order(
        self, draft: Draft, number: int, chosen: Sequence[Document], others: Sequence[Document]
    ) -> list[Document]:
        """Competitors in rank order or spread by chance, and each gold document at its planned depth."""
        gold, rivals = list(chosen[: len(draft.gold)]), chosen[len(draft.gold) :]
        documents = list(others) if draft.ranked else spread(rivals, others, keyed(self.recipe.seed, number, "spread"))
        costs = self.costs(documents)
        fixed = self.recipe.gold_position
        slots = [slot_at(costs, self.depth(number, i)) if fixed is None else fixed for i in range(len(gold))]
        for i in sorted(range(len(gold)), key=lambda i: (slots[i], i), reverse=True):
            documents.insert(min(slots[i], len(documents)), gold[i])
        return documents

    def depth(self, number: int, which: int) -> float:
        """Planned share of the context before gold document `which` of row `number`: every stratum equally often."""
        if self.recipe.depth is not None:
            return self.recipe.depth
        block, place = divmod(number, STRATA)
        strata = keyed(self.recipe.seed, "strata", which, block).sample(range(STRATA), STRATA)
        return (strata[place] + keyed(self.recipe.seed, number, "depth", which).random()) / STRATA

    # ---- writing

    def write(self, draft: Draft, documents: list[Document]) -> Page:
        """The prompt with every label's place in characters and in tokens."""
        pieces = self.measure.pieces(documents)
        opening, closing = self.measure.opening, self.measure.closing(draft.question)
        writer = Writer(self.measure)
        for document, piece in zip(documents, pieces, strict=True):
            writer.add(document, piece)
        content, places, tokens = writer.finish(draft.question)
        gold = [n for n, document in enumerate(documents, 1) if document.role == "gold"]
        answers = cited(gold) if draft.cites else draft.answers
        target = self.measure.answer(draft.question, answers[0])
        exact = opening.closed and closing.closed and all(piece.closed for piece in pieces)
        exact = exact and self.measure.closes(documents[-1], draft.question)
        page = Page(content, places, documents, answers, tokens, target, exact)
        text = self.measure.rendered(content)
        return page if exact else self.tokenised(page, text)

    def tokenised(self, page: Page, text: str) -> Page:
        """The page with counts and places from tokenising it whole."""
        found = self.measure.whole(text)
        shift = len(self.measure.prefix)
        labelled = [(label, Span(start, stop).shifted(shift)) for label, start, stop, _, _ in page.places]
        spans = align(labelled, found, "the row")
        page.places = [
            (label, start, stop, span.start + self.measure.special_before, span.stop + self.measure.special_before)
            for (label, start, stop, _, _), (_, span) in zip(page.places, spans, strict=True)
        ]
        page.prompt_tokens = len(found) + self.measure.special_before + self.measure.special_after
        return page


class Stream:
    """Documents of a stream with their costs, read and measured about as far as they are needed."""

    def __init__(self, documents: Iterator[Document], measure: Measure) -> None:
        self.source, self.measure = documents, measure
        self.seen: list[Document] = []
        self.costs: list[int] = []
        self.at = 0

    def read(self, count: int) -> int:
        """Have `count` documents ready where the stream has them; how many there are."""
        missing = self.at + count - len(self.seen)
        if missing > 0:
            batch = list(islice(self.source, missing))
            self.seen += batch
            self.costs += [piece.tokens for piece in self.measure.pieces(batch)]
        return min(count, len(self.seen) - self.at)

    def next(self, room: int) -> tuple[Document, int]:
        """The next document and its tokens; `room` says about how many more will be asked for."""
        if self.at == len(self.seen):
            mean = sum(self.costs) // len(self.costs) if self.costs else room // 2
            if not self.read(max(1, min(256, room // max(1, mean)))):
                raise LengthError(
                    f"length: all {len(self.seen)} further documents leave {room} tokens unfilled; "
                    "give more rows, a pool of passages, or a smaller length"
                )
        self.at += 1
        return self.seen[self.at - 1], self.costs[self.at - 1]

    def back(self) -> None:
        self.at -= 1

    def ahead(self, count: int) -> list[Document]:
        """The next documents, without taking them."""
        return self.seen[self.at : self.at + self.read(count)]

    def take(self, count: int) -> list[Document]:
        found = self.ahead(count)
        self.at += len(found)
        return found


class Writer:
    """Writes documents one after another and notes where everything stands."""

    def __init__(self, measure: Measure) -> None:
        self.measure, self.style, self.opening = measure, measure.style, measure.opening
        self.parts = [self.style.head]
        self.at, self.token, self.number = len(self.style.head), self.opening.tokens, 0
        self.places: list[Place] = []
        if self.style.head:
            self.places.append((Label("instruction"), 0, self.at, *self.opening.instruction))

    def add(self, document: Document, piece: Piece) -> None:
        self.number += 1
        number, style = self.number, self.style
        numbering = self.measure.numbering(number)
        before, after = style.around(document.title, number)
        joiner = style.joiner if number > 1 else ""
        start = self.at + len(joiner)
        body = start + len(before)
        stop = body + len(document.text) + len(after)
        first = self.token + numbering.lead if number > 1 else self.opening.first
        shift = self.token + numbering.extra
        self.places.append((Label("document", number), start, stop, first, shift + piece.end))
        if document.role == "gold" and style.number_kinds:
            self.add_number(start, numbering.number)
        for (label, begin, end), (_, span) in zip(piece.marks, document.marks, strict=True):
            label = Label(label.kind, number) if label.index < 0 else label
            self.places.append((label, body + span.start, body + span.stop, shift + begin, shift + end))
        self.parts += [joiner, before, document.text, after]
        self.at, self.token = stop, shift + piece.tokens

    def add_number(self, start: int, tokens: tuple[int, int]) -> None:
        at, length = self.style.number_place(self.number)
        for kind in self.style.number_kinds:
            place = (start + at, start + at + length, self.token + tokens[0], self.token + tokens[1])
            self.places.append((Label(kind, self.number), *place))

    def finish(self, question: str) -> tuple[str, list[Place], int]:
        """The content, all places in order, and the prompt's tokens."""
        closing = self.measure.closing(question)
        lead, tail = self.style.tail_around(question)
        start = self.at + len(lead)
        asked = (closing.question[0] + self.token, closing.question[1] + self.token)
        self.places.append((Label("question"), start, start + len(question), *asked))
        self.places.sort(key=lambda place: (place[1], -place[2], place[0]))
        content = "".join((*self.parts, lead, question, tail))
        return content, self.places, self.token + closing.tokens


def cited(numbers: Iterable[int]) -> tuple[str, ...]:
    """The answer that cites these documents."""
    return ("".join(f"[{number}]" for number in numbers),)


def closest_sum(costs: Sequence[int], room: int) -> list[int]:
    """Indices of costs whose sum comes closest to `room` from below, earlier ones first (subset sum over bit sets)."""
    if room <= 0:
        return []
    mask = (1 << (room + 1)) - 1
    reach = [1]
    for cost in costs:
        reach.append((reach[-1] | reach[-1] << cost) & mask)
    total = reach[-1].bit_length() - 1
    picked = []
    for i in range(len(costs), 0, -1):
        if not reach[i - 1] >> total & 1:
            picked.append(i - 1)
            total -= costs[i - 1]
    return picked[::-1]


def spread(rivals: Sequence[Document], others: Sequence[Document], rng: Random) -> list[Document]:
    """The rivals at chance places among the others."""
    shuffled = rng.sample(list(rivals), len(rivals))
    places = sorted(rng.random() for _ in rivals)
    documents, start = [], 0
    for place, rival in zip(places, shuffled, strict=True):
        stop = round(place * len(others))
        documents += [*others[start:stop], rival]
        start = stop
    return [*documents, *others[start:]]


def slot_at(costs: Sequence[int], depth: float) -> int:
    """How many documents to put before a share `depth` of all their tokens."""
    before, total = 0, sum(costs)
    for slot, cost in enumerate(costs):
        if before + cost / 2 >= depth * total:
            return slot
        before += cost
    return len(costs)
