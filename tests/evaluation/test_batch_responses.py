"""Questions to a server and its answers: OpenAI's batch format, out and in again, against a stand-in for the server."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import fails, passes, run
from real_rows import write_jsonl
from tiny_tokenizers import TEMPLATE
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import DataError
from haymaker.evaluation.batch_requests import ServedModel, requests_of
from haymaker.evaluation.batch_responses import evaluate_responses
from haymaker.evaluation.exam import Exam
from haymaker.evaluation.predictions import evaluate
from haymaker.models.load import LanguageModel
from haymaker.records import Example, Message, Segment

ANSWERS = ("Tami", "Kalo", "a mill", "prize", "home")


@pytest.fixture(scope="module")
def rows() -> list[Example]:
    texts = [f"Row {i}: Kalo lives in Tami.\nWhere?" for i in range(len(ANSWERS))]
    return [
        Example(f"e{i}", "mdqa", (Message("user", (Segment(text),)),), "Where?", (answer,))
        for i, (text, answer) in enumerate(zip(texts, ANSWERS, strict=True))
    ]


def served(tokenizer: PreTrainedTokenizerBase, name: str = "m") -> ServedModel:
    return ServedModel(name, tokenizer, 1024)


def saved(folder: Path, lines: list[Any], name: str = "out.jsonl") -> Path:
    return Path(write_jsonl(folder / name, lines))


def exam(model: ServedModel, rows: list[Example], **options: Any) -> Exam:
    return Exam.of(model, rows, 8, **options)


def response(name: str, text: str | None, reason: str = "stop", model: str = "m", **usage: int) -> dict[str, Any]:
    """A line as `vllm run-batch` writes it (its BatchRequestOutput)."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
    given = {"status_code": 200, "request_id": "vllm-batch-1", "body": body}
    return {"id": "vllm-1", "custom_id": name, "response": given, "error": None}


def failure(name: str) -> dict[str, Any]:
    given = {"status_code": 400, "request_id": "vllm-batch-1", "body": None}
    return {"id": "vllm-1", "custom_id": name, "response": given, "error": {"message": "too long", "code": 400}}


def test_a_request_says_all_that_decides_the_answer(tokenizer: PreTrainedTokenizerBase, rows: list[Example]) -> None:
    model = served(tokenizer)
    first, *_ = lines = list(requests_of(exam(model, rows), model))
    assert [line["custom_id"] for line in lines] == [row.id for row in rows]
    body = {"model": "m", "prompt": rows[0].text, "max_tokens": 8, "temperature": 0, "stop": ["\n"]}
    assert first == {"custom_id": "e0", "method": "POST", "url": "/v1/completions", "body": body}
    assert "stop" not in next(requests_of(exam(model, rows, stop=None), model))["body"]
    with pytest.raises(DataError, match="e0: 1 ids stand twice"):
        list(requests_of(exam(model, [*rows, rows[0]]), model))


def test_rows_of_a_chat_model_are_messages(wide_template: LanguageModel, rows: list[Example]) -> None:
    model = served(wide_template.tokenizer)
    line = next(requests_of(exam(model, rows), model))
    assert (line["url"], line["body"]["messages"]) == (
        "/v1/chat/completions",
        [{"role": "user", "content": rows[0].text}],
    )
    plain = [replace(row, source={"chat_template": False}) for row in rows]  # built without one
    assert next(requests_of(exam(model, plain), model))["url"] == "/v1/completions"


@pytest.fixture
def wide_template(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> LanguageModel:
    monkeypatch.setattr(lm.tokenizer, "chat_template", TEMPLATE)
    return lm


def test_a_server_that_answers_as_the_model_does_is_judged_as_it_is(
    lm: LanguageModel, rows: list[Example], tmp_path: Path
) -> None:
    """The stand-in is the model itself, whose text comes back as a completion."""
    here, model = evaluate(lm, rows, 8), served(lm.tokenizer)
    requests = requests_of(exam(model, rows), model)
    lines = []
    for request, one in zip(requests, here.predictions, strict=True):
        choice = {"text": one.text, "finish_reason": one.finish_reason}
        body = {"model": request["body"]["model"], "choices": [choice]}
        body["usage"] = {"completion_tokens": one.generated_tokens}
        lines.append({"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None})
    found = evaluate_responses(saved(tmp_path, lines[::-1]), exam(model, rows), model)
    assert [(one.example_id, one.text, one.scores, one.finish_reason) for one in found.predictions] == [
        (one.example_id, one.text, one.scores, one.finish_reason) for one in here.predictions
    ]
    assert found.whole


def test_rows_without_an_answer_are_counted_and_told(
    tokenizer: PreTrainedTokenizerBase, rows: list[Example], tmp_path: Path
) -> None:
    lines = [
        response("e0", "<think>Hm.</think>\nTami\nAnd more", completion_tokens=7),
        response("e0", "another"),  # twice: the first counts
        response("e1", "Kal", reason="length"),
        failure("e2"),
        response("e2", "mill"),  # asked again, and answered
        failure("e3"),
        response("e9", "?"),
    ]
    model = served(tokenizer)
    found = evaluate_responses(saved(tmp_path, lines), exam(model, rows), model)
    assert [one.text for one in found.predictions] == ["Tami", "Kal", "mill"]
    assert found.predictions[0].generated_tokens == 7
    row = found.row()
    assert (row["n"], row["score"], row["cut_off"]) == (3, 2 / 3, 1)  # 1, 0 and 1: the article of "a mill" is dropped
    assert (row["missing"], row["failed"], row["doubled"]) == (1, 1, 1)
    said = " ".join(found.notes())
    for part in ("1 of 5 rows have no response", "e4", "1 of 5 requests failed (such as: too long)", "e3",
                 "1 of 5 rows were answered more than once", "1 responses are to no row of this dataset: e9",
                 "1 of 3 answers reached the limit"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"finish_reason": "max_tokens"}, "cut"),
        ({"finish_reason": "eos_token"}, "answered"),
        ({"finish_reason": None}, "answered"),
        ({"finish_reason": "abort"}, "did not end by itself (finish_reason abort)"),
        ({"finish_reason": "tool_calls"}, "did not end by itself (finish_reason tool_calls)"),
        ({"finish_reason": "content_filter"}, "did not end by itself (finish_reason content_filter)"),
        ({"finish_reason": ["stop"]}, "did not end by itself"),
        ({"error": {"message": "upstream is away"}}, "upstream is away"),
    ],
)
def test_only_an_answer_that_ended_by_itself_or_at_its_limit_is_one(
    change: dict[str, Any], told: str, tokenizer: PreTrainedTokenizerBase, rows: list[Example], tmp_path: Path
) -> None:
    line, model = response("e0", "Tami", completion_tokens=-3), served(tokenizer)
    line["response"]["body"]["choices"][0].update(change)
    lines = [line, response("e1", "Kalo")]
    found = evaluate_responses(saved(tmp_path, lines), exam(model, rows), model)
    row = found.row()
    if told in ("cut", "answered"):
        assert (row["failed"], row["cut_off"], row["n"]) == (0, told == "cut", 2)
        assert found.predictions[0].generated_tokens > 0
    else:
        assert (row["failed"], row["cut_off"], row["n"]) == (1, 0, 1)
        assert told in " ".join(found.notes())


def test_answers_are_found_by_the_rows_own_ids(
    tokenizer: PreTrainedTokenizerBase, rows: list[Example], tmp_path: Path
) -> None:
    own = [
        replace(row, source={"row_id": name}) for row, name in zip(rows, ("T-0", "T-1", "T-1", "T-3", ""), strict=True)
    ]
    model = served(tokenizer)
    lines = [response(name, "Tami") for name in ("T-0", "T-1", "e0", "e4")]
    found = evaluate_responses(saved(tmp_path, lines), exam(model, own), model)
    assert [one.example_id for one in found.predictions] == ["e0", "e4"]
    assert (found.doubled, found.strangers, found.shared) == (("T-0",), ("T-1",), ("T-1",))
    assert found.missing == ("e1", "e2", "T-3")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([response("e0", "Tami", model="m@000")], "expected answers of 'm', found answers of 'm@000'"),
        ([response("other", "Tami")], r"no response answers a row of this dataset \(1 are to other rows\)"),
        ([failure("e0")], r"no response answers a row of this dataset \(too long\)"),
        ([response("e0", None)], "no text in the response"),
        ([{"custom_id": "e0", "response": {"body": {"choices": 3}}}], "'choices' should be list, found int"),
        ([{"custom_id": 3}], "'custom_id' should be str"),
        ([{"custom_id": "e0", "response": {"body": {"choices": [[]]}}}], "expected an object, found list"),
    ],
)
def test_files_that_are_no_answers(
    lines: list[Any], message: str, tokenizer: PreTrainedTokenizerBase, rows: list[Example], tmp_path: Path
) -> None:
    model = served(tokenizer)
    with pytest.raises(DataError, match=message):
        evaluate_responses(saved(tmp_path, lines), exam(model, rows), model)


def test_the_command_asks_and_reads(
    new_model: Callable[..., Any], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model = new_model()
    model.config.max_position_embeddings = 512
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    own = [
        {"question": "Where?", "answers": ["Tami"], "documents": [{"text": "Kalo" + i * " in Tami", "gold": True}]}
        for i in range(3)
    ]
    data = write_jsonl(tmp_path / "rows.jsonl", own)
    given = ("eval", "--model", tmp_path / "model", "--data", data, "--new-tokens", 8)
    said = json.loads(passes(*given, "--export-requests", tmp_path / "ask.jsonl", "--json"))
    assert (said["requests"], said["model"]) == (3, "model")
    asked = [json.loads(line) for line in (tmp_path / "ask.jsonl").read_text().splitlines()]
    lines = [response(one["custom_id"], "Tami", model=one["body"]["model"]) for one in asked]
    answers = write_jsonl(tmp_path / "out.jsonl", lines)
    told = json.loads(passes(*given, "--responses", answers, "--out", tmp_path / "whole", "--by", "hops", "--json"))
    assert (told["n"], told["score"], told["served"]) == (3, 1.0, "model")
    assert {group["group"]: group["n"] for group in told["breakdown"]} == {"0": 1, "1": 2}  # one without evidence
    assert hm.load_results(tmp_path / "whole")["predictions"].text.tolist() == ["Tami"] * 3
    assert json.loads(passes(*given, "--out", tmp_path / "here", "--json"))["n"] == 3
    part = write_jsonl(tmp_path / "part.jsonl", lines[:2])
    result = run(*given, "--responses", part, "--out", tmp_path / "part", "--json")
    assert (result.exit_code, json.loads(result.stdout)["missing"]) == (3, 1)
    assert "1 of 3 rows have no response" in result.stderr
    fails(2, "--served-as", *given, "--out", tmp_path / "x", "--served-as", "y")
    fails(2, "leave --out", *given, "--out", tmp_path / "x", "--export-requests", tmp_path / "ask2.jsonl")
    fails(2, "expected the folder to write", *given)
    fails(2, "by: expected depth", *given, "--out", tmp_path / "x", "--by", "colour")


def test_an_adapter_is_named_by_its_digest(
    new_model: Callable[..., Any], tokenizer: PreTrainedTokenizerBase, rows: list[Example], tmp_path: Path
) -> None:
    model = new_model()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    names = []
    for seed in (0, 1):
        config = hm.TrainConfig(steps=1, batch=1, rate=0.05, rank=2, alpha=4.0, seed=seed)
        lm = hm.load_model(tmp_path / "model")
        hm.train(lm, rows[:1], config, tmp_path / f"a{seed}", on_progress=lambda steps: None)
        names.append(ServedModel.of(str(tmp_path / "model"), tmp_path / f"a{seed}").name)
    assert len({*names, "model"}) == 3
    assert all(name.startswith("model@") and len(name) == len("model@") + 12 for name in names)
