"""Every task x setting x source: spans, budget, answers, twins; and templates and symbols that can be solved."""

import json
from functools import cache
from typing import Any

import pytest
from real_rows import mdqa_row, musique_row, own_row, topic, write_jsonl
from task_solvers import context_of, judged, solver_of
from transformers import AutoTokenizer, PreTrainedTokenizerBase

import haymaker as hm
from haymaker.choices import SETTINGS, TASKS, axes_of
from haymaker.models.packaged import MINIATURES
from haymaker.realism.placeholders import meaning

KV_SETTINGS = ("real", "symbolic")
TABLE: list[tuple[str, str, str]] = [
    (task, setting, source)
    for task in TASKS
    for setting in (KV_SETTINGS if task == "kv" else SETTINGS)
    for source in ("world", "file")
]
SOLVABLE = [row for row in TABLE if axes_of(row[1]).concept in ("low", "symbolic") or row[0] == "kv"]
LENGTHS = {"world": 700, "file": 1_800}  # tokens
RELATIONS = {
    "mdqa": ("winner",),
    "qa": ("winner",),
    "musique": ("capital", "founder", "spouse", "author"),
}  # of the files made below


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "topic.json").write_text(json.dumps(topic()))
    passages = [{"title": f"T{i}", "text": mdqa_row(i)["ctxs"][1]["text"]} for i in range(40)]
    records = [[f"key-{i}", f"value-{i}"] for i in range(30)]
    objects = [{"ordered_kv_records": records, "key": f"key-{n}", "value": f"value-{n}"} for n in range(6)]
    return {
        "mdqa": write_jsonl(folder / "mdqa.jsonl.gz", [mdqa_row(n) for n in range(12)]),
        "musique": write_jsonl(folder / "musique.jsonl", [musique_row(n, 2 + n % 3) for n in range(12)]),
        "summhay": str(folder / "topic.json"),
        "niah": write_jsonl(folder / "pool.jsonl", passages),
        "kv": write_jsonl(folder / "kv.jsonl", objects),
        "qa": write_jsonl(folder / "qa.jsonl", [own_row(n) for n in range(12)]),
    }


@cache
def world_tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MINIATURES / "llama")


def built(task: str, setting: str, source: str, files: dict[str, str], **changes: Any) -> hm.Dataset:
    """Two rows; those of a recipe are built once for all tests."""
    place = files[task] if source == "file" else None
    relations = RELATIONS.get(task) if source == "file" and setting == "real-limited" else None
    values: dict[str, Any] = {"task": task, "setting": setting, "length": LENGTHS[source], "rows": 2, "source": place}
    values |= {"relations": relations, "padding_competitors": 2, **changes}
    return dataset_of(hm.Recipe(**values).model_dump_json())


@cache
def dataset_of(recipe: str) -> hm.Dataset:
    return hm.build(hm.Recipe(**json.loads(recipe)), world_tokenizer())


@pytest.mark.parametrize(("task", "setting", "source"), TABLE)
def test_rows_keep_their_spans_their_budget_and_their_answers(
    task: str, setting: str, source: str, files: dict[str, str]
) -> None:
    tokenizer = world_tokenizer()
    for example in built(task, setting, source, files):
        encoded = hm.encode(example, tokenizer)
        assert len(encoded) <= LENGTHS[source]
        assert set(judged(example.target, example).values()) == {1.0}
        assert (example.concept, example.context) == (
            axes_of(setting)[:2] if task != "kv" else ("symbolic", "symbolic")
        )
        both = zip(sorted(example.labelled_spans), sorted(encoded.labelled_spans), strict=True)
        for (label, characters), (same, tokens) in both:
            assert label == same
            assert example.text[characters.slice].strip() in tokenizer.decode(list(encoded.input_ids[tokens.slice]))


@pytest.mark.parametrize("source", LENGTHS)
@pytest.mark.parametrize("task", list(TASKS))
def test_rows_of_one_pair_are_twins(task: str, source: str, files: dict[str, str]) -> None:
    settings = KV_SETTINGS if task == "kv" else SETTINGS
    pairs = {setting: [row.pair_id for row in built(task, setting, source, files)] for setting in settings}
    shared = [setting for setting in settings if setting != "real-limited"]  # it may leave rows out
    assert all(pairs[setting] == pairs["real"] for setting in shared)
    assert len(set(pairs["real"])) == 2


@pytest.mark.parametrize(("task", "setting", "source"), SOLVABLE)
def test_the_text_alone_gives_the_answer_and_not_without_its_evidence(
    task: str, setting: str, source: str, files: dict[str, str]
) -> None:
    solve = solver_of(task, axes_of(setting).concept)
    for example in built(task, setting, source, files):
        assert solve(context_of(example), example.question) == example.target
        for number in range(len(example.spans["evidence"])):
            assert solve(context_of(example, without=number), example.question) != example.target


@pytest.mark.parametrize("task", ["mdqa", "musique"])
@pytest.mark.parametrize("setting", ["low-low", "low-high", "symbolic"])
def test_symbols_lead_back_to_the_real_row(task: str, setting: str, files: dict[str, str]) -> None:
    real = {row.pair_id: row for row in built(task, "real", "file", files)}
    for twin in built(task, setting, "file", files):
        symbols = twin.provenance if setting == "symbolic" else ()
        assert bool(symbols) == any(record["kind"] == "symbol_map" for record in twin.provenance)
        assert meaning(twin.provenance, twin.target) == real[twin.pair_id].target
        subject = twin.question.rstrip("?").split(" of ")[-1]
        first_step = real[twin.pair_id].source.get("decomposition", [[real[twin.pair_id].question]])[0][0]
        assert meaning(twin.provenance, subject) == first_step
        assert meaning(twin.provenance, "nothing of the row") == "nothing of the row"


def test_an_insights_number_leads_back_to_it(files: dict[str, str]) -> None:
    real = {row.pair_id: row.question for row in built("summhay", "real", "file", files)}
    for twin in built("summhay", "symbolic", "file", files):
        assert meaning(twin.provenance, twin.question) == real[twin.pair_id]


@pytest.mark.parametrize("setting", ["low-high", "low-low", "high-low", "symbolic"])
@pytest.mark.parametrize("task", ["mdqa", "musique", "summhay"])
def test_twins_of_files_stand_among_rivals_of_their_kind(task: str, setting: str, files: dict[str, str]) -> None:
    changes = {"competitors": 3, "padding_competitors": 3}
    for example in built(task, setting, "file", files, **changes):
        documents = [example.text[span.slice] for span in example.spans["document"]]
        fillers = [span for span in example.spans.get("filler", [])]
        bare = [
            span for span in example.spans["document"]
            if not any(span.start <= filler.start < span.stop for filler in fillers)
        ]  # fmt: skip
        if task != "summhay":
            assert len(bare) == len(example.spans["evidence"]) + 3, documents
        elif setting == "symbolic":
            numbers = [set(text.split("{")[1].rstrip("}\n").split(", ")) for text in documents]
            often = [n for n in set().union(*numbers) if sum(n in held for held in numbers) > 1]
            assert example.question in often
            assert len(often) > 1, "the only number that comes twice would be the answer"
