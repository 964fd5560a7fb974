"""Question answering over rows of one's own: documents of which some are gold, or a text, in any layout of READERS."""

from dataclasses import replace
from typing import Any

from haymaker.config import Recipe
from haymaker.drafts import Draft, Drafts, Style, style_of
from haymaker.randomness import keyed
from haymaker.realism.placeholders import LIMITED
from haymaker.realism.written import Asked
from haymaker.tasks.facts import world_facts_draft, world_of
from haymaker.tasks.file_rows import FileRows, asked_of, read_file_rows, real_draft, with_written
from haymaker.tasks.keychains import hidden
from haymaker.tasks.own_columns import renamed
from haymaker.tasks.own_layouts import read_row
from haymaker.tasks.own_rows import OwnRow, Talk, settled
from haymaker.tasks.twins import twin_draft

METRICS = ("squad_f1", "squad_em", "best_subspan_em")
TAIL = "\n\nQuestion: {question}\nAnswer:"
HEAD = "Answer the question from the documents below; some of them are irrelevant.\n\n"
DOCUMENTS = Style("documents", head=HEAD, document="Document [{number}] {text}", tail=TAIL)
TITLED = Style("titled", head=HEAD, document="Document [{number}](Title: {title}) {text}", tail=TAIL)
TEXT = Style("text", document="{text}", tail=TAIL, joiner="\n\n")
CONVERSATION = "a conversation keeps its own prompt: give the file itself as data, where a dataset goes"
NO_TWIN = "it has several gold documents and no steps that say which gives what, so it has no twin in another concept"


def drafts(recipe: Recipe) -> Drafts:
    """All rows of the recipe: those of `recipe.source` in any layout, or the miniature world's facts."""
    if recipe.source is None:
        world = world_of(recipe)
        return Drafts(lambda row: world_facts_draft(recipe, world, row, hops=1), style_of(recipe, "documents"))
    found = with_written(recipe, read(recipe))
    questions = sorted({row.question for row in found.rows})

    def draft(number: int) -> Draft:
        row = found.rows[number]
        made = real_draft(recipe, row, found) if recipe.axes.concept == "real" else twin_draft(recipe, row, found)
        made = replace(made, facts=[found.dataset, row.key])
        if not recipe.indirection:
            return made
        rng = keyed(recipe.seed, row.key, "keys")
        return hidden(made, recipe.indirection, questions, recipe.competitors, rng)

    default = style_of(recipe, style_for(recipe, found))
    return Drafts(draft, default, len(found.rows), found.inputs, found.rejected)


def style_for(recipe: Recipe, found: FileRows) -> str:
    """Titles are shown where any gold document has one."""
    if recipe.setting == "symbolic":
        return "dictionaries"
    return "titled" if any(passage.title for row in found.rows for passage in row.evidence) else "documents"


def read(recipe: Recipe) -> FileRows:
    """All usable rows of `recipe.source`; those that are of no use in the recipe's setting are counted."""
    columns, twins = recipe.columns, recipe.axes.concept != "real"

    def parse(row: dict[str, Any], place: str) -> Any:
        return usable(read_row(renamed(row, columns), place), twins)

    return read_file_rows(recipe, "own", parse, LIMITED)


def usable(found: Any, twins: bool) -> Any:
    """What a row gives to a build: rows, or why it is of no use; of several questions one each."""
    if isinstance(found, list):
        return [usable(one, twins) for one in found]
    if isinstance(found, Talk):
        return CONVERSATION
    row = found if isinstance(found, str) else settled(found)
    if isinstance(row, str):
        return row
    made = OwnRow.of(row)
    return NO_TWIN if twins and not made.has_twins else made


def asked(recipe: Recipe) -> list[Asked]:
    """What a writer is asked for to make twins of the source's rows."""
    return asked_of([row for row in read(recipe).rows if isinstance(row, OwnRow) and row.has_twins])
