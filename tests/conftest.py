"""Shared fixtures: the world's tokenizer, and tiny random models that read it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from tiny_models import tiny_model
from tiny_rows import CONTEXT, WINDOW
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from haymaker.models.load import LanguageModel
from haymaker.models.names import MINIATURES


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(MINIATURES / "llama")


@pytest.fixture(scope="session")
def new_model(tokenizer: PreTrainedTokenizerBase) -> Callable[..., PreTrainedModel]:
    """Builds a random decoder of 3 layers x 4 heads over 2 key-value heads; the same weights for the same seed."""

    def build(kind: str = "llama", seed: int = 0, layers: int = 3) -> PreTrainedModel:
        shape: dict[str, Any] = dict(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=layers,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT, initializer_range=0.2,
            bos_token_id=0, eos_token_id=1, pad_token_id=2,
        )  # fmt: skip
        torch.manual_seed(seed)
        if kind == "mistral":
            return MistralForCausalLM(MistralConfig(**shape, sliding_window=WINDOW)).eval()
        return LlamaForCausalLM(LlamaConfig(**shape)).eval()

    return build


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No types of arguments are checked before anything runs, as nobody but these tests does that."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def lm(new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    return LanguageModel(new_model().requires_grad_(False), tokenizer, "tiny")


@pytest.fixture
def linear_attention(tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    """A model whose first layer keeps no keys."""
    model = tiny_model("qwen3_next").requires_grad_(False)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return LanguageModel(model, tokenizer, "linear attention")


@pytest.fixture
def model_folder(tmp_path: Path, new_model: Callable[..., PreTrainedModel], tokenizer: PreTrainedTokenizerBase) -> Path:
    """A saved tiny Llama with its tokenizer."""
    folder = tmp_path / "model"
    new_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
