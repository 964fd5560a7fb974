"""The most that a build can hold."""

from haymaker.config import Recipe
from haymaker.errors import ConfigError

MOST_LENGTH = 2**22  # tokens of a row
MOST_ROWS = 2**30


def check_bounds(recipe: Recipe) -> None:
    """ConfigError for rows that no memory holds: each is written, tokenised and stored whole."""
    bounds = {
        "length": (recipe.longest, MOST_LENGTH),
        "rows": (recipe.rows, MOST_ROWS),
        "documents": (recipe.documents or 1, recipe.length),  # each takes a token at least
        "answer_room": (recipe.answer_room or 0, recipe.shortest - 1),
        "competitors": (max(recipe.competitors, recipe.padding_competitors), recipe.longest),
    }
    for name, (asked, most) in bounds.items():
        if asked > most:
            raise ConfigError(f"{name}: {asked:,} were asked for, and {most:,} are the most that a build can hold")
