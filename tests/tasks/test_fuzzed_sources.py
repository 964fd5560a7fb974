"""Readers of real rows on rows broken at random: an error with its place, a counted reason, or a row that is right."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import broken, fuzz
from hypothesis import strategies as st
from real_rows import mdqa_row, musique_row, topic
from transformers import PreTrainedTokenizerBase

from haymaker.config import Recipe
from haymaker.data.builder import Builder
from haymaker.data.schema import example_of, table_of
from haymaker.errors import HaymakerError
from haymaker.realism.answers import holds

KV = {"ordered_kv_records": [["ab-1", "cd-2"], ["ef-3", "gh-4"], ["ij-5", "kl-6"]], "key": "ef-3", "value": "gh-4"}
ROWS: dict[str, Callable[[], Any]] = {
    "mdqa": lambda: mdqa_row(1, 3),
    "musique": lambda: musique_row(1, 2, 3),
    "summhay": lambda: topic(8, 1),
    "kv": lambda: copy.deepcopy(KV),
    "niah": lambda: {"title": "A title", "text": "A first sentence. And a second one, of more words."},
}


def check(task: str, rows: list[Any], folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Nothing but our own errors; of rows that are kept, evidence and answer stand where they should."""
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    for setting in ("real", "low-low" if task != "kv" else "symbolic"):
        try:
            recipe = Recipe(task=task, setting=setting, source=str(path), length=300, rows=1, documents=3)
            row = table_of([Builder(recipe, tokenizer).row(0)]).to_pylist()[0]
        except HaymakerError as error:
            assert str(error).strip()  # noqa: PT017
            continue
        example = example_of(row)
        assert example.question.strip()
        assert all(answer.strip() for answer in example.answers)
        if task in ("mdqa", "musique"):
            assert any(holds(example.text[span.slice], example.answers) for span in example.spans["evidence"])


@pytest.mark.parametrize("task", ROWS)
def test_a_broken_row_is_an_error_a_reason_or_right(
    task: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        rows = [data.draw(broken(ROWS[task]()))]
        check(task, rows if task == "summhay" else [*rows, ROWS[task]()], tmp_path, tokenizer)

    run()
