"""Task x setting x length x rows -> Dataset. Row k depends on the recipe and k alone."""

import gc
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from haymaker.choices import plug_ins
from haymaker.config import Recipe
from haymaker.data.bounds import check_bounds
from haymaker.data.checks import SUMMED, check_page, summary
from haymaker.data.dataset import Dataset
from haymaker.data.fit.costs import Costs, counted
from haymaker.data.fit.fitter import Fitter
from haymaker.data.fit.page import Page
from haymaker.data.fit.together import TOKENS_AT_ONCE, together
from haymaker.data.schema import Row, table_of
from haymaker.drafts import Draft, Drafts
from haymaker.errors import ConfigError, DataError, LengthError, PluginError
from haymaker.records import canonical_json, digest
from haymaker.rendering import TEMPLATE_DATE, Prompt, writes_date
from haymaker.tasks import metrics_from, task, taught
from haymaker.tokens import Aligner, Tokens
from haymaker.vocabulary import tokenizer_digest

VERSION = 12  # of the rows that a recipe gives; counts up when they change
MOST_TRIED = 8  # rows of which one tells what documents of a kind take
MOST_IN_MEMORY = 2**31  # tokens of a dataset that is not written part by part
FILES = ("source", "pool", "written")  # keys of a recipe that name files: what counts is what these hold
LIBRARIES = ("haymaker", "transformers", "tokenizers", "pyarrow")
LEAVE_OUT = "or leave such rows out, and be told which: failed_rows: skip (build --skip-failed)"


class Failure(NamedTuple):
    """A row that could not be built, and why."""

    row: int
    reason: str


def build(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The dataset a recipe describes: exactly `recipe.rows` rows, none longer than `recipe.length` tokens.

    Args:
        recipe: Task, setting, length, rows and the rest.
        tokenizer: The fast tokenizer whose tokens are counted.

    Returns:
        The dataset, in memory; `save` writes it. `haymaker build` builds large ones in parallel, to a folder.

    Raises:
        ConfigError: A recipe that cannot be met, such as more rows than the source has.
        DataError: A broken source, or no row that can be built.
        LengthError: A row whose evidence does not fit; with `failed_rows="skip"` such rows are left out, and told in
            the manifest.

    Source:
        The settings are those of Zhao et al. 2025 (arXiv 2410.22316).

    Examples:
        >>> data = hm.build(hm.Recipe(task="niah", length=256, rows=2), lm.tokenizer)
        >>> len(data), data[0].task
        (2, 'niah')
    """
    builder = Builder(recipe, tokenizer)
    if recipe.rows * recipe.length > MOST_IN_MEMORY:
        raise ConfigError(
            f"rows: {recipe.rows:,} rows of {recipe.length:,} tokens are more than the {MOST_IN_MEMORY:,} tokens that "
            "are held in memory; build them into a folder with `haymaker build`"
        )
    table, failures = builder.table(range(recipe.rows))
    if not table.num_rows:
        raise nothing_built(failures)
    checks = summary(table.select(SUMMED).to_pylist())
    return Dataset(table, {**builder.manifest(checks, failures), "rows": table.num_rows})


class Builder:
    """Builds rows of one recipe, in any order."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase, tokenizer_name: str | None = None) -> None:
        check_bounds(recipe)
        self.recipe, self.tokenizer_name = recipe, tokenizer_name
        self.drafts = drafts_of(recipe)
        self.costs = Costs(Aligner(tokenizer, recipe.chat_template), self.drafts.style)
        self.fitter = Fitter(recipe, self.costs)
        self.tokenizer_digest = tokenizer_digest(tokenizer)
        self.dated = self.costs.aligner.use_template and writes_date(tokenizer)
        self.sampled = counted(recipe)

    def table(self, numbers: Iterable[int]) -> tuple[pa.Table, list[Failure]]:
        """Rows of these numbers, and those that failed where the recipe says to skip them."""
        failures: list[Failure] = []
        with without_collection():
            return table_of(list(self.rows(numbers, failures))), failures

    def rows(self, numbers: Iterable[int], failures: list[Failure]) -> Iterator[Row]:
        for number, made in self.made(numbers):
            if not isinstance(made, DataError):
                yield made
            elif self.recipe.failed_rows == "skip":
                failures.append(Failure(number, str(made)))
            elif isinstance(made, LengthError):
                raise LengthError(f"{made}; {LEAVE_OUT}")
            else:
                raise made

    def made(self, numbers: Iterable[int]) -> Iterator[tuple[int, Row | DataError]]:
        """Rows of these numbers, or why there is none; some of them are planned side by side."""
        if not self.sampled:
            self.sample()
        waiting, at_once = iter(numbers), max(1, TOKENS_AT_ONCE // self.recipe.length)
        while some := list(islice(waiting, at_once)):
            found = together({place: self.making(number) for place, number in enumerate(some)}, self.costs.aligner)
            yield from ((number, found[place]) for place, number in enumerate(some))

    def sample(self) -> None:
        """Learn from the first row that can be drafted what its further documents take; it is so for whoever builds."""
        self.sampled = True
        for number in range(min(self.recipe.rows, MOST_TRIED)):
            with suppress(DataError):
                self.costs.sample(self.drafts.draft(number).further(), self.recipe.longest)
                return

    def row(self, number: int) -> Row:
        """Row `number` as the dataset's table holds it."""
        [(_, made)] = self.made([number])
        if isinstance(made, DataError):
            raise made
        return made

    def making(self, number: int) -> Generator[Prompt, Tokens, Row]:
        """A row on its way: it gives prompts and is sent their tokens."""
        draft = self.drafted(number)
        page = yield from self.fitter.fit(draft, number)
        return self.named(draft, page, number) | self.written(draft, page)

    def drafted(self, number: int) -> Draft:
        """The draft of a row, which knows what it will teach."""
        draft = self.drafts.draft(number)
        told = {} if draft.cites else taught(draft.answers, draft.source, self.recipe.task)
        return replace(draft, source={**draft.source, **told}) if told else draft

    def named(self, draft: Draft, page: Page, number: int) -> Row:
        """The row's names and where it comes from.

        Its id is a digest of what it says and asks, so it does not change with other rows or the order of the source.
        """
        recipe, name = self.recipe, self.recipe.task
        # Rows of the world have no key but their number; two of them may say the same.
        key = number if recipe.source is None else draft.facts
        asked = {} if recipe.chat_template is None else {"chat_template": recipe.chat_template}
        contents = [name, recipe.setting, recipe.split, key, page.content, draft.question, list(page.answers)]
        return {
            "id": f"{name}-{digest(contents)[:20]}",
            "pair_id": f"{name}-pair-{digest(draft.facts)[:20]}",
            "task": name,
            "setting": recipe.setting,
            "split": recipe.split,
            "concept": draft.concept,
            "context": draft.context,
            "question": draft.question,
            "source": canonical_json({**draft.source, **asked, "row": number}),
            "provenance": canonical_json(list(draft.provenance)),
        }

    def written(self, draft: Draft, page: Page) -> Row:
        """The row's prompt, answers and what was measured of them."""
        depths = [place[3] / page.prompt_tokens for place in page.places if place[0].kind == "evidence"]
        return {
            "messages": [{"role": "user", "content": page.content}],
            "answers": list(page.answers),
            "spans": page.places,
            "n_prompt_tokens": page.prompt_tokens,
            "n_target_tokens": page.target_tokens,
            "max_tokens": self.recipe.length,
            "gold_depths": depths,
            "checks": canonical_json(check_page(draft, page, metrics_from(draft.source, self.recipe.task))),
        }

    @property
    def identity(self) -> str:
        """What the whole dataset is a function of, as one digest."""
        return digest(self.ingredients)

    @property
    def ingredients(self) -> dict[str, Any]:
        """What the whole dataset is a function of: recipe, contents of files, tokenizer, packages, version."""
        return {
            **self.recipe.model_dump(exclude=set(FILES)),
            "inputs": sorted(self.drafts.inputs.values()),
            "tokenizer": self.tokenizer_digest,
            "packages": plug_ins(self.recipe.model_dump()),
            "version": VERSION,
        }

    def manifest(self, checks: dict[str, Any], failures: Iterable[Failure]) -> dict[str, Any]:
        """What the dataset was built from, what was left out, and the checks of its rows summed up."""
        return {
            "identity": self.identity,
            "recipe": self.recipe.model_dump(),
            "answer_room": self.recipe.room,
            "prompt": self.drafts.style.name,
            "template_date": TEMPLATE_DATE if self.dated else None,
            "inputs": dict(sorted(self.drafts.inputs.items())),
            "rejected": dict(sorted(self.drafts.rejected.items())),
            **({"rejected_rows": which} if (which := getattr(self.drafts.rejected, "rows", None)) else {}),
            "failed": [failure._asdict() for failure in failures],
            "checks": checks,
            "tokenizer_name": self.tokenizer_name,
            "tokenizer_sha256": self.tokenizer_digest,
            "versions": {
                "rows": VERSION,
                "python": sys.version.split()[0],
                **{name: version(name) for name in LIBRARIES},
                **plug_ins(self.recipe.model_dump()),
            },
        }


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for cycles in the block: rows are tens of thousands of small tuples each, and none is in a cycle.

    What is made and given up inside it is never looked through.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def nothing_built(failures: Iterable[Failure]) -> DataError:
    failed = list(failures)
    return DataError(f"none of the {len(failed)} rows could be built; the first one: {failed[0].reason}")


def drafts_of(recipe: Recipe) -> Drafts:
    """The recipe's drafts; ConfigError where the source has fewer than the rows asked for."""
    drafts = task(recipe.task).drafts(recipe)
    if not isinstance(drafts, Drafts):
        raise PluginError(f"task {recipe.task}: expected drafts(recipe) to give Drafts, found {type(drafts).__name__}")
    if drafts.count is not None and recipe.rows > drafts.count:
        raise ConfigError(
            f"rows: the recipe asks for {recipe.rows}, {recipe.source} gives {drafts.count} in this setting and split "
            f"(rejected: {dict(drafts.rejected) or 'none'}); ask for fewer or give more data"
        )
    return drafts
