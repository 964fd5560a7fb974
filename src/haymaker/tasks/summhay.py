"""Citing a haystack: which documents carry an insight (Laban et al. 2024, Summary of a Haystack; coverage fixed at 1).

The question is the insight, the answer the numbers of the documents that carry it, "[2][5]".
"""

from collections.abc import Iterator, Sequence
from functools import partial
from random import Random

from haymaker.choices import SETTINGS
from haymaker.config import Recipe
from haymaker.drafts import Alternatives, Document, Draft, Drafts, Style, style_of
from haymaker.errors import ConfigError
from haymaker.miniature.world import FILLER, Insight, World
from haymaker.realism.context import padding_document, world_passages
from haymaker.realism.symbols import Symbols, closing_lists, digits_for, fine_sizes, list_document, lists
from haymaker.realism.wording import Draw, world_draw
from haymaker.records import Segment
from haymaker.tasks.facts import world_of
from haymaker.tasks.summhay_rows import EVIDENCE, SIZES, file_drafts
from haymaker.tasks.summhay_rows import asked as asked

METRICS = ("citation_f1", "citation_f1_lenient")
MINIATURE = Style(
    "miniature",
    document="[{number}] {text}",
    tail="\nQuestion: Which documents say this? {question}\nAnswer:",
    number_kinds=("citation", "answer"),
)
HAYSTACK = Style(
    "haystack",
    head="Below are numbered documents. Cite every document that reports the insight asked for, like [1][3].\n\n",
    document="Document [{number}]\n{text}",
    joiner="\n\n",
    tail="\n\nInsight: {question}\nDocuments that report it:",
    number_kinds=("citation", "answer"),
)
LIMITED = ("wages", "closing")  # topics of real-limited, unless the recipe names its own
TRIES = 1_000
CARRIERS = (2, 3)  # documents that carry the insight, in turn


def drafts(recipe: Recipe) -> Drafts:
    """All rows of the recipe: the miniature world's insights, or those of `recipe.source`, a topic's json."""
    if recipe.setting not in SETTINGS:  # it takes insights apart for each of these concepts and contexts
        raise ConfigError(f"setting: summhay has {', '.join(SETTINGS)}, not {recipe.setting}; take another task")
    if recipe.source is not None:
        return file_drafts(recipe, style_of(recipe, "haystack"))
    world = world_of(recipe)
    return Drafts(partial(world_draft, recipe, world), style_of(recipe, "miniature"))


def world_draft(recipe: Recipe, world: World, row: int) -> Draft:
    """Row `row` of the world: an insight that several documents carry, others carrying other insights."""
    draw, (concept, context, _) = world_draw(world, row), recipe.axes
    topics = (recipe.relations or LIMITED) if recipe.setting == "real-limited" else None
    asked, *others = distinct_insights(world, draw, 1 + max(recipe.competitors, recipe.padding_competitors), topics)
    carriers = CARRIERS[row % len(CARRIERS)]
    lists = Lists(recipe.longest, draw) if concept == "symbolic" else None
    carried = partial(carrier, world=world, concept=concept, context=context, lists=lists)
    gold = tuple(carried(asked, rng=draw("gold", i), which=i) for i in range(carriers))
    return Draft(
        question=lists.number(asked) if lists else asked.statement,
        answers=(),
        cites=True,
        gold=gold,
        competitors=tuple(
            carried(other, rng=draw("rival", i), which=i, gold=False) for i, other in enumerate(others[: recipe.rivals])
        ),
        further=lists.further if lists else partial(haystack, world, context, draw("passages")),
        closers=lists.closers if lists else None,
        fine=lists.fine if lists else None,
        facts=[asked.topic, asked.statement],
        concept=concept,
        context=context,
        source={"dataset": "miniature", "world_seed": recipe.seed, "carriers": carriers},
        provenance=lists.provenance() if lists else (),
    )


def distinct_insights(world: World, draw: Draw, count: int, topics: Sequence[str] | None) -> list[Insight]:
    """Insights of which no two say the same: the same in every setting, but for the topics of a limited one."""
    found: dict[str, Insight] = {}
    for attempt in range(TRIES):
        insight = world.insight(draw("insight", attempt))
        if topics is None or insight.topic in topics:
            found.setdefault(insight.statement, insight)
        if len(found) == count:
            return list(found.values())
    raise ConfigError(f"relations: topics {', '.join(topics or ())} gave no {count} insights in {TRIES} tries")


def haystack(world: World, context: str, rng: Random) -> Iterator[Document]:
    """Documents that carry no insight, without end."""
    documents = world_passages(world.split, world.seed)
    while True:
        yield padding_of(rng) if context == "low" else documents[rng.randrange(len(documents))]


def padding_of(rng: Random) -> Document:
    return padding_document(rng.randrange(5), rng.randint(1, 6))


class Lists:
    """Insights as numbers and documents as lists of them: the symbolic form of one row."""

    def __init__(self, length: int, draw: Draw) -> None:
        self.symbols, self.rng, self.draw = Symbols(draw("symbols"), digits_for(length)), draw("lists"), draw

    def number(self, insight: Insight) -> str:
        return self.symbols.of(insight.statement)

    def further(self) -> Iterator[Document]:
        return lists(self.symbols, self.rng, SIZES)

    def closers(self) -> Iterator[Document]:
        return closing_lists(self.symbols)

    def fine(self) -> Iterator[Document]:
        return fine_sizes(self.symbols.fork(self.draw("fine")), list_document)

    def provenance(self) -> tuple[dict, ...]:
        return ({"kind": "symbol_map", "symbol_of": dict(self.symbols.number_of)},)


def carrier(
    insight: Insight,
    *,
    world: World,
    concept: str,
    context: str,
    rng: Random,
    which: int,
    lists: Lists | None,
    gold: bool = True,
) -> Alternatives:
    """A document that carries the insight: in its own words (real), paraphrased (high), verbatim (low), as a number."""
    said, before, after = insight.statement, "", ""
    if lists is not None:
        said = lists.number(insight)
        before, after = (f"{{{lists.symbols.fresh()}, ", f", {lists.symbols.fresh()}}}")
    else:
        said = insight.paraphrase if concept == "high" or (concept == "real" and which % 2) else said
        before, after = (surrounding(world, context, rng) for _ in range(2))
        before, after = before + " ", " " + after
    labels = (EVIDENCE,) if gold else ()
    role = "gold" if gold else "competitor"
    key = f"{insight.statement} ({which})"
    full = (Segment(before, (FILLER,)), Segment(said, labels), Segment(after, (FILLER,)))
    bare = (Segment("{"), Segment(said, labels), Segment("}")) if lists is not None else (Segment(said, labels),)
    return Document(key, full, role), Document(key, bare, role)


def surrounding(world: World, context: str, rng: Random) -> str:
    """A sentence or two for an insight to stand in."""
    documents = world_passages(world.split, world.seed)
    return padding_of(rng).text if context == "low" else documents[rng.randrange(len(documents))].text
