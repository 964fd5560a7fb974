"""The plainest probes: a needle's special number, and the value of a key."""

import gzip
import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from real_rows import SHARED, needs_real_rows, write_jsonl
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import ConfigError, DataError
from haymaker.miniature.world import World
from haymaker.realism.wording import world_draw
from haymaker.tasks.niah import distinct_needles

REAL = SHARED / "mdqa" / "kv-retrieval-75_keys.200.jsonl.gz"


def build(tokenizer: PreTrainedTokenizerBase, task: str, **changes: Any) -> hm.Dataset:
    values: dict[str, Any] = {"task": task, "length": 1_500, "rows": 3, "chat_template": False}
    return hm.build(hm.Recipe(**(values | changes)), tokenizer)


# ---- a needle


def test_no_needle_is_another_one() -> None:
    # With 40 needles a row, names of two syllables meet now and then; drawn anew, none stands inside another.
    world = World("train", 0)
    again = 0
    for row in range(20):
        needles = distinct_needles(world, world_draw(world, row), 40)
        names = [needle.subject.lower() for needle in needles]
        assert not any(i != j and one in other for i, one in enumerate(names) for j, other in enumerate(names))
        assert len({needle.object for needle in needles}) == 40
        drawn = [world.name(world_draw(world, row)("needle", which)) for which in range(40)]
        again += sum(name.lower() not in names for name in drawn)
    assert again > 0, "no two names met, so nothing was tested"


def test_the_needles_number_stands_once(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {i} is about the harbour and its bells, and about nothing else." for i in range(80))
    (tmp_path / "essay.txt").write_text(text)
    for source in (None, str(tmp_path / "essay.txt")):
        for example in build(tokenizer, "niah", source=source, competitors=5):
            assert re.fullmatch(r"\d{7}", example.target)
            assert example.text.count(example.target) == 1
            assert len(re.findall(r"\b\d{7}\b", example.text)) == 6
            assert ("about the harbour" in example.text) == (source is not None)


# ---- a key's value


def official_prompt(records: list[list[str]], key: str) -> str:
    """lost-in-the-middle's prompt: one record a line, the first behind the brace, the others behind a blank."""
    lines = ",\n ".join(f'"{k}": "{v}"' for k, v in records)
    head = "Extract the value corresponding to the specified key in the JSON object below.\n\nJSON data:\n"
    return f'{head}{{{lines}}}\n\nKey: "{key}"\nCorresponding value:'


def moved(records: list[list[str]], key: str, position: int) -> list[list[str]]:
    """The key's record at `position` among the others, in their order."""
    others = [record for record in records if record[0] != key]
    return [*others[:position], *(record for record in records if record[0] == key), *others[position:]]


@needs_real_rows
@pytest.mark.parametrize("position", [0, 37, 74])
def test_real_rows_give_the_official_prompt(position: int, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    with gzip.open(REAL, "rt") as file:
        rows = [json.loads(line) for line in islice(file, 3)]
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    by_key = {row["key"]: row for row in rows}
    sizes = {"documents": 75, "gold_position": position, "length": 12_000}
    for example in build(tokenizer, "kv", source=source, **sizes):
        row = by_key[example.question]
        records = moved(row["ordered_kv_records"], row["key"], position)
        assert example.text == official_prompt(records, row["key"])
        assert example.target == row["value"]


def kv_row(**changes: Any) -> dict[str, Any]:
    return {"ordered_kv_records": [["a", "1"], ["b", "2"]], "key": "a", "value": "1"} | changes


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (kv_row(key="c"), "the object does not hold the key with its value"),
        (kv_row(value="2"), "the object does not hold the key with its value"),
        (kv_row(ordered_kv_records=[["a", "1"], ["a", "2"]]), "a key stands twice in the object"),
    ],
)
def test_objects_of_no_use_are_counted(
    row: dict[str, Any], reason: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [row, kv_row()])
    assert build(tokenizer, "kv", source=source, rows=1).manifest["rejected"] == {reason: 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (kv_row(key=1), "'key' should be str"),
        (kv_row(ordered_kv_records=[["a"]]), r"list of \[key, value\]"),
        (kv_row(ordered_kv_records={"a": "1"}), "'ordered_kv_records' should be list, found dict"),
    ],
)
def test_objects_of_another_schema_are_named_by_line(
    row: dict[str, Any], message: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [kv_row(), row])
    with pytest.raises(DataError, match=f"line 2.*{message}"):
        build(tokenizer, "kv", source=source, rows=1)


def test_prose_settings_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ConfigError, match="real or symbolic, not low-low"):
        build(tokenizer, "kv", setting="low-low")
