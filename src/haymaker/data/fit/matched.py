"""Twins matched to the token: rows of a question in any setting are as long, with evidence at the same places.

Where evidence stands depends on the seed, the question, its number of hops and the length, never on the setting.
What lies between is filled exactly, to the token, so pieces have to add up: a tokenizer that joins documents, or a gap
that no choice of documents fills, is a LengthError.
"""

from collections.abc import Sequence

from haymaker.config import Recipe
from haymaker.data.fit.level import LAST_CHOICES, Level
from haymaker.data.fit.page import Page, cited, write
from haymaker.data.fit.place import STRATA, planned_depths, spread
from haymaker.data.fit.stream import closest_sum, exact_sum, reserve_of
from haymaker.drafts import Document
from haymaker.errors import ConfigError, LengthError
from haymaker.randomness import keyed
from haymaker.records import digest

FRONT_TOKENS, BACK_TOKENS = 128, 400  # kept free of evidence in short rows; in long ones an eighth of the length
TRIES = 24
MOST_SPARE = 160  # tokens that a document cut at a word, or two of them, can fill exactly


def check_matched(recipe: Recipe) -> None:
    """ConfigError where a recipe asks for matched twins and for what would move them."""
    for name in ("nested", "documents", "gold_position"):
        if getattr(recipe, name) is not None:
            raise ConfigError(f"matched: evidence stands where the plan of twins says, so {name} cannot be given too")


def matched_starts(recipe: Recipe, key: int, hops: int) -> list[int]:
    """The tokens at which the evidence of each hop starts: the same in every setting. `key` stands for the question."""
    length = recipe.length
    front = max(length // 8, min(length // 4, FRONT_TOKENS))
    width = (length - front - max(length // 8, min(length // 3, BACK_TOKENS))) / hops
    depths = [recipe.depth] * hops if recipe.depth is not None else planned_depths(recipe.seed, key, hops)
    if hops == 1:
        return [front + int(depths[0] * width)]
    ranks = sorted(range(hops), key=lambda hop: depths[hop])
    # Most of each hop's share stays free behind its start, so that documents of any setting fit between two.
    return [front + int((ranks.index(hop) + (depths[hop] * STRATA % 1) / 4) * width) for hop in range(hops)]


class Matched(Level):
    """One draft with its evidence at planned tokens, exactly as long as the recipe says."""

    def fit(self) -> Page:
        """The row; LengthError where it cannot be had to the token."""
        measure, draft = self.measure, self.draft
        self.fine = list(draft.fine()) if draft.fine else []
        # Keyed by what is asked: a limited setting leaves rows out, and counts the others anew.
        starts = matched_starts(self.recipe, int(digest(draft.facts)[:12], 16), len(draft.gold))
        ending = measure.ends.ending(draft.gold[-1][0], draft.question)
        wide = cited(range(990, 990 + len(draft.gold))) if draft.cites else draft.answers
        room = self.length - measure.ends.usual_opening.tokens - ending.tokens - measure.answer(draft.question, wide[0])
        chosen = self.choose(room)
        page = write(draft, self.laid_out(chosen, starts), measure)
        found = sorted(start for label, _, _, start, _ in page.places if label.kind == "evidence")
        if not page.exact or page.tokens != self.length or found != sorted(starts):
            raise self.unmatched(
                f"the row came out with {page.tokens} tokens and evidence at {found}, for tokens run over the ends of "
                "documents or evidence shares one; use another tokenizer or prompt"
            )
        return page

    def unmatched(self, reason: str) -> LengthError:
        return LengthError(f"matched: {self.draft.question!r} at {self.length} tokens: {reason}")

    # ---- the layout

    def laid_out(self, chosen: Sequence[Document], starts: Sequence[int]) -> list[Document]:
        """Gold documents at their tokens, rivals at chance places, further documents in what is left."""
        count = len(self.draft.gold)
        hops = sorted(range(count), key=lambda hop: starts[hop])
        gold = [chosen[hop] for hop in hops]
        wanted = [starts[hop] - self.evidence_at(document) for hop, document in zip(hops, gold, strict=True)]
        rivals = self.dealt(chosen[count:], gold, wanted)
        documents: list[Document] = []
        token = self.measure.ends.usual_opening.tokens
        for document, start, guests in zip(gold, wanted, rivals, strict=False):
            filled = self.filled(guests, start - token, len(documents), gold_next=True)
            token = start + self.measure.costs([document])[0]
            documents += [*filled, document]
        return [*documents, *self.closing(rivals[-1], documents, token)]

    def closing(self, guests: Sequence[Document], documents: Sequence[Document], token: int) -> list[Document]:
        """Documents behind the last evidence, such that with question and answer the length is met."""
        measure, draft = self.measure, self.draft
        answers = draft.answers
        if draft.cites:
            answers = cited(n for n, document in enumerate(documents, 1) if document.role == "gold")
        target = measure.answer(draft.question, answers[0])
        last = self.last(self.length - token - target - sum(measure.costs(guests)))
        ending = measure.ends.ending(last, draft.question)
        room = self.length - token - target - ending.tokens - measure.costs([last])[0]
        return [*self.filled(guests, room, len(documents), gold_next=False), last]

    def last(self, room: int) -> Document:
        """The row's last document: the next one, cut to a third of the room behind the evidence where it is longer."""
        document, cost = self.supply.stream.next(room)
        short = self.cut(document, room // 3) if self.draft.trim and 3 * cost > room > 0 else None
        return short or document

    def evidence_at(self, document: Document) -> int:
        """Tokens of the document before its evidence, as number 1."""
        marks = self.measure.pieces([document])[0].marks
        found = [begin for label, _, _, begin, _ in marks if label.kind == "evidence"]
        if not found:
            raise self.unmatched("a gold document holds no evidence")
        return min(found)

    def extra(self, number: int) -> int:
        return self.measure.numbering(number).extra

    def cost(self, document: Document, number: int) -> int:
        return self.measure.costs([document])[0] + self.extra(number)

    def dealt(
        self, rivals: Sequence[Document], gold: Sequence[Document], wanted: Sequence[int]
    ) -> list[list[Document]]:
        """The rivals on the gaps between gold documents, by chance and by how much room each has.

        One that would leave too little to be filled up to the token is left out, unless the draft wants so many.
        """
        ends = [start + self.cost(document, 1) for start, document in zip(wanted, gold, strict=True)]
        ending = self.measure.ends.ending(gold[-1], self.draft.question)
        bounds = [self.measure.ends.usual_opening.tokens, *ends]
        rooms = [
            max(0, stop - start) for start, stop in zip(bounds, [*wanted, self.length - ending.tokens], strict=True)
        ]
        gaps: list[list[Document]] = [[] for _ in rooms]
        rng, least, spare = keyed(self.recipe.seed, self.number, "deal"), self.draft.least_competitors, self.spare()
        for rival in rivals:
            cost = self.cost(rival, 1)
            weights = [room * (cost + spare < room) for room in rooms]
            if not any(weights):
                if sum(map(len, gaps)) >= least:
                    continue
                weights = [room + 1 for room in rooms]
            gap = rng.choices(range(len(rooms)), weights)[0]
            gaps[gap].append(rival)
            rooms[gap] = max(0, rooms[gap] - cost)
        return gaps

    def spare(self) -> int:
        """Tokens that further documents, some of them cut where they may be, can fill exactly."""
        stream = self.supply.stream
        sizes = [stream.costs[at] for at in stream.ahead(LAST_CHOICES)]
        return min(MOST_SPARE, reserve_of(sizes)) if self.draft.trim else reserve_of(sizes)

    # ---- filling to the token

    def filled(self, guests: Sequence[Document], room: int, before: int, gold_next: bool) -> list[Document]:
        """Guests and further documents that take exactly `room` tokens behind `before` documents.

        One more document follows them, whose number counts too.
        """
        stream, measure = self.supply.stream, self.measure
        left = room - sum(measure.costs(guests)) - measure.numbers_cost(len(guests), before + 1)
        number, taken = before + len(guests), []
        sizes = [stream.costs[at] for at in stream.ahead(LAST_CHOICES)]
        reserve = reserve_of(sizes)
        while left > reserve:
            document, cost = stream.next(left - reserve)
            number += 1
            left -= cost + self.extra(number)
            taken.append(document)
        for _ in range(TRIES):
            last = self.exactly(left, number)
            if last is not None:
                others = [*taken, *last]
                rng = keyed(self.recipe.seed, self.number, "spread", before)
                return [*guests, *others] if self.draft.ranked else spread(guests, others, rng)
            if not taken:
                break
            left += self.cost(taken.pop(), number)
            number -= 1
            stream.back()
        where = "its next evidence" if gold_next else "its end"
        raise self.unmatched(f"no choice of documents takes the {room} tokens before {where}; raise the length")

    def exactly(self, room: int, before: int) -> list[Document] | None:
        """A few documents that take exactly `room` tokens, with the number of the one that follows them."""
        choices = [*self.supply.choices(LAST_CHOICES, ()), *self.fine]
        costs, ahead = self.measure.costs(choices), len(choices) - len(self.fine)
        # With n documents their numbers, and that of the next one, leave this much to the documents themselves.
        wanted = [room - self.measure.numbers_cost(n + 1, before + 1) for n in range(len(choices) + 1)]
        picked = exact_sum(costs, wanted)
        if picked is None:
            # Prose may be cut at a word; a dictionary may not.
            return self.cut_exactly(room, before, choices, costs) if self.draft.context != "symbolic" else None
        self.supply.use(choices, [i for i in picked if i < ahead])
        chosen = [choices[i] for i in picked]
        self.fine = [document for document in self.fine if document not in chosen]
        return chosen

    def cut_exactly(
        self, room: int, before: int, choices: Sequence[Document], costs: Sequence[int]
    ) -> list[Document] | None:
        """As `exactly`, with one document cut at a word."""
        for i, document in enumerate(choices):
            others = [j for j in range(len(choices)) if j != i]
            # Leave about half a document of this size for the one that is cut.
            picked = [others[j] for j in closest_sum([costs[j] for j in others], room - costs[i] // 2)]
            rest = room - sum(costs[j] for j in picked) - self.measure.numbers_cost(len(picked) + 2, before + 1)
            short = self.cut(document, rest, slack=4)
            if short is not None and self.measure.costs([short])[0] == rest:
                self.supply.use(choices, [*picked, i])
                return [*(choices[j] for j in picked), short]
        return None
