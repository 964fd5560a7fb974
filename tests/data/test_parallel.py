"""Laws of building a folder: the same bytes for any workers, sizes of parts, hash seed and order of the source."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from real_rows import contents, mdqa_row, musique_row, topic, write_jsonl
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.config import Recipe
from haymaker.data import dataset as folders
from haymaker.data import parallel as parts
from haymaker.data.dataset import Folder
from haymaker.data.parallel import build_folder, build_parts
from haymaker.errors import DataError, LengthError

ROWS = 20  # three parts


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "MOST_ROWS_PER_PART", 8)
        yield


def recipe(**changes: Any) -> Recipe:
    return Recipe(**({"task": "mdqa", "setting": "low-low", "length": 64, "rows": ROWS} | changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """What an uninterrupted build gives."""
    return build_folder(recipe(), tokenizer, tmp_path_factory.mktemp("whole") / "data").path


def test_a_folder_is_what_build_gives(whole: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    saved = hm.build(recipe(), tokenizer).save(tmp_path / "saved")
    assert contents(saved) == contents(whole)
    assert [path.name for path in whole.parent.iterdir()] == ["data"]


def test_workers_and_hash_seeds_do_not_matter(
    whole: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Spawned workers read the variable; this process has its own seed already.
    monkeypatch.setenv("PYTHONHASHSEED", "17")
    made = build_folder(recipe(), tokenizer, tmp_path / "data", workers=2)
    assert contents(made.path) == contents(whole)


def test_sizes_of_parts_groups_and_shards_do_not_change_rows(
    whole: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST_ROWS_PER_PART", 3)
    assert contents(build_folder(recipe(), tokenizer, tmp_path / "parts").path) == contents(whole)
    monkeypatch.setattr(folders, "MOST_ROWS_PER_GROUP", 3)
    monkeypatch.setattr(folders, "GROUPS_PER_SHARD", 2)
    made = build_folder(recipe(), tokenizer, tmp_path / "shards")
    assert [shard["rows"] for shard in made.manifest["shards"]] == [6, 6, 6, 2]
    assert list(made.rows) == list(Folder(whole).rows)


def test_fewer_rows_are_the_first_rows(whole: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    fewer = build_folder(recipe(rows=11), tokenizer, tmp_path / "data")
    assert list(fewer.rows) == list(Folder(whole).rows)[:11]


def shuffled(values: list[Any]) -> list[Any]:
    return Random(1).sample(values, len(values))


def rows_in_orders(task: str) -> tuple[list[Any], list[Any]]:
    """Rows of a source, one question of mdqa with two sets of passages, and the same in another order."""
    if task == "kv":
        pairs = [[f"key {n}", f"value {n}"] for n in range(12)]
        rows: list[Any] = [{"key": key, "value": value, "ordered_kv_records": pairs} for key, value in pairs]
    else:
        rows = [{"mdqa": mdqa_row, "musique": musique_row}[task](n) for n in range(12)]
    if task == "mdqa":
        rows.append(mdqa_row(3, distractors=4))
    return rows, shuffled(rows)


@pytest.mark.parametrize("setting", ["real", "high-high"])
@pytest.mark.parametrize("task", ["mdqa", "musique", "kv", "summhay"])
def test_the_order_of_the_source_does_not_matter(
    task: str, setting: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    if task == "summhay":
        value = topic()
        orders = value, {**value, "documents": shuffled(value["documents"])}
        sources = [tmp_path / f"{i}.json" for i in range(2)]
        for path, order in zip(sources, orders, strict=True):
            path.write_text(json.dumps(order))
    else:
        sources = [write_jsonl(tmp_path / f"{i}.jsonl", order) for i, order in enumerate(rows_in_orders(task))]
    chosen = recipe(task=task, setting="real" if task == "kv" else setting, rows=3, length=2048)
    made = [hm.build(chosen.changed(source=str(source)), tokenizer) for source in sources]
    assert list(made[0].rows) == list(made[1].rows)


def test_progress_counts_every_row_once(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    seen: list[int] = []
    build_folder(recipe(), tokenizer, tmp_path / "data", on_progress=seen.append)
    assert seen == [0, 8, 8, 4]


# ---- what is there already


@pytest.mark.parametrize("place", [0, 0.3, 0.6, 0.99, None])
def test_a_part_that_was_changed_is_told_and_built_again(
    place: float | None, whole: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, capsys: Any
) -> None:
    """One bit of it, or all: parquet has no checksum, and would give other rows."""
    build_parts(parts.Builder(recipe(), tokenizer), tmp_path / "data", 0, 1)
    path = parts.part_path(tmp_path / ".data.parts", 1)
    content = bytearray(path.read_bytes())
    if place is not None:
        content[int(place * len(content))] ^= 4
    path.write_bytes(content if place is not None else b"")
    assert contents(build_folder(recipe(), tokenizer, tmp_path / "data").path) == contents(whole)
    assert "part-000001.parquet: changed since it was written" in capsys.readouterr().err


def test_a_finished_folder_is_not_built_again(
    whole: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "make_missing", lambda *arguments: pytest.fail("built again"))
    assert len(build_folder(recipe(), tokenizer, whole)) == ROWS


def test_another_dataset_is_kept_unless_told(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    out = tmp_path / "data"
    build_folder(recipe(rows=3), tokenizer, out)
    before = contents(out)
    with pytest.raises(DataError, match=r"another dataset \(rows: 3, here 4; seed: 0, here 5\)"):
        build_folder(recipe(rows=4, seed=5), tokenizer, out)
    assert contents(out) == before
    assert len(build_folder(recipe(rows=4), tokenizer, out, overwrite=True)) == 4
    hm.load_dataset(out)[:2].save(out, overwrite=True)
    with pytest.raises(DataError, match="only 2 of the recipe's rows"):
        build_folder(recipe(rows=4), tokenizer, out)


def test_what_is_not_a_dataset_is_never_overwritten(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="not a dataset, so it is not overwritten"):
        build_folder(recipe(), tokenizer, tmp_path / "mine", overwrite=True)
    with pytest.raises(DataError, match="not a dataset, so it is not overwritten"):
        hm.build(recipe(rows=1), tokenizer).save(tmp_path / "mine", overwrite=True)
    assert contents(tmp_path / "mine") == {"thesis.txt": b"years of work"}


def test_a_source_that_changed_between_runs_is_told(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    source, out = write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(n) for n in range(4)]), tmp_path / "data"
    chosen = recipe(source=source, rows=2, length=1024)
    build_folder(chosen, tokenizer, out)
    write_jsonl(tmp_path / "rows.jsonl", [mdqa_row(n) for n in range(5)])
    with pytest.raises(DataError, match="a source file has other contents"):
        build_folder(chosen, tokenizer, out)


# ---- rows that cannot be built


@pytest.fixture
def uneven(tmp_path: Path) -> str:
    """A source of 12 rows; the evidence of three of them takes more than 512 tokens."""
    rows = [mdqa_row(n, distractors=2) for n in range(12)]
    for row in rows[:3]:
        row["ctxs"][0]["text"] += " And so it went on, year after year, as it had before." * 60
    return write_jsonl(tmp_path / "uneven.jsonl", rows)


def test_a_row_that_does_not_fit_stops_the_build(
    uneven: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    with pytest.raises(LengthError, match="raise the length"):
        build_folder(recipe(source=uneven, setting="real", rows=12, length=512), tokenizer, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["uneven.jsonl"]


def test_rows_that_do_not_fit_are_counted_where_asked(
    uneven: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    chosen = recipe(source=uneven, setting="real", rows=12, length=512, failed_rows="skip")
    made = build_folder(chosen, tokenizer, tmp_path / "data")
    assert len(made) == 9
    assert len(made.manifest["failed"]) == 3
    assert all("raise the length" in failure["reason"] for failure in made.manifest["failed"])
    numbers = {json.loads(row["source"])["row"] for row in made.rows}
    assert numbers | {failure["row"] for failure in made.manifest["failed"]} == set(range(12))
    assert contents(hm.build(chosen, tokenizer).save(tmp_path / "saved")) == contents(made.path)
    assert "9 of 12 asked for" in (made.path / "README.md").read_text()
    assert len(build_folder(chosen, tokenizer, made.path)) == 9, "a finished folder, though rows are missing"
    with pytest.raises(DataError, match="none of the 1 rows could be built"):
        build_folder(chosen.changed(rows=1, length=64), tokenizer, tmp_path / "none")
