"""Laws of planning side by side: no row and no fault is another's; what is asked for at once is read at once."""

import json
from collections.abc import Generator
from typing import Any

import pytest
from real_rows import mdqa_row, write_jsonl
from transformers import PreTrainedTokenizerBase

from haymaker.config import Recipe
from haymaker.data.builder import Builder
from haymaker.data.fit.together import together
from haymaker.errors import DataError, LengthError
from haymaker.rendering import Prompt
from haymaker.tokens import Aligner, Tokens

CELLS: list[tuple[str, str, dict[str, Any]]] = [
    ("mdqa", "real", {"length": 2048}),
    ("musique", "symbolic", {"length": 1500}),
    ("summhay", "high-low", {"length": 3000, "nested": (700, 3000)}),
    ("niah", "low-high", {"length": 1024, "matched": True}),
    ("kv", "real", {"length": 2048}),
]


@pytest.mark.parametrize(("task", "setting", "changes"), CELLS)
@pytest.mark.parametrize("at_once", [2, 16])
def test_a_row_is_what_it_is_alone(
    at_once: int,
    task: str,
    setting: str,
    changes: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = Recipe(task=task, setting=setting, rows=5, **changes)  # type: ignore[arg-type]
    alone = [Builder(recipe, tokenizer).row(number) for number in (0, 3, 4)]
    monkeypatch.setattr("haymaker.data.builder.TOKENS_AT_ONCE", at_once * recipe.length)
    assert [row for row in Builder(recipe, tokenizer).rows((4, 0, 3), [])] == [alone[2], *alone[:2]]


def counting_down(prompts: list[Prompt], given_up: list[int]) -> Generator[Prompt, Tokens, int]:
    """Asks for all of its prompts in turn and adds their tokens up; goes on after one that cannot be read."""
    tokens = 0
    for number, prompt in enumerate(prompts):
        try:
            found = yield prompt
            tokens += len(found.ids)
        except DataError:
            given_up.append(number)
    if given_up:
        raise LengthError(f"{len(given_up)} of its prompts")
    return tokens


def test_what_is_asked_for_at_once_is_tokenised_at_once(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligner, batches = Aligner(tokenizer, False), list[int]()
    encodings = aligner.encodings
    monkeypatch.setattr(
        aligner,
        "encodings",
        lambda texts, *more, **named: (batches.append(len(texts)), encodings(texts, *more, **named))[1],
    )
    prompts = {
        n: [aligner.rendered([("user", "a " * (n + i + 1))], "a", "a row") for i in range(n)] for n in (3, 1, 2, 0)
    }
    found = together({n: counting_down(some, []) for n, some in prompts.items()}, aligner)
    assert batches[:4] == [3, 2, 1, 0]
    assert found == {n: sum(len(tokens.ids) for tokens in aligner.tokenise(some)) for n, some in prompts.items()}


@pytest.mark.parametrize(("said", "answer"), [("\ud800", "a"), ("red", "")], ids=["no letter", "no token"])
def test_a_prompt_that_cannot_be_read_is_its_own_rows_fault(
    said: str, answer: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    aligner = Aligner(tokenizer, False)
    good = aligner.rendered([("user", "It is red.")], "a", "a row")
    bad = aligner.rendered([("user", f"It is {said}.")], answer, "a row")
    given_up: dict[int, list[int]] = {0: [], 1: [], 2: []}
    asked = {0: [good, good], 1: [good, bad, good], 2: [good, good, good]}
    found = together({n: counting_down(some, given_up[n]) for n, some in asked.items()}, aligner)
    one = len(aligner.tokenise([good])[0].ids)
    assert (found[0], found[2], given_up) == (2 * one, 3 * one, {0: [], 1: [1], 2: []})
    assert isinstance(found[1], LengthError)


def test_rows_that_fail_among_others_are_told_each_and_the_first_stops_the_rest(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Any
) -> None:
    rows = [mdqa_row(n) for n in range(8)]
    for n in (2, 5):
        rows[n]["question"] = f"{rows[n]['question']} " * 400  # longer than the row
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    recipe = Recipe(task="mdqa", source=source, rows=8, length=512, split_shares=None, failed_rows="skip")
    builder = Builder(recipe, tokenizer)
    table, failures = builder.table(range(8))
    assert (table.num_rows, len(failures)) == (6, 2)
    assert sorted(json.loads(text)["row"] for text in table["source"].to_pylist()) == sorted(
        set(range(8)) - {failure.row for failure in failures}
    )
    for failure in failures:
        with pytest.raises(LengthError) as told:
            builder.row(failure.row)
        assert str(told.value) == failure.reason
    with pytest.raises(LengthError) as told:
        Builder(recipe.changed(failed_rows="stop"), tokenizer).table(range(8))
    assert str(told.value).startswith(failures[0].reason)
