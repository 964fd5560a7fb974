"""Multi-document question answering: one document of many holds the answer (Liu et al. 2024, lost in the middle)."""

from haymaker.config import Recipe
from haymaker.miniature.world import World
from haymaker.tasks.base import Draft, Drafts, Style, chosen_style
from haymaker.tasks.facts import world_facts_draft
from haymaker.tasks.mdqa_files import file_drafts

METRICS = ("squad_f1", "squad_em", "best_subspan_em")
MINIATURE = Style("miniature", document="[{number}] {text}", tail="\nQuestion: {question}\nAnswer:")
OFFICIAL = Style(
    "official",
    head="Write a high-quality answer for the given question using only the provided search results "
    "(some of which might be irrelevant).\n\n",
    document="Document [{number}](Title: {title}) {text}",
    tail="\n\nQuestion: {question}\nAnswer:",
)
DICTIONARIES = Style(
    "dictionaries",
    head="Look up the value in the dictionaries below.\n\n",
    document="Dictionary [{number}] {text}",
    tail="\n\nQuestion: {question}\nAnswer:",
)
STYLES = {style.name: style for style in (MINIATURE, OFFICIAL, DICTIONARIES)}


def drafts(recipe: Recipe) -> Drafts:
    """All rows of the recipe: the miniature world's, or those of `recipe.source` in lost-in-the-middle's format."""
    if recipe.source is not None:
        default = "dictionaries" if recipe.setting == "symbolic" else "official"
        return file_drafts(recipe, chosen_style(STYLES, recipe.prompt, default))
    world = World(recipe.split, recipe.seed)

    def draft(row: int) -> Draft:
        return world_facts_draft(recipe, world, row, hops=1)

    return Drafts(draft, chosen_style(STYLES, recipe.prompt, "miniature"))
