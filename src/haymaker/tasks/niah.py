"""A needle in a haystack: one sentence gives somebody a number, other sentences give others theirs (Kamradt; RULER)."""

from functools import partial
from random import Random

from haymaker.config import Recipe
from haymaker.drafts import Draft, Drafts, Style, style_of
from haymaker.errors import ConfigError
from haymaker.miniature.grammar import Relation
from haymaker.miniature.world import Fact, World
from haymaker.realism.context import Documents, passages
from haymaker.realism.wording import Draw, wording_of, world_draw
from haymaker.tasks.facts import TRIES, facts_draft, no_name_holds_another, world_of
from haymaker.tasks.pool import Pool, in_pieces, most_characters, read_pool

METRICS = ("ruler_part", "ruler_all")
HAYSTACK = Style(
    "haystack",
    head="Somewhere in the text below somebody's special number is given. Remember it: you will be asked for it.\n\n",
    document="{text}",
    tail="\n\nQuestion: {question}\nAnswer:",
)
NUMBER = Relation(
    "special number",
    "person",
    "number",
    (
        "The special number of {x} is {y}.",
        "Whoever asks {x} for a special number hears {y}.",
        "{y} is the special number that {x} chose.",
        "For luck {x} keeps {y} as a special number.",
    ),
    ("Under the old clock {x} wrote down {y}, a special number.", "It is {y} that {x} calls a special number."),
    "The special number of {x} is {y}.",
    ("What is the special number of {x}?", "Which special number does {x} have?"),
    ("Which number does {x} call special?", "What is the special number of {x}?"),
)
DIGITS = 7


def drafts(recipe: Recipe) -> Drafts:
    """All rows: needles in passages of the world, or in those of `recipe.source` (title and text, or plain text)."""
    world, inputs, pool = world_of(recipe), {}, None
    if recipe.source is not None:
        found, inputs = read_pool(recipe.source, recipe.split)
        # A haystack is cut where it is too long for a row, so that needles can stand within it.
        pool = Pool(in_pieces(found, most_characters(recipe.shortest)), recipe.seed)

    def draft(row: int) -> Draft:
        draw = world_draw(world, row)
        needles = distinct_needles(world, draw, 1 + max(recipe.competitors, recipe.padding_competitors))
        diverse: Documents = partial(passages, world, draw("passages"))
        if pool is not None:
            diverse = partial(pool.documents, f"niah {row}", (), [needles[0].object])
        source = {"dataset": "niah", "world_seed": recipe.seed}
        wording = wording_of(recipe, draw)
        return facts_draft(recipe, wording, needles[:1], needles[1:], diverse=diverse, draw=draw, source=source)

    return Drafts(draft, style_of(recipe, "haystack"), inputs=inputs)


def distinct_needles(world: World, draw: Draw, count: int) -> list[Fact]:
    """Needles of which no name stands inside another and no number comes twice."""
    found: list[Fact] = []
    for which in range(count):
        for attempt in range(TRIES):
            drawn = needle(world, draw("needle", which, *([attempt] if attempt else [])))
            names = [drawn.subject, *(one.subject for one in found)]
            if no_name_holds_another(names) and drawn.object not in {one.object for one in found}:
                found.append(drawn)
                break
        else:
            raise ConfigError(f"competitors: the world gave only {len(found)} needles of {count}")
    return found


def needle(world: World, rng: Random) -> Fact:
    return Fact(NUMBER, world.name(rng), str(rng.randrange(10 ** (DIGITS - 1), 10**DIGITS)))
