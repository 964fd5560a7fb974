"""Sizes that configs give in their own ways."""

from types import SimpleNamespace

import pytest
from any_architecture import tiny_config
from transformers import MptConfig

from haymaker.models.shapes import Shape, shape_of, size_of
from haymaker.training.budget import as_one_of, kept_bytes


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


def test_one_of_several_processes_has_its_part_of_the_layers_two_whole_ones_and_the_rest() -> None:
    # a layer: 8*(2*8 + 2*4) + 3*8*16 = 576 weights of 2 bytes; embeddings and head 2*100*8*2 bytes
    shape = Shape(4, 8, 8, 4, 2, 16, 100, 2, 10, base_bytes=4 * 1_152 + 3_200)
    assert as_one_of(shape, 4, 1, shard=True).base_bytes == 1_152 + 2 * 1_152 + 3_200
    assert as_one_of(shape, 4, 1, shard=False) == shape
    assert as_one_of(shape, 1, 1, shard=True).base_bytes == shape.base_bytes  # never more than the whole


def test_a_token_of_a_row_that_is_shared_goes_with_the_keys_of_all_processes() -> None:
    shape = Shape(4, 8, 8, 4, 2, 16, 100, 2, 10, base_bytes=5_000)
    shared = as_one_of(shape, 4, 4, shard=False)
    # keys and values of 3 more tokens: 3 * 2 * 4 numbers of 2 bytes
    assert kept_bytes(shared, "mlp") - kept_bytes(shape, "mlp") == 48
    assert kept_bytes(shared, "full") == kept_bytes(shape, "full")
