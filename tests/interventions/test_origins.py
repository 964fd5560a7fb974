"""Artifacts of another model are refused where they cannot be right, and told where they may be meant."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.errors import DataError, ModelError
from haymaker.heads.compare import other_origins
from haymaker.heads.formats import HeadList
from haymaker.heads.scores import HeadScores
from haymaker.interventions.ablation import ablation_curve
from haymaker.interventions.origins import tell_other_origin, tell_other_tokenizer, tell_pair
from haymaker.models.handshake import weights_digest
from haymaker.models.load import LanguageModel
from haymaker.records import Head
from haymaker.vocabulary import tokenizer_digest


def of_shape(layers: int, heads: int, **provenance: Any) -> HeadScores:
    return HeadScores(np.ones((1, layers, heads)), ("row",), "copy", provenance)


@pytest.mark.parametrize("shape", [(3, 8), (4, 4), (30, 9), (1, 1), (2, 4)])
def test_scores_of_another_shape_are_refused(lm: LanguageModel, shape: tuple[int, int]) -> None:
    told = f"h: of a model with {shape[0]} layers of {shape[1]} heads, and tiny has 3 of 4"
    with pytest.raises(DataError, match=told):
        tell_other_origin(of_shape(*shape), lm, "h")
    with pytest.raises(DataError, match="tiny has 3 of 4"):
        ablation_curve(lm, [], of_shape(*shape), (1,), 1)


@pytest.mark.parametrize(
    ("provenance", "told"),
    [
        ({}, ""),
        ({"weights": "w", "tokenizer": "t", "adapter": None}, ""),
        ({"weights": "x", "tokenizer": "t", "adapter": None}, "other weights"),
        ({"weights": "w", "tokenizer": "x", "adapter": "a"}, "another tokenizer and another adapter"),
    ],
)
def test_another_origin_is_told(
    lm: LanguageModel, provenance: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    right = {"w": weights_digest(lm.model), "t": tokenizer_digest(lm.tokenizer)}
    scores = of_shape(3, 4, **{key: right.get(value, value) for key, value in provenance.items()})
    tell_other_origin(scores, lm, "h")
    said = capsys.readouterr().err
    assert (bool(said), told in said) == (bool(told), True)


def test_two_files_of_two_models_are_told_apart() -> None:
    first, same = (of_shape(3, 4, weights="w", tokenizer="t", dataset="d") for _ in range(2))
    assert other_origins(first, same) == ""
    assert other_origins(first, of_shape(3, 4, weights="x", tokenizer="t", dataset="e")) == (
        "of other weights and of other rows"
    )
    assert other_origins(first, HeadList((Head(0, 0),))) == ""


def test_other_spans_in_the_same_prompts_count_where_both_read_them() -> None:
    def marked(dataset: str, prompts: str, **reads: Any) -> HeadScores:
        return of_shape(3, 4, dataset=dataset, prompts=prompts, **reads)

    copies, effects = marked("d", "p", needle=["answer"]), marked("e", "p", unit="nats")
    assert other_origins(copies, effects) == ""
    assert other_origins(copies, marked("e", "p", needle=["answer"])) == "of the same prompts with other needles marked"
    assert other_origins(copies, marked("e", "q", unit="nats")) == "of other rows"
    assert other_origins(copies, of_shape(3, 4, dataset="e", needle=["answer"])) == "of other rows"  # an older file


def test_a_donor_of_other_weights_or_positions_is_told(lm: LanguageModel, capsys: pytest.CaptureFixture[str]) -> None:
    tell_pair(lm, lm)
    assert capsys.readouterr().err == ""
    one, same = hm.load_model("miniature-llama"), hm.load_model("miniature-llama")
    wider = hm.load_model("miniature-llama", extend=hm.Extend(length=256))
    tell_pair(one, same)
    assert capsys.readouterr().err == ""
    tell_pair(one, wider)
    assert "has another extension of the context than the recipient" in capsys.readouterr().err
    weight = next(same.model.parameters())
    weight.data += 1
    tell_pair(same, one)
    assert "has other weights than the recipient" in capsys.readouterr().err


def test_effects_of_heads_say_of_which_model_they_are(lm: LanguageModel) -> None:
    examples = [hm.example("Ann keeps a red hat.", "red", "What colour?", "red")]
    for effects in (hm.causal_map, hm.attribute):
        found = effects(lm, examples, scope="last+decode").provenance
        assert (found["weights"], found["adapter"]) == (weights_digest(lm.model), None)
        assert {"tokenizer", "dataset", "extend"} <= found.keys()


def test_rows_of_another_tokenizer_are_told(
    lm: LanguageModel, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hm.build(hm.Recipe(task="mdqa", length=128, rows=1), tokenizer).save(tmp_path / "data")
    tell_other_tokenizer(folder, lm)
    assert capsys.readouterr().err == ""
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(tokenizer_digest(tokenizer), "another"))
    tell_other_tokenizer(folder, lm)
    assert "built with another tokenizer" in capsys.readouterr().err


def test_an_adapter_of_another_base_is_refused_as_that(model_folder: Path, tmp_path: Path) -> None:
    base = hm.load_model("miniature-llama", extend=hm.Extend(length=256))
    rows = hm.build(hm.Recipe(task="mdqa", length=192, rows=2), base.tokenizer)
    hm.train(base, rows, hm.TrainConfig(steps=1, batch=2), tmp_path / "adapter", on_progress=lambda steps: None)
    with pytest.raises(ModelError, match="trained on other weights than these; its base is 'miniature-llama'"):
        hm.load_model(model_folder, adapter=tmp_path / "adapter")
