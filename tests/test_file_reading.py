"""Files that are read: what comes back, and what is said of one that is broken, too large or no text."""

import gzip
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from haymaker.errors import DataError
from haymaker.file_digests import file_digest
from haymaker.file_reading import (
    only_fields,
    read_appended,
    read_bytes,
    read_json,
    read_json_if_there,
    read_jsonl,
    read_text,
)
from haymaker.files import write_json, write_jsonl
from haymaker.records import Span


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value, rows = {"b": [1, None, "ä"], "a": {"c": 0.1}}, [{"x": 1}, {"y": "zwei\n"}]
    write_json(tmp_path / "value.json", value)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_json(tmp_path / "value.json") == value
    assert [row for _, row in read_jsonl(tmp_path / "rows.jsonl")] == rows
    zipped = tmp_path / "plain name"
    zipped.write_bytes(gzip.compress(json.dumps(value).encode()))
    assert read_json(zipped) == value


def test_a_broken_file_says_what_to_do_and_a_missing_one_is_told_or_none(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    assert read_json_if_there(path, "build it again") is None
    with pytest.raises(DataError, match=r"value\.json: cannot be read"):
        read_json(path)
    path.write_text("{")
    for read in (read_json, read_json_if_there):
        with pytest.raises(DataError, match=r"value\.json: not JSON \(.*\); build it again"):
            read(path, "build it again")


def test_a_gzip_stream_with_a_changed_byte_is_refused_wherever_that_is(tmp_path: Path) -> None:
    whole = gzip.compress(lines := b'{"a": "text that takes some room"}\n' * 9, mtime=0)
    for at in range(len(whole)):
        (tmp_path / "rows.gz").write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with suppress(DataError):
            assert "".join(read_text(tmp_path / "rows.gz")).encode() == lines


def test_what_a_run_added_is_read_or_its_line_is_named(tmp_path: Path) -> None:
    path, kinds = tmp_path / "lines", {"step": int, "loss": (int, float)}
    for wrong in ("[1]", '{"step": 1}', '{"step": null, "loss": 1}', '{"step": 1, "loss": "1"}'):
        path.write_text(f'{{"step": 1, "loss": 2}}\n{wrong}\n{{"step": 3')
        with pytest.raises(DataError, match="line 2 (is not JSON|has no .* that can be read)"):
            read_appended(path, kinds)
    path.write_text('{"step": 1, "loss": 2}\n{"step": 3')
    assert read_appended(path, kinds) == [{"step": 1, "loss": 2}]


def test_too_long_a_line_and_too_large_a_file_are_refused(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": "' + "x" * 100 + '"}\n')
    monkeypatch.setattr("haymaker.file_reading.MOST_AT_ONCE", 50)
    with pytest.raises(DataError, match="line 2 has more than 50 characters, too many to read"):
        list(read_jsonl(path))
    path.write_text('{"a": 1}\n' * 10)
    with pytest.raises(DataError, match="more than 20 characters"):
        list(read_text(path, 20))
    with pytest.raises(DataError, match="more than 50 characters"):
        read_json(path)


def test_half_a_letter_is_named_with_its_place(tmp_path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "\\ud83d\\ude00"}\n{"a": ["b\\ud800"]}\n')
    rows = read_jsonl(path)
    assert next(rows)[1] == {"a": "\U0001f600"}
    with pytest.raises(DataError, match=r"line 2: \\ud800 alone is half of a letter"):
        next(rows)
    path.write_text('"\\uDC00"')
    with pytest.raises(DataError, match=r"\\udc00 alone"):
        read_json(path)


READERS = [read_json, read_bytes, file_digest, lambda path: list(read_text(path))]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("place", ["/dev/zero", "a pipe"])
def test_what_has_no_end_or_is_gone_once_read_is_refused(
    read: Callable[[Path], Any], place: str, tmp_path: Path
) -> None:
    if place == "a pipe":
        place = str(tmp_path / "pipe")
        os.mkfifo(place)
    with pytest.raises(DataError, match="expected a file, found a pipe or a device"):
        read(Path(place))


def test_a_file_is_read_whole_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0" * 9)
    assert read_bytes(tmp_path / "file", most=9) == b"\0" * 9
    with pytest.raises(DataError, match="9 bytes, too many to read; expected at most 8"):
        read_bytes(tmp_path / "file", most=8)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_text_in_another_encoding_is_never_read_as_if_it_were_utf8(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("The sea was calm.\n".encode(encoding))
    with pytest.raises(DataError, match="save the file as UTF-8"):
        list(read_text(tmp_path / "a.txt"))


@pytest.mark.parametrize("text", ["", " \n\n", "\ufeff"])
def test_an_empty_file_of_json_is_told_as_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match="the file is empty; fetch the file again"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"start": 1}, "row 3: no 'stop' here; found start"),
        ({}, "row 3: no 'start', 'stop' here; found nothing"),
        ({"start": 1, "stop": 2, "end": 3}, "row 3: 'end' is not known here; known are start, stop"),
    ],
)
def test_a_row_has_the_fields_of_what_is_made_of_it_and_no_others(row: dict[str, int], said: str) -> None:
    with pytest.raises(DataError, match=f"^{said}$"):
        only_fields(row, Span, "row 3")
    only_fields({"start": 1, "stop": 2}, Span, "row 3")
