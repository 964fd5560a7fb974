"""What a GGUF says of its function. Law: the model that it was made of, whatever transformers reads, or a sentence."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf_writing import SHAPE, state_of, tiny_llama, write_gguf
from tiny_tokenizers import tiny_tokenizer
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from haymaker.errors import ModelError
from haymaker.models.gguf_config import pre_attention_scalar
from haymaker.models.load import load_model

VOCABULARY = len(tiny_tokenizer("digits"))
BASE = SHAPE | {"vocab_size": VOCABULARY, "pad_token_id": None}
THETA, LOCAL = 20_000.0, 300.0
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": THETA}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": THETA,
    "original_max_position_embeddings": 1_024,
}  # fmt: skip
LONG, SHORT = [1.5, 2.0, 3.0, 4.0], [1.0, 1.125, 1.25, 1.5]
LONGROPE = {
    "rope_type": "longrope", "long_factor": LONG, "short_factor": SHORT, "original_max_position_embeddings": 64,
    "rope_theta": THETA,
}  # fmt: skip


def plain(theta: float = THETA, **more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": theta, **more}


def yarn_said() -> dict[str, Any]:
    return {"rope.freq_base": THETA, "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 64}  # fmt: skip


def floats(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def llama3_factors(dims: int) -> np.ndarray:
    """By what Llama 3.1's rule divides each frequency: 1, or the factor, or in between by turns in the old length."""
    turns = 1_024 * THETA ** (-np.arange(0, dims, 2) / dims) / (2 * math.pi)
    kept = np.clip((turns - 1) / 3, 0, 1)
    return floats(1 / ((1 - kept) / 8 + kept))


def gemma(kind: str, layers: int = 7, **own: Any) -> PreTrainedModel:
    shape = BASE | {"num_hidden_layers": layers, "head_dim": 16, "sliding_window": 8, **own}
    return (
        Gemma2ForCausalLM(Gemma2Config(**shape)) if kind == "gemma2" else Gemma3ForCausalLM(Gemma3TextConfig(**shape))
    )


@dataclass(frozen=True)
class Case:
    """An architecture's name in GGUF, its model, what the converter writes of it, and tables of factors."""

    architecture: str
    build: Callable[[], PreTrainedModel]
    said: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    name: str = "tiny"


WINDOWED = {"attention.sliding_window": 8, "attention.key_length": 16}
CAPPED = WINDOWED | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}
SCALED_GEMMA = {"sliding_attention": plain(LOCAL), "full_attention": plain() | {"rope_type": "linear", "factor": 8.0}}
CASES = {
    "llama, tied": Case("llama", lambda: tiny_llama(VOCABULARY, tie_word_embeddings=True)),
    "llama, wide heads": Case("llama", lambda: tiny_llama(VOCABULARY, head_dim=16), {"attention.key_length": 16}),
    "mistral by name": Case("llama", lambda: tiny_llama(VOCABULARY), name="mistral"),
    "llama, a window as long as the context": Case("llama", lambda: tiny_llama(VOCABULARY),
                                                   {"attention.sliding_window": 256}),
    "llama3": Case("llama", lambda: tiny_llama(VOCABULARY, head_dim=64, rope_parameters=LLAMA3),
                   tables={"rope_freqs.weight": llama3_factors(64)}),
    "llama3, no wave between": Case("llama", lambda: tiny_llama(VOCABULARY, rope_parameters=LLAMA3),
                                    tables={"rope_freqs.weight": llama3_factors(8)}),
    "factors of one": Case("llama", lambda: tiny_llama(VOCABULARY), tables={"rope_freqs.weight": floats([1] * 4)}),
    "linear": Case("llama", lambda: tiny_llama(VOCABULARY, rope_parameters=plain() | {"rope_type": "linear",
                                                                                     "factor": 4.0}),
                   {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
    "qwen2": Case("qwen2", lambda: Qwen2ForCausalLM(Qwen2Config(**BASE, rope_parameters=plain(),
                                                                tie_word_embeddings=True)), {"rope.freq_base": THETA}),
    "qwen2, yarn": Case("qwen2", lambda: Qwen2ForCausalLM(Qwen2Config(**BASE, rope_parameters=YARN)), yarn_said()),
    "qwen3": Case("qwen3", lambda: Qwen3ForCausalLM(Qwen3Config(**BASE, head_dim=16, rope_parameters=plain())),
                  {"rope.freq_base": THETA, "attention.key_length": 16}),
    "phi3, a window": Case("phi3", lambda: Phi3ForCausalLM(Phi3Config(**BASE, sliding_window=8,
                                                                      rope_parameters=plain())),
                           {"rope.freq_base": THETA, "rope.dimension_count": 8, "attention.sliding_window": 8}),
    "phi3, half turned": Case("phi3", lambda: Phi3ForCausalLM(Phi3Config(
        **BASE, rope_parameters=plain(partial_rotary_factor=0.5))),
        {"rope.freq_base": THETA, "rope.dimension_count": 4, "attention.sliding_window": 0}),
    "phi3, longrope": Case("phi3", lambda: Phi3ForCausalLM(Phi3Config(
        **BASE, original_max_position_embeddings=64, rope_parameters=LONGROPE)),
        {"rope.freq_base": THETA, "rope.dimension_count": 8, "rope.scaling.original_context_length": 64,
         "rope.scaling.attn_factor": math.sqrt(1 + math.log(4) / math.log(64))},  # for 4 times 64 tokens
        {"rope_factors_long.weight": floats(LONG), "rope_factors_short.weight": floats(SHORT)}),
    "gemma2": Case("gemma2", lambda: gemma("gemma2", 2, query_pre_attn_scalar=16, attn_logit_softcapping=2.0,
                                           final_logit_softcapping=5.0), CAPPED),
    "gemma2, no cap of scores": Case("gemma2", lambda: gemma("gemma2", 2, query_pre_attn_scalar=16,
                                                             attn_logit_softcapping=None),
                                     WINDOWED | {"attn_logit_softcapping": 0.0}),
    "gemma2, a pattern": Case("gemma2", lambda: gemma("gemma2", 3, query_pre_attn_scalar=16, layer_types=[
        "full_attention", *["sliding_attention"] * 2]),
        WINDOWED | {"attention.sliding_window_pattern": [False, True, True]}),
    "gemma3": Case("gemma3", lambda: gemma("gemma3", query_pre_attn_scalar=4, rope_parameters={
        "sliding_attention": plain(LOCAL), "full_attention": plain()}),
        WINDOWED | {"rope.freq_base": THETA, "rope.freq_base_swa": LOCAL, "attention.scale": 0.5}),
    "gemma3, scaled": Case("gemma3", lambda: gemma("gemma3", query_pre_attn_scalar=16, rope_parameters=SCALED_GEMMA),
                           WINDOWED | {"rope.freq_base": THETA, "rope.freq_base_swa": LOCAL,
                                       "rope.scaling.type": "linear", "rope.scaling.factor": 8.0}),
    "starcoder2": Case("starcoder2", lambda: Starcoder2ForCausalLM(Starcoder2Config(
        **BASE, rope_parameters=plain(), norm_epsilon=1e-4)),
        {"rope.freq_base": THETA, "attention.layer_norm_epsilon": 1e-4}),
    "stablelm": Case("stablelm", lambda: StableLmForCausalLM(StableLmConfig(
        **BASE, rope_parameters=plain(partial_rotary_factor=0.5))),
        {"rope.freq_base": THETA, "rope.dimension_count": 4, "attention.layer_norm_epsilon": 1e-5}),
    "gpt2": Case("gpt2", lambda: GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4,
                                                            n_positions=256, initializer_range=0.2, bos_token_id=0,
                                                            eos_token_id=1)),
                 {"attention.layer_norm_epsilon": 1e-5}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_file_is_the_function_that_it_was_made_of(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    its, tokenizer = CASES[case], tiny_tokenizer("digits")
    model = its.build().eval()
    written = write_gguf(
        tmp_path / "a.gguf", model, tokenizer, architecture=its.architecture, pattern="smollm", kind=Kind.Q8_0,
        extra=its.tables, metadata=its.said, name=its.name,
    )  # fmt: skip
    model.load_state_dict(state_of(written, model, its.architecture), strict=False)
    lm = load_model(tmp_path / "a.gguf", dtype="float32")
    for tokens in (24, 120):  # below and above windows, and the original length of LongRoPE
        ids = (torch.arange(tokens) * 37 % VOCABULARY)[None]
        torch.testing.assert_close(lm.model(input_ids=ids).logits, model(input_ids=ids).logits, rtol=0, atol=1e-4)
    assert lm.context == 256
    config: Any = lm.base.config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (0, 1, None)


@pytest.mark.parametrize(
    ("architecture", "layers", "hidden", "heads", "width", "scalar"),
    [("gemma2", 46, 4_608, 32, 128, 144), ("gemma2", 42, 3_584, 16, 256, 256), ("gemma3", 62, 5_376, 32, 128, 168),
     ("gemma3", 48, 3_840, 16, 256, 256)],  # config.json of Gemma 2 27B and 9B, of Gemma 3 27B and 12B
)  # fmt: skip
def test_scores_of_the_largest_gemmas_are_scaled_by_hidden_over_heads(
    architecture: str, layers: int, hidden: int, heads: int, width: int, scalar: int
) -> None:
    config = SimpleNamespace(num_hidden_layers=layers, hidden_size=hidden, num_attention_heads=heads, head_dim=width)
    silent = SimpleNamespace(architecture=architecture, get=lambda key: None)
    assert pre_attention_scalar(silent, config) == scalar


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a window": ({"attention.sliding_window": 8}, r"llama.attention.sliding_window = 8, for which .* llama has"),
    "a cap": ({"attn_logit_softcapping": 2.0}, r"llama.attn_logit_softcapping = 2.0"),
    "a scale": ({"attention.scale": 0.5}, r"llama.attention.scale = 0.5"),
    "a window's own theta": ({"rope.freq_base_swa": 300.0}, r"llama.rope.freq_base_swa = 300.0"),
    "fewer turned": ({"rope.dimension_count": 4, "attention.key_length": 8}, r"llama.rope.dimension_count = 4"),
    "a multiplier": (
        {"rope.scaling.type": "yarn", "rope.scaling.yarn_log_multiplier": 0.1},
        r"llama.rope.scaling.yarn_log_multiplier = 0.1",
    ),
    "a rule without its tables": ({"rope.scaling.type": "longrope"}, r"llama.rope.scaling.type = longrope"),
    "a pattern": (
        {"attention.sliding_window": 256, "attention.sliding_window_pattern": 2},
        r"llama.attention.sliding_window_pattern = 2",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_model_has_no_place_for_is_refused_by_its_key(case: str, tmp_path: Path) -> None:
    said, message = REFUSED[case]
    tokenizer = tiny_tokenizer("digits")
    write_gguf(tmp_path / "a.gguf", tiny_llama(VOCABULARY), tokenizer, pattern="smollm", metadata=said)
    with pytest.raises(ModelError, match=rf"a\.gguf: it says {message}"):
        load_model(tmp_path / "a.gguf")


TABLES = {
    "of no rule": ({"rope_freqs.weight": floats([1, 7, 2, 8])}, "no rule of llama gives the factors in rope_freqs"),
    "one of two": ({"rope_factors_long.weight": floats(LONG)}, "which go together, it lacks a part"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_factors_that_say_no_rule_are_refused(case: str, tmp_path: Path) -> None:
    tables, message = TABLES[case]
    tokenizer = tiny_tokenizer("digits")
    write_gguf(tmp_path / "a.gguf", tiny_llama(VOCABULARY), tokenizer, pattern="smollm", extra=tables)
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    "key",
    ["block_count", "context_length", "embedding_length", "attention.head_count", "attention.head_count_kv",
     "attention.layer_norm_rms_epsilon", "tokenizer"],
)  # fmt: skip
def test_what_a_file_lacks_is_named(key: str, tmp_path: Path) -> None:
    # transformers takes its own defaults: 32 heads, 2,048 tokens
    tokenizer = tiny_tokenizer("digits")
    write_gguf(tmp_path / "a.gguf", tiny_llama(VOCABULARY), tokenizer, pattern="smollm", without=[key])
    named = (
        "holds no tokenizer; put the model's tokenizer.json beside"
        if key == "tokenizer"
        else rf"its metadata lacks llama\.{key}"
    )
    with pytest.raises(ModelError, match=named):
        load_model(tmp_path / "a.gguf")


def test_one_part_of_a_model_is_told_even_alone(tmp_path: Path) -> None:
    path, tokenizer = tmp_path / "a-00001-of-00002.gguf", tiny_tokenizer("digits")
    write_gguf(path, tiny_llama(VOCABULARY), tokenizer, pattern="smollm", parts=2)
    with pytest.raises(ModelError, match="one of the 2 files of a model; join them with .*llama-gguf-split --merge"):
        load_model(path)
