"""Task x setting x length x rows -> Dataset. Row k depends on the recipe and k alone."""

import hashlib
import sys
from importlib.metadata import version
from typing import Any

from transformers import PreTrainedTokenizerBase

from haymaker.audits import check_page, summary
from haymaker.config import Recipe
from haymaker.dataset import Dataset
from haymaker.errors import ConfigError
from haymaker.fit import Fitter, Page
from haymaker.measure import Measure
from haymaker.records import canonical_json, digest
from haymaker.tasks import task
from haymaker.tasks.base import Draft, Drafts

VERSION = 2  # of the rows that a recipe gives; counts up when they change
Row = dict[str, Any]


def build(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """The dataset a recipe describes: exactly `recipe.rows` rows, none longer than `recipe.length` tokens.

    Raises ConfigError for a recipe that cannot be met, DataError for a broken source, LengthError where a row's
    evidence does not fit.
    """
    builder = Builder(recipe, tokenizer)
    rows = [builder.row(number) for number in range(recipe.rows)]
    return Dataset.from_rows(rows, builder.manifest(rows))


class Builder:
    """Builds rows of one recipe, in any order."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> None:
        self.recipe = recipe
        self.drafts = drafts_of(recipe)
        self.measure = Measure(tokenizer, self.drafts.style, recipe.chat_template)
        self.fitter = Fitter(recipe, self.measure)
        self.tokenizer_digest = digest_of_tokenizer(tokenizer)
        self.shared_inputs = {
            **recipe.model_dump(exclude={"rows", "source", "pool", "written"}),
            "inputs": sorted(self.drafts.inputs.values()),
            "tokenizer": self.tokenizer_digest,
            "version": VERSION,
        }

    def row(self, number: int) -> Row:
        """Row `number` as the dataset's table holds it."""
        draft = self.drafts.draft(number)
        page = self.fitter.fit(draft, number)
        return self.named(draft, number) | self.written(draft, page)

    def named(self, draft: Draft, number: int) -> Row:
        """The row's names and where it comes from."""
        name = self.recipe.task
        return {
            "id": f"{name}-{digest({**self.shared_inputs, 'row': number, 'facts': draft.facts})[:20]}",
            "pair_id": f"{name}-pair-{digest(draft.facts)[:20]}",
            "task": name,
            "setting": self.recipe.setting,
            "split": self.recipe.split,
            "concept": draft.concept,
            "context": draft.context,
            "question": draft.question,
            "source": canonical_json({**draft.source, "row": number}),
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
            "checks": canonical_json(check_page(draft, page)),
        }

    @property
    def identity(self) -> str:
        """What the whole dataset is a function of, as one digest."""
        return digest({**self.shared_inputs, "rows": self.recipe.rows})

    def manifest(self, rows: list[Row]) -> dict[str, Any]:
        """What the dataset was built from, and the checks of its rows summed up."""
        return {
            "identity": self.identity,
            "recipe": self.recipe.model_dump(),
            "prompt": self.drafts.style.name,
            "inputs": dict(self.drafts.inputs),
            "rejected": dict(self.drafts.rejected),
            "checks": summary(rows),
            "tokenizer_sha256": self.tokenizer_digest,
            "versions": {
                "rows": VERSION,
                "python": sys.version.split()[0],
                **{name: version(name) for name in ("transformers", "tokenizers", "pyarrow")},
            },
        }


def drafts_of(recipe: Recipe) -> Drafts:
    """The recipe's drafts; ConfigError where the source has fewer than the rows asked for."""
    drafts = task(recipe.task).drafts(recipe)
    if drafts.count is not None and recipe.rows > drafts.count:
        raise ConfigError(
            f"rows: the recipe asks for {recipe.rows}, {recipe.source} gives {drafts.count} in this setting and split "
            f"(rejected: {dict(drafts.rejected) or 'none'}); ask for fewer or give more data"
        )
    return drafts


def digest_of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of all that decides how the tokenizer cuts and frames text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = (backend.to_str() if backend is not None else repr(tokenizer), str(tokenizer.chat_template))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
