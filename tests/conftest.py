"""Shared fixtures: the world's tokenizer, and tiny random models that read it.

What they need is imported where it is needed: of several processes the first one runs no test.
"""

from __future__ import annotations

import gc
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jaxtyping
import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from haymaker.models.load import LanguageModel


def pytest_configure() -> None:
    """Shapes of arrays are checked, no disk is waited for; a script's `&` starts processes with Ctrl-C ignored, which
    tests send."""
    import no_sync  # noqa: F401
    from array_shapes import check_shapes

    [home] = [Path(place) for place in find_spec("haymaker").submodule_search_locations]  # type: ignore[union-attr]
    check_shapes(home)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes stays until the end: half a million objects in which no cycle is looked for, then or later.

    Each search of all of them takes half a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(50_000)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where this process and those that it starts put what nobody names: under pytest's own, which pytest empties."""
    folder = tmp_path_factory.mktemp("unnamed")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TMPDIR", str(folder))
        patched.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    from haymaker.models.packaged import MINIATURES

    return AutoTokenizer.from_pretrained(MINIATURES / "llama")


@pytest.fixture(scope="session")
def new_model(tokenizer: PreTrainedTokenizerBase) -> Callable[..., PreTrainedModel]:
    """Builds a random decoder of 3 layers x 4 heads over 2 key-value heads; the same weights for the same seed."""
    import torch
    from tiny_rows import CONTEXT, WINDOW
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

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
    from haymaker.models.load import LanguageModel

    return LanguageModel(new_model().requires_grad_(False), tokenizer, "tiny")


@pytest.fixture
def linear_attention(tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    """A model whose first layer keeps no keys."""
    from tiny_models import tiny_model

    from haymaker.models.load import LanguageModel

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
