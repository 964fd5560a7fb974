"""Bases made sparse: what is put in says nothing at first, and what is taken out stays out."""

from pathlib import Path

import pytest
import torch
from pretrain import PretrainConfig, new_model
from sparsify import FAINT, Pruning, SparsifyConfig, beginning
from transformers import PreTrainedTokenizerBase

TINY = PretrainConfig(hidden=16, layers=2, heads=4, key_value_heads=2, head_dim=8, feed_forward=16)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    folder = tmp_path_factory.mktemp("source")
    new_model(TINY, len(tokenizer)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pruning(source: Path, tokenizer: PreTrainedTokenizerBase) -> Pruning:
    return Pruning(beginning(source, SparsifyConfig()), tokenizer, SparsifyConfig(keep=1, heads_a_round=2))


@pytest.mark.parametrize("config", [SparsifyConfig(), SparsifyConfig(heads=8), SparsifyConfig(window=16, heads=6)])
def test_a_model_begins_as_the_one_it_is_made_of(source: Path, config: SparsifyConfig) -> None:
    ids = torch.arange(5, 21)[None]  # 16 tokens: no window is shorter
    with torch.no_grad():
        before, after = (beginning(source, one)(input_ids=ids).logits for one in (SparsifyConfig(), config))
    assert torch.allclose(before, after, atol=1e-5)


def test_a_window_and_further_heads_are_in_the_config(source: Path) -> None:
    config = beginning(source, SparsifyConfig(window=64, heads=8)).config
    assert (config.model_type, config.sliding_window) == ("mistral", 64)
    assert (config.num_attention_heads, config.num_key_value_heads) == (8, 4)  # two query heads share keys, as before


def test_heads_that_are_taken_out_stay_out_and_the_others_learn(pruning: Pruning) -> None:
    whole = [pruning.outputs(layer).detach().clone() for layer in range(2)]
    asked = [pruning.queries(layer).detach().clone() for layer in range(2)]
    pruning.take_out([(0, 0), (0, 1), (1, 2)])  # two of three, as one shall stay
    assert int(pruning.gone.sum()) == 2
    pruning.learn(2)
    for layer, head in torch.nonzero(pruning.gone).tolist():
        assert torch.equal(pruning.outputs(layer)[:, head], FAINT * whole[layer][:, head])
        assert torch.equal(pruning.queries(layer)[head], FAINT * asked[layer][head].roll(1, -1))
    assert pruning.gone[0, 1] or not torch.equal(pruning.outputs(0)[:, 1], whole[0][:, 1])


def test_what_was_gone_before_stays_gone(source: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    first = Pruning(beginning(source, SparsifyConfig()), tokenizer, SparsifyConfig(keep=0, heads_a_round=1))
    assert not first.gone.any()
    first.take_out([(1, 2)])
    first.model.save_pretrained(tmp_path)
    again = Pruning(beginning(tmp_path, SparsifyConfig()), tokenizer, SparsifyConfig())
    assert torch.nonzero(again.gone).tolist() == [[1, 2]]


def test_those_that_the_loss_misses_least_go_first(pruning: Pruning, monkeypatch: pytest.MonkeyPatch) -> None:
    pruning.gone[:] = False
    missed = {(0, 2): 3.0, (0, 3): 1.0, (1, 0): 2.0, (1, 1): 4.0}
    monkeypatch.setattr(pruning, "loss_without", missed.__getitem__)
    pruning.take_out(list(missed))
    assert torch.nonzero(pruning.gone).tolist() == [[0, 3], [1, 0]]


def test_asking_what_a_head_does_changes_nothing(pruning: Pruning) -> None:
    before = pruning.outputs(1).clone()
    assert pruning.loss_without((1, 3)) != pruning.answer_loss()
    assert torch.equal(pruning.outputs(1), before)
