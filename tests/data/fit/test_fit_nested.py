"""Laws of nested lengths: a longer row holds the shorter one's documents, in their order, and asks the same."""

import json
import re
from typing import Any

import pytest
from real_rows import mdqa_row, musique_row, topic, write_jsonl
from tiny_tokenizers import TEMPLATE, tiny_tokenizer
from transformers import PreTrainedTokenizerBase

from haymaker.config import Recipe
from haymaker.data.builder import Builder
from haymaker.data.fit.fitter import Fitter
from haymaker.data.fit.page import Page
from haymaker.data.fit.together import together
from haymaker.drafts import Draft
from haymaker.errors import ConfigError

LENGTHS = (300, 700, 1500)
WORLD = [
    (task, setting)
    for task in ("mdqa", "musique", "summhay", "niah")
    for setting in ("real", "real-limited", "high-high", "high-low", "low-high", "low-low", "symbolic")
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sources")
    (folder / "topic.json").write_text(json.dumps(topic()))
    return {
        "mdqa": write_jsonl(folder / "mdqa.jsonl.gz", [mdqa_row(n) for n in range(30)]),
        "musique": write_jsonl(folder / "musique.jsonl", [musique_row(n, 2 + n % 3) for n in range(30)]),
        "summhay": str(folder / "topic.json"),
    }


def page(builder: Builder, draft: Draft, row: int) -> Page:
    found = together({row: builder.fitter.fit(draft, row)}, builder.costs.aligner)[row]
    assert isinstance(found, Page), found
    return found


def pages(tokenizer: PreTrainedTokenizerBase, rows: range, **changes: Any) -> list[tuple[Draft, list[Page]]]:
    """Of each row, its draft and its page at every length."""
    found = []
    builders = [
        Builder(Recipe(**({"rows": 4, "length": length, "nested": LENGTHS} | changes)), tokenizer) for length in LENGTHS
    ]
    for row in rows:
        drafts = [builder.drafts.draft(row) for builder in builders]
        drawn = [page(builder, draft, row) for builder, draft in zip(builders, drafts, strict=True)]
        assert len({(draft.question, str(draft.facts)) for draft in drafts}) == 1
        found.append((drafts[0], drawn))
    return found


def texts(page: Page) -> list[str]:
    return [f"{document.title}|{document.text}" for document in page.documents]


def is_subsequence(short: list[str], long: list[str]) -> bool:
    ahead = iter(long)
    return all(text in ahead for text in short)


@pytest.mark.parametrize(("task", "setting"), [*WORLD, ("kv", "real")])
def test_a_longer_row_holds_the_shorter_one_in_its_order(
    task: str, setting: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    for draft, (short, middle, long) in pages(tokenizer, range(2), task=task, setting=setting):
        assert is_subsequence(texts(short), texts(middle))
        assert is_subsequence(texts(middle), texts(long))
        assert len(short.documents) < len(middle.documents) < len(long.documents)
        for role in ("gold", "competitor"):
            if role == "gold" or not draft.ranked:
                kinds = [[d.text for d in page.documents if d.role == role] for page in (short, middle, long)]
                assert kinds[0] == kinds[1] == kinds[2]
        least = 0.6 if task == "kv" else 0.95  # a record takes a third of the shortest row
        for page, length in zip((short, middle, long), LENGTHS, strict=True):
            assert least * length <= page.tokens <= length


@pytest.mark.parametrize("source", ["mdqa", "musique", "summhay"])
@pytest.mark.parametrize("setting", ["real", "low-low", "low-high", "symbolic"])
def test_rows_of_files_nest_too(source: str, setting: str, sources: dict[str, str]) -> None:
    lengths = (2400, 4600) if source == "summhay" else (1000, 2000)
    tokenizer = tiny_tokenizer("bytes", TEMPLATE)
    made = [
        Builder(
            Recipe(task=source, setting=setting, rows=3, length=length, nested=lengths, source=sources[source]),  # type: ignore[arg-type]
            tokenizer,
        )
        for length in lengths
    ]
    for row in range(3):
        short, long = (page(builder, builder.drafts.draft(row), row) for builder in made)
        assert is_subsequence(texts(short), texts(long))
        assert len(short.documents) < len(long.documents)


def test_the_shortest_row_is_the_row_without_nesting(tokenizer: PreTrainedTokenizerBase) -> None:
    for setting in ("real", "low-low"):
        plain = Builder(Recipe(task="mdqa", setting=setting, rows=3, length=300), tokenizer)  # type: ignore[arg-type]
        nested = Builder(plain.recipe.changed(nested=LENGTHS), tokenizer)
        for row in range(3):
            assert plain.row(row)["messages"] == nested.row(row)["messages"]


def test_gold_keeps_its_planned_depth_at_every_length(tokenizer: PreTrainedTokenizerBase) -> None:
    # A document is at most a tenth of these rows, so realised depths stay within that of the plan.
    for depth in (0.1, 0.5, 0.9):
        for _, drawn in pages(tokenizer, range(4), task="mdqa", setting="low-high", depth=depth):
            for page in drawn[1:]:
                start = next(place[3] for place in page.places if place[0].kind == "evidence")
                assert abs(start / page.prompt_tokens - depth) < 0.1


def test_competitors_stay_spread_among_the_passages_of_a_longer_row(tokenizer: PreTrainedTokenizerBase) -> None:
    places = []
    for _, drawn in pages(tokenizer, range(10), task="mdqa", setting="high-high"):
        documents = drawn[-1].documents
        places += [i / len(documents) for i, document in enumerate(documents) if document.role == "competitor"]
    assert min(places) < 0.15
    assert max(places) > 0.85
    assert 0.35 < sum(places) / len(places) < 0.65


def test_lengths_that_cannot_share_a_plan_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    recipe = Recipe(task="mdqa", rows=1, length=512, nested=(256, 1024))
    with pytest.raises(ConfigError, match=re.escape("512 is none of the lengths [256, 1024]")):
        Builder(recipe, tokenizer)
    with pytest.raises(ConfigError, match="give one of them"):
        Builder(recipe.changed(length=256, documents=4), tokenizer)


def test_the_order_of_the_lengths_does_not_matter(tokenizer: PreTrainedTokenizerBase) -> None:
    recipe = Recipe(task="mdqa", rows=1, length=700, nested=LENGTHS)
    assert Fitter(recipe, Builder(recipe, tokenizer).costs).lengths == [300, 700]
    back = recipe.changed(nested=LENGTHS[::-1])
    rows = [Builder(one, tokenizer).row(0)["messages"] for one in (recipe, back)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("task", "setting"), [("mdqa", "symbolic"), ("summhay", "symbolic"), ("kv", "real")])
def test_rows_judged_by_a_sample_nest_and_do_not_depend_on_what_was_built_before(
    task: str, setting: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    """What documents of a kind take is learned from the recipe's first row, whichever row is built first."""
    lengths = (2048, 4096)  # long enough that documents of numbers are not counted one by one
    made = [
        Builder(Recipe(task=task, setting=setting, rows=3, length=length, nested=lengths), tokenizer)  # type: ignore[arg-type]
        for length in lengths
    ]
    rows = {length: [builder.row(number) for number in (2, 1)] for length, builder in zip(lengths, made, strict=True)}
    assert all(builder.costs.rates for builder in made)
    again = Builder(made[1].recipe, tokenizer)
    assert [again.row(number) for number in (0, 1, 2)][:0:-1] == rows[4096]
    for row in (1, 2):
        short, long = (page(builder, builder.drafts.draft(row), row) for builder in made)
        assert is_subsequence(texts(short), texts(long))
