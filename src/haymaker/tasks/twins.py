"""Twins of real rows: the same question's hops about invented entities, in a recipe's concept and context.

high: a writer's texts where the recipe names them, else the miniature world's grammar. low: templates about
placeholders ("The author of Work 417 is Person 288."). symbolic: dictionaries of three or four pairs of numbers (Xiong
et al. 2024), a chain of look-ups where there are several hops.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain as chained
from itertools import islice
from typing import Any

from haymaker.config import Recipe
from haymaker.drafts import Alternatives, Document, Draft
from haymaker.miniature.world import Fact, World
from haymaker.randomness import keyed, shuffle
from haymaker.realism.placeholders import placeholder_chain, placeholder_rivals, template_relation
from haymaker.realism.symbols import Symbols, closing_dictionaries, dictionaries, dictionary, fine_sizes
from haymaker.realism.wording import Draw, Numbers, Wording, WriterText, wording_of
from haymaker.realism.written import Written
from haymaker.records import Segment
from haymaker.tasks.facts import facts_draft, world_chain, world_rivals
from haymaker.tasks.file_rows import FileRow, FileRows
from haymaker.tasks.pool import Passage, document_of

PAIRS = (3, 4)  # of a dictionary (Xiong et al. 2024)


@dataclass(frozen=True)
class Cast:
    """The invented entities of one row: its chain of facts, rival facts, how they are worded, what they stand for."""

    wording: Wording
    chain: Sequence[Fact]
    rivals: Sequence[Fact] = ()
    written_rivals: tuple[Alternatives, ...] = ()  # those of a writer, worded already
    stands_for: dict[str, str] = field(default_factory=dict)


def twin_draft(recipe: Recipe, row: FileRow, found: FileRows) -> Draft:
    """The row's twin in the recipe's concept and context.

    A varied context is the real row's: its own distractors, then passages of other questions; those that would give
    the new answer, or that of a hop, away are refused.
    """
    draw: Draw = partial(keyed, recipe.seed, row.key)
    cast = cast_of(recipe, row, found, draw)
    refused = [fact.object for fact in cast.chain]
    own = [passage for passage in row.distractors if not passage.gives_away(refused)]
    pooled = found.further(recipe, row, refused)
    source = {"dataset": found.dataset, **row.source}
    diverse = lambda: chained(map(document_of, own), pooled())  # noqa: E731 - a stream to be opened anew
    made = facts_draft(recipe, cast.wording, cast.chain, cast.rivals, diverse=diverse, draw=draw, source=source)
    made = replace(
        made,
        competitors=(*made.competitors, *cast.written_rivals),
        facts=[found.dataset, row.question],
        provenance=(*made.provenance, placeholders_record(row, cast)),
    )
    if isinstance(cast.wording, Numbers):
        return with_dictionaries(made, cast.wording.symbols, draw)
    if recipe.axes.context != "high":
        return made
    return replace(made, closers=found.closers(recipe, row, refused), trim=True)


def with_dictionaries(draft: Draft, symbols: Symbols, draw: Draw) -> Draft:
    """The draft among dictionaries that are the same each time they are asked for."""
    closers = tuple(closing_dictionaries(symbols))
    further = lambda: dictionaries(symbols.fork(draw("numbers")), draw("dictionaries"), PAIRS)  # noqa: E731 - a stream
    fine = lambda: fine_sizes(symbols.fork(draw("fine")), dictionary)  # noqa: E731 - a stream
    return replace(draft, further=further, closers=lambda: iter(closers), fine=fine)


def placeholders_record(row: FileRow, cast: Cast) -> dict[str, Any]:
    """What a twin's names stand for in the real row, and the real question."""
    return {"kind": "placeholders", "stands_for": cast.stands_for, "question": row.question}


def cast_of(recipe: Recipe, row: FileRow, found: FileRows, draw: Draw) -> Cast:
    """Who stands in for the row's entities, with the recipe's number of rivals."""
    written, concept, count = found.written.get(row.key), recipe.axes.concept, recipe.rivals
    if concept == "high" and written is not None:
        facts = [Fact(template_relation("written"), "", answer) for answer in written.step_answers]
        return Cast(WriterText(written), facts, written_rivals=written_rivals(row, written, found, count, draw))
    if concept == "high":  # the world's grammar is the writer where no language model was asked
        world = World(recipe.split, recipe.seed)
        facts = world_chain(recipe, world, draw, len(row.steps))
        return Cast(wording_of(recipe, draw), facts, world_rivals(world, draw, facts, count))
    facts, stands_for = placeholder_chain(row.steps, draw("placeholders"))
    wording = Numbers(recipe.longest, draw, PAIRS, PAIRS) if concept == "symbolic" else wording_of(recipe, draw)
    rivals = placeholder_rivals(facts, count, draw("placeholder rivals"))
    return Cast(wording, facts, rivals, stands_for=stands_for)


def written_rivals(
    row: FileRow, written: Written, found: FileRows, count: int, draw: Draw
) -> tuple[tuple[Document, ...], ...]:
    """Passages that the writer wrote for other rows, `count` of them where there are as many without this answer."""
    others = sorted(key for key in found.written if key != row.key)
    order = (found.written[others[i]] for i in shuffle(len(others), draw("told rivals")))
    texts = (Passage(other.title(i), text) for other in order for i, text in enumerate(other.passages))
    kept = islice((passage for passage in texts if not passage.gives_away(written.step_answers)), count)
    return tuple((Document(f"written: {one.text}", (Segment(one.text),), "competitor", one.title),) for one in kept)
