"""Evaluation: what is answered is what is judged, and kept."""

import json
from pathlib import Path

import pytest

from haymaker.choices import METRICS
from haymaker.errors import DataError, LengthError
from haymaker.evaluation.exam import judge
from haymaker.evaluation.predictions import Evaluation, evaluate
from haymaker.models.generation import Generation, generate
from haymaker.models.load import LanguageModel
from haymaker.records import Example, Message, Segment
from haymaker.tokens import encode_many


def examples(count: int = 4) -> list[Example]:
    texts = [f"[1] Kalo lives in Tami{'.' * i}\nQuestion: Where?\nAnswer:" for i in range(count)]
    return [
        Example(f"e{i}", "mdqa", (Message("user", (Segment(text),)),), "Where?", ("Tami", "Kalo"))
        for i, text in enumerate(texts)
    ]


def judged(*texts: str) -> Evaluation:
    rows = zip(examples(len(texts)), texts, strict=True)
    return Evaluation(tuple(judge(example, 9, Generation(example.id, (5,), text, "stop")) for example, text in rows))


def test_every_answer_is_scored_under_every_metric(lm: LanguageModel) -> None:
    found = evaluate(lm, iter(examples()), 6, ("squad_f1", "best_subspan_em"))
    written = generate(lm, encode_many(examples(), lm.tokenizer), 6)
    assert [prediction.text for prediction in found.predictions] == [answer.text for answer in written]
    for prediction, answer in zip(found.predictions, written, strict=True):
        expected = {name: METRICS[name](answer.text, ["Tami", "Kalo"]) for name in ("squad_f1", "best_subspan_em")}
        assert prediction.scores == expected
        assert (prediction.generated_tokens, prediction.finish_reason) == (len(answer.ids), answer.finish_reason)


def test_the_budget_of_a_batch_changes_nothing_but_the_batches(lm: LanguageModel) -> None:
    counts: list[int] = []
    whole = evaluate(lm, examples(), 4)
    assert evaluate(lm, examples(), 4, tokens_at_once=1, on_progress=counts.append) == whole
    assert counts == [1, 1, 1, 1]


def test_a_prompt_beyond_the_context_is_refused_unless_asked_for(lm: LanguageModel) -> None:
    lm.base.config.max_position_embeddings = 8
    with pytest.raises(LengthError, match="4 of 4 prompts leave no room"):
        evaluate(lm, examples(), 2)
    assert len(evaluate(lm, examples(), 2, beyond_context=True).predictions) == 4


@pytest.mark.parametrize("metric", ["squad_f1", "ruler_all"])
def test_scoring_again_asks_a_metric_a_few_times_for_each_answer(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    score = METRICS[metric]
    monkeypatch.setitem(METRICS._loaded, METRICS.entry(metric), lambda *said: asked.append(said[0]) or score(*said))
    for texts in (["Tami"] * 10, ["no"] * 20):
        given = judged(*texts)
        asked.clear()
        again = given.judged_by([metric])
        assert again.row()["n"] == len(texts)
        assert again.notes() == []
        assert len(asked) <= 10 * len(texts)


def test_means_and_changes_by_hand() -> None:
    plain, changed = judged("Tami", "no", "Kalo", "no"), judged("Tami", "no", "no", "no")
    assert (plain.f1, plain.em, changed.f1) == (0.5, 0.5, 0.25)
    change = changed.change_from(plain)
    assert (change["score_original"], change["delta"]) == (0.5, -0.25)
    assert change["delta_low"] < -0.25 < change["delta_high"]  # no question got better, but of four one may have
    assert plain.change_from(plain) == {"score_original": 0.5, "delta": 0.0, "delta_low": 0.0, "delta_high": 0.0}
    assert plain.row()["n"] == 4


def test_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    found = judged("Tami", "nö")
    found.save(tmp_path / "deep" / "predictions.jsonl")
    assert Evaluation.load(tmp_path / "deep" / "predictions.jsonl") == found
    with (tmp_path / "broken.jsonl").open("w") as file:
        file.write(json.dumps({"text": "Tami", "answers": []}) + "\n")
    with pytest.raises(DataError, match=r"broken.jsonl, line 1: not a prediction \(here: no 'example_id', 'scores',"):
        Evaluation.load(tmp_path / "broken.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        Evaluation.load(tmp_path / "none.jsonl")
