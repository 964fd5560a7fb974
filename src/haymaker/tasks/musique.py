"""Questions of two to four hops: each one's evidence stands in another document (Trivedi et al. 2022, MuSiQue)."""

from haymaker.config import Recipe
from haymaker.drafts import Draft, Drafts, Style, style_of
from haymaker.errors import ConfigError
from haymaker.realism.written import Asked
from haymaker.tasks.facts import world_facts_draft, world_of
from haymaker.tasks.file_rows import asked_of, file_drafts
from haymaker.tasks.musique_files import read
from haymaker.tasks.twins import twin_draft

METRICS = ("musique_f1", "musique_em")
PARAGRAPHS = Style(
    "paragraphs",
    head="Answer the question from the paragraphs below. It takes several of them; most are irrelevant.\n\n",
    document="Paragraph [{number}](Title: {title}) {text}",
    tail="\n\nQuestion: {question}\nAnswer:",
)
HOPS = (2, 3)  # of the world's rows in turn, unless the recipe says otherwise


def drafts(recipe: Recipe) -> Drafts:
    """All rows of the recipe: the miniature world's chains, or those of `recipe.source` in MuSiQue's jsonl."""
    if recipe.hops is not None and not all(2 <= hops <= 4 for hops in recipe.hops):
        raise ConfigError(f"hops: MuSiQue's questions have 2 to 4, found {recipe.hops}")
    if recipe.source is not None:
        default = "dictionaries" if recipe.setting == "symbolic" else "paragraphs"
        return file_drafts(recipe, style_of(recipe, default), read(recipe), twin_draft)
    world, hops = world_of(recipe), recipe.hops or HOPS

    def draft(row: int) -> Draft:
        return world_facts_draft(recipe, world, row, hops[row % len(hops)])

    return Drafts(draft, style_of(recipe, "miniature"))


def asked(recipe: Recipe) -> list[Asked]:
    """What a writer is asked for to make twins of the source's rows."""
    return asked_of(read(recipe).rows)
