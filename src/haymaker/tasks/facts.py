"""Drafts about facts: what mdqa and musique share, in the miniature world and over real rows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from haymaker.choices import CONTEXTS
from haymaker.config import Recipe
from haymaker.drafts import Draft
from haymaker.errors import ConfigError
from haymaker.miniature.grammar import RELATIONS
from haymaker.miniature.world import BY_NAME, Fact, World
from haymaker.realism.context import Documents, Row, passages
from haymaker.realism.wording import Draw, Wording, wording_of, world_draw

LIMITED = ("birthplace", "author", "founder", "spouse")  # of the world's real-limited, unless the recipe names its own
TRIES = 1_000


def world_facts_draft(recipe: Recipe, world: World, row: int, hops: int) -> Draft:
    """Row `row` of the world: a chain of `hops` facts among rivals of the same relations."""
    draw = world_draw(world, row)
    chain = world_chain(recipe, world, draw, hops)
    rivals = world_rivals(world, draw, chain, max(recipe.competitors, recipe.padding_competitors))
    wording = wording_of(recipe, draw)
    source = {"dataset": "miniature", "world_seed": recipe.seed, "relations": [fact.relation.name for fact in chain]}
    diverse = partial(passages, world, draw("passages"))
    return facts_draft(recipe, wording, chain, rivals, diverse=diverse, draw=draw, source=source)


def facts_draft(
    recipe: Recipe,
    wording: Wording,
    chain: Sequence[Fact],
    rivals: Sequence[Fact],
    *,
    diverse: Documents,
    draw: Draw,
    source: dict[str, Any],
) -> Draft:
    """The chain in a wording, among rivals, in the recipe's context; `diverse` gives documents of a varied one."""
    gold = wording.gold(chain)
    question, answer = wording.question(chain)
    around = CONTEXTS[recipe.axes.context](Row(draw, diverse, wording))
    competitors = tuple(wording.rival(fact, place) for place, fact in enumerate(rivals[: recipe.rivals]))
    return Draft(
        question=question,
        answers=(answer,),
        gold=gold,
        competitors=competitors,
        least_competitors=min(1, len(competitors)),  # a row without one would answer itself
        further=around.further,
        closers=around.closers,
        fine=around.fine,
        facts=[[fact.relation.name, fact.subject, fact.object] for fact in chain],
        concept=recipe.axes.concept,
        context=recipe.axes.context,
        source={**source, "hops": len(chain)},
        provenance=wording.provenance(),
    )


# ---- the world's facts


def world_of(recipe: Recipe) -> World:
    """The miniature world of a recipe without a source; ConfigError for what only goes with one."""
    for name in ("pool", "written"):
        if recipe.source is None and getattr(recipe, name) is not None:
            raise ConfigError(f"{name}: it goes with real rows; give their file as source, or leave {name} out")
    return World(recipe.split, recipe.seed)


def world_chain(recipe: Recipe, world: World, draw: Draw, hops: int) -> list[Fact]:
    """The row's facts, the same in every setting.

    A limited setting keeps them where their relations are limited ones, and draws others elsewhere.
    """
    allowed = limited_relations(recipe)
    for attempt in range(TRIES):
        rng = draw("facts", attempt)
        chain = [world.fact(rng)] if hops == 1 else world.chain(rng, hops)
        apart = no_name_holds_another([chain[0].subject, *(fact.object for fact in chain)])
        if apart and all(fact.relation.name in allowed for fact in chain):
            return chain
    raise ConfigError(f"relations: {', '.join(sorted(allowed))} gave no chain of {hops} hops in {TRIES} tries")


def world_rivals(world: World, draw: Draw, chain: Sequence[Fact], count: int) -> list[Fact]:
    """Facts of the chain's relations about others, in turn: the same in every setting."""
    taken = [chain[0].subject, *(fact.object for fact in chain)]
    rivals: list[Fact] = []
    for attempt in range(TRIES):
        if len(rivals) == count:
            return rivals
        rival = world.fact(draw("rival", attempt), chain[len(rivals) % len(chain)].relation, taken)
        # A name inside another would be right under a metric that looks for substrings.
        if no_name_holds_another([*taken, rival.subject, rival.object]):
            rivals.append(rival)
            taken += [rival.subject, rival.object]
    raise ConfigError(f"competitors: the world gave only {len(rivals)} of {count} in {TRIES} tries")


def no_name_holds_another(entities: Sequence[str]) -> bool:
    """Whether the names (the last words of entities) are apart."""
    names = [entity.split()[-1].lower() for entity in entities]
    return not any(i != j and one in other for i, one in enumerate(names) for j, other in enumerate(names))


def limited_relations(recipe: Recipe) -> frozenset[str]:
    """Names of the world's relations that may be asked for."""
    if recipe.setting != "real-limited":
        return frozenset(BY_NAME)
    unknown = sorted(set(recipe.relations or ()) - set(BY_NAME))
    if unknown:
        raise ConfigError(f"relations: the world has no {', '.join(unknown)}; it has {', '.join(BY_NAME)}")
    return frozenset(recipe.relations or LIMITED)


assert all(BY_NAME[name] in RELATIONS for name in LIMITED)
