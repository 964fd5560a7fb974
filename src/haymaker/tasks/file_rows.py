"""What mdqa and musique do alike with rows of files: reading, choosing, and real rows as they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from haymaker.choices import READERS
from haymaker.config import Recipe
from haymaker.drafts import Alternatives, Document, Draft, Drafts, Rejected, Style
from haymaker.errors import ConfigError, DataError
from haymaker.file_digests import file_digest
from haymaker.miniature.world import ANSWER
from haymaker.realism.answers import answer_ranges, marked
from haymaker.realism.context import Documents
from haymaker.realism.placeholders import relation_of
from haymaker.realism.written import Asked, Written, with_texts
from haymaker.records import Label, digest
from haymaker.tasks.nearest import library
from haymaker.tasks.pool import Passage, Pool, document_of, read_pool, taken_apart
from haymaker.tasks.sources import in_split, open_rows, sift


@dataclass(frozen=True)
class FileRow:
    """One usable question of a file, of one hop or several; each hop's evidence stands in a passage of its own."""

    key: str
    question: str
    answers: tuple[str, ...]
    passages: tuple[Passage, ...]  # those of the hops in order, then the others in the file's order
    steps: tuple[tuple[str, str], ...]  # (question, answer) of every hop; "#1" stands for the first one's answer

    @property
    def evidence(self) -> tuple[Passage, ...]:
        """The gold passages, one a hop."""
        return self.passages[: len(self.steps)]

    @property
    def distractors(self) -> tuple[Passage, ...]:
        return self.passages[len(self.steps) :]

    @property
    def refused(self) -> tuple[str, ...]:
        """Texts that no further passage may hold: the answers, and those of the hops."""
        return (*self.answers, *(answer for _, answer in self.steps))

    @property
    def source(self) -> dict[str, Any]:
        """What a row says about where it comes from; of several hops, with the decomposition of its question."""
        told = {"row_id": self.key, "hops": len(self.steps)}
        return told if len(self.steps) == 1 else {**told, "decomposition": [list(step) for step in self.steps]}

    def gold(self) -> tuple[Alternatives, ...]:
        """The evidence as documents, with the answers marked in the last one."""
        last = len(self.steps) - 1
        return tuple((self.document(hop, hop == last),) for hop in range(last + 1))

    def document(self, hop: int, answers: bool) -> Document:
        passage = self.passages[hop]
        ranges = answer_ranges(passage.text, self.answers) if answers else []
        segments = marked(passage.text, ranges, ANSWER, (Label("evidence", hop),))
        return Document(passage.key, segments, "gold", passage.title)


Parse = Callable[[dict[str, Any], str], FileRow | str]
UNSCORABLE = "nothing is left of its answers without articles and punctuation, so no answer could be scored"
LIMITED_OUT = "it asks for a relation other than the limited ones"


@dataclass(frozen=True)
class FileRows:
    """The usable rows of a source: those a recipe asks for, and a pool of passages that are nobody's evidence."""

    dataset: str  # the source's name in rows
    rows: list[FileRow]
    pool: Pool
    inputs: dict[str, str]
    rejected: Rejected
    written: dict[str, Written]  # a writer's texts by row key

    def further(self, recipe: Recipe, row: FileRow, refused: Sequence[str]) -> Documents:
        """Passages of the pool that may stand in a row's context, in the order that the recipe asks for."""
        if recipe.distractors == "nearest":
            return partial(self.pool.nearest, row.key, row.passages, refused, row.question)
        return partial(self.pool.documents, row.key, row.passages, refused)

    def closers(self, recipe: Recipe, row: FileRow, refused: Sequence[str]) -> Documents | None:
        """Passages to choose a row's last ones from; None: those that come next, where they come in an order."""
        if recipe.distractors == "nearest":
            return None
        return partial(self.pool.closers, row.key, row.passages, refused)


def read_file_rows(recipe: Recipe, dataset: str, parse: Parse, limited_to: Sequence[str]) -> FileRows:
    """All usable rows of `recipe.source` in the recipe's split, in an order that the file's order does not change.

    The pool holds no other split's evidence.
    """
    assert recipe.source is not None
    if recipe.distractors == "nearest":
        library()  # what is missing is told before files are read
    opened = open_rows(recipe.source, recipe.split)
    usable, rejected = sift(opened, parse if recipe.task == "qa" else hinting(recipe.task, parse), recipe.columns)
    distinct = {row.key: row for row in sorted(usable, key=contents_of)}  # of equal keys not the one that stands first
    for row in usable:
        if distinct[row.key] is not row:
            rejected.add("the question stands in the file already", row.key)
    asked = {key: row for key, row in distinct.items() if in_split(row.question, recipe.split, recipe.split_shares)}
    further, inputs = read_pool(recipe.pool, recipe.split)
    held_out = {passage.letters for key, row in distinct.items() if key not in asked for passage in row.evidence}
    own = (passage for row in distinct.values() for passage in row.passages)
    passages = [passage for passage in (*own, *further) if passage.letters not in held_out]
    pool = Pool(taken_apart(passages, recipe.shortest), recipe.seed)
    # Names may tell kinds (MuSiQue's 2hop__), so the first in their order would be of one kind. mdqa's are digests.
    rows = sorted(asked.values(), key=lambda row: row.key if recipe.task == "mdqa" else digest(row.key))
    if recipe.setting == "real-limited":
        rows = limited(rows, recipe.relations or limited_to, rejected)
    return FileRows(dataset, rows, pool, {**inputs, **opened.inputs}, rejected, {})


def hinting(task: str, parse: Parse) -> Parse:
    """The parser of a task's official rows, whose error about rows of another layout says what reads them."""

    def hinted(row: dict[str, Any], place: str) -> FileRow | str:
        try:
            return parse(row, place)
        except DataError as error:
            layout = next((name for name in READERS if name != task and row in READERS[name]), None)
            if layout is None:
                raise
            raise DataError(
                f"{error}; it is a row as {layout} has them: build with --task qa, or give the file itself as data"
            ) from None

    return hinted


def contents_of(row: FileRow) -> tuple[Any, ...]:
    """What tells rows of one key apart, wherever they stand in the file."""
    return row.question, row.answers, [passage.key for passage in row.passages]


def limited(rows: Sequence[FileRow], relations: Sequence[str], rejected: Rejected) -> list[FileRow]:
    """Rows that ask for these relations alone; the others are counted."""
    kept = [row for row in rows if all(relation_of(question)[0] in relations for question, _ in row.steps)]
    if not kept:
        raise ConfigError(f"relations: no row of the source asks for {', '.join(relations)} alone")
    for key in sorted({row.key for row in rows} - {row.key for row in kept}):
        rejected.add(LIMITED_OUT, key)
    return kept


def with_written(recipe: Recipe, found: FileRows) -> FileRows:
    """The rows that the recipe's writer gave usable texts for, where the setting takes a writer's; others counted."""
    if recipe.written is None or recipe.axes.concept != "high":
        return found
    path = recipe.written
    rows, texts, faults = with_texts(path, found.rows, lambda row, text: text.fault_for(len(row.steps)))
    inputs = {**found.inputs, path: file_digest(path)}
    return replace(found, rows=rows, inputs=inputs, rejected=found.rejected.with_others(faults), written=texts)


def file_drafts(recipe: Recipe, style: Style, found: FileRows, twin: Callable[..., Draft]) -> Drafts:
    """Drafts of the rows: as they are in real settings, else their twins with an invented concept."""
    found = with_written(recipe, found)

    def draft(number: int) -> Draft:
        row = found.rows[number]
        return real_draft(recipe, row, found) if recipe.axes.concept == "real" else twin(recipe, row, found)

    return Drafts(draft, style, len(found.rows), found.inputs, found.rejected)


def real_draft(recipe: Recipe, row: FileRow, found: FileRows) -> Draft:
    """A row of a file as it is."""
    return Draft(
        question=row.question,
        answers=row.answers,
        gold=row.gold(),
        competitors=tuple((document_of(passage),) for passage in row.distractors),
        further=found.further(recipe, row, row.refused),
        closers=found.closers(recipe, row, row.refused),
        facts=[found.dataset, row.question],
        ranked=True,
        trim=True,
        concept=recipe.axes.concept,
        context=recipe.axes.context,
        source={"dataset": found.dataset, **row.source},
    )


def asked_of(rows: Sequence[FileRow]) -> list[Asked]:
    """What a writer is asked for to make these rows' twins."""
    return [Asked(row.key, row.question, row.steps, tuple(p.text for p in row.evidence)) for row in rows]
