"""Exports: the same examples when they are read again, the answer where a trainer learns it, and TRL trains on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import fails, passes
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import haymaker as hm
from haymaker.data.exports import exported, write_rows
from haymaker.errors import ConfigError, DataError
from haymaker.metrics.best_score import together
from haymaker.tasks.own_layouts import read_row
from haymaker.tasks.own_rows import Talk

CHATS = ("openai", "sharegpt", "alpaca", "prompt-completion")
FORMS = (*CHATS, "ruler")
MILL = "Ada Reyes founded the mill in 1871."


@pytest.fixture(scope="module")
def world(tokenizer: PreTrainedTokenizerBase) -> hm.Dataset:
    return hm.build(hm.Recipe(task="musique", length=200, rows=3), tokenizer)


@pytest.fixture
def chat(tmp_path: Path) -> hm.Dataset:
    """Rows of several turns, with and without a system text and evidence."""
    said = [("user", MILL), ("assistant", "Yes."), ("user", "Who?")]
    said = [{"role": role, "content": content} for role, content in said]
    answer = {"role": "assistant", "content": "Ada Reyes"}
    system = {"role": "system", "content": "Be brief."}
    rows = [
        {"messages": [*said, answer], "evidence": [MILL], "answers": ["Ada Reyes", "Reyes"], "id": "mine"},
        {"messages": [system, *said, answer]},
        {"messages": [said[0], answer], "question": "Who founded it?"},
    ]
    write_rows(iter(rows), tmp_path / "chat.jsonl")
    return hm.read_examples(tmp_path / "chat.jsonl")


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
@pytest.mark.parametrize("form", CHATS)
def test_rows_that_went_out_come_in_again_equal(form: str, ending: str, chat: hm.Dataset, tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    write_rows(exported(chat, form), path)
    again = hm.read_examples(path)
    assert list(again) == list(chat)
    assert list(exported(again, form)) == list(exported(chat, form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("outputs", [["Ada", "1871"], ["Ada Reyes", "mill"], ["Ada"]])
def test_rows_of_several_outputs_teach_all_of_them_and_come_in_again(
    outputs: list[str], form: str, tmp_path: Path
) -> None:
    data = hm.read_examples([{"input": MILL, "outputs": outputs}])
    (row,) = exported(data, form)
    write_rows(exported(data, form), path := tmp_path / "rows.jsonl")
    assert ("taught: " in passes("show", path)) == (len(outputs) > 1)
    learned = {
        "openai": lambda: row["messages"][-1]["content"],
        "sharegpt": lambda: row["conversations"][-1]["value"],
        "alpaca": lambda: row["output"],
        "prompt-completion": lambda: row["completion"].strip(),
        "ruler": lambda: together(row["outputs"]),
    }[form]()
    assert learned == data[0].target == together(outputs)
    (again,) = hm.read_examples([row])
    assert (again.answers, again.target, again.spans) == (tuple(outputs), learned, data[0].spans)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_taught_in_a_form_of_its_metric_comes_back_as_its_golds(form: str) -> None:
    asked = {"question": "Which?", "context": MILL}
    rows = [
        asked | {"answers": ["1", "3"], "metrics": ["citation_f1"]},
        asked | {"answers": ["B"], "metrics": ["longbench_choice"]},
        asked | {"answers": ["B", "The letter"], "metrics": ["squad_f1"]},
    ]
    data = hm.read_examples(rows, evidence=False)
    assert [row.target for row in data] == ["[1][3]", "The correct answer is (B)", "B"]
    again = hm.read_examples(list(exported(data, form)))
    assert [(row.answers, row.target) for row in again] == [(row.answers, row.target) for row in data]


@pytest.mark.parametrize("form", FORMS)
def test_built_rows_keep_text_evidence_and_answers(form: str, world: hm.Dataset, tmp_path: Path) -> None:
    write_rows(exported(world, form), tmp_path / "out.jsonl")
    for before, after in zip(world, hm.read_examples(tmp_path / "out.jsonl"), strict=True):
        assert (after.text, after.answers, after.question) == (before.text, before.answers, before.question)
        assert after.spans["evidence"] == before.spans["evidence"]
        assert set(before.spans["answer"]) <= set(after.spans["answer"])
        assert after.source["row_id"] == before.id
    again = exported(hm.read_examples(tmp_path / "out.jsonl"), form)
    uncounted = {"length", "length_w_model_temp"} if form == "ruler" else set()
    before = exported(world, form)
    assert list(again) == [{key: row[key] for key in row if key not in uncounted} for row in before]


@pytest.mark.parametrize("form", CHATS)
def test_bare_rows_have_the_forms_own_keys(form: str, world: hm.Dataset) -> None:
    (row, *_) = exported(world, form, bare=True)
    assert not {"id", "answers", "evidence", "question"} & set(row)
    assert isinstance(read_row(row, "row"), Talk)


def test_rulers_rows_have_its_keys(world: hm.Dataset) -> None:
    rows = list(exported(world, "ruler", bare=True))
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert all(row["length"] <= 200 and row["outputs"] == list(world[i].answers) for i, row in enumerate(rows))
    assert set(rows[0]) == {"index", "input", "outputs", "length", "length_w_model_temp", "answer_prefix"}


def test_a_csv_keeps_texts_or_says_that_it_cannot(tmp_path: Path) -> None:
    for text in ('A "quoted", text;\r\nof lines\rand all', "[sic] and so on", " blanks ", "{", "é\u2028"):
        write_rows(iter([{"prompt": text, "completion": "x"}]), tmp_path / "a.csv")
        (found,) = hm.read_examples(tmp_path / "a.csv")
        assert found.text == text
    for text in ("[1, 2]", '{"a": 1}', "NA"):
        with pytest.raises(DataError, match="is no text in a csv, where it is read as .*; write .jsonl"):
            write_rows(iter([{"prompt": text, "completion": "x"}]), tmp_path / "b.csv")
    assert not (tmp_path / "b.csv").exists()


def test_what_a_form_cannot_hold_is_told() -> None:
    turns = [hm.Message("user", (hm.Segment("a"),)), hm.Message("user", (hm.Segment("b"),))]
    example = hm.Example("two", "qa", tuple(turns), "b", ("c",))
    with pytest.raises(DataError, match="two: alpaca holds turns of user and assistant .* found user, user"):
        list(exported([example], "alpaca"))
    with pytest.raises(DataError, match="two: ruler holds one turn of the user, found user, user; export as openai"):
        list(exported([example], "ruler"))
    with pytest.raises(ConfigError, match="no export 'csv'; there are openai"):
        list(exported([example], "csv"))


def test_the_command_writes_a_dataset_or_a_file_of_rows(world: hm.Dataset, tmp_path: Path) -> None:
    folder, out = world.save(tmp_path / "data"), tmp_path / "train.jsonl"
    passes("export", folder, "--format", "openai", "--out", out)
    assert len(out.read_text().splitlines()) == 3
    passes("export", out, "--format", "sharegpt", "--out", tmp_path / "again.json")
    fails(2, "expected a name that ends in .jsonl", "export", folder, "--format", "openai", "--out", tmp_path / "a.txt")
    fails(2, "no export 'csv'", "export", folder, "--format", "csv", "--out", tmp_path / "a.jsonl")
    fails(2, "exists", "export", folder, "--format", "openai", "--out", out)
    assert json.loads(passes("stats", out, "--json"))["rows"] == 3
    assert json.loads(passes("show", out, "--row", 1, "--json"))["text"] == world[1].text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["prompt-completion", "openai"])
def test_trl_trains_on_it_and_sees_the_answers(
    form: str, world: hm.Dataset, tmp_path: Path, new_model: Callable[..., PreTrainedModel], tokenizer: Any
) -> None:
    trl = pytest.importorskip("trl", reason="needs trl (pip install haymaker[bench])")
    datasets = pytest.importorskip("datasets")
    write_rows(exported(world, form), tmp_path / "train.jsonl")
    rows = datasets.Dataset.from_json(str(tmp_path / "train.jsonl"), cache_dir=str(tmp_path / "cache"))
    reader = type(tokenizer).from_pretrained(tokenizer.name_or_path)
    if form == "openai":
        reader.chat_template = (
            "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %} {{ m.content }}{% endgeneration %}"
            "{% else %}{{ m.content }}{% endif %}{% endfor %}"
        )
    options = trl.SFTConfig(
        output_dir=str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=3, max_length=None, report_to=[],
        use_cpu=True, bf16=False, assistant_only_loss=form == "openai", save_strategy="no", disable_tqdm=True,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.SFTTrainer(new_model(), args=options, train_dataset=rows, processing_class=reader)
    (batch, *_) = trainer.get_train_dataloader()
    learned = {reader.decode(line[line >= 0]).replace("<|end|>", "").strip() for line in batch["labels"]}
    assert {answer.target for answer in world} <= {text.removesuffix(reader.eos_token).strip() for text in learned}
    assert trainer.train().global_step == 2
