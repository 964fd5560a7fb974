"""Validation finds what was changed, and nothing where nothing was; comparing datasets says what differs."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from command_line import fails
from real_rows import mdqa_row, write_jsonl
from tiny_tokenizers import STRIPPING, TEMPLATE, tiny_tokenizer
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.config import Recipe
from haymaker.data import validation
from haymaker.data.compare import Places, called, diff, overlap, stats, verify
from haymaker.data.dataset import Dataset, Folder
from haymaker.data.schema import SCHEMA
from haymaker.data.validation import validate
from haymaker.errors import ConfigError, DataError


def recipe(**changes: Any) -> Recipe:
    return Recipe(**({"task": "mdqa", "setting": "real", "length": 256, "rows": 4} | changes))


@pytest.fixture(scope="module")
def built(tokenizer: PreTrainedTokenizerBase) -> Dataset:
    return hm.build(recipe(), tokenizer)


def altered(dataset: Dataset, number: int, **changes: Any) -> Dataset:
    """The dataset with some columns of one row changed."""
    rows = list(dataset.rows)
    rows[number] = {**rows[number], **changes}
    return Dataset(dataset.table.from_pylist(rows, schema=SCHEMA), dataset.manifest)


def problems(dataset: Dataset | Folder, tokenizer: PreTrainedTokenizerBase, **options: Any) -> list[str]:
    return validate(dataset, tokenizer, **options).problems


# ---- validate


def test_rows_of_ones_own_are_not_held_against_a_tokenizer_that_never_built_them(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    source = tmp_path / "mine.jsonl"
    source.write_text('{"question": "Who?", "answers": ["Ada"], "documents": [{"text": "Ada did.", "gold": true}]}')
    folder = hm.read_examples(source).save(tmp_path / "own")
    with pytest.raises(ConfigError, match="your own and were not built to a length"):
        validate(Folder(folder), tokenizer)
    for more in ((), ("--tokenizer", "miniature-llama")):
        fails(2, "your own and were not built to a length", "validate", folder, *more)


@pytest.mark.parametrize(
    "changes",
    [
        {"checks": "[]"},
        {"gold_depths": [2.0]},
        {"max_tokens": 0},
        {"n_target_tokens": None},
        {"n_prompt_tokens": None, "n_target_tokens": None},
    ],
)
def test_what_cannot_be_counted_is_a_problem_of_its_row(
    changes: dict[str, Any], built: Dataset, tokenizer: PreTrainedTokenizerBase
) -> None:
    found = validate(altered(built, 2, **changes), tokenizer, rebuild=False)
    assert {problem.partition(":")[0] for problem in found.problems} == {built[2].id}
    assert found.rows == 4


@pytest.mark.parametrize(("task", "setting"), [("mdqa", "real"), ("musique", "high-high"), ("summhay", "symbolic")])
@pytest.mark.parametrize(("template", "split"), [(None, "test"), (TEMPLATE, "train")], ids=["plain", "chat"])
def test_what_was_built_is_valid(task: str, setting: str, template: str | None, split: str, tmp_path: Path) -> None:
    """Test rows too, of which more than a hundredth is left free for an answer."""
    tokenizer = tiny_tokenizer("bytes", template)
    made = hm.build(recipe(task=task, setting=setting, length=600, rows=3, split=split), tokenizer)
    found = validate(made, tokenizer)
    assert (found.problems, found.rows) == ([], 3)
    assert problems(Folder(made.save(tmp_path / "data")), tokenizer) == []


def test_without_rebuilding_the_recipes_template_is_used() -> None:
    tokenizer = tiny_tokenizer("bytes", STRIPPING)
    made = hm.build(recipe(chat_template=False, rows=1, length=600), tokenizer)
    assert problems(made, tokenizer, rebuild=False) == []


def test_every_change_is_found(built: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    row = list(built.rows)[1]
    words = row["messages"][0]["content"].replace(" a ", " one ", 1)
    moved = [{**span, "token_start": span["token_start"] + (span["kind"] == "evidence")} for span in row["spans"]]
    outside = [*row["spans"][:-1], {**row["spans"][-1], "char_end": 10**6}]
    for changes, message in (
        ({"n_prompt_tokens": row["n_prompt_tokens"] + 1}, "tokens of prompt and answer, recorded"),
        ({"max_tokens": 100}, "over its length of 100"),
        ({"max_tokens": 100}, "its length is recorded as 100, the recipe's is 256"),
        ({"spans": moved}, "token spans are not those recorded"),
        ({"spans": outside}, "is not within its message"),
        ({"gold_depths": [0.5]}, "gold depths are not where its evidence starts"),
        ({"id": built[0].id}, "its id stands twice"),
    ):
        found = problems(altered(built, 1, **changes), tokenizer, rebuild=False)
        assert any(message in problem for problem in found), (changes.keys(), found)
    assert words != row["messages"][0]["content"]
    for changes, column in (
        ({"messages": [{"role": "user", "content": words}]}, "messages"),
        ({"answers": ["nobody"]}, "answers"),
        ({"checks": row["checks"].replace('"leaks":[]', '"leaks":[1]')}, "checks"),
        ({"split": "test"}, "split"),
    ):
        found = problems(altered(built, 1, **changes), tokenizer)
        assert any("building row 1 again gives another" in p and column in p for p in found), (column, found)


@pytest.mark.parametrize("rebuild", [True, False])
def test_a_row_far_below_its_length_is_never_valid(tokenizer: PreTrainedTokenizerBase, rebuild: bool) -> None:
    """Also where rows, recipe and sums agree with each other."""
    made = hm.build(recipe(documents=3, length=600, rows=2), tokenizer)
    assert problems(made, tokenizer, rebuild=rebuild) == []  # a number of documents was asked for
    full = Dataset(made.table, {**made.manifest, "recipe": {**made.manifest["recipe"], "documents": None}})
    found = [problem for problem in problems(full, tokenizer, rebuild=False) if "at least 594 do" in problem]
    assert [problem.split(":")[0] for problem in found] == [row.id for row in made]
    assert all(" of its length of 600" in problem for problem in found)


def test_sums_of_the_manifest_are_compared(built: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    checks = {**built.manifest["checks"], "rows_with_leaks": 3}
    (found,) = problems(Dataset(built.table, {**built.manifest, "checks": checks}), tokenizer)
    assert found == "manifest.json: rows_with_leaks is 3, the rows come to 0"


def test_problems_are_told_up_to_a_number(
    built: Dataset, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "MOST_PROBLEMS", 2)
    rows = [{**row, "gold_depths": [0.5], "max_tokens": 9} for row in built.rows]
    broken = Dataset(built.table.from_pylist(rows, schema=SCHEMA), built.manifest)
    assert len(problems(broken, tokenizer, rebuild=False)) == 2


def test_another_tokenizer_is_refused(built: Dataset) -> None:
    with pytest.raises(ConfigError, match="not the tokenizer that the dataset was built for"):
        validate(built, tiny_tokenizer("bytes"))


def test_a_source_that_changed_or_moved(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    write_jsonl(source, [mdqa_row(n) for n in range(4)])
    made = hm.build(recipe(source=str(source), rows=2, length=1024), tokenizer)
    source.rename(tmp_path / "moved.jsonl")
    with pytest.raises(DataError, match=r"rows\.jsonl: cannot be read"):
        validate(made, tokenizer)
    assert problems(made, tokenizer, source=str(tmp_path / "moved.jsonl")) == []
    assert problems(made, tokenizer, rebuild=False) == []
    write_jsonl(source, [mdqa_row(n) for n in range(5)])
    assert problems(made, tokenizer) == ["the source is not the file that the manifest records: its sha256 differs"]


# ---- stats and overlap


def test_stats_count_what_the_rows_hold(built: Dataset, tmp_path: Path) -> None:
    found = stats(built)
    tokens = [row["n_prompt_tokens"] + row["n_target_tokens"] for row in built.rows]
    assert (found["rows"], found["tokens"], found["tokens_least"]) == (4, sum(tokens), min(tokens))
    assert found["documents_mean"] == sum(len(example.spans["document"]) for example in built) / 4
    assert found["answer_types"] == {"name": 4}
    assert sum(found["positions"]) == 4
    assert stats(Folder(built.save(tmp_path / "data"))) == found
    with pytest.raises(DataError, match="no rows"):
        stats(built[:0])


def test_stats_of_places_by_hand(built: Dataset) -> None:
    # Four rows with evidence in the first tenth: chi-square = (4 - 0.4)^2 / 0.4 + 9 x 0.4 = 36, 9 degrees of freedom.
    rows = [{**row, "gold_depths": [0.05], "spans": placed(0, 0)} for row in built.rows]
    found = stats(Dataset(built.table.from_pylist(rows, schema=SCHEMA), built.manifest))
    assert found["positions"] == [4, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert found["position_p"] == pytest.approx(3.95e-5, rel=0.01)


def placed(count: int, place: int) -> list[dict[str, Any]]:
    """Spans of a row of so many documents of ten tokens, the evidence at the start of one; in no document of 0."""
    about = {"index": 0, "message": 0, "char_start": 0, "char_end": 1}
    starts = [("document", 10 * i + 2) for i in range(count)] + [("evidence", 10 * place + 3)]
    return [{**about, "kind": kind, "token_start": start, "token_end": start + 5} for kind, start in starts]


@pytest.mark.parametrize("documents", [(1,), (2,), (3,), (3, 4), (7,), (10,), (1, 5, 40), (0, 3)])
def test_places_as_likely_as_others_are_no_finding_and_all_first_are_one(documents: tuple[int, ...]) -> None:
    def p_of(rng: Random, first: bool) -> float | None:
        places = Places()
        for row in range(120):
            count = documents[row % len(documents)]
            place = 0 if first or not count else rng.randrange(count)
            places.add({"spans": placed(count, place), "gold_depths": [0.0 if first else rng.random()]})
        return places.p()

    even = [p_of(Random(seed), first=False) for seed in range(40)]
    if documents == (1,):  # no choice
        assert set(even) == {None}
        return
    found = [p for p in even if p is not None]
    assert len(found) == 40
    assert sum(p < 0.05 for p in found) <= 6  # 2 of 40 by chance; 7 or more in one of 200 such tables
    assert (p_of(Random(0), first=True) or 1.0) < 1e-6


def test_overlap_finds_shared_questions_and_evidence(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    rows = [mdqa_row(n) for n in range(8)]
    rows[6]["ctxs"][0] = rows[1]["ctxs"][0]  # another question about the evidence of row 1
    rows[6]["answers"] = rows[1]["answers"]
    made = []
    for name, chosen in (("train", rows[:4]), ("test", [rows[0], *rows[5:]])):
        source = write_jsonl(tmp_path / f"{name}.jsonl", chosen)
        made.append(hm.build(recipe(source=source, rows=4, length=1024), tokenizer))
    train, test = made
    assert overlap(test, train) == {"rows_sharing_question": 1, "rows_sharing_pair": 1, "rows_sharing_evidence": 2}
    assert overlap(test[1:0], train) == dict.fromkeys(overlap(test, train), 0)
    own = hm.build(recipe(), tokenizer), hm.build(recipe(split="test"), tokenizer)
    assert set(overlap(own[1], own[0]).values()) == {0}


# ---- files


def test_verify_names_what_is_wrong(built: Dataset, tmp_path: Path) -> None:
    folder = built.save(tmp_path / "data")
    assert verify(folder) == []
    shard = next(folder.glob("data-*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    (found,) = verify(folder)
    assert shard.name in found
    assert "the manifest records" in found
    shard.unlink()
    assert verify(folder) == [f"{shard}: missing"]


def test_verify_finds_rows_lost_and_doubled(built: Dataset, tmp_path: Path) -> None:
    twice = altered(built, 1, id=built[0].id)
    assert verify(twice.save(tmp_path / "twice")) == [f"1 ids stand more than once, such as {built[0].id}"]
    folder = built.save(tmp_path / "lost")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "rows": 5}))
    (found,) = verify(folder)
    assert "says 5 rows, the shards hold 4" in found


# ---- two datasets


def test_diff_names_the_columns_that_changed(built: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    assert diff(built, built).same == 4
    changed = diff(built, altered(built, 2, answers=["nobody"], split="dev"))
    assert changed.changed == {built[2].id: ["split", "answers"]}
    assert changed.columns == {"split": 1, "answers": 1}
    more = diff(built, hm.build(recipe(rows=6), tokenizer))
    assert (more.same, more.only_first, len(more.only_second)) == (4, [], 2)


def test_diff_holds_rows_of_one_question_against_each_other(built: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    found = diff(built, hm.build(recipe(setting="low-low"), tokenizer))
    assert (found.same, found.only_first, found.only_second) == (0, [], [])
    assert len(found.changed) == 4
    assert found.columns["id"] == found.columns["messages"] == 4
    assert "task" not in found.columns


@pytest.mark.parametrize("source", [None, "", "{", "[1]", '"x"', '{"row_id": null}', "[" * 100_000], ids=range(7))
def test_a_row_whose_source_is_broken_is_called_by_its_id(source: str | None) -> None:
    assert called({"id": "r", "source": source}) == "r"
    assert called({"id": "r", "source": '{"row_id": 7}'}) == "r (7)"
