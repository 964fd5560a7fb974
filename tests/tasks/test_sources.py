"""Where rows come from: files by their path, datasets of the hub by their name, and what says that neither is there."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from real_rows import mdqa_row, musique_row, topic, write_jsonl
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import ConfigError, DataError
from haymaker.tasks.pool import read_pool
from haymaker.tasks.sources import HubName, hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Stands for the hub: gives rows, and keeps what it was asked for."""

    def __init__(self, rows: list[dict[str, Any]], known_commit: bool = True) -> None:
        self.asked: list[tuple[Any, ...]] = []
        sums = {f"hf://datasets/org/name@{COMMIT}/data/train.parquet": {}} if known_commit else {}
        self.table = Table(rows)
        self.table.info = SimpleNamespace(download_checksums=sums)

    def load_dataset(self, name: str, config: str | None, *, revision: str | None, split: str) -> Any:
        self.asked.append((name, config, revision, split))
        return self.table


class Table(list[dict[str, Any]]):
    info: Any = None


def recipe(**changes: Any) -> hm.Recipe:
    return hm.Recipe(**({"task": "mdqa", "length": 2_000, "rows": 3, "source": "org/name"} | changes))


def use(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr("datasets.load_dataset", hub.load_dataset)
    return hub


@pytest.mark.parametrize(
    ("source", "split", "expected"),
    [
        ("org/name", "train", HubName("org/name", None, None, "train")),
        ("org/name", "dev", HubName("org/name", None, None, "validation")),
        ("org/na-me_1.0:full@main#test", "train", HubName("org/na-me_1.0", "full", "main", "test")),
        ("org/name@refs/pr/1", "test", HubName("org/name", None, "refs/pr/1", "test")),
        ("name", "train", None),
        ("folder/rows.jsonl.gz", "train", None),
        ("some/where/else", "train", None),
        ("/some/where", "train", None),
        ("./name", "train", None),
    ],
)
def test_names_of_the_hub_are_told_from_paths(source: str, split: str, expected: HubName | None) -> None:
    assert hub_name(source, split) == expected
    if expected is not None:
        assert hub_name(str(expected), "train") == expected


def test_a_path_that_is_there_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    assert hub_name("org/name", "train") is not None
    (tmp_path / "org" / "name").write_text("")
    assert hub_name("org/name", "train") is None


def test_rows_of_the_hub_are_those_of_a_file(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [mdqa_row(n) for n in range(5)]
    hub = use(Hub(rows), monkeypatch)
    dataset = hm.build(recipe(source="org/name:distant", split="dev"), tokenizer)
    assert hub.asked == [("org/name", "distant", None, "validation")]
    from_file = hm.build(recipe(source=write_jsonl(tmp_path / "rows.jsonl", rows), split="dev"), tokenizer)
    assert [e.text for e in dataset] == [e.text for e in from_file]
    content = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    digest = hashlib.sha256(content.encode()).hexdigest()
    assert dataset.manifest["inputs"] == {f"hub:org/name:distant@{COMMIT}#validation": digest}


def test_the_revision_asked_for_is_named_where_the_client_knows_none(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Hub([mdqa_row(n) for n in range(5)], known_commit=False), monkeypatch)
    assert list(hm.build(recipe(source="org/name@v2"), tokenizer).manifest["inputs"]) == ["hub:org/name@v2#train"]
    assert list(hm.build(recipe(), tokenizer).manifest["inputs"]) == ["hub:org/name#train"]


@pytest.mark.parametrize(
    ("task", "rows"),
    [
        ("musique", [musique_row(n) for n in range(4)]),
        ("summhay", [topic(seed=0), topic(seed=1)]),
        ("niah", [{"title": "T", "text": mdqa_row(n)["ctxs"][1]["text"]} for n in range(40)]),
        ("kv", [{"ordered_kv_records": [["a", "1"], ["b", "2"]], "key": "a", "value": "1"}]),
    ],
)
def test_every_task_reads_the_hub(
    task: str, rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Hub(rows), monkeypatch)
    dataset = hm.build(recipe(task=task, rows=1), tokenizer)
    assert list(dataset.manifest["inputs"]) == [f"hub:org/name@{COMMIT}#train"]


def test_a_bad_row_of_the_hub_is_named_by_its_number(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Hub([mdqa_row(0), mdqa_row(1) | {"ctxs": "none"}]), monkeypatch)
    with pytest.raises(DataError, match="^org/name#train, row 1: 'ctxs' should be list"):
        hm.build(recipe(), tokenizer)


@pytest.mark.parametrize(
    "error", [FileNotFoundError("no such\ndataset"), ConnectionError("offline"), ValueError('Unknown split "train"')]
)
def test_what_cannot_be_fetched_is_one_sentence(
    error: Exception, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: Any, **more: Any) -> Any:
        raise error

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(DataError, match="^source: org/name is no file here, and the hub did not give it") as caught:
        hm.build(recipe(), tokenizer)
    assert " ".join(str(error).split()) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_client_the_message_says_what_to_install(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)  # importing it fails
    with pytest.raises(ConfigError, match="pip install datasets"):
        hm.build(recipe(), tokenizer)


@pytest.mark.parametrize("task", ["mdqa", "musique", "summhay", "niah", "kv"])
def test_a_file_that_is_missing_or_broken_is_named(
    task: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    missing, broken = tmp_path / "missing.jsonl", tmp_path / "broken.jsonl"
    broken.write_text('{"question": \n')
    with pytest.raises(DataError, match="missing.jsonl: cannot be read.*give the path of a file"):
        hm.build(recipe(task=task, source=str(missing), rows=1), tokenizer)
    with pytest.raises(DataError, match="broken.jsonl.*not JSON"):
        hm.build(recipe(task=task, source=str(broken), rows=1), tokenizer)
    whole = Path(write_jsonl(tmp_path / "rows.jsonl.gz", [mdqa_row(n) for n in range(9)])).read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:60])
    with pytest.raises(DataError, match="cut.jsonl.gz: the gzip stream breaks off"):
        hm.build(recipe(task=task, source=str(tmp_path / "cut.jsonl.gz"), rows=1), tokenizer)


def tables_of(rows: list[dict[str, str]], folder: Path) -> list[Path]:
    """The same passages as a file of every form."""
    write_jsonl(folder / "pool.jsonl", rows)
    (folder / "pool.json").write_text(json.dumps(rows))
    (folder / "pool.txt").write_text("\n\n".join(row["text"] for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), folder / "pool.parquet")
    csv = "".join(f'"{row["title"]}","{row["text"]}"\n' for row in rows)
    (folder / "pool.csv").write_text('"title","text"\n' + csv)
    (folder / "folder").mkdir()
    write_jsonl(folder / "folder" / "pool.jsonl", rows)
    return sorted(folder.iterdir())


def test_passages_are_read_from_files_of_every_form(tmp_path: Path) -> None:
    rows = [{"title": "", "text": f"Passage {n} is about nothing."} for n in range(3)]
    for path in tables_of(rows, tmp_path):
        found, inputs = read_pool(str(path), "train")
        assert [passage.text for passage in found] == [row["text"] for row in rows], path
        assert list(inputs) == [str(path)]


@pytest.mark.parametrize("rows", [[], [{"title": "a", "text": " "}]], ids=["no row", "blank"])
def test_a_haystack_without_a_passage_is_told(rows: list[dict[str, str]], tokenizer: Any, tmp_path: Path) -> None:
    for path in tables_of(rows, tmp_path):
        if path.suffix in (".jsonl", "") and not rows:
            continue  # an empty file, which is told as one
        with pytest.raises(DataError, match=rf"{path.name}: no passage in it; expected rows of title and text"):
            hm.build(recipe(task="niah", source=str(path), rows=1), tokenizer)
