"""Attribution: the slope of the answer's log-probability, exact where a model is linear, a ranking where it is not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from any_architecture import tiny
from scipy.stats import spearmanr
from tiny_models import BUILDERS, tiny_model, tokens
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from haymaker.attention.canary import check_architecture
from haymaker.attention.edits import Patch, edit
from haymaker.attention.recording import Recording, record
from haymaker.config import Recipe
from haymaker.data.builder import build
from haymaker.errors import ConfigError, LengthError, ModelError, ProbeError
from haymaker.interventions.attribution import attribute, effects
from haymaker.interventions.causal import causal_map
from haymaker.models.load import LanguageModel, load_model
from haymaker.records import Encoded, Example, Head, Message, Segment

STEP = 0.01  # of the whole change
PROMPT, ANSWER = 14, 4


@pytest.fixture
def other(new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    return LanguageModel(new_model(seed=1).requires_grad_(False), tokenizer, "other")


def examples(count: int = 2) -> list[Example]:
    texts = [f"[1] Kalo lives in Tami{'.' * i}\nQuestion: Where?\nAnswer:" for i in range(count)]
    return [
        Example(f"e{i}", "mdqa", (Message("user", (Segment(text),)),), "Where?", ("Tami",))
        for i, text in enumerate(texts)
    ]


def exact_model(name: str, seed: int = 0) -> PreTrainedModel:
    """A tiny model in float64, where small differences are seen; its architecture was checked in float32."""
    model = tiny_model(name, seed=seed)
    check_architecture(model)
    if name in ("gpt_oss", "qwen3_next"):
        model.set_experts_implementation("eager")  # their grouped product has no float64
    return model.double().requires_grad_(False)


def row() -> Encoded:
    return Encoded("row", tuple(tokens(1, PROMPT + ANSWER)[0].tolist()), PROMPT)


def gold(lm: LanguageModel, item: Encoded) -> torch.Tensor:
    """The answer's log-probability, from one forward over prompt and answer."""
    ids = torch.tensor([item.input_ids])
    with torch.no_grad():
        table = lm.model(input_ids=ids, use_cache=False).logits[0, item.prompt_length - 1 : -1].log_softmax(-1)
    return table.gather(-1, ids[0, item.prompt_length :, None]).sum()


def outputs(lm: LanguageModel, item: Encoded, heads: list[Head]) -> Recording:
    with torch.no_grad(), record(lm.model, heads) as found:
        lm.model(input_ids=torch.tensor([item.input_ids]), use_cache=False)
    return found


def slopes(lm: LanguageModel, donor: LanguageModel | None, scope: str) -> tuple[np.ndarray, np.ndarray]:
    """Of every third head the estimate, and the slope measured by small steps of the same change.

    With f(x) for x of the change, f' = (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h up to terms of h^4.
    """
    item, architecture = row(), check_architecture(lm.model)
    heads = [Head(layer, head) for layer, shape in architecture.layers.items() for head in range(shape.heads)][::3]
    own = outputs(lm, item, heads)
    lent = donor and outputs(donor, item, heads)
    estimate, measured = effects(lm, item, donor, scope), []
    for head in heads:
        change = (lent.of(head) if lent else 0 * own.of(head)) - own.of(head)
        found = []
        for steps in (1, -1, 2, -2):
            moved = Patch([head], {head: own.of(head) + steps * STEP * change})
            with edit(lm.model, moved, scope=scope, prompt_length=item.prompt_length):
                found.append(float(gold(lm, item)))
        slope = (8 * (found[0] - found[1]) - (found[2] - found[3])) / (12 * STEP)
        measured.append(slope if donor else -slope)
    return np.array([estimate[head] for head in heads]), np.array(measured)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_small_step_does_what_the_slope_says(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    lm = LanguageModel(exact_model(name), tokenizer, name)
    estimate, measured = slopes(lm, None, "last+decode")
    assert np.abs(estimate - measured).max() < 1e-3 * np.abs(measured).max()


@pytest.mark.parametrize("scope", ["all", "prompt", "last", "decode", "prompt+decode"])
@pytest.mark.parametrize("lends", [False, True])
def test_small_steps_of_every_scope(scope: str, lends: bool, tokenizer: PreTrainedTokenizerBase) -> None:
    lm, donor = (LanguageModel(exact_model("llama", seed), tokenizer, "tiny") for seed in (0, 3))
    estimate, measured = slopes(lm, donor if lends else None, scope)
    assert np.abs(estimate - measured).max() < 1e-3 * np.abs(measured).max()


def test_scopes_add_up_whether_the_prompt_has_a_graph_or_not(lm: LanguageModel, other: LanguageModel) -> None:
    for donor in (None, other):
        found = {scope: attribute(lm, examples(), donor, scope).values for scope in ("all", "prompt", "decode", "last")}
        np.testing.assert_allclose(found["prompt"] + found["decode"], found["all"], rtol=1e-3, atol=1e-4)
        both = attribute(lm, examples(), donor).values
        np.testing.assert_allclose(found["last"] + found["decode"], both, rtol=1e-3, atol=1e-4)


def test_a_model_lends_itself_nothing_and_is_left_alone(lm: LanguageModel) -> None:
    found = attribute(lm, examples(), donor=lm)
    assert not found.values.any()
    assert found.values.shape == (2, 3, 4)
    assert (found.metric, found.example_ids) == ("attribution_patch", ("e0", "e1"))
    assert not any(weight.requires_grad or weight.grad is not None for weight in lm.model.parameters())
    assert lm.model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("kind", ["qwen3_next", "bamba", "jamba"])
def test_slopes_do_not_depend_on_where_the_graph_begins(kind: str) -> None:
    """A state of linear attention is written over by the next token, in place: no graph may stand on it."""
    model = tiny(kind)
    ids = tokens(1, 24)[0].tolist()
    lm, item = LanguageModel(model, None, "tiny"), Encoded("row", tuple(ids), 18)  # type: ignore[arg-type]
    late, whole = (effects(lm, item, None, scope) for scope in ("last+decode", "all"))
    earlier = effects(lm, item, None, "prompt") - effects(lm, item, None, "last")
    np.testing.assert_allclose(late, whole - earlier, rtol=1e-3, atol=1e-4)


def test_layers_without_attention_have_no_effect_to_tell(tokenizer: PreTrainedTokenizerBase) -> None:
    lm = LanguageModel(tiny_model("qwen3_next").requires_grad_(False), tokenizer, "hybrid")
    found = effects(lm, row(), None, "all")
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1:]).all()


def rank_correlation(lm: LanguageModel, rows: list[Example], scope: str) -> float:
    """Of the estimates with exact ablation of single heads, on the means of all heads."""
    maps = [found(lm, rows, scope=scope).mean.ravel() for found in (attribute, causal_map)]
    return float(spearmanr(*maps).statistic)


@pytest.mark.parametrize("scope", ["last+decode", "all"])
def test_heads_that_do_little_are_ranked_as_by_exact_ablation(lm: LanguageModel, scope: str) -> None:
    assert rank_correlation(lm, examples(3), scope) > 0.3  # random weights, where every head changes much
    with torch.no_grad():
        for layer in lm.model.model.layers:
            layer.self_attn.o_proj.weight *= 0.05
    assert rank_correlation(lm, examples(3), scope) > 0.95


def test_heads_of_the_miniature_are_ranked_as_by_exact_ablation() -> None:
    """Of a trained model, on answers it knows: 0.9 on 16 rows."""
    lm = load_model("miniature-llama")
    rows = build(Recipe(task="mdqa", setting="real", length=96, rows=8, seed=5), lm.tokenizer)
    assert rank_correlation(lm, list(rows), "last+decode") > 0.7


def test_bad_use_is_named(lm: LanguageModel, other: LanguageModel, new_model: Callable) -> None:
    with pytest.raises(ConfigError, match="expected all, prompt, last, decode.*found .'answer'"):
        attribute(lm, examples(), scope="answer")
    smaller = LanguageModel(new_model(layers=2), lm.tokenizer, "smaller")
    with pytest.raises(ModelError, match="one shape"):
        attribute(lm, examples(), smaller)
    other.model.train()
    with pytest.raises(ModelError, match="other: expected a model in eval mode"):
        attribute(lm, examples(), other)
    lm.base.config.max_position_embeddings = 8
    with pytest.raises(LengthError, match=r"context of 8 tokens: e0 \(21\)"):
        attribute(lm, examples())


@pytest.mark.parametrize("scope", ["last+decode", "all"])
def test_gradients_that_are_no_numbers_are_refused(other: LanguageModel, scope: str) -> None:
    """The root of 0, which Gemma 3n takes of a token whose embedding is 0, has none."""
    hook = other.model.get_decoder().register_forward_hook(lambda _, __, output: rooted(output))
    try:
        assert np.isfinite(causal_map(other, examples(1)).values).all()
        with pytest.raises(ProbeError, match="e0: the gradients at the heads of layer 0 are no numbers"):
            attribute(other, examples(1), scope=scope)
    finally:
        hook.remove()


def rooted(output: Any) -> Any:
    """The same hidden states, 0 added to them."""
    output.last_hidden_state = output[0] + (output[0] * 0).abs().sqrt()
    return output
