"""JSON and YAML: numbers and words as YAML 1.2 has them, and no key twice, wherever a file is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haymaker.config_files import read_yaml, set_dotted
from haymaker.errors import HaymakerError
from haymaker.file_reading import read_json, read_jsonl
from haymaker.notation import RepeatedKey, parse_json, parse_yaml
from haymaker.tasks.row_files import rows_in

WORDS = {
    **{"1e-3": 0.001, "6E3": 6000.0, "1.5e-3": 0.0015, ".5": 0.5, "-1.": -1.0, "1_000": 1000, "+7": 7, "0x10": 16},
    **{"010": "010", "0o10": 8, "1:30": "1:30", "12:30:45": "12:30:45", "2026-11-27": "2026-11-27", "16-1": "16-1"},
    **{"no": "no", "NO": "NO", "on": "on", "Off": "Off", "yes": "yes", "y": "y", "true": True, "False": False},
    **{"null": None, "~": None, "": None, "=": "=", "'true'": "true", '"7"': "7", "-.inf": float("-inf")},
}


@pytest.mark.parametrize("text", WORDS)
def test_a_word_is_what_it_looks_like(text: str) -> None:
    (found,) = parse_yaml(f"key: {text}").values()
    assert (type(found), found) == (type(WORDS[text]), WORDS[text])


TWICE = ("a: 1\nb: 2\na: 3", "{a: 1, a: 1}", "x:\n- y: {a: 1, b: 2, a: 3}", "a: 1\n'a': 2", "<<: {b: 1}\na: 1\na: 1")
TWICE_IN_JSON = ('{"a": 1, "a": 2}', '{"x": [{"y": {"a": 1, "b": 2, "a": 1}}]}', '{"a": 1, "\\u0061": 1}')


@pytest.mark.parametrize("text", TWICE)
def test_a_key_stands_once_in_yaml(text: str, tmp_path: Path) -> None:
    with pytest.raises(RepeatedKey, match="'a' stands"):
        parse_yaml(text)
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(HaymakerError, match="study.yaml: the key 'a' stands in line"):
        read_yaml(tmp_path / "study.yaml")
    if "\n" not in text:
        with pytest.raises(HaymakerError, match="'a' stands"):
            set_dotted({}, f"train={text}")


@pytest.mark.parametrize("text", TWICE_IN_JSON)
def test_a_key_stands_once_in_json(text: str, tmp_path: Path) -> None:
    with pytest.raises(RepeatedKey, match="'a' stands twice"):
        parse_json(text)
    readers: dict[str, Callable[[Path], Any]] = {
        "row.json": read_json,
        "rows.jsonl": lambda path: [*read_jsonl(path)],
        "own.jsonl": lambda path: [*rows_in(path)],
    }
    for name, read in readers.items():
        (tmp_path / name).write_text(text + "\n")
        with pytest.raises(HaymakerError, match=f"{name}.*'a' stands twice"):
            read(tmp_path / name)


def test_keys_of_what_is_merged_may_be_replaced_and_siblings_may_share_keys() -> None:
    text = "one: &one {a: 1, b: 2}\ntwo: {<<: *one, b: 3}\nthree: {<<: [*one, {c: 4}], a: 5}"
    expected = {"one": {"a": 1, "b": 2}, "two": {"a": 1, "b": 3}, "three": {"a": 5, "b": 2, "c": 4}}
    assert parse_yaml(text) == expected
    assert parse_json('{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}') == {"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}
