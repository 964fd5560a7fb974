"""A hidden question is found by following keys, by nothing else, and rows keep their answer and evidence."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from real_rows import own_row, write_jsonl

import haymaker as hm
from haymaker.errors import ConfigError


def followed(text: str, key: str) -> str:
    """What a chain of keys in a text ends with."""
    table = {k: v for found in re.findall(r"\{.*?\}", text) for k, v in json.loads(found).items()}
    while key in table:
        key = table[key]
    return key


@pytest.mark.parametrize("links", [1, 3])
def test_the_keys_lead_to_the_question_and_every_link_is_needed(links: int, tmp_path: Path, tokenizer: Any) -> None:
    source = write_jsonl(tmp_path / "mine.jsonl", [own_row(n) for n in range(8)])
    values: dict[str, Any] = {"task": "qa", "length": 1_800, "rows": 3, "source": source}
    plain = {row.pair_id: row for row in hm.build(hm.Recipe(**values), tokenizer)}
    for row in hm.build(hm.Recipe(**values, indirection=links, competitors=2), tokenizer):
        twin = plain[row.pair_id]
        start = row.question.split('"')[1]
        assert followed(row.text, start) == twin.question
        assert row.answers == twin.answers
        said = [row.text[span.slice] for span in row.spans["evidence"]]
        chain = [text for text in said if text.startswith("{")]
        assert len(chain) == links
        assert len(said) == links + len(twin.spans["evidence"])
        for link in chain:
            assert followed(row.text.replace(link, ""), start) != twin.question
        others = re.findall(r"\{.*?\}", row.text)
        assert len(others) == 3 * links  # two other chains


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "indirection: it is about rows of a file"),
        ({"source": "a.jsonl", "task": "musique"}, "indirection: musique does not read it"),
        ({"source": "a.jsonl", "setting": "low-low"}, "indirection: it hides questions of real rows"),
    ],
)
def test_where_it_has_no_meaning_it_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        hm.Recipe(**{"task": "qa", "length": 512, "rows": 1, "indirection": 2} | changes)
