"""Every file and folder that one command leaves to the next, damaged at random: an error of ours, or what was there.

What a digest covers (kept rows, stores, adapters, states of a training) is refused or the same; what a person may write
(configs, rows, prompts, tables) is refused or read.
"""

import gzip
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from fuzzing import damaged, fuzz
from hypothesis import strategies as st
from report_rows import results
from toy_stages import WORK, Toy

import haymaker as hm
from haymaker.commands.own_prompt import prompt_in
from haymaker.config import Frozen
from haymaker.config_files import load_config
from haymaker.console import said
from haymaker.errors import HaymakerError, StudyError
from haymaker.evaluation.predictions import Evaluation
from haymaker.kept import Codec, keeping
from haymaker.models.checkpoint import write_checkpoint
from haymaker.realism.written import read_written
from haymaker.records import canonical_json, digest
from haymaker.report import write_report
from haymaker.study import Plan, Store, StudyConfig, execute, plan_study
from haymaker.study.cell import Cell
from haymaker.study.survey import Survey, dated_ahead_of, find_broken, find_garbage
from haymaker.writing.cache import Cache, Entry, read_exported
from haymaker.writing.config import WriterConfig

ROWS = [
    {
        "question": f"What is the key of door {number}?",
        "answers": ["red"],
        "documents": [{"text": "The key is red.", "gold": True}, {"text": "It is here."}],
    }
    for number in range(3)
]


@dataclass(frozen=True)
class Artifact:
    """How it is made in a folder, and what reading it gives."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    digested: bool = False  # whether what is not refused is what was there


def file_of(name: str, content: str | bytes) -> Callable[[Path], Path]:
    def make(home: Path) -> Path:
        (home / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return home / name

    return make


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# ---- rows, prompts, texts of a writer


def table_file(name: str, write: Callable[[pa.Table, str], Any]) -> Callable[[Path], Path]:
    def make(home: Path) -> Path:
        table = pa.Table.from_pylist(ROWS)
        if name.endswith("csv"):
            table = pa.table({"question": table["question"], "answer": ["red"] * 3, "context": ["a red key"] * 3})
        write(table, str(home / name))
        return home / name

    return make


def read_rows(path: Path) -> Any:
    return [(row.text, row.answers) for row in hm.read_examples(path, evidence=False)]


def read_prompt(path: Path) -> Any:
    made = hm.example(prompt_in(path), needle="Ada Reyes founded the mill")
    return made.text, made.answers


def read_texts(path: Path) -> Any:
    return [(text.fault, text.fault_for(2)) for text in read_written(path).values()]


CHAT = [
    {"role": "user", "content": "Ada Reyes founded the mill. Who founded it?"},
    {"role": "assistant", "content": "Ada Reyes"},
]
WRITTEN = {"key": "k", "passages": ["Ada Reyes founded it.", "It is in Rome."], "question": "Who?", "answer": "Rome"}


# ---- answers of a writer


def entries() -> list[Entry]:
    asked = [{"model": "m", "messages": [{"role": "user", "content": f"hi {number}"}]} for number in range(3)]
    return [
        Entry(digest(one), canonical_json(one), '{"said": "x"}', "ok", "", "stop", 3, 4, "2026-01-01T00:00:00Z")
        for one in asked
    ]


def make_cache(home: Path) -> Path:
    with Cache(home / "answers.sqlite") as cache:
        cache.add(entries())
    return home / "answers.sqlite"


def make_exported(home: Path) -> Path:
    with Cache(":memory:") as cache:
        cache.add(entries())
        cache.export(home / "answers.jsonl")
    return home / "answers.jsonl"


def read_cache(path: Path) -> Any:
    with Cache(path, "read-only") as cache:
        return cache.statistics(), list(cache.entries())


def take_in(path: Path) -> Any:
    with Cache(":memory:") as cache:
        return cache.add(read_exported(path)), cache.statistics()


# ---- what was measured


def make_evaluation(home: Path) -> Path:
    folder = home / "predictions"
    (folder / "tables").mkdir(parents=True)
    answer = {
        "example_id": "a", "text": "Ada", "answers": ["Ada"], "scores": {"squad_f1": 1.0}, "finish_reason": "stop",
        "prompt_tokens": 10, "generated_tokens": 2, "task": "mdqa", "unread": [], "halved": False, "before": "",
    }  # fmt: skip
    (folder / "predictions.jsonl").write_text(lines([answer, answer | {"example_id": "b", "text": "Eve"}]))
    (folder / "evaluation.json").write_text(json.dumps({"metric": "squad_f1", "score": 0.5, "n": 2}))
    (folder / "tables" / "ablation.json").write_text(json.dumps([{"heads": "none", "k": 0, "score": 0.5}]))
    return folder


def read_evaluation(path: Path) -> Any:
    return read_tables(path), Evaluation.load(path / "predictions.jsonl").row()


def read_tables(path: Path) -> Any:
    found = hm.load_results(path)
    assert repr(found) + found._repr_html_()
    return {name: found[name].to_dict() for name in found}


def few_results() -> dict[str, Any]:
    whole = results()
    return whole | {"tables": {name: rows[:3] for name, rows in whole["tables"].items()}}


def drawn(path: Path) -> Any:
    return write_report(path, path.with_name("report.html")).stat().st_size > 0


# ---- rows that are done


def make_kept(home: Path) -> Path:
    keep(home / "out.partial", 2)
    return home / "out.partial"


def keep(path: Path, rows: int = 3) -> Any:
    codec = Codec[float](lambda value: value, float)
    with keeping(path, {"model": "m", "data": "d"}, 3, "rows", codec, room=64) as kept:
        found = [kept.batch([(row,)], lambda _, row=row: [row / 2]) for row in range(rows)]
        return found, kept.room


# ---- a study's store


def toys() -> Plan:
    return Plan.of("toy", [Cell("one", WORK, Toy(value=1)), Cell("two", WORK, Toy(value=2), {"one": "one"})])


def make_store(home: Path) -> Path:
    execute(toys(), Store(home / "store"))
    return home / "store"


def read_store(path: Path) -> Any:
    store, plan = Store(path), toys()
    survey = Survey(plan, store)
    for look in (find_broken, find_garbage, dated_ahead_of):
        look(survey)
    assert store.failed_at() == {}
    assert list(store.manifests())
    summary = execute(plan, store)
    if not summary.complete:
        raise StudyError(str(summary.failed))
    return [(store.output(str(one.key)) / "value.txt").read_text() for one in Survey(plan, store).all().values()]


# ---- what training leaves, and models


class Stopped(BaseException):
    """A kill of a training."""


def trained(folder: Path, stop_at: int = 9) -> Any:
    """Three steps on four rows, stopped behind one of them."""
    lm, steps = hm.load_model("miniature-sparse"), []

    def count(step: int) -> None:
        steps.append(step)
        if len(steps) > stop_at:
            raise Stopped

    rows = list(hm.build(hm.Recipe(task="mdqa", length=128, rows=4), lm.tokenizer))
    return hm.train(lm, rows, hm.TrainConfig(steps=3, batch=1, save_every=1), folder, on_progress=count)


def make_adapter(home: Path) -> Path:
    trained(home / "adapter")
    return home / "adapter"


def make_state(home: Path) -> Path:
    with suppress(Stopped):
        trained(home / "adapter", stop_at=2)
    return home / "adapter"


def read_adapter(path: Path) -> Any:
    return next_logits(hm.load_model("miniature-sparse", adapter=path))


def make_model(home: Path) -> Path:
    (home / "model").mkdir()
    write_checkpoint("miniature-sparse", home / "model", hm.Extend(length=256))
    return home / "model"


def read_model(path: Path) -> Any:
    return next_logits(hm.load_model(path))


def next_logits(lm: Any) -> Any:
    return lm.model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1].tolist()


# ---- configs


def config(kind: type[Frozen], **values: Any) -> Artifact:
    return Artifact(
        file_of("config.yaml", yaml.safe_dump(values)), lambda path: load_config(path, kind).model_dump_json()
    )


def read_study(path: Path) -> Any:
    plan_study(load_config(path, StudyConfig))


STUDY = {
    "name": "s", "model": "miniature-sparse", "context": 128, "length": 256, "settings": ["base", "real", "low-low"],
    "tasks": {"mdqa": {"train": {"rows": 4}, "test": {"rows": 4}}}, "train": {"steps": 2, "batch": 2},
    "evaluation": {"new_tokens": 8}, "heads": {"metric": "copy", "rows": 2},
}  # fmt: skip

ARTIFACTS = {
    "rows, jsonl": Artifact(file_of("rows.jsonl", lines(ROWS)), read_rows),
    "rows, gzip": Artifact(file_of("rows.jsonl.gz", gzip.compress(lines(ROWS).encode())), read_rows),
    "rows, csv": Artifact(table_file("rows.csv", pyarrow.csv.write_csv), read_rows),
    "rows, parquet": Artifact(table_file("rows.parquet", pq.write_table), read_rows),
    "rows, arrow": Artifact(table_file("rows.arrow", pyarrow.feather.write_feather), read_rows),
    "a chat": Artifact(file_of("chat.json", json.dumps(CHAT)), read_prompt),
    "written texts": Artifact(file_of("written.jsonl", lines([WRITTEN, WRITTEN | {"key": "l"}])), read_texts),
    "a writer's cache": Artifact(make_cache, read_cache),
    "exported answers": Artifact(make_exported, take_in),
    "an evaluation": Artifact(make_evaluation, read_evaluation),
    "results": Artifact(file_of("results.json", json.dumps(few_results())), read_tables),
    "kept rows": Artifact(make_kept, keep, digested=True),
    "a store": Artifact(make_store, read_store, digested=True),
    "config of a dataset": config(hm.Recipe, task="mdqa", setting="low-high", length=256, rows=3, seed=1),
    "config of a training": config(hm.TrainConfig, steps=3, batch=2, rate=0.001, rank=4, save_every=2),
    "config of an extension": config(hm.Extend, length=256, theta=1e5),
    "config of a writer": config(WriterConfig, model="m", base_url="http://localhost:1/v1", workers=2),
    "a study": Artifact(file_of("study.yaml", yaml.safe_dump(STUDY)), read_study),
}

# Seconds an example: benchmarks/data_fuzz.py runs them, and the suite has their laws one by one.
DEAR = {
    "a report": Artifact(file_of("results.json", json.dumps(few_results())), drawn),
    "an adapter": Artifact(make_adapter, read_adapter, digested=True),
    "a finished training": Artifact(make_adapter, lambda path: trained(path).record["final_loss"]),
    "a training's state": Artifact(make_state, lambda path: trained(path).record["final_loss"]),
    "an extended model": Artifact(make_model, read_model),
}


def tried(artifact: Artifact, path: Path) -> Any:
    """What reading gives; None where it is refused, with a sentence."""
    try:
        return artifact.read(path)
    except HaymakerError as error:
        assert str(error).strip()  # noqa: PT017
        return None


def put_back(whole: Path, path: Path) -> None:
    """The artifact as it was made; a reading may have gone on with it."""
    if whole.is_dir():
        shutil.rmtree(path)
        shutil.copytree(whole, path)
    else:
        shutil.copy(whole, path)


@pytest.mark.parametrize("name", ARTIFACTS)
def test_what_is_damaged_is_refused_or_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(said, "quiet", True)
    check(ARTIFACTS[name], tmp_path)


def check(artifact: Artifact, home: Path) -> None:
    for folder in ("whole", "here"):
        (home / folder).mkdir()
    whole = artifact.make(home / "whole")
    path = home / "here" / whole.name
    shutil.copytree(whole, path) if whole.is_dir() else shutil.copy(whole, path)
    right = tried(artifact, path)
    files = sorted(one for one in whole.rglob("*") if one.is_file()) or [whole]

    @fuzz(st.data())
    def run(data: st.DataObject) -> None:
        put_back(whole, path)
        source = data.draw(st.sampled_from(files))
        target = path / source.relative_to(whole)
        content = data.draw(damaged(source.read_bytes()))
        target.unlink() if content is None else target.write_bytes(content)
        found = tried(artifact, path)
        assert not artifact.digested or found in (None, right)

    run()
