"""A draft written to its token budget: which documents, in which order.

Cached counts plan a row (costs.py), and the row tokenised whole says what it is (page.py); a plan that was off is
repaired (plan.py). A row of nested lengths is planned from the shortest length on: every longer row holds the
documents of the shorter ones, in their order.
"""

from collections.abc import Sequence
from itertools import chain, islice

from haymaker.config import Recipe
from haymaker.data.fit import LEAST_FILL
from haymaker.data.fit.costs import Costs
from haymaker.data.fit.matched import MatchedPlan
from haymaker.data.fit.page import Page, Writing
from haymaker.data.fit.plan import LAST_CHOICES, RowPlan, Wanted
from haymaker.data.fit.stream import Stream, Supply
from haymaker.drafts import Document, Draft


class Fitter:
    """Fits drafts of one recipe. What comes out depends on the recipe, the draft and its row number alone."""

    def __init__(self, recipe: Recipe, costs: Costs) -> None:
        self.recipe, self.costs = recipe, costs
        lengths = sorted(set(recipe.nested or (recipe.length,)))
        self.lengths = [length for length in lengths if length <= recipe.length]

    def fit(self, draft: Draft, number: int) -> Writing:
        """The draft written as full as its documents allow, never over the recipe's length."""
        supply = self.supply(draft)
        page: Page | None = None
        for length in self.lengths:
            kind = MatchedPlan if self.recipe.matched else RowPlan
            page = yield from kind(Wanted(self.recipe, draft, number, length), self.costs, supply, page).fit()
        assert page is not None
        return page

    def supply(self, draft: Draft) -> Supply:
        """The draft's further documents: ranked competitors are the first of them."""
        ranked = [alternatives[0] for alternatives in draft.competitors] if draft.ranked else []
        # Matched twins choose last ones many times over, more often than there are closers.
        chosen = draft.closers() if draft.closers and not self.recipe.matched else None
        closers = list(islice(chosen, LAST_CHOICES)) if chosen else None
        supply = Supply(Stream(chain(ranked, draft.further()), self.costs), closers, draft.fine)
        if closers and self.short_for(closers):
            supply.add_fine()
        return supply

    def short_for(self, closers: Sequence[Document]) -> bool:
        """Whether what a row may fall short of its length is less than half a document of these.

        Of that a plan of judged documents keeps half free on either side.
        """
        short = (1 - LEAST_FILL) * self.lengths[0] / (2 if self.costs.judge else 1)
        return 2 * short * len(closers) < sum(self.costs.of(closers))
