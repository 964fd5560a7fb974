"""Causal maps against edits made one by one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import run as run_command
from tiny_models import BUILDERS, logits, tiny_model, tokens
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from haymaker.attention.canary import check_architecture
from haymaker.attention.edits import Patch, Zero, edit
from haymaker.attention.recording import record
from haymaker.config import Recipe
from haymaker.data.builder import build
from haymaker.errors import LengthError, ModelError, OutOfMemory
from haymaker.heads.scores import HeadScores
from haymaker.interventions.attribution import attribute
from haymaker.interventions.branches import Trunk
from haymaker.interventions.causal import causal_map, relayed_effects, set_effects
from haymaker.models.load import LanguageModel, load_model
from haymaker.models.packaged import MINIATURES
from haymaker.records import Encoded, Example, Head, Message, Segment
from haymaker.tokens import encode

HEADS = [Head(layer, head) for layer in range(3) for head in range(4)]
SCOPES = ["last+decode", "decode", "last", "prompt", "all", "prompt+decode"]


@pytest.fixture
def other(new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    return LanguageModel(new_model(seed=1).requires_grad_(False), tokenizer, "other")


def examples(count: int = 2) -> list[Example]:
    prompts = [f"[1] Kalo lives in Tami{'.' * i}\nQuestion: Where?\nAnswer:" for i in range(count)]
    return [
        Example(f"e{i}", "mdqa", (Message("user", (Segment(text),)),), "Where?", ("Tami",))
        for i, text in enumerate(prompts)
    ]


def gold_log_probability(lm: LanguageModel, item: Encoded) -> float:
    ids = torch.tensor([item.input_ids])
    with torch.no_grad():
        table = logits(lm.model, ids)[0, item.prompt_length - 1 : -1].log_softmax(-1)
    return float(table.gather(-1, ids[0, item.prompt_length :, None]).sum())


def one_by_one(lm: LanguageModel, example: Example, scope: str, donor: LanguageModel | None = None) -> np.ndarray:
    item = encode(example, lm.tokenizer)
    effects = np.zeros((3, 4))
    plain = gold_log_probability(lm, item)
    for head in HEADS:
        made = Zero([head])
        if donor is not None:
            with torch.no_grad(), record(donor.model, [head]) as outputs:
                logits(donor.model, torch.tensor([item.input_ids]))
            made = Patch([head], outputs)
        with edit(lm.model, made, scope=scope, prompt_length=item.prompt_length):
            changed = gold_log_probability(lm, item)
        effects[head] = plain - changed if donor is None else changed - plain
    return effects


@pytest.mark.parametrize("scope", SCOPES)
def test_the_map_equals_zeroing_heads_one_by_one(lm: LanguageModel, scope: str) -> None:
    found = causal_map(lm, examples(), scope=scope)
    expected = np.stack([one_by_one(lm, example, scope) for example in examples()])
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    assert np.abs(expected).max() > 0.1
    assert found.top(1)[0] == HEADS[int(expected.mean(0).argmax())]


@pytest.mark.parametrize("scope", ["last+decode", "all"])
def test_the_map_of_patches_equals_patching_heads_one_by_one(
    lm: LanguageModel, other: LanguageModel, scope: str
) -> None:
    found = causal_map(lm, examples(), donor=other, scope=scope)
    expected = np.stack([one_by_one(lm, example, scope, other) for example in examples()])
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    assert np.abs(expected).max() > 0.1


def test_a_model_patched_into_itself_has_an_empty_map(lm: LanguageModel) -> None:
    for scope in ("last+decode", "all"):
        np.testing.assert_allclose(causal_map(lm, examples(1), donor=lm, scope=scope).values, 0, atol=2e-5)


@pytest.mark.parametrize("name", BUILDERS)
def test_forwards_that_start_in_the_middle_are_exact_in_every_architecture(
    name: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    model, ids = tiny_model(name), tokens(1, 20)
    item, lm = Encoded("row", tuple(ids[0].tolist()), 16), LanguageModel(model, tokenizer, name)
    found = relayed_effects(lm, item, None, "all", tokens_at_once=50)  # two heads at once
    plain = gold_log_probability(lm, item)
    for layer, shape in check_architecture(model).layers.items():
        for head in range(shape.heads):
            with edit(model, Zero([(layer, head)])):
                assert found[layer, head] == pytest.approx(plain - gold_log_probability(lm, item), abs=1e-4)
    missing = set(range(3)) - set(check_architecture(model).layers)
    assert np.isnan(found[sorted(missing)]).all()  # a layer without attention has no heads
    assert gold_log_probability(lm, item) == plain


def test_the_effect_of_a_set_is_that_of_its_heads_together(lm: LanguageModel) -> None:
    sets = [[(0, 1), (2, 2)], [], [(1, 3)]]
    found = set_effects(lm, examples(), sets)
    for example, row in zip(examples(), found, strict=True):
        item = encode(example, lm.tokenizer)
        with edit(lm.model, Zero(sets[0]), scope="last+decode", prompt_length=item.prompt_length):
            changed = gold_log_probability(lm, item)
        assert row[0] == pytest.approx(gold_log_probability(lm, item) - changed, abs=1e-4)
    assert (abs(found[:, 1]) < 1e-5).all()  # equal rows of a batch are summed in another order by two threads
    np.testing.assert_allclose(found[:, 2], causal_map(lm, examples()).values[:, 1, 3], atol=1e-5)


@pytest.mark.parametrize("scope", ["last", "decode+last", "prompt", "all"])
def test_sets_of_heads_have_effects_in_every_scope(lm: LanguageModel, scope: str) -> None:
    found = set_effects(lm, examples(1), [[(0, 1), (2, 2)], [], [(1, 3)]], scope, tokens_at_once=100)
    item = encode(examples(1)[0], lm.tokenizer)
    with edit(lm.model, Zero([(0, 1), (2, 2)]), scope=scope, prompt_length=item.prompt_length):
        changed = gold_log_probability(lm, item)
    assert found[0, 0] == pytest.approx(gold_log_probability(lm, item) - changed, abs=1e-4)
    assert abs(found[0, 0]) > 0.01
    assert abs(found[0, 1]) < 1e-5
    np.testing.assert_allclose(found[0, 2], causal_map(lm, examples(1), scope=scope).values[0, 1, 3], atol=1e-4)


def test_a_model_that_cannot_branch_has_its_map_too(linear_attention: LanguageModel) -> None:
    lm, item = linear_attention, encode(examples(1)[0], linear_attention.tokenizer)
    found = causal_map(lm, examples(1)).values[0]
    plain = gold_log_probability(lm, item)
    for head in (Head(1, 0), Head(2, 3)):
        with edit(lm.model, Zero([head]), scope="last+decode", prompt_length=item.prompt_length):
            assert found[head] == pytest.approx(plain - gold_log_probability(lm, item), abs=1e-4)
    assert np.isnan(found[0]).all()  # the layer of linear attention
    sets = set_effects(lm, examples(1), [[(1, 0)], [(2, 3)]])
    np.testing.assert_allclose(sets[0], [found[1, 0], found[2, 3]], atol=1e-4)


def test_a_longer_example_than_the_context_is_refused(lm: LanguageModel) -> None:
    long = replace(examples(1)[0], messages=(Message("user", (Segment("Kalo lives in Tami. " * 40),)),))
    with pytest.raises(LengthError, match=r"context of 64 tokens: e0 \("):
        causal_map(lm, [long])


def test_models_that_cannot_be_compared_are_refused(
    lm: LanguageModel, new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase
) -> None:
    deeper = LanguageModel(new_model(layers=4).requires_grad_(False), tokenizer, "deeper")
    for act in (
        lambda: causal_map(lm, examples(), donor=deeper),
        lambda: attribute(lm, examples(), deeper),
    ):
        with pytest.raises(ModelError, match="one shape"):
            act()
    lm.model.train()
    for act in (
        lambda: causal_map(lm, examples()),
        lambda: set_effects(lm, examples(), [HEADS]),
    ):
        with pytest.raises(ModelError, match="train mode"):
            act()


def test_memory_that_runs_out_is_an_error_that_names_the_example(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Trunk, "forced", exhausted)
    with pytest.raises(OutOfMemory, match="e0.*lower tokens_at_once"):
        causal_map(lm, examples())


# ---- the command


def test_the_command_writes_the_map_that_the_library_gives(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
    dataset = build(Recipe(task="mdqa", setting="low-low", length=96, rows=2, seed=1), tokenizer)
    dataset.save(tmp_path / "data")
    arguments = ["causal-map", "--model", "miniature-llama", "--data", str(tmp_path / "data")]
    result = run_command(*arguments, "--out", str(tmp_path / "map.safetensors"), "--top", "3", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    expected = causal_map(load_model("miniature-llama"), dataset)
    np.testing.assert_allclose(HeadScores.load(tmp_path / "map.safetensors").values, expected.values, atol=1e-5)
    assert list(told["top"]) == [str(head) for head in expected.top(3)]
    again = run_command(*arguments, "--out", str(tmp_path / "map.safetensors"))
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_the_command_refuses_an_unknown_scope_in_one_sentence(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")
    build(Recipe(task="mdqa", setting="low-low", length=96, rows=1), tokenizer).save(tmp_path / "data")
    places = ("--data", tmp_path / "data", "--out", tmp_path / "map.safetensors")
    result = run_command("causal-map", "--model", "miniature-llama", *places, "--scope", "middle")
    assert result.exit_code in (1, 2)
    assert "middle" in result.stderr
    assert not (tmp_path / "map.safetensors").exists()


@pytest.mark.parametrize("scope", ["last+decode", "all"])
def test_numbers_that_are_not_finite_are_no_map(lm: LanguageModel, scope: str) -> None:
    """As a token leaves them whose hidden states overflow; the check of the architecture does not see that token."""
    causal_map(lm, examples(1), scope=scope)
    with torch.no_grad():
        lm.model.get_input_embeddings().weight[encode(examples(1)[0], lm.tokenizer).input_ids[2]] = torch.inf
    for find in (
        lambda: causal_map(lm, examples(1), scope=scope),
        lambda: set_effects(lm, examples(1), [["0-0"]], scope),
    ):
        with pytest.raises(ModelError, match="the answer's log-probability is not finite, and of its weights"):
            find()
