"""Gold against foil: by hand on logits that are given, and against forwards of its own on a tiny model."""

from collections.abc import Iterator
from dataclasses import replace
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import haymaker as hm
from haymaker.errors import ConfigError, DataError, LengthError
from haymaker.evaluation.choosing import foils_of, log_probabilities
from haymaker.evaluation.predictions import Evaluation, evaluate
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded, Example, Message, Segment
from haymaker.tokens import encode_many


def rows_of(*answers: str, text: str = "Kalo lives in Tami") -> list[Example]:
    messages = (Message("user", (Segment(f"{text}\nWhere?"),)),)
    return [Example(f"e{i}", "mdqa", messages, "Where?", (answer,)) for i, answer in enumerate(answers)]


def test_log_probabilities_by_hand(lm: LanguageModel) -> None:
    """Prompt of 2 tokens, answer of 2 and 1 that closes it: token 1 at odds of 3 to 1 over token 0, then 1 to 1."""

    class Model:
        def parameters(self) -> Iterator[Tensor]:
            yield torch.zeros(1)

        def __call__(self, input_ids: Tensor, use_cache: bool, logits_to_keep: int) -> Any:
            logits = torch.tensor([[9.0, 0.0], [0.0, log(3)], [0.0, 0.0], [0.0, 5.0], [0.0, 0.0]])
            return SimpleNamespace(logits=logits[None, -logits_to_keep:])

    scripted = replace(lm, model=Model())
    found = log_probabilities(scripted, Encoded("e", (0, 0, 1, 0, 1), 2, closing=1))
    assert found.tolist() == pytest.approx([log(3 / 4), log(1 / 2)])  # the third, which closes, does not count


def test_the_choice_is_that_of_forwards_of_its_own(lm: LanguageModel) -> None:
    rows = rows_of("Tami", "Kalo lives", "prize")
    found = evaluate(lm, rows, metrics="gold_over_foil")
    for row, one in zip(rows, found.predictions, strict=True):
        means = []
        for text in (row.target, one.foil):
            item = encode_many([replace(row, answers=(text,))], lm.tokenizer)[0]
            logits = lm.model(input_ids=torch.tensor([item.input_ids])).logits[0].log_softmax(-1)
            places = range(item.prompt_length, len(item.input_ids) - item.closing)
            means.append(sum(float(logits[place - 1, item.input_ids[place]]) for place in places) / len(places))
        assert one.margin == pytest.approx(means[0] - means[1], abs=1e-5)
        assert one.text == (row.target if means[0] > means[1] else one.foil)
        assert one.scores == {"gold_over_foil": float(means[0] > means[1])}
        assert (one.finish_reason, one.generated_tokens) == ("choice", 0)
    row = found.row()
    assert row["score"] == sum(one.margin > 0 for one in found.predictions) / 3  # type: ignore[operator]
    assert row["margin"] == pytest.approx(sum(one.margin for one in found.predictions) / 3)  # type: ignore[misc]
    assert row["margin_low"] <= row["margin"] <= row["margin_high"]


def test_a_foil_is_wrong_and_a_competitor_where_there_is_one() -> None:
    rows = rows_of("Tami", "the Tami", "Kalo", "mill", "Tami city")
    foils = foils_of(rows)
    assert foils[0] == "Kalo"  # of Kalo and mill the one that stands in the text; what holds Tami may be right
    assert "Tami" in foils[2]
    assert foils_of(rows) == foils
    with pytest.raises(DataError, match="e0: no other row has an answer that is wrong here"):
        foils_of(rows_of("Tami", "tami."))


def test_what_is_no_choice_is_refused(lm: LanguageModel, tmp_path: Path) -> None:
    rows = rows_of("Tami", "Kalo")
    with pytest.raises(ConfigError, match="ask for it alone"):
        evaluate(lm, rows, metrics=["squad_f1", "gold_over_foil"])
    for place in (hm.ablate, lambda *some, **how: hm.patch(lm, *some, **how)):
        with pytest.raises(ConfigError, match="judges no answers"):
            place(lm, rows, [(0, 1)], metrics="gold_over_foil")
    choice, written = evaluate(lm, rows, metrics="gold_over_foil"), evaluate(lm, rows, 4)
    choice.save(tmp_path / "choice.jsonl")
    assert Evaluation.load(tmp_path / "choice.jsonl").judged_by(["gold_over_foil"]).row() == choice.row()
    for found, metric in ((choice, "squad_f1"), (written, "gold_over_foil")):
        with pytest.raises(DataError, match="judges choices and nothing else does"):
            found.judged_by([metric])
    lm.base.config.max_position_embeddings = 4
    with pytest.raises(LengthError, match="longer than the model's context of 4 tokens"):
        evaluate(lm, rows, metrics="gold_over_foil")
    assert evaluate(lm, rows, metrics="gold_over_foil", beyond_context=True).row()["n"] == 2
