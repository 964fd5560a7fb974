"""Every task in every place that judges: by its own metrics, from a perfect reader, scored again from files."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from command_line import passes
from tiny_tokenizers import SPECIAL, backend
from tokenizers import Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

import haymaker as hm
from haymaker import console
from haymaker.choices import METRICS, TASKS
from haymaker.errors import ConfigError, DataError, LengthError
from haymaker.evaluation.exam import Exam
from haymaker.evaluation.predictions import Evaluation, evaluate
from haymaker.heads.detection import detect_all
from haymaker.heads.scores import HeadScores
from haymaker.interventions.ablation import ablate, ablate_sets, ablation_curve
from haymaker.interventions.parts import patching_parts
from haymaker.interventions.patching import patch, patch_sets, patching_table
from haymaker.metrics.best_score import asks_for_all, golds_for
from haymaker.models.budget import budget_of
from haymaker.models.generation import Decoder
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded
from haymaker.tasks import golds_of, metrics_of, metrics_of_row

LENGTH = 320
BUILT = [name for name in TASKS.own]
MILL = "A mill is old. Ada founded it. Ines saw it."
ASKED = {"question": "Who?", "answers": ["Ada"]}
READ: dict[str, tuple[dict[str, Any], str]] = {  # rows of benchmarks, and the metric that is theirs
    "ruler": ({"input": MILL, "outputs": ["Ada", "Ines"], "answer_prefix": " They are"}, "ruler_all"),
    "ruler-qa": ({"input": f"Answer the question based on the given documents. {MILL}", "outputs": ["Ada", "A. R."]},
                 "ruler_part"),
    "mrcr": ({"prompt": [{"role": "user", "content": "Say it."}], "answer": "x7Ada", "random_string_to_prepend": "x7"},
             "mrcr"),
    "longbench": ({"input": "Who?", "context": MILL, "answers": ["Ada"], "dataset": "qasper"}, "longbench_f1"),
    "longbench-v2": ({"question": "Who?", "context": MILL, "answer": "B", "choice_A": "Ines", "choice_B": "Ada",
                      "choice_C": "I", "choice_D": "He"}, "longbench_choice"),
    "babilong": ({"input": MILL, "question": "Who?", "target": "Ada"}, "ruler_part"),
    "nolima": ({"needle": "{CHAR} has a {1}.", "questions": {"onehop": "Who has it?"}, "character_set": ["Ada"],
                "tests": {"T1": {"input_args": ["mill"]}}}, "ruler_part"),
    "helmet": ({**ASKED, "ctxs": [{"text": MILL, "has_answer": True}]}, "best_subspan_em_uncut"),
    "musique-file": ({**ASKED, "answer": "Ada", "paragraphs": [{"paragraph_text": MILL, "is_supporting": True}]},
                     "musique_f1"),
}  # fmt: skip
EVERY = {task: metrics_of(task)[0] for task in BUILT} | {name: metric for name, (_, metric) in READ.items()}


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> dict[str, Any]:
    built = {task: hm.build(hm.Recipe(task=task, length=LENGTH, rows=2, split="test"), tokenizer) for task in BUILT}
    return built | {name: hm.read_examples([row]) for name, (row, _) in READ.items()}


@pytest.fixture
def wide(new_model: Callable[..., Any], tokenizer: Any) -> LanguageModel:
    model = new_model().requires_grad_(False)
    model.config.max_position_embeddings = LENGTH
    return LanguageModel(model, tokenizer, "tiny")


def perfect(lm: LanguageModel, data: Any, monkeypatch: pytest.MonkeyPatch, before: str = "") -> None:
    """Every decoder writes, behind `before`, what the row that it was given teaches, and the end token."""
    ids = {hm.encode(one, lm.tokenizer).prompt_ids: one.target for one in data}
    end = lm.tokenizer.eos_token_id

    def forward(decoder: Decoder, given: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
        if decoder.steps == 0:
            prompts = [tuple(row[-n:].tolist()) for row, n in zip(decoder.ids, decoder.lengths, strict=True)]
            texts = [f"{before} {ids[prompt]}" for prompt in prompts]
            decoder.scripts = [lm.tokenizer(text, add_special_tokens=False)["input_ids"] + [end] for text in texts]
        logits = torch.zeros(len(given), len(lm.tokenizer))
        for row, script in enumerate(decoder.scripts):
            logits[row, script[min(decoder.steps, len(script) - 1)]] = 1.0
        return logits

    monkeypatch.setattr("haymaker.models.generation.prove_decoding", lambda *_, **__: None)
    monkeypatch.setattr(Decoder, "forward", forward)


TAUGHT = {  # by several golds: the first of them, or all where the metric asks for all
    "ruler": ({}, "Ada Ines"),
    "ruler, names with blanks": ({"outputs": ["Ada founded", "Ines saw", "A"]}, "Ada founded, Ines saw, A"),
    "ruler, one": ({"outputs": ["Ada"]}, "Ada"),
    "ruler-qa": ({}, "Ada"),
    "longbench": ({"answers": ["Ada", "Ines"]}, "Ada"),
    "helmet": ({"answers": ["Ada", "Ines"]}, "Ada"),
    "musique-file": ({"answer_aliases": ["A. R."]}, "Ada"),
    "mrcr": ({}, "x7Ada"),
}


@pytest.mark.parametrize("name", TAUGHT)
def test_all_golds_are_taught_where_the_metric_asks_for_all(name: str, tokenizer: Any, tmp_path: Path) -> None:
    more, target = TAUGHT[name]
    (one,) = hm.read_examples([READ[name.partition(",")[0]][0] | more])
    item = hm.encode(one, tokenizer)
    assert one.target == target
    assert tokenizer.decode(item.answer_ids, skip_special_tokens=True).strip() == target
    assert METRICS[metrics_of_row(one)[0]](target, golds_of(one)) == 1
    assert ("target" in one.source) == (target != one.answers[0])  # of a row with one gold nothing is said
    plain = hm.encode(replace(one, source={key: one.source[key] for key in one.source if key != "target"}), tokenizer)
    assert (plain.prompt_ids, plain.labelled_spans) == (item.prompt_ids, item.labelled_spans)


def test_of_all_metrics_one_asks_for_all_golds() -> None:
    assert [name for name in METRICS.own if asks_for_all(name)] == ["ruler_all"]


BEFORE = ["", "\n\n", "Sure!\n", "<think>One.\nTwo.</think>\n"]


@pytest.mark.parametrize(("task", "before"), [*product(BUILT, BEFORE), *product(READ, BEFORE[::3])])
def test_a_perfect_reader_scores_1_by_default(
    task: str, before: str, rows: dict[str, Any], wide: LanguageModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, metrics = rows[task], metrics_of_row(rows[task][0])
    perfect(wide, data, monkeypatch, before)
    roomy = len(wide.tokenizer(before)["input_ids"]) + 48 if before else None
    if roomy:
        wide.base.config.max_position_embeddings += roomy
    found = evaluate(wide, data, roomy)
    assert (found.metrics, found.score, found.cut_off) == (metrics, 1.0, 0)
    assert found.metrics is found.metrics  # found once, not once for every answer
    assert found.stripped == (len(data) if before.strip() else 0)
    row = found.row()
    assert (row["metric"], row["score"], row["ceiling"]) == (EVERY[task], 1.0, 1.0)
    found.save(tmp_path / "predictions.jsonl")
    for metric in metrics:  # its own file holds all that scoring again needs
        said = json.loads(passes("score", tmp_path / "predictions.jsonl", "--metric", metric, "--json"))
        assert (said["metric"], said["score"], said[metric]) == (metric, 1.0, 1.0)
    assert json.loads(passes("score", tmp_path, "--json"))["metric"] == EVERY[task]


STOPS = ("\n", ".", ",", ", ", " ", "]", "A", "x", "Ada", "<", None)
LONG = {"prompt": [{"role": "user", "content": "Say it."}], "answer": "x7Ada.\nInes.", "random_string_to_prepend": "x7"}
CITED = {"question": "Which?", "answers": ["1", "3"], "context": MILL, "metrics": ["citation_f1"]}
ENDED = READ | {
    "mrcr, several lines": (LONG, "mrcr"),
    "numbers of documents": (CITED, "citation_f1"),
    "numbers in brackets": ({**CITED, "answers": ["[1]", "[3]"]}, "citation_f1"),
    "a letter": ({**CITED, "answers": ["B"], "metrics": ["longbench_choice"]}, "longbench_choice"),
    "an article first": ({**CITED, "answers": ["A", "Ada"], "metrics": []}, "squad_f1"),
    "one of all": ({**CITED, "answers": ["Ada", "Ines"], "metrics": ["ruler_all"]}, "ruler_all"),
    "a thought": ({**CITED, "answers": ["<think>Ada"], "metrics": []}, "squad_f1"),
    "a thought, and an answer": ({**CITED, "answers": ["<think>x</think>\n\nAda"], "metrics": []}, "squad_f1"),
}


@pytest.mark.parametrize("name", ENDED)
def test_what_is_taught_scores_1_whatever_ends_an_answer_or_is_refused(
    name: str, wide: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, metric = ENDED[name]
    data = hm.read_examples([row], evidence=False)
    assert METRICS[metric](data[0].target, golds_for(metric, golds_of(data[0]))) == 1
    perfect(wide, data, monkeypatch)
    refused = set[str | None]()
    for stop in STOPS:
        try:
            found = evaluate(wide, data, stop=stop)
        except (ConfigError, DataError) as error:
            assert re.search("which would end every right answer|holds a block of thought", str(error))  # noqa: PT017
            refused.add(stop)
        else:
            assert (found.metric, found.score) == (metric, 1.0)
    if "a thought" in name:
        assert refused == {*STOPS}
    else:
        assert {stop for stop in STOPS if stop and stop in data[0].target} >= refused
        assert ("\n" in refused) == (name == "mrcr, several lines")


def test_an_answer_that_a_tokenizer_cannot_write_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    made = Tokenizer.from_str(backend("bytes").to_str())
    made.normalizer = normalizers.NFKC()
    reader = SimpleNamespace(
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=made, eos_token=SPECIAL[1]), context=512
    )
    rows = [{"question": "When?", "context": f"It was {year}.", "answers": [year]} for year in ("1958", "１９５８")]
    Exam.of(reader, hm.read_examples(rows))
    told = capsys.readouterr().err
    assert "1 of 2 rows have an answer that this tokenizer cannot write, so squad_f1 counts it wrong" in told
    assert "'１９５８', written '1958'" in told
    Exam.of(reader, hm.read_examples(rows), metrics="best_subspan_em")
    Exam.of(reader, hm.read_examples(rows[:1]))
    assert capsys.readouterr().err.count("cannot write") == 1


def places_that_judge(wide: LanguageModel, data: Any) -> dict[str, Callable[..., Any]]:
    heads = [(0, 1)]
    wide.base.generation_config.eos_token_id = list(range(len(wide.tokenizer)))  # every answer ends at once
    grid = HeadScores(np.arange(12.0).reshape(1, 3, 4), ("e",), "copy")
    return {
        "evaluate": lambda **how: evaluate(wide, data, **how),
        "ablate": lambda **how: ablate(wide, data, heads, **how),
        "ablate_sets": lambda **how: ablate_sets(wide, data, [heads], scope="last", **how)[0],
        "patch": lambda **how: patch(wide, wide, data, heads, **how),
        "two models": lambda **how: patch(wide, wide, data, heads, mode="two models", **how),
        "patch_sets": lambda **how: patch_sets(wide, wide, data, [heads], scope="last", **how)[0],
        "ablation_curve": lambda **how: ablation_curve(wide, data, grid, (1,), 1, **how)[1],
        "patching_table": lambda **how: patching_table(wide, wide, data, grid, grid, identity=True, **how)[1],
    }


@pytest.mark.parametrize("task", EVERY)
def test_every_place_judges_by_the_task_or_as_told(task: str, rows: dict[str, Any], wide: LanguageModel) -> None:
    headline = EVERY[task]
    for name, judged in places_that_judge(wide, rows[task][:2]).items():
        for how, expected in (({}, headline), ({"metrics": "ruler_all"}, "ruler_all")):
            found = judged(**how)
            row = found.row() if isinstance(found, Evaluation) else found
            assert row["metric"] == expected, name
            assert 0 <= row["score"] <= 1, name
            assert row["n"] == 1 or 0 <= row["score_low"] <= row["score"] <= row["score_high"] <= 1, name


def test_every_call_that_may_take_long_tells_how_far_it_is(
    rows: dict[str, Any], wide: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line on stderr after ten seconds, here after none; of rows encoded also where a caller is told."""
    lines: list[str] = []
    monkeypatch.setattr(console, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(console, "note", lambda said, **_: said.startswith("rows encoded") or lines.append(said))
    data = rows["mdqa"][:1]
    calls = places_that_judge(wide, data) | {
        "detect_heads": lambda **how: hm.detect_heads(wide, data, metric="mass", **how),
        "causal_map": lambda **how: hm.causal_map(wide, data, **how),
        "attribute": lambda **how: hm.attribute(wide, data, **how),
        "patching_parts": lambda **how: patching_parts(wide, wide, data, {"one": [(0, 1)]}, **how),
    }
    for name, call in calls.items():
        told: list[int] = []
        call(on_progress=told.append)
        assert (sum(told) > 0, lines) == (True, []), name
        call()
        assert lines[-1].partition(": ")[2].startswith(f"{sum(told)} of {sum(told)}"), name
        lines.clear()


def test_f1_is_that_of_the_task(rows: dict[str, Any], wide: LanguageModel) -> None:
    cited, keyed = (evaluate(wide, rows[task]) for task in ("summhay", "kv"))
    assert cited.f1 == cited.interval("citation_f1").mean
    with pytest.raises(AttributeError, match="judged by kv_accuracy"):
        _ = keyed.f1
    with pytest.raises(DataError, match="squad_f1 has not judged"):
        keyed.interval("squad_f1")
    with pytest.raises(ConfigError, match="mdqa by squad_f1.*summhay by citation_f1"):
        evaluate(wide, [*rows["mdqa"], *rows["summhay"]])
    assert evaluate(wide, [*rows["mdqa"], *rows["summhay"]], metrics="squad_f1").metric == "squad_f1"
    with pytest.raises(DataError, match="choose another metric"):
        evaluate(wide, rows["mdqa"], metrics="citation_f1")


# ---- the budget


@pytest.mark.parametrize("place", ["evaluate", "ablate", "ablate_sets", "patch", "patch_sets", "own"])
def test_a_budget_too_small_is_an_error_before_anything_runs(
    place: str, rows: dict[str, Any], wide: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(data: Any, budget: int | None) -> Any:
        return {
            "evaluate": lambda: evaluate(wide, data, budget),
            "ablate": lambda: ablate(wide, data, [(0, 1)], budget),
            "ablate_sets": lambda: ablate_sets(wide, data, [[]], budget, scope="last"),
            "patch": lambda: patch(wide, wide, data, [(0, 1)], budget),
            "patch_sets": lambda: patch_sets(wide, wide, data, [[]], budget, scope="last"),
            "own": lambda: detect_all(wide, data, ("mass",), answer="own", new_tokens=budget),
        }[place]()

    monkeypatch.setattr(Decoder, "forward", lambda *_: pytest.fail("something ran"))
    with pytest.raises(ConfigError, match=r"2 of 2 golds take more than the 8 tokens.*give new_tokens=\d\d or more"):
        asked(rows["kv"], 8)
    with pytest.raises(LengthError, match="leave less than the 200 tokens of an answer"):
        asked(rows["kv"], 200)


@pytest.mark.parametrize("order", [1, -1])
def test_every_gold_counts_where_rows_share_a_name(order: int, wide: LanguageModel) -> None:
    rows = [Encoded("mine", tuple(range(10, 30 + length)), 20) for length in (3, 12)][::order]
    with pytest.raises(ConfigError, match="golds take more than the 5 tokens"):
        budget_of(rows, wide.tokenizer, wide.context, 5)


@pytest.mark.parametrize("budget", [None, 8, 64])
def test_rows_that_fit_only_without_their_answer_are_told_as_such(
    budget: int | None, rows: dict[str, Any], wide: LanguageModel
) -> None:
    """No budget helps there, so none is asked for."""
    data = rows["kv"][:1]
    context = wide.base.config.max_position_embeddings = hm.encode(data[0], wide.tokenizer).prompt_length + 9
    for asked in (lambda: evaluate(wide, data, budget), lambda: ablate(wide, data, [(0, 1)], budget)):
        with pytest.raises(LengthError, match=rf"1 of 1 rows fit into the context of {context} tokens only without"):
            asked()
    with pytest.raises(LengthError, match=rf"context of {context} tokens: .*1 of them would fit without their answer"):
        hm.detect_heads(wide, data)


def test_a_gold_longer_than_what_a_prompt_leaves_is_not_answered_with_more_tokens(tokenizer: Any) -> None:
    """Where a prompt leaves one token or two of the context, asking for more is refused too."""
    gold = hm.example("A mill.", question="Who?", answer="Ada Reyes of the old mill by the river")
    filling = hm.example("The mill is old. " * 20, question="Who?", answer="Ada")
    items = [hm.encode(row, tokenizer) for row in (gold, filling)]
    with pytest.raises(ConfigError, match=r"1 of 2 golds .*; build the rows with answer_room=\d+, or extend the model"):
        budget_of(items, tokenizer, context=len(items[1]))


def test_the_budget_is_the_rooms_and_no_function_of_the_gold(rows: dict[str, Any], wide: LanguageModel) -> None:
    """Random answers hardly ever end: all take the whole budget, whatever their golds take."""
    for task, room in (("kv", 64), ("mdqa", 32)):
        found = evaluate(wide, rows[task], stop=None)
        assert {one.generated_tokens for one in found.predictions if one.finish_reason == "length"} <= {room}
        assert found.cut_off >= 1
    longer = [replace(one, answers=(f"{one.target} and more", *one.answers)) for one in rows["mdqa"]]
    texts = [[one.text for one in evaluate(wide, data, 24).predictions] for data in (rows["mdqa"], longer)]
    assert texts[0] == texts[1]


def test_what_scores_cannot_say_is_told(rows: dict[str, Any], wide: LanguageModel) -> None:
    articles = [replace(one, answers=("The A",)) for one in rows["mdqa"]]
    found = evaluate(wide, articles)
    assert (found.ceiling, found.limited) == (0.0, 2)
    assert "2 of 2 rows cannot reach 1 by squad_f1" in " ".join(found.notes())
    assert "2 of 2 rows have a gold of signs or articles alone, so any answer scores by best_subspan_em" in " ".join(
        found.notes()
    )
    row = rows["summhay"][0]
    judged = hm.evaluate(wide, [row]).predictions[0]
    again = Evaluation((replace(judged, text="[1 2]"),)).judged_by(["citation_f1", "citation_f1_lenient"])
    assert again.predictions[0].scores["citation_f1"] == 0.0
    assert again.row()["unread"] == 1
    with pytest.raises(ConfigError, match="has no gold without"):
        evaluate(wide, [replace(rows["mdqa"][0], answers=("two\nlines",))])
