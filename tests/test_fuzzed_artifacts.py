"""Every file and folder that one command leaves to the next, damaged at random: an error of ours, or what was there.

What a digest covers (kept rows, stores, adapters, states of a training) is refused or the same; what a person may write
(configs, rows, prompts, tables) is refused or read.
"""

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import yaml
from fuzzed_artifacts import Artifact, check
from report_rows import results
from toy_stages import WORK, Toy

import haymaker as hm
from haymaker.commands.own_prompt import prompt_in
from haymaker.config import Frozen
from haymaker.config_files import load_config
from haymaker.console import said
from haymaker.data.builder import Builder
from haymaker.data.parallel import build_folder, build_parts
from haymaker.errors import DataError, StudyError
from haymaker.evaluation.batch_requests import ServedModel
from haymaker.evaluation.batch_responses import evaluate_responses
from haymaker.evaluation.exam import Exam
from haymaker.evaluation.given_answers import judge_given
from haymaker.evaluation.predictions import Evaluation
from haymaker.kept import Codec, keeping
from haymaker.models.load import load_tokenizer
from haymaker.realism.written import read_written
from haymaker.records import canonical_json, digest
from haymaker.report import write_report
from haymaker.study import Plan, Store, StudyConfig, execute, plan_study
from haymaker.study.cell import Cell
from haymaker.study.survey import Survey, dated_ahead_of, find_broken, find_garbage
from haymaker.tasks.pool import read_pool
from haymaker.writing.cache import Cache, Entry, read_exported
from haymaker.writing.client import Client, answer_of
from haymaker.writing.config import WriterConfig
from haymaker.writing.endpoint import Fault
from haymaker.writing.endpoint import read_reply as read_answer
from haymaker.writing.records import Request

ROWS = [
    {
        "question": f"What is the key of door {number}?",
        "answers": ["red"],
        "documents": [{"text": "The key is red.", "gold": True}, {"text": "It is here."}],
    }
    for number in range(3)
]


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
PASSAGES = "\n\n".join(f"In the year {year} Ada Reyes founded a mill in Rome. It is red." for year in range(1900, 1940))
WRITTEN = {"key": "k", "passages": ["Ada Reyes founded it.", "It is in Rome."], "question": "Who?", "answer": "Rome"}


def read_passages(path: Path) -> Any:
    recipe = hm.Recipe(task="niah", source=str(path), length=256, rows=1)
    return read_pool(str(path), "train")[0], [row.text for row in hm.build(recipe, tokenizer())]


@cache
def tokenizer() -> Any:
    return load_tokenizer("miniature-sparse")


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
        assert cache.export(path.with_name("again.jsonl")) == len(read_exported(path.with_name("again.jsonl")))
        return cache.statistics(), list(cache.entries())


def take_in(path: Path) -> Any:
    with Cache(":memory:") as cache:
        return cache.add(read_exported(path)), cache.statistics()


REQUEST = Request("row", "who", "m", ({"role": "user", "content": "hi"},), {"max_tokens": 8})
REPLY = {
    "choices": [{"message": {"role": "assistant", "content": "Ada"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}


def read_reply(path: Path) -> Any:
    """A server's reply as the client keeps it; offline it must be read again as the same."""
    with Cache(":memory:") as cache:
        client = Client(WriterConfig(model="m", base_url="http://localhost:1/v1"), cache, None)
        text = path.read_bytes().decode(errors="replace") if path.exists() else ""
        found = read_answer(text)
        if isinstance(found, Fault):
            raise DataError(found.reason)
        client.keep(REQUEST, found, text)
        [entry] = cache.entries()
        assert answer_of(entry) == replace(found, replayed=True)
    return found


# ---- answers of a server, or of one's own


def asked() -> list[hm.Example]:
    texts = ("Ada Reyes founded the mill.", "Eve Hall founded the press.")
    return [hm.example(f"{text} Who founded it?", needle=text, answer=text[:8].strip()) for text in texts]


def responses() -> str:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Ada"}, "finish_reason": "stop"}
    body = {"model": "m", "choices": [choice], "usage": {"completion_tokens": 3}}
    given = [{"custom_id": row.id, "response": {"status_code": 200, "body": body}, "error": None} for row in asked()]
    return lines([*given, {"custom_id": "c", "response": None, "error": {"message": "too long", "code": 400}}])


def read_responses(path: Path) -> Any:
    model = ServedModel("m", tokenizer(), 1024)
    return answers_in(evaluate_responses(path, Exam.of(model, asked(), 8), model))


def own_answers(name: str) -> Callable[[Path], Path]:
    def make(home: Path) -> Path:
        rows = [{"id": row.id, "prediction": "Ada"} for row in asked()]
        if name.endswith("jsonl"):
            return file_of(name, lines(rows))(home)
        (pyarrow.csv.write_csv if name.endswith("csv") else pq.write_table)(pa.Table.from_pylist(rows), home / name)
        return home / name

    return make


def read_own_answers(path: Path) -> Any:
    return answers_in(judge_given(path, asked()))


def answers_in(found: Evaluation) -> Any:
    assert json.dumps(found.row()) + str(found.notes())
    assert all(0 <= score <= 1 for one in found.predictions for score in one.scores.values())
    return [(one.example_id, one.text) for one in found.predictions]


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


def make_parts(home: Path) -> Path:
    build_parts(Builder(RECIPE, tokenizer()), home / "data", 0, 1)
    return home / ".data.parts"


RECIPE = hm.Recipe(task="mdqa", setting="low-low", length=64, rows=2)


def go_on_building(path: Path) -> Any:
    found = build_folder(RECIPE, tokenizer(), path.with_name("data"))
    rows = list(found.rows)
    shutil.rmtree(found.path)
    return rows


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


# ---- configs


def config(kind: type[Frozen], **values: Any) -> Artifact:
    return Artifact(
        file_of("config.yaml", yaml.safe_dump(values)), lambda path: load_config(path, kind).model_dump_json()
    )


def read_study(path: Path) -> Any:
    return plan_study(load_config(path, StudyConfig)).cells


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
    "passages, text": Artifact(file_of("passages.txt", PASSAGES), read_passages),
    "passages, jsonl": Artifact(file_of("passages.jsonl", lines([{"title": "A", "text": PASSAGES}])), read_passages),
    "a writer's cache": Artifact(make_cache, read_cache),
    "exported answers": Artifact(make_exported, take_in),
    "a writer's reply": Artifact(file_of("reply.json", json.dumps(REPLY)), read_reply),
    "responses of a server": Artifact(file_of("responses.jsonl", responses()), read_responses),
    "answers of one's own, jsonl": Artifact(own_answers("own.jsonl"), read_own_answers),
    "answers of one's own, csv": Artifact(own_answers("own.csv"), read_own_answers),
    "answers of one's own, parquet": Artifact(own_answers("own.parquet"), read_own_answers),
    "an evaluation": Artifact(make_evaluation, read_evaluation),
    "results": Artifact(file_of("results.json", json.dumps(few_results())), read_tables),
    "kept rows": Artifact(make_kept, keep, digested=True),
    "a build that was stopped": Artifact(make_parts, go_on_building, digested=True),
    "a store": Artifact(make_store, read_store, digested=True),
    "config of a dataset": config(hm.Recipe, task="mdqa", setting="low-high", length=256, rows=3, seed=1),
    "config of a training": config(hm.TrainConfig, steps=3, batch=2, rate=0.001, rank=4, save_every=2),
    "config of an extension": config(hm.Extend, length=256, theta=1e5),
    "config of a writer": config(WriterConfig, model="m", base_url="http://localhost:1/v1", words=50),
    "a study": Artifact(file_of("study.yaml", yaml.safe_dump(STUDY)), read_study),
}

REPORT = Artifact(file_of("results.json", json.dumps(few_results())), drawn)  # 70 ms an example, not in the suite


@pytest.mark.parametrize("name", ARTIFACTS)
def test_what_is_damaged_is_refused_or_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(said, "quiet", True)
    check(ARTIFACTS[name], tmp_path)
