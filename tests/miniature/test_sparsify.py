"""Bases made sparse: what is put in says nothing at first, and what is taken out stays out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pretrain import MODELS, PretrainConfig, new_model
from remake import BASES, fill_faint
from sparsify import FAINT, Pruning, SparsifyConfig, beginning, outputs_of, queries_of
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from haymaker.errors import DataError

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


def test_a_window_and_further_heads_are_in_the_config(source: Path, tmp_path: Path) -> None:
    model = beginning(source, SparsifyConfig(window=64, heads=8))
    model.save_pretrained(tmp_path)
    config = beginning(tmp_path, SparsifyConfig(window=64)).config  # also of what a pruning left
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


def test_a_stopped_pruning_goes_on_to_the_same_bits(
    source: Path, tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SparsifyConfig(keep=4, heads_a_round=2, steps_a_round=1, last_steps=1, faint=0.0)
    monkeypatch.setattr(Pruning, "copying", lambda self: [tuple(one) for one in torch.nonzero(~self.gone).tolist()])
    monkeypatch.setattr(Pruning, "record", lambda self, copying: {})
    monkeypatch.setattr("sparsify.hm.build", lambda *recipe: [])
    monkeypatch.setattr(Pruning, "loss_without", lambda self, head: float(sum(head)))
    monkeypatch.setattr(SparsifyConfig, "phase", replace(config.phase, tokens_per_step=128))
    learn = Pruning.learn

    def stop_at_second_round(self: Pruning, steps: int, final_share: float = 1.0) -> None:
        if self.steps == 1:
            raise KeyboardInterrupt
        learn(self, steps, final_share)

    def run(name: str, one: SparsifyConfig = config) -> Any:
        pruning = Pruning(beginning(source, one), tokenizer, one)
        pruning.run(tmp_path / name)
        return pruning

    with monkeypatch.context() as patched:
        patched.setattr(Pruning, "learn", stop_at_second_round)
        with pytest.raises(KeyboardInterrupt):
            run("stopped")
    again, straight = run("stopped"), run("straight")
    assert again.steps == straight.steps == 3  # two rounds of a step, and the last one
    assert torch.equal(again.gone, straight.gone)
    expected = straight.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.model.state_dict().items())
    with pytest.raises(DataError, match="holds another run"):
        run("stopped", replace(config, seed=1))


@pytest.mark.parametrize("base", BASES)
def test_the_bases_that_ship_hold_what_the_recipe_puts_in_last(base: str) -> None:
    """To the bit; a head that was taken out behind the last step keeps its own weights, not those of the source."""
    record = json.loads((MODELS / base / "training.json").read_text())
    prunings = record.get("runs", [record])
    assert tuple(run["config"]["steps_a_round"] for run in prunings) == BASES[base].steps
    assert all(run["config"]["last_steps"] == 3 * run["config"]["steps_a_round"] for run in prunings)
    assert prunings[-1]["config"]["window"] == BASES[base].window
    late = {"2-3"} if BASES[base].other_rows else set()
    ships: Any = AutoModelForCausalLM.from_pretrained(MODELS / base, dtype=torch.float32)
    made: Any = AutoModelForCausalLM.from_pretrained(MODELS / base, dtype=torch.float32)
    heads = torch.zeros(4, 8, dtype=torch.bool)
    for layer, head in (map(int, name.split("-")) for name in set(record["gone"]) - late):
        heads[layer, head] = True
        for part in (outputs_of(made, layer)[:, head], queries_of(made, layer)[head]):
            part.detach().zero_()
    fill_faint(made, MODELS / "llama", heads)
    expected = ships.bfloat16().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in made.bfloat16().state_dict().items())
