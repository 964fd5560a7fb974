"""Artifacts of another model are refused where they cannot be right, and told where they may be meant."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

import haymaker as hm
from haymaker.config import TrackConfig
from haymaker.errors import DataError, ModelError
from haymaker.heads.origins import tell_other_origin
from haymaker.heads.scores import HeadScores, other_origins
from haymaker.heads.tracking import HeadTracker
from haymaker.interventions.ablation import ablation_curve
from haymaker.interventions.pairs import tell_pair
from haymaker.interventions.patching import patching_table
from haymaker.models.handshake import weights_digest
from haymaker.models.load import LanguageModel
from haymaker.models.lora import add_lora
from haymaker.provenance import positions_in_use, tell_other_tokenizer
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
        ({"weights": "w", "positions": "p"}, ""),
        ({"weights": "w", "positions": "x"}, "another extension of the context"),
    ],
)
def test_another_origin_is_told(
    lm: LanguageModel, provenance: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    right = {"w": weights_digest(lm.model), "t": tokenizer_digest(lm.tokenizer), "p": positions_in_use(lm)}
    scores = of_shape(3, 4, **{key: right.get(value, value) for key, value in provenance.items()})
    tell_other_origin(scores, lm, "h")
    said = capsys.readouterr().err
    assert (bool(said), told in said) == (bool(told), True)
    tell_other_origin(scores, lm, "the library, behind a command")
    assert not capsys.readouterr().err, "told twice"


@pytest.mark.parametrize("extend", [None, hm.Extend(length=512)])
def test_scores_at_another_extension_are_told_wherever_they_meet_the_model(
    extend: hm.Extend | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = hm.Extend(length=512)
    scored, used = (hm.load_model("miniature-llama", extend=one) for one in (extend, there))
    rows = [hm.example("Ann keeps a red hat.", "red", "What colour?", "red")]
    scores, own = hm.detect_heads(scored, rows), hm.detect_heads(used, rows)
    due = extend != there
    capsys.readouterr()
    hm.ablation_curve(used, rows, scores, sizes=(1,), draws=0, new_tokens=4)
    assert ("head scores: made with another extension of the context" in capsys.readouterr().err) == due
    patching_table(used, used, rows, scores, own, k=1, draws=0, new_tokens=4)
    again = hm.HeadScores(scores.values, scores.example_ids, "copy", scores.provenance)
    patching_table(used, used, rows, own, again, k=1, draws=0, new_tokens=4)
    said = capsys.readouterr().err
    assert ("the recipient's head scores: made with another extension" in said) == due
    assert (other_origins(scores, own) == "of another context extension") == due
    scores.save(tmp_path / "heads.safetensors")
    HeadTracker(used, rows, TrackConfig(reference=str(tmp_path / "heads.safetensors")), tmp_path)
    assert ("another context extension" in capsys.readouterr().err) == due


def test_effects_of_a_donor_say_which_donor(lm: LanguageModel) -> None:
    """Two adapters of one base, of one name, are two donors."""
    rows = [hm.example("Ann keeps a red hat.", "red", "What colour?", "red")]
    found = []
    for seed in (0, 1):
        donor = LanguageModel(deepcopy(lm.base), lm.tokenizer, "tiny")
        donor.model = add_lora(donor.base, rank=2, alpha=4.0, seed=seed).eval()
        for name, weight in donor.model.named_parameters():
            if "lora_B" in name:
                weight.data.fill_(0.1 * (seed + 1))
        found += [effects(lm, rows, donor, scope="last+decode") for effects in (hm.causal_map, hm.attribute)]
    first, second = found[0], found[2]
    assert first.provenance_hash != second.provenance_hash
    assert other_origins(first, second) == "of another donor"
    assert first.provenance["donor"] == found[1].provenance["donor"]


def test_two_files_of_two_models_are_told_apart() -> None:
    first, same = (of_shape(3, 4, weights="w", tokenizer="t", dataset="d") for _ in range(2))
    assert other_origins(first, same) == ""
    assert other_origins(first, of_shape(3, 4, weights="x", tokenizer="t", dataset="e")) == (
        "of other weights and of other rows"
    )


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
    lm: LanguageModel, tokenizer: PreTrainedTokenizerBase, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = hm.build(hm.Recipe(task="mdqa", length=128, rows=1), tokenizer)
    tell_other_tokenizer(rows, lm)
    assert capsys.readouterr().err == ""
    tell_other_tokenizer(hm.Dataset(rows.table, {**rows.manifest, "tokenizer_sha256": "another"}), lm)
    assert "built with another tokenizer" in capsys.readouterr().err


def test_an_adapter_of_another_base_is_refused_as_that(model_folder: Path, tmp_path: Path) -> None:
    base = hm.load_model("miniature-llama", extend=hm.Extend(length=256))
    rows = hm.build(hm.Recipe(task="mdqa", length=192, rows=2), base.tokenizer)
    hm.train(base, rows, hm.TrainConfig(steps=1, batch=2), tmp_path / "adapter", on_progress=lambda steps: None)
    with pytest.raises(ModelError, match="trained on other weights than these; its base is 'miniature-llama'"):
        hm.load_model(model_folder, adapter=tmp_path / "adapter")
