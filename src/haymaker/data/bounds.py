"""The most that a build can hold."""

from haymaker.config import Recipe
from haymaker.errors import ConfigError

MOST_LENGTH = 2**22  # tokens of a row
MOST_ROWS = 2**30


def check_bounds(recipe: Recipe) -> None:
    """ConfigError for rows that no memory holds, as each is written, tokenised and stored whole, and for what cannot be
    had together."""
    check_together(recipe)
    bounds = {
        "length": (recipe.longest, MOST_LENGTH),
        "rows": (recipe.rows, MOST_ROWS),
        "documents": (recipe.documents or 1, recipe.length),  # each takes a token at least
        "answer_room": (recipe.answer_room or 0, recipe.shortest - 1),
        "gold_position": (recipe.gold_position or 0, recipe.length - 1),
        "competitors": (max(recipe.competitors, recipe.padding_competitors), recipe.longest),
    }
    for name, (asked, most) in bounds.items():
        if asked > most:
            raise ConfigError(f"{name}: {asked:,} were asked for, and {most:,} are the most that a build can hold")


def check_together(recipe: Recipe) -> None:
    before, documents = recipe.gold_position, recipe.documents
    if before is not None and documents is not None and before >= documents:
        raise ConfigError(
            f"gold_position: {before} documents were to stand before the gold one, of {documents} there are "
            f"{documents - 1} others; ask for a smaller position or more documents"
        )
    if recipe.nested and recipe.length not in recipe.nested:
        lengths = sorted(set(recipe.nested))
        raise ConfigError(f"nested: {recipe.length} is none of the lengths {lengths} that share a plan; add it")
    if recipe.nested and recipe.documents:
        raise ConfigError("nested: lengths cannot be nested where `documents` fixes their number; give one of them")
    for name in ("nested", "documents", "gold_position"):
        if recipe.matched and getattr(recipe, name) is not None:
            raise ConfigError(f"matched: evidence stands where the plan of twins says, so {name} cannot be given too")
