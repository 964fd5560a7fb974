"""Multi-document question answering: one document of many holds the answer (Liu et al. 2024, lost in the middle)."""

from haymaker.config import Recipe
from haymaker.drafts import Draft, Drafts, Style, style_of
from haymaker.realism.written import Asked
from haymaker.tasks.facts import world_facts_draft, world_of
from haymaker.tasks.file_rows import asked_of, file_drafts
from haymaker.tasks.mdqa_files import read
from haymaker.tasks.twins import twin_draft

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


def drafts(recipe: Recipe) -> Drafts:
    """All rows of the recipe: the miniature world's, or those of `recipe.source` in lost-in-the-middle's format."""
    if recipe.source is not None:
        default = "dictionaries" if recipe.setting == "symbolic" else "official"
        return file_drafts(recipe, style_of(recipe, default), read(recipe), twin_draft)
    world = world_of(recipe)

    def draft(row: int) -> Draft:
        return world_facts_draft(recipe, world, row, hops=1)

    return Drafts(draft, style_of(recipe, "miniature"))


def asked(recipe: Recipe) -> list[Asked]:
    """What a writer is asked for to make twins of the source's rows."""
    return asked_of(read(recipe).rows)
