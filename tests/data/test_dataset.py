"""Laws of a dataset's folder: what is saved is what is read, in both layouts, and `datasets` opens it."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from real_rows import contents, mdqa_row, musique_row, write_jsonl
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.config import Recipe
from haymaker.data.builder import Builder
from haymaker.data.dataset import Folder, rows_per_group
from haymaker.data.layouts import pool, unpool
from haymaker.data.pooled import TextPool, restored
from haymaker.data.schema import SCHEMA, table_of
from haymaker.errors import DataError
from haymaker.file_digests import file_digest


def recipe(**changes: Any) -> Recipe:
    return Recipe(**({"task": "mdqa", "setting": "real", "length": 512, "rows": 6} | changes))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    """Rows of a file whose passages stand in most of them."""
    home = tmp_path_factory.mktemp("saved")
    source = write_jsonl(home / "rows.jsonl", [mdqa_row(n) for n in range(24)])
    chosen = recipe(source=source, rows=24, length=4096, split="test")
    return hm.build(chosen, tokenizer).save(home / "data")


def test_what_is_saved_is_what_is_loaded(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    built = hm.build(recipe(), tokenizer)
    loaded = hm.load_dataset(built.save(tmp_path / "a"))
    assert list(loaded) == list(built)
    assert list(Folder(tmp_path / "a")) == list(built)
    assert contents(loaded.save(tmp_path / "b")) == contents(tmp_path / "a")


def test_a_part_of_a_dataset_sums_up_its_own_rows(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    built = hm.build(recipe(), tokenizer)
    part = Folder(built[:2].save(tmp_path / "part"))
    assert len(part) == 2
    assert part.manifest["checks"]["tokens"] == sum(
        row["n_prompt_tokens"] + row["n_target_tokens"] for row in part.rows
    )
    assert part.manifest["checks"]["tokens"] < built.manifest["checks"]["tokens"]


def test_select_reads_the_columns_asked_for(saved: Path) -> None:
    assert set(next(Folder(saved).select(("id", "question")))) == {"id", "question"}
    assert next(Folder(saved).rows)["question"] == hm.load_dataset(saved)[0].question


def test_groups_are_bounded_by_their_tokens() -> None:
    # 64 rows, but no more than 4,194,304 tokens: 65,536 x 64; 131,072 x 32; 1,048,576 x 4; at least one.
    assert [rows_per_group(length) for length in (64, 65_536, 131_072, 1_048_576, 8_388_608)] == [64, 64, 32, 4, 1]


# ---- how it was made


def test_manifest_and_card_say_how_it_was_made(saved: Path) -> None:
    manifest, page = Folder(saved).manifest, (saved / "README.md").read_text()
    ((source, digest),) = manifest["inputs"].items()
    assert manifest["recipe"]["seed"] == 0
    assert {"haymaker", "transformers", "tokenizers", "pyarrow", "python", "rows"} == set(manifest["versions"])
    for said in (source, digest, "seed: 0", "length: 4096", "24 of 24 asked for", manifest["tokenizer_sha256"]):
        assert said in page
    for name, value in manifest["checks"].items():
        assert f"- {name}: {value}" in page


def test_rejected_rows_of_the_source_are_told(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    rows = [mdqa_row(n) for n in range(5)]
    rows[1]["answers"], rows[2]["answers"] = ["somebody else"], []
    source = write_jsonl(tmp_path / "rows.jsonl", rows)
    out = hm.build(recipe(source=source, rows=3, length=1024), tokenizer).save(tmp_path / "data")
    assert Folder(out).manifest["rejected"] == {
        "the gold passage does not hold an answer": 1,
        "the question or all answers are empty": 1,
    }
    assert "- the gold passage does not hold an answer: 1" in (out / "README.md").read_text()


# ---- the datasets library


@pytest.fixture
def load_with_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    return lambda folder, *name: datasets.load_dataset(str(folder), *name, cache_dir=str(tmp_path / "cache"))


@pytest.mark.filterwarnings("default")  # the library's own
def test_the_datasets_library_opens_both_layouts(saved: Path, load_with_datasets: Any, tmp_path: Path) -> None:
    loaded = load_with_datasets(saved)
    assert list(loaded) == ["test"]
    assert loaded["test"].features.arrow_schema.equals(SCHEMA, check_metadata=False)
    assert loaded["test"].to_list() == list(Folder(saved).rows)
    pooled = pool(saved, tmp_path / "pooled").path
    assert len(load_with_datasets(pooled)["test"]) == 24
    texts = load_with_datasets(pooled, "documents")["train"]
    assert len(texts) == len(set(texts["text"]))


# ---- the pooled layout


def sizes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))


def test_pooling_and_back_gives_the_same_files(saved: Path, tmp_path: Path) -> None:
    pooled = pool(saved, tmp_path / "pooled")
    assert list(pooled.rows) == list(Folder(saved).rows)
    assert list(hm.load_dataset(pooled.path)) == list(hm.load_dataset(saved))
    assert contents(unpool(pooled.path, tmp_path / "again").path) == contents(saved)
    texts = pq.read_table(pooled.path / "documents.parquet")["text"].to_pylist()
    assert len(set(texts)) == len(texts)
    assert sizes(pooled.path) < sizes(saved)
    # 24 rows of about 60 passages, 168 distinct ones; cut ones and those around an answer come in pieces of their own.
    assert sum(map(len, texts)) < sum(len(example.text) for example in Folder(saved)) / 3


@pytest.mark.parametrize(("task", "setting"), [("niah", "symbolic"), ("summhay", "low-low"), ("musique", "high-high")])
def test_every_kind_of_row_can_be_pooled(
    task: str, setting: str, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    built = hm.build(recipe(task=task, setting=setting), tokenizer)
    pooled = pool(built.save(tmp_path / "plain"), tmp_path / "pooled")
    assert list(pooled) == list(built)


def test_rows_of_several_messages_can_be_pooled(saved: Path, tmp_path: Path) -> None:
    row = next(Folder(saved).rows)
    prompt = row["messages"][0]["content"]
    spans = [{**span, "message": 1} for span in row["spans"]]
    several = {**row, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]}
    table = table_of([{**several, "spans": []}]).set_column(
        SCHEMA.get_field_index("spans"), SCHEMA.field("spans"), pa.array([spans], SCHEMA.field("spans").type)
    )
    texts = TextPool()
    pooled = texts.pooled(table)
    assert restored(pooled, texts.new_texts()["text"]).to_pylist() == table.to_pylist()


def test_a_layout_is_not_made_twice(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not pooled"):
        unpool(saved, tmp_path / "out")
    pooled = pool(saved, tmp_path / "pooled").path
    with pytest.raises(DataError, match="pooled already"):
        pool(pooled, tmp_path / "out")
    with pytest.raises(DataError, match="exists"):
        pool(saved, pooled)


# ---- broken folders


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for name, data in contents(folder).items():
        (to / name).write_bytes(data)
    return to


def test_a_broken_folder_is_a_data_error_that_names_the_file(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no dataset here"):
        hm.load_dataset(tmp_path)
    for name, change, message in (
        ("a", lambda path: path.unlink(), "missing"),
        ("b", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\0"), "not those the manifest records"),
    ):
        broken = copy(saved, tmp_path / name)
        change(next(broken.glob("data-*")))
        with pytest.raises(DataError, match=message):
            hm.load_dataset(broken)
    for name, manifest, message in (("c", "{", "not JSON"), ("d", "[]", "found 'list'"), ("e", "{}", "found None")):
        broken = copy(saved, tmp_path / name)
        (broken / "manifest.json").write_text(manifest)
        with pytest.raises(DataError, match=message):
            hm.load_dataset(broken)
    broken = copy(saved, tmp_path / "f")
    manifest = json.loads((broken / "manifest.json").read_text())
    (broken / "manifest.json").write_text(json.dumps({**manifest, "rows": 25}))
    with pytest.raises(DataError, match="says 25 rows, the shards hold 24"):
        hm.load_dataset(broken)


def test_a_shard_with_other_columns_is_told(saved: Path, tmp_path: Path) -> None:
    broken = copy(saved, tmp_path / "data")
    shard = next(broken.glob("data-*"))
    pq.write_table(pq.read_table(shard).drop_columns(["checks"]), shard)
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["shards"][0]["sha256"] = file_digest(shard)
    (broken / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="expected columns .*checks, found"):
        hm.load_dataset(broken)


# ---- splits


def test_a_question_keeps_its_split_when_the_data_grows(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    shares = {"train": 0.6, "dev": 0.2, "test": 0.2}
    found: dict[tuple[int, str], set[str]] = {}
    for size in (20, 40):
        source = write_jsonl(tmp_path / f"{size}.jsonl", [musique_row(n) for n in range(size)])
        for split in shares:
            chosen = recipe(task="musique", source=source, split=split, split_shares=shares, rows=1, length=1024)
            found[size, split] = questions_of(chosen, tokenizer)
    for split in shares:
        assert found[20, split] <= found[40, split]
    assert sum(len(found[40, split]) for split in shares) == 40 == len(set.union(*(found[40, s] for s in shares)))
    # 0.6 x 40 = 24 expected in train, standard deviation 3.1.
    assert 15 <= len(found[40, "train"]) <= 33


def questions_of(chosen: Recipe, tokenizer: PreTrainedTokenizerBase) -> set[str]:
    drafts = Builder(chosen, tokenizer).drafts
    return {drafts.draft(k).question for k in range(drafts.count or 0)}
