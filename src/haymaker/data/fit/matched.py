"""Twins matched to the token: rows of a question in any setting are as long, with evidence at the same places.

Where evidence stands depends on the seed, the question, its number of hops and the length, never on the setting.
What lies between is filled by what documents cost; the row is tokenised whole, and what each gap came out too long or
too short is taken from its room in the next plan. A gap that no choice of documents fills is a LengthError.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from haymaker.config import Recipe
from haymaker.data.fit import Amount
from haymaker.data.fit.page import Writing, cited
from haymaker.data.fit.place import STRATA, planned_depths, spread
from haymaker.data.fit.plan import LAST_CHOICES, RowPlan
from haymaker.data.fit.stream import closest_sum, exact_sum, reserve_of
from haymaker.drafts import Document
from haymaker.errors import LengthError
from haymaker.randomness import keyed
from haymaker.records import Segment, digest

FRONT_TOKENS, BACK_TOKENS = 128, 400  # kept free of evidence in short rows; in long ones an eighth of the length
TRIES = 24
SHARES = (0.5, 0.25, 0.75)  # of a document that is cut, by turns
ATTEMPTS = 12  # times that a row is planned at most
MOST_SPARE = 160  # tokens that a document cut at a word, or two of them, can fill exactly


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


class MatchedPlan(RowPlan):
    """One draft with its evidence at planned tokens, exactly as long as the recipe says."""

    def fit(self) -> Writing:
        """The row; LengthError where it cannot be had to the token."""
        draft, gold = self.draft, len(self.draft.gold)
        # Keyed by what is asked: a limited setting leaves rows out, and counts the others anew.
        starts = matched_starts(self.recipe, int(digest(draft.facts)[:12], 16), gold)
        chosen = self.choose(self.length - self.around - self.answer_tokens())
        begun, off = self.supply.state, [0] * (gold + 1)  # tokens that each gap came out too long
        for attempt in range(ATTEMPTS):
            # Other documents come first each time, or two plans that are off by turns would go on for ever.
            self.supply.state, self.supply.turn = begun, attempt
            # What follows a document cut at a letter may take a token more than what follows a full stop: where plans
            # that end in the one and in the other are off by turns, all end in a letter.
            self.end_in_letters = attempt >= ATTEMPTS // 2 and draft.context != "symbolic"
            self.fine = list(draft.fine()) if draft.fine else []
            page = yield from self.write(self.laid_out(chosen, starts, off))
            found = page.starts("evidence")
            ends = [
                stands - wanted
                for stands, wanted in zip([*found, page.tokens], [*sorted(starts), self.length], strict=True)
            ]
            if not any(ends):
                return page
            off = [before + late - sooner for before, late, sooner in zip(off, ends, [0, *ends[:-1]], strict=True)]
        raise self.unmatched(
            f"the row came out with {page.tokens} tokens and evidence at {found}, however it was planned, for tokens "
            "run over the ends of documents or evidence shares one; use another tokenizer or prompt"
        )

    def unmatched(self, reason: str) -> LengthError:
        return LengthError(f"matched: {self.draft.question!r} at {self.length} tokens: {reason}")

    # ---- the layout

    def laid_out(self, chosen: Sequence[Document], starts: Sequence[int], off: Sequence[int]) -> list[Document]:
        """Gold documents at their tokens, rivals at chance places, further documents in what is left of each gap."""
        count = len(self.draft.gold)
        hops = sorted(range(count), key=lambda hop: starts[hop])
        gold = [chosen[hop] for hop in hops]
        wanted = [starts[hop] - self.evidence_at(document) for hop, document in zip(hops, gold, strict=True)]
        rivals = self.dealt(chosen[count:], gold, wanted)
        documents: list[Document] = []
        token = self.before
        for document, start, guests, late in zip(gold, wanted, rivals, off, strict=False):
            documents += [*self.filled(guests, start - token - late, len(documents), gold_next=True), document]
            token = start + self.cost(document, 1)
        target = len(self.costs.aligner.answer(self.costs.style.tail, self.target(documents), f"row {self.number}"))
        room = self.length - token - target - (self.around - self.before) - off[-1]
        return [*documents, *self.filled(rivals[-1], room, len(documents), gold_next=False)]

    def target(self, documents: Sequence[Document]) -> str:
        if not self.draft.cites:
            return self.draft.target
        return cited(n for n, document in enumerate(documents, 1) if document.role == "gold")[0]

    def evidence_at(self, document: Document) -> int:
        """Tokens of the document before its evidence, as number 1."""
        found = [start for label, start, _ in document.marks if label.kind == "evidence"]
        if not found:
            raise self.unmatched("a gold document holds no evidence")
        before = replace(document, segments=(Segment(document.text[: min(found)]),), host="", inserted="")
        return self.costs.count([before])[0]

    def cost(self, document: Document, number: int) -> int:
        return self.costs.count([document])[0] + self.costs.numbers(1, number)

    def dealt(
        self, rivals: Sequence[Document], gold: Sequence[Document], wanted: Sequence[int]
    ) -> list[list[Document]]:
        """The rivals on the gaps between gold documents, by chance and by how much room each has.

        One that would leave too little to be filled up to the token is left out, unless the draft wants so many.
        """
        ends = [start + self.cost(document, 1) for start, document in zip(wanted, gold, strict=True)]
        bounds, after = [self.before, *ends], self.around - self.before
        rooms = [max(0, stop - start) for start, stop in zip(bounds, [*wanted, self.length - after], strict=True)]
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

    def spare(self) -> Amount:
        """Tokens that further documents, some of them cut where they may be, can fill exactly."""
        stream = self.supply.stream
        sizes = [stream.costs[at] for at in stream.ahead(LAST_CHOICES)]
        return min(MOST_SPARE, reserve_of(sizes)) if self.draft.trim else reserve_of(sizes)

    # ---- filling to the token

    def filled(self, guests: Sequence[Document], room: int, before: int, gold_next: bool) -> list[Document]:
        """Guests and further documents that take exactly `room` tokens behind `before` documents.

        One more document follows them, whose number counts too.
        """
        stream, costs = self.supply.stream, self.costs
        left = room - sum(costs.count(guests)) - costs.numbers(len(guests), before + 1)
        number, taken = before + len(guests), []
        sizes = [stream.costs[at] for at in stream.ahead(LAST_CHOICES)]
        reserve = reserve_of(sizes)
        while left > reserve:
            document, cost = stream.next(left - reserve)
            number += 1
            left -= int(cost) + costs.numbers(1, number)
            taken.append(document)
        for _ in range(TRIES):
            last = self.exactly(left, number, gold_next)
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

    def exactly(self, room: int, before: int, gold_next: bool) -> list[Document] | None:
        """A few documents that take exactly `room` tokens behind `before` others, their numbers included."""
        choices = [*self.supply.choices(LAST_CHOICES, ()), *self.fine]
        # With n documents their numbers, and that of a gold one behind them, leave this much to the documents.
        wanted = [room - self.costs.numbers(n + gold_next, before + 1) for n in range(len(choices) + 1)]
        picked = None if self.end_in_letters else exact_sum(self.costs.count(choices), wanted)
        if picked is None:
            # Prose may be cut at a word; a dictionary may not.
            return None if self.draft.context == "symbolic" else self.cut_exactly(room, before, gold_next)
        further = choices[: len(choices) - len(self.fine)]
        self.supply.use(further, [i for i in picked if i < len(further)])
        chosen = [choices[i] for i in picked]
        self.fine = [document for document in self.fine if document not in chosen]
        return chosen

    def cut_exactly(self, room: int, before: int, gold_next: bool) -> list[Document] | None:
        """As `exactly`, with one document cut at a word, or two."""
        choices = self.supply.choices(LAST_CHOICES, ())
        costs = self.costs.count(choices)
        for share, i in product(SHARES, range(len(choices))):
            others = [j for j in range(len(choices)) if j != i]
            # Leave about that share of a document for the one that is cut.
            picked = [others[j] for j in closest_sum([costs[j] for j in others], room - int(share * costs[i]))]
            free = [j for j in others if j not in picked][:1]
            rest = room - sum(costs[j] for j in picked)
            for cut in ([i], [i, *free]):
                numbers = self.costs.numbers(len(picked) + len(cut) + gold_next, before + 1)
                short = self.cut_to([choices[j] for j in cut], rest - numbers)
                if short is not None:
                    self.supply.use(choices, [*picked, *cut])
                    return [*(choices[j] for j in picked), *short]
        return None

    def cut_to(self, documents: Sequence[Document], room: int) -> list[Document] | None:
        """These documents cut at words such that together they take exactly `room` tokens; None where they do not."""
        found: list[Document] = []
        for left, document in zip(range(len(documents), 0, -1), documents, strict=True):
            short = self.cut(document, room // left, slack=4 if left == 1 else 0, letters=self.end_in_letters)
            if short is None:
                return None
            room -= self.costs.count([short])[0]
            found.append(short)
        return found if room == 0 else None
