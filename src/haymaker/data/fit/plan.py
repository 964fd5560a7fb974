"""One draft at one length: which documents are chosen, which fill the rest, and in which order they stand.

A plan adds up what documents cost. The row is then written and tokenised whole, and planned again with what the sum was
off, until it is as full as it has to be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from string import punctuation

from haymaker.config import Recipe
from haymaker.data.fit import LEAST_FILL, Amount, least_tokens
from haymaker.data.fit.costs import Costs
from haymaker.data.fit.page import Page, Writing, cited, write
from haymaker.data.fit.place import merged, parts_around, planned_depths, shared_out, slot_at, spread
from haymaker.data.fit.stream import Supply, closest_sum, reserve_of
from haymaker.drafts import Alternatives, Document, Draft
from haymaker.errors import LengthError
from haymaker.randomness import keyed
from haymaker.realism.answers import without_last_word
from haymaker.records import Segment

LAST_CHOICES = 24  # documents among which the last ones are chosen to fill the length exactly
ENDS = 4  # tokens that the sum of counts is off at most, mostly
REPAIRS = 10  # times that a row is planned with the same documents to cut, at most
TURNS, AGAIN = 4, 5  # then others are cut: so many times, each with so many plans
MOST_WRONG = 1.25  # times what they take may documents be judged, or a plan is mended by the factor
MOST_CUT = 4  # documents that are cut to close a row
EASY = 2  # of them with few documents to choose from, which nearly always do


@dataclass(frozen=True)
class Wanted:
    """What a row is fitted for."""

    recipe: Recipe
    draft: Draft
    number: int  # of the row
    length: int  # tokens


def next_room(tried: Mapping[Amount, int], room: Amount) -> Amount:
    """The room to plan with next: this one, or, where it was tried, one between those of rows too short and too long.

    A plan can change with its room such that what was off changes too, and two rooms would take turns for ever.
    """
    if room not in tried:
        return room
    most = min((tested for tested, over in tried.items() if over > 0), default=room)
    least = max((tested for tested, over in tried.items() if over <= 0 and tested < most), default=most)
    return (least + most) // 2


class RowPlan:
    """One draft at one length; `inner` is the same row at the next shorter one of nested lengths."""

    def __init__(self, row: Wanted, costs: Costs, supply: Supply, inner: Page | None = None) -> None:
        self.recipe, self.draft, self.number, self.length = row.recipe, row.draft, row.number, row.length
        self.costs, self.supply, self.inner = costs, supply, inner
        self.slack = int((1 - LEAST_FILL) * self.length)  # tokens that a row may fall short of its length
        # Where a plan aims: counts are seldom off by more than a few tokens, judged ones may be by many.
        self.margin = self.slack // 2 if costs.judge else self.slack // 4
        self.most_left = max(0, self.slack - self.margin - ENDS)  # tokens that a plan may leave
        self.cuts, self.closest = self.draft.trim, False  # whether documents are cut, and which of all cuts fills best
        self.turn = 0  # of the documents that may be cut
        before, after = costs.around(self.draft.question)
        self.before, self.around = before, before + after  # tokens

    def fit(self) -> Writing:
        """The row as full as its documents allow, never over its length."""
        best: Page | None = None
        start = found = self.supply.state
        room, dry = self.length - self.margin - self.around - self.answer_tokens(), None
        tried: dict[Amount, int] = {}  # by how many tokens rows of these rooms came out too long
        first = room
        for attempt in range(REPAIRS + TURNS * AGAIN):
            self.supply.state = start
            if attempt >= REPAIRS and not (attempt - REPAIRS) % AGAIN:  # no end of a word of those fills it
                if not self.cuts:
                    break
                self.turn, room = self.turn + 1, first
                tried.clear()
            if attempt >= EASY:
                self.supply.widen()
                self.cuts = self.draft.trim or self.draft.context != "symbolic"  # prose is cut, if need be
            if attempt == EASY:
                tried.clear()
            self.closest = room in tried  # it would be planned as it was, and no more be filled
            try:
                page = yield from self.write(self.plan(room))
            except LengthError as error:  # there is no more to fill a better row with
                if best is None:
                    raise
                dry = error
                break
            over = page.tokens - self.length
            if over <= 0 and (best is None or page.tokens > best.tokens):
                best, found = page, self.supply.state
            if -self.slack <= over <= 0 or (over <= 0 and self.recipe.documents):
                break
            tried[room] = over
            room = next_room(tried, self.room_for(page, room, first))
        if best is None:
            raise self.too_short(page.tokens) if len(page.documents) <= self.least else self.too_full(page)
        if best.tokens < least_tokens(self.length) and not self.recipe.documents:
            raise dry or self.too_empty(best)
        self.supply.state = found
        return best

    def room_for(self, page: Page, room: Amount, first: Amount) -> Amount:
        """The room that would have come out right: less by what was over, or, where what documents take was judged
        wrong by a factor, the `first` one times it."""
        taken = max(1, page.tokens - (self.length - self.margin - first))
        if not 1 / MOST_WRONG < room / taken < MOST_WRONG:
            off = (sum(self.costs.of(page.documents)) + self.costs.numbers(len(page.documents))) / taken
            if not 1 / MOST_WRONG < off < MOST_WRONG:
                return (first - self.margin) * off  # a document that is cut may take as much more
        return room - (page.tokens - self.length) - self.margin

    def answer_tokens(self) -> int:
        """Of the room for an answer, or of the target; where it cites documents, of high numbers."""
        said = cited(range(990, 990 + len(self.draft.gold)))[0] if self.draft.cites else self.draft.target
        target = len(self.costs.aligner.answer(self.costs.style.tail, said, f"row {self.number}"))
        asked, closing = self.recipe.answer_room, 1
        if asked is not None and target - closing > asked and self.recipe.split != "train":  # train: taught, not asked
            raise LengthError(
                f"answer_room: {asked} tokens were to stay free for an answer, and that to {self.draft.question!r} "
                f"takes {target - closing}; give at least as many (a study says it by evaluation.new_tokens)"
            )
        return max(self.recipe.room, target)

    def write(self, documents: Sequence[Document]) -> Writing:
        page = yield from write(self.draft, documents, self.costs.style, self.costs.aligner, f"row {self.number}")
        return replace(page, room=self.recipe.room)

    def plan(self, room: Amount) -> list[Document]:
        """The row's documents in order: as many tokens of them, by their costs, as there is room."""
        chosen = self.inner.documents if self.inner else self.choose(room)
        others = self.fill(chosen, room)
        self.refuse_other_than_asked(len(chosen) + len(others))
        return self.widen(chosen, others) if self.inner else self.order(chosen, others)

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

    def too_short(self, needed: Amount) -> LengthError:
        return LengthError(
            f"length: {self.length} tokens are too few for {self.draft.question!r}: with its evidence the row takes "
            f"{needed:.0f}; raise the length"
        )

    def too_empty(self, page: Page) -> LengthError:
        return LengthError(
            f"length: the row of {self.draft.question!r} comes to {page.tokens} of {self.length} tokens, and "
            f"{least_tokens(self.length)} are wanted: no choice of its further documents fills it; give shorter or "
            "more passages, or another length"
        )

    def too_full(self, page: Page) -> LengthError:
        return LengthError(
            f"length: the row of {self.draft.question!r} comes to {page.tokens} tokens, over {self.length}, however "
            "it was planned, for what its documents take is judged too low; give passages more alike, or another length"
        )

    # ---- choosing

    @property
    def least(self) -> int:
        """Documents that the row has at least: gold ones, and the competitors that it cannot do without."""
        return len(self.draft.gold) + (0 if self.draft.ranked else self.draft.least_competitors)

    def choose(self, room: Amount) -> list[Document]:
        """Gold and (unranked) competitors, as many as fit, each in its preferred wording where the room allows."""
        draft = self.draft
        wordings = [*draft.gold, *(() if draft.ranked else draft.competitors)]
        if self.recipe.documents:
            wordings = wordings[: max(len(draft.gold), self.recipe.documents)]
        preferred = [alternatives[0] for alternatives in wordings]
        if sum(self.costs.of(preferred)) + self.costs.numbers(len(preferred)) <= room:
            return preferred
        return self.squeeze(wordings, room)

    def squeeze(self, wordings: Sequence[Alternatives], room: Amount) -> list[Document]:
        """As many of the documents as fit in their shortest wordings, and longer ones where room is left."""
        numbers = self.costs.numbers
        costs = [self.costs.of(alternatives) for alternatives in wordings]
        shortest = [min(options) for options in costs]
        kept = len(wordings)
        while kept > self.least and sum(shortest[:kept]) + numbers(kept) > room:
            kept -= 1
        spare = room - sum(shortest[:kept]) - numbers(kept)
        if spare < -self.margin - ENDS:
            raise self.too_short(self.length - self.margin - spare)
        spare = max(0, spare)
        chosen = []
        for alternatives, options, short in zip(wordings[:kept], costs, shortest, strict=False):
            pick = next(i for i, cost in enumerate(options) if cost - short <= spare)
            spare -= options[pick] - short
            chosen.append(alternatives[pick])
        return chosen

    # ---- filling

    def fill(self, chosen: Sequence[Document], room: Amount) -> list[Document]:
        """Further documents that fill the room beside the chosen ones: all in turn, the last few picked to size."""
        stream, costs = self.supply.stream, self.costs
        if self.recipe.documents:
            return stream.take(max(0, self.recipe.documents - len(chosen)))
        room -= sum(costs.of(chosen)) + costs.numbers(len(chosen))
        sizes = costs.of(self.supply.closers or [stream.seen[at] for at in stream.ahead(LAST_CHOICES)])
        sizes = [size for size in sizes if size <= room]
        reserve, least = reserve_of(sizes), min(sizes, default=0)
        taken: list[Document] = []
        number, passed = len(chosen), 0
        while sizes and room > reserve:
            document, cost = stream.next(room - reserve)
            cost += costs.numbers(1, number + 1)
            if cost > room > 2 * reserve and passed < LAST_CHOICES:  # later ones may fit
                passed += 1
                continue
            if cost > room or self.most_left < room - cost < least:  # what it would leave nothing could fill
                stream.back()
                break
            room, number, passed = room - cost, number + 1, 0
            taken.append(document)
        return self.close(chosen, taken, room)

    def close(self, chosen: Sequence[Document], taken: list[Document], room: Amount) -> list[Document]:
        """The documents taken, with those added that fill the rest of the room best."""
        choices = self.supply.choices(LAST_CHOICES, (*chosen, *taken))
        number = len(chosen) + len(taken)
        label = self.costs.numbers(1, number + 1)
        costs = [cost + label for cost in self.costs.closely(choices)]
        picked = closest_sum(costs, int(room))
        gap = int(room) - sum(costs[i] for i in picked)
        self.supply.use(choices, picked)
        documents = [*taken, *(choices[i] for i in picked)]
        if not self.cuts or gap <= self.most_left:
            return documents
        left = [i for i in range(len(choices)) if i not in picked]
        start = self.turn * MOST_CUT % max(1, len(left))
        unused = [*left[start:], *left[:start]][:MOST_CUT]
        kept, cut = self.trim(documents, gap, [choices[i] for i in unused], number)
        self.supply.use(choices, unused[: len(cut)])
        return [*documents[:kept], *cut]

    def trim(
        self, documents: list[Document], gap: int, unused: list[Document], number: int
    ) -> tuple[int, list[Document]]:
        """How many of the documents stay, and cut ones that fill the gap: one more than those whose place they take.

        One alone may not do: a gap can be smaller than a document's number and title.
        """
        label = self.costs.numbers(1, number + 2)
        found: list[tuple[int, int, list[Document]]] = []  # tokens left, documents that stay, cut ones
        for dropped in range(min(len(unused), len(documents) + 1)):
            kept, those = len(documents) - dropped, unused[: dropped + 1]
            room = gap + sum(self.costs.closely(documents[kept:])) - label
            if self.closest:  # the longest last, as it takes what the others leave
                those = sorted(those, key=lambda document: self.costs.closely([document])[0])
            if cut := self.cut_each(those, room):
                found.append((room - sum(self.costs.closely(cut)), kept, cut))
                if not self.closest:
                    break
        return min(found, key=lambda option: option[0])[1:] if found else (len(documents), [])

    def cut_each(self, documents: Sequence[Document], room: int) -> list[Document]:
        """These documents cut to equal shares of the room; none where one of them does not fit its share."""
        found: list[Document] = []
        for left, document in zip(range(len(documents), 0, -1), documents, strict=True):
            short = self.cut(document, room // left)
            if short is None:
                return []
            found.append(short)
            room -= self.costs.closely([short])[0]
        return found

    def cut(self, document: Document, room: int, slack: int = 0, letters: bool = False) -> Document | None:
        """The document's first words, as many as the room holds, without a sign behind the last one if `letters`.

        None if not one fits. The words that `slack` more tokens would hold are tried too, for a count of tokens is not
        known before.
        """
        text = self.costs.first_words(document, room + slack)
        labels = document.segments[0].labels
        while text := text.rstrip(punctuation) if letters else text:
            key = f"{document.key} (first {len(text.split())} words)"
            short = replace(document, key=key, segments=(Segment(text, labels),), kind="", host="", inserted="")
            if self.costs.closely([short])[0] <= room:
                return short
            text = without_last_word(text)
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
        costs = self.costs.of(documents)
        fixed = self.recipe.gold_position
        own = zip(self.depths(), self.costs.of(gold), strict=True)
        slots = [slot_at(costs, depth, cost) if fixed is None else fixed for depth, cost in own]
        for i in sorted(range(count), key=lambda i: (slots[i], i), reverse=True):
            documents.insert(min(slots[i], len(documents)), gold[i])
        return documents

    def widen(self, inner: Sequence[Document], others: Sequence[Document]) -> list[Document]:
        """The inner row's documents in their order, and others among them, such that gold keeps its planned depth."""
        places = [i for i, document in enumerate(inner) if document.role == "gold"]
        hops = [next(hop for hop, found in enumerate(self.draft.gold) if inner[place] in found) for place in places]
        parts = parts_around(inner, places)
        costs, held = self.costs.of(others), [sum(self.costs.of(part)) for part in parts]
        depths, total = self.depths(), sum(costs) + sum(held)
        wanted = [0.0 if self.recipe.gold_position is not None else depths[hop] * total for hop in hops]
        shares = shared_out(others, costs, held, wanted)
        documents: list[Document] = []
        for i, (part, share) in enumerate(zip(parts, shares, strict=True)):
            rng = keyed(self.recipe.seed, self.number, "widen", self.length, i)
            documents += [*part, *share] if self.draft.ranked else merged(part, share, rng)
            documents += [inner[place] for place in places[i : i + 1]]
        return documents
