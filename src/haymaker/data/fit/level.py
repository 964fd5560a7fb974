"""One draft at one length: which documents are chosen, which fill the rest, and in which order they stand."""

from collections.abc import Sequence
from dataclasses import replace

from haymaker.config import Recipe
from haymaker.data.fit.measure import Measure
from haymaker.data.fit.page import Page, cited, write
from haymaker.data.fit.place import merged, parts_around, planned_depths, shared_out, slot_at, spread
from haymaker.data.fit.stream import Supply, closest_sum, reserve_of
from haymaker.drafts import Alternatives, Document, Draft
from haymaker.errors import LengthError
from haymaker.randomness import keyed
from haymaker.records import Segment

LAST_CHOICES = 24  # documents among which the last ones are chosen to fill the length exactly
LEAST_FILL = 0.99
ENDS = 4  # tokens that the end of the row may take less than its plan says
REPAIRS = 6


class Level:
    """One draft at one length; `inner` is the same row at the next shorter one of nested lengths."""

    def __init__(
        self,
        recipe: Recipe,
        measure: Measure,
        draft: Draft,
        number: int,
        length: int,
        supply: Supply,
        inner: Page | None = None,
    ) -> None:
        self.recipe, self.measure, self.draft, self.number = recipe, measure, draft, number
        self.length, self.supply, self.inner = length, supply, inner
        self.slack = int((1 - LEAST_FILL) * length)  # tokens that a row may fall short of its length

    def fit(self) -> Page:
        """The row as full as its pieces allow, never over its length."""
        best: Page | None = None
        start = found = self.supply.state
        answers = cited(range(990, 990 + len(self.draft.gold))) if self.draft.cites else self.draft.answers
        correction = 0
        for _ in range(REPAIRS):
            self.supply.state = start
            answer_tokens = self.measure.answer(self.draft.question, answers[0])
            page = self.page(answer_tokens, correction)
            over = page.tokens - self.length
            if over <= 0 and (best is None or page.tokens > best.tokens):
                best, found = page, self.supply.state
            if over <= 0 and (page.exact or -over <= self.slack) and page.target_tokens == answer_tokens:
                break
            correction += max(over, 0)
            answers = page.answers
        if best is None:
            raise self.too_short(page.tokens)
        self.supply.state = found
        return best

    def page(self, answer_tokens: int, correction: int) -> Page:
        """The draft written to a room that is `correction` tokens smaller than the counts say."""
        ending = self.measure.ends.ending(self.measure.ends.usual, self.draft.question)
        room = self.length - self.measure.ends.usual_opening.tokens - ending.tokens - answer_tokens - correction
        chosen = self.inner.documents if self.inner else self.choose(room)
        others = self.fill(chosen, room)
        self.refuse_other_than_asked(len(chosen) + len(others))
        documents = self.widen(chosen, others) if self.inner else self.order(chosen, others)
        return write(self.draft, documents, self.measure)

    def refuse_other_than_asked(self, count: int) -> None:
        """Raise LengthError where the row cannot have the recipe's number of documents or position of gold."""
        asked, before, gold = self.recipe.documents, self.recipe.gold_position, len(self.draft.gold)
        if asked is not None and count != asked:
            raise LengthError(
                f"documents: {asked} were asked for, {self.draft.question!r} has {gold} of evidence and the source "
                f"gives {count - gold} others; ask for another number, or give more rows or a pool of passages"
            )
        if before is not None and before > count - gold:
            raise LengthError(
                f"gold_position: {before} documents were to stand before the gold one, {self.draft.question!r} has "
                f"{count - gold} others; ask for a smaller position, more documents or a greater length"
            )

    def too_short(self, needed: int) -> LengthError:
        return LengthError(
            f"length: {self.length} tokens are too few for {self.draft.question!r}: with its evidence the row takes "
            f"{needed}; raise the length"
        )

    # ---- choosing

    def choose(self, room: int) -> list[Document]:
        """Gold and (unranked) competitors, as many as fit, each in its preferred wording where the room allows."""
        draft = self.draft
        wordings = [*draft.gold, *(() if draft.ranked else draft.competitors)]
        if self.recipe.documents:
            wordings = wordings[: max(len(draft.gold), self.recipe.documents)]
        preferred = [alternatives[0] for alternatives in wordings]
        if sum(self.measure.costs(preferred)) + self.measure.numbers_cost(len(preferred)) <= room:
            return preferred
        return self.squeeze(wordings, room)

    def squeeze(self, wordings: Sequence[Alternatives], room: int) -> list[Document]:
        """As many of the documents as fit in their shortest wordings, and longer ones where room is left."""
        draft, numbers_cost = self.draft, self.measure.numbers_cost
        costs = [self.measure.costs(alternatives) for alternatives in wordings]
        shortest = [min(options) for options in costs]
        least = len(draft.gold) + (0 if draft.ranked else draft.least_competitors)
        kept = len(wordings)
        while kept > least and sum(shortest[:kept]) + numbers_cost(kept) > room:
            kept -= 1
        spare = room - sum(shortest[:kept]) - numbers_cost(kept)
        if spare < 0:
            raise self.too_short(self.length - spare)
        chosen = []
        for alternatives, options, short in zip(wordings[:kept], costs, shortest, strict=False):
            pick = next(i for i, cost in enumerate(options) if cost - short <= spare)
            spare -= options[pick] - short
            chosen.append(alternatives[pick])
        return chosen

    # ---- filling

    def fill(self, chosen: Sequence[Document], room: int) -> list[Document]:
        """Further documents that fill the room beside the chosen ones: all in turn, the last few picked to size."""
        stream, measure = self.supply.stream, self.measure
        if self.recipe.documents:
            return stream.take(max(0, self.recipe.documents - len(chosen)))
        room -= sum(measure.costs(chosen)) + measure.numbers_cost(len(chosen))
        sizes = measure.costs(self.supply.closers or [stream.seen[at] for at in stream.ahead(LAST_CHOICES)])
        reserve, least = reserve_of(sizes), min(sizes, default=0)
        taken: list[Document] = []
        number = len(chosen)
        while room > reserve:
            document, cost = stream.next(room - reserve)
            cost += measure.numbering(number + 1).extra
            if cost > room or self.slack - ENDS < room - cost < least:  # what it would leave nothing could fill
                stream.back()
                break
            room -= cost
            number += 1
            taken.append(document)
        return self.close(chosen, taken, room)

    def close(self, chosen: Sequence[Document], taken: list[Document], room: int) -> list[Document]:
        """The documents taken, with those added that fill the rest of the room best."""
        choices = self.supply.choices(LAST_CHOICES, (*chosen, *taken))
        number = len(chosen) + len(taken)
        label = self.measure.numbers_cost(1, number + 1)
        costs = [cost + label for cost in self.measure.costs(choices)]
        picked = closest_sum(costs, room)
        gap = room - sum(costs[i] for i in picked)
        self.supply.use(choices, picked)
        documents = [*taken, *(choices[i] for i in picked)]
        if not self.draft.trim or gap <= self.slack - ENDS:
            return documents
        unused = [i for i in range(len(choices)) if i not in picked][:2]
        self.supply.use(choices, unused)
        return self.trim(documents, gap, [choices[i] for i in unused], number)

    def trim(self, documents: list[Document], gap: int, unused: list[Document], number: int) -> list[Document]:
        """The documents with one more that is cut to the gap, or with two cut ones in the place of the last.

        One alone may not do: a gap can be smaller than a document's number and title.
        """
        label = self.measure.numbers_cost(1, number + 2)
        cut = self.cut(unused[0], gap - label) if unused else None
        if cut is not None:
            return [*documents, cut]
        if not documents or len(unused) < 2:
            return documents
        room = gap + self.measure.costs(documents[-1:])[0] - label
        first = self.cut(unused[0], room // 2)
        second = self.cut(unused[1], room - self.measure.costs([first])[0]) if first else None
        return [*documents[:-1], first, second] if first and second else documents

    def cut(self, document: Document, room: int, slack: int = 0) -> Document | None:
        """The document's first words, as many as the room holds; None if not one fits.

        The words that `slack` more tokens would hold are tried too, for a count of tokens is not known before.
        """
        text = self.measure.first_words(document, room + slack)
        labels = document.segments[0].labels
        while text:
            key = f"{document.key} (first {len(text.split())} words)"
            short = replace(document, key=key, segments=(Segment(text, labels),))
            if self.measure.costs([short])[0] <= room:
                return short
            text = text.rpartition(" ")[0]
        return None

    # ---- placing

    def depths(self) -> list[float]:
        """Planned share of the context before each gold document."""
        hops = len(self.draft.gold)
        if self.recipe.depth is not None:
            return [self.recipe.depth] * hops
        return planned_depths(self.recipe.seed, self.number, hops)

    def order(self, chosen: Sequence[Document], others: Sequence[Document]) -> list[Document]:
        """Competitors in rank order or spread by chance, and each gold document at its planned depth."""
        count, seed = len(self.draft.gold), self.recipe.seed
        gold, rivals = list(chosen[:count]), chosen[count:]
        documents = list(others) if self.draft.ranked else spread(rivals, others, keyed(seed, self.number, "spread"))
        costs = self.measure.costs(documents)
        fixed = self.recipe.gold_position
        own = zip(self.depths(), self.measure.costs(gold), strict=True)
        slots = [slot_at(costs, depth, cost) if fixed is None else fixed for depth, cost in own]
        for i in sorted(range(count), key=lambda i: (slots[i], i), reverse=True):
            documents.insert(min(slots[i], len(documents)), gold[i])
        return documents

    def widen(self, inner: Sequence[Document], others: Sequence[Document]) -> list[Document]:
        """The inner row's documents in their order, and others among them, such that gold keeps its planned depth."""
        places = [i for i, document in enumerate(inner) if document.role == "gold"]
        hops = [next(hop for hop, found in enumerate(self.draft.gold) if inner[place] in found) for place in places]
        parts = parts_around(inner, places)
        costs, held = self.measure.costs(others), [sum(self.measure.costs(part)) for part in parts]
        depths, total = self.depths(), sum(costs) + sum(held)
        wanted = [0.0 if self.recipe.gold_position is not None else depths[hop] * total for hop in hops]
        shares = shared_out(others, costs, held, wanted)
        documents: list[Document] = []
        for i, (part, share) in enumerate(zip(parts, shares, strict=True)):
            rng = keyed(self.recipe.seed, self.number, "widen", self.length, i)
            documents += [*part, *share] if self.draft.ranked else merged(part, share, rng)
            documents += [inner[place] for place in places[i : i + 1]]
        return documents
