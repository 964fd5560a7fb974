"""The cache: named by content, kept through anything, moved as text."""

import json
import sqlite3
from pathlib import Path

import pytest

from haymaker.errors import ConfigError, DataError
from haymaker.writing.cache import Cache, Entry, read_exported
from haymaker.writing.records import Request


def request(text: str = "hello", sample: int = 0, **parameters: object) -> Request:
    return Request("row", "passage", "m", ({"role": "user", "content": text},), {"max_tokens": 8} | parameters, sample)


def entry(asked: Request, response: str = "{}", status: str = "ok") -> Entry:
    content = json.dumps(asked.content, sort_keys=True, separators=(",", ":"))
    return Entry(asked.key, content, response, status, "", "stop", 3, 4, "2026-01-01T00:00:00+00:00")  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "cache.sqlite"
    with Cache(path) as cache:
        for text in ("one", "two", "three"):
            cache.put(entry(request(text), response=f'{{"said": "{text}"}}'))
    return path


def test_what_is_put_is_there_again(path: Path) -> None:
    with Cache(path) as cache:
        assert cache.get(request("two").key) == entry(request("two"), '{"said": "two"}')
        assert cache.get(request("four").key) is None


def test_export_and_import_move_everything(path: Path, tmp_path: Path) -> None:
    with Cache(path, "read-only") as cache:
        assert cache.export(tmp_path / "a.jsonl") == 3
    with Cache(tmp_path / "other.sqlite") as other:
        assert other.add(read_exported(tmp_path / "a.jsonl")) == (3, 0)
        assert other.add(read_exported(tmp_path / "a.jsonl")) == (0, 3)
        other.export(tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_an_entry_whose_key_is_not_its_requests_is_refused_and_nothing_is_taken_in(path: Path, tmp_path: Path) -> None:
    with Cache(path, "read-only") as cache:
        cache.export(tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    lines[1] = lines[1].replace("hello", "HELLO").replace('\\"m\\"', '\\"other\\"')
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with Cache(tmp_path / "other.sqlite") as other:
        with pytest.raises(DataError, match="line 2: the key .* is not that of its request"):
            other.add(read_exported(tmp_path / "a.jsonl"))
        assert other.statistics()["answers"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time": 3}, "'time' should be str"),
        ({"more": 1}, "expected key"),
        *(({"input_tokens": tokens}, "should be int") for tokens in ("3", True, -1, 10**30)),
        ({"request": "[" * 100_000}, "'request' is not JSON"),
    ],
)
def test_lines_that_are_no_entries_are_named(path: Path, tmp_path: Path, change: dict, message: str) -> None:
    with Cache(path, "read-only") as cache:
        cache.export(tmp_path / "a.jsonl")
    first = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    (tmp_path / "a.jsonl").write_text(json.dumps(first | change))
    with Cache(tmp_path / "other.sqlite") as other, pytest.raises(DataError, match=f"line 1: .*{message}"):
        other.add(read_exported(tmp_path / "a.jsonl"))


def test_reading_modes_change_nothing(path: Path) -> None:
    before = path.read_bytes()
    for mode in ("offline", "read-only"):
        with Cache(path, mode) as cache:  # type: ignore[arg-type]
            cache.put(entry(request("new")))
            assert cache.get(request("new").key) is None
    assert path.read_bytes() == before


def test_one_run_at_a_time_fills_a_cache(path: Path) -> None:
    with Cache(path):
        with pytest.raises(ConfigError, match="another run is filling this cache"):
            Cache(path, "refresh")
        with Cache(path, "read-only") as reader:
            assert reader.get(request("one").key) is not None
    Cache(path).close()


def test_files_that_are_no_cache_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such cache"):
        Cache(tmp_path / "missing.sqlite", "offline")
    (tmp_path / "text.sqlite").write_text("not a database, but long enough to be taken for the header of one" * 20)
    with pytest.raises(DataError, match="cannot be used as a cache"):
        Cache(tmp_path / "text.sqlite")
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE things (name TEXT)")
    other.commit()
    other.close()
    with pytest.raises(DataError, match="not a cache of answers"):
        Cache(tmp_path / "other.sqlite")


def test_statistics_count_by_status_and_model(path: Path) -> None:
    with Cache(path) as cache:
        cache.put(entry(request("four"), status="refused"))
        found = cache.statistics()
    assert found["by_status"] == {"ok": 3, "refused": 1}
    assert found["by_model"] == {"m": 4}
    assert (found["answers"], found["input_tokens"], found["output_tokens"]) == (4, 12, 16)  # 3 and 4 tokens each


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE answers SET status = 'fine'", "status should be one of"),
        ("UPDATE answers SET response = x'ff00'", "'response' should be str"),
        ("UPDATE answers SET input_tokens = -1", "'input_tokens' should be int"),
        ("UPDATE answers SET request = '{'", "'request' is not JSON"),
        ("UPDATE answers SET request = '{}'", "the key .* is not that of its request"),
        ("UPDATE answers SET reason = CAST(x'ff' AS TEXT)", "cannot be used as a cache"),
    ],
)
def test_what_another_program_wrote_into_the_file_is_refused_where_it_is_read(
    change: str, said: str, path: Path
) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    with Cache(path, "read-only") as cache:
        with pytest.raises(DataError, match=said):
            cache.get(request("one").key)
        with pytest.raises(DataError, match=said):
            list(cache.entries())
