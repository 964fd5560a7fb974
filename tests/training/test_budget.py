"""Sizes that configs give in their own ways."""

from types import SimpleNamespace

import pytest
from any_architecture import tiny_config
from transformers import MptConfig

from haymaker.training.budget import shape_of, size_of


def test_a_size_of_each_layer_counts_as_the_largest() -> None:
    config = SimpleNamespace(intermediate_size=[48, 64, 48], hidden_size=32)
    assert size_of(config, "n_inner", "intermediate_size") == 64
    assert size_of(config, "hidden_size") == 32
    assert size_of(config, "no_such_size") is None


@pytest.mark.parametrize("kind", ["llama", "gemma3n_text", "gemma4_text", "rwkv", "mpt", "gpt2", "qwen3_next"])
def test_every_config_has_a_shape(kind: str) -> None:
    """No head's width times heads of nothing: a plan multiplies all of them."""
    shape = shape_of(MptConfig() if kind == "mpt" else tiny_config(kind), element=2, adapter=10)
    assert min(shape.layers, shape.hidden, shape.query, shape.key_value, shape.inner, shape.base_bytes) > 0
