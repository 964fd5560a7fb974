"""What mdqa and musique do alike with rows of files: reading, choosing, and every setting over them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from haymaker.config import Recipe
from haymaker.dataset import file_digest
from haymaker.errors import ConfigError
from haymaker.miniature.world import World
from haymaker.randomness import keyed
from haymaker.realism import AXES
from haymaker.realism.concept import Draw
from haymaker.realism.placeholders import LIMITED, placeholder_chain, relation_of
from haymaker.tasks.answers import holds
from haymaker.tasks.base import Alternatives, Draft, Drafts, Style
from haymaker.tasks.facts import facts_draft, template_relation, wording_of
from haymaker.tasks.files import in_split, read_jsonl, sift
from haymaker.tasks.pool import Passage, Pool, document_of, read_pool


@dataclass(frozen=True)
class FileRow:
    """One usable question of a file. Tasks add where its evidence is."""

    key: str
    question: str
    answers: tuple[str, ...]
    passages: tuple[Passage, ...]  # gold ones first, then the others in the file's order

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """(question, answer) of every hop."""
        raise NotImplementedError

    @property
    def distractors(self) -> tuple[Passage, ...]:
        raise NotImplementedError

    @property
    def refused(self) -> tuple[str, ...]:
        """Texts that no further passage may hold."""
        return self.answers

    def gold(self) -> tuple[Alternatives, ...]:
        raise NotImplementedError


Parse = Callable[[dict[str, Any], str], FileRow | str]


def file_drafts_of(recipe: Recipe, style: Style, parse: Parse, draft: Callable[..., Draft]) -> Drafts:
    """All usable rows of `recipe.source` in the recipe's split, in an order that the file's order does not change."""
    assert recipe.source is not None
    rows, rejected = sift(read_jsonl(recipe.source), parse)
    distinct = {row.key: row for row in reversed(rows)}
    if len(distinct) < len(rows):
        rejected["the question stands in the file already"] = len(rows) - len(distinct)
    further, inputs = read_pool(recipe.pool)
    pool = Pool([*(passage for row in rows for passage in row.passages), *further], recipe.seed)
    inputs[recipe.source] = file_digest(recipe.source)
    asked = [row for row in distinct.values() if in_split(row.question, recipe.split, recipe.split_shares)]
    if recipe.setting == "real-limited":
        asked = limited(asked, recipe.relations or LIMITED)
    chosen = sorted(asked, key=lambda row: row.key)
    return Drafts(lambda k: draft(recipe, chosen[k], pool), style, len(chosen), inputs, dict(rejected))


def limited(rows: Sequence[FileRow], relations: Sequence[str]) -> list[FileRow]:
    """Rows that ask for these relations alone."""
    kept = [row for row in rows if all(relation_of(question)[0] in relations for question, _ in row.steps)]
    if not kept:
        raise ConfigError(f"relations: no row of the source asks for {', '.join(relations)} alone")
    return kept


def real_draft(recipe: Recipe, row: FileRow, pool: Pool, dataset: str) -> Draft:
    """A row of a file in the recipe's setting: as it is, or its twin with an invented concept."""
    source = {"dataset": dataset, "row_id": row.key[:20]}
    if not recipe.setting.startswith("real"):
        return synthetic_draft(recipe, row, pool, source)
    concept, context = AXES[recipe.setting]
    return Draft(
        question=row.question,
        answers=row.answers,
        gold=row.gold(),
        competitors=tuple((document_of(passage),) for passage in row.distractors),
        further=partial(pool.documents, row.key, row.passages, row.refused),
        closers=partial(pool.closers, row.key, row.passages, row.refused),
        facts=[dataset, row.question],
        ranked=True,
        trim=True,
        concept=concept,
        context=context,
        source={**source, "hops": len(row.steps)},
    )


def synthetic_draft(recipe: Recipe, row: FileRow, pool: Pool, source: dict[str, Any]) -> Draft:
    """The row's twin: as many hops about invented entities, in the recipe's concept and context.

    A varied context is the real row's: its own distractors, then passages of other questions; those that would give
    the new answer away are refused.
    """
    draw: Draw = partial(keyed, recipe.seed, row.key)
    concept, context = AXES[recipe.setting]
    facts, stands_for = placeholder_chain(row.steps, template_relation, draw("placeholders"))
    if concept == "high":  # the world's grammar is the writer where no language model is asked
        facts, stands_for = World(recipe.split, recipe.seed).chain(draw("facts"), len(row.steps)), {}
    wording = wording_of(concept, recipe.length, draw)
    refused = [fact.object for fact in facts]
    gold = row.passages[: len(row.steps)]
    diverse = partial(pool.documents, row.key, row.passages, refused)
    made = facts_draft(recipe, wording, facts, [], diverse, draw, source)
    made = replace(
        made,
        facts=[source["dataset"], row.question],
        provenance=(*made.provenance, {"kind": "placeholders", "stands_for": stands_for, "question": row.question}),
    )
    if context != "high":
        return made
    kept = [passage for passage in row.passages if passage not in gold and not gives_away(passage, refused)]
    competitors = tuple((document_of(passage),) for passage in kept)
    closers = partial(pool.closers, row.key, row.passages, refused)
    return replace(made, competitors=competitors, least_competitors=0, closers=closers, ranked=True, trim=True)


def gives_away(passage: Passage, refused: Sequence[str]) -> bool:
    return holds(f"{passage.title} {passage.text}", refused)
