"""GGUF files of tiny models, written by hand as llama.cpp's converter writes them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

SHAPE: dict[str, Any] = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, initializer_range=0.2, bos_token_id=0, eos_token_id=1,
)  # fmt: skip
KINDS = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}


def tiny_llama(vocabulary: int, seed: int = 0, **shape: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    plain = {"tie_word_embeddings": False, "rope_parameters": {"rope_type": "default", "rope_theta": 50_000.0}}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **(SHAPE | plain | shape))).eval()


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q and k as llama.cpp keeps them: the two halves that RoPE turns together lie side by side."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def apart(weight: np.ndarray, heads: int) -> np.ndarray:
    """Their rows put back, by this file's own rule and not by the loader's."""
    return weight.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def stored(name: str, values: np.ndarray, config: Any, architecture: str, back: bool = False) -> np.ndarray:
    """A weight in llama.cpp's form: Llama's q and k interleaved, Gemma's norms one more, GPT-2's products turned."""
    if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
        return (apart if back else interleaved)(values, heads)
    if architecture.startswith("gemma") and "norm" in name:
        return values - 1 if back else values + 1
    turned = architecture == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
    return np.ascontiguousarray(values.T) if turned else values


def names_of(model: PreTrainedModel, architecture: str) -> dict[str, str]:
    """Names of a file's tensors by the model's."""
    names: Any = gguf.get_tensor_name_map(KINDS[architecture], model.config.num_hidden_layers)
    tied = model.config.tie_word_embeddings
    wanted = [name for name in model.state_dict() if not (tied and name == "lm_head.weight")]
    return {name: names.get_name(name, try_suffixes=(".weight", ".bias")) for name in wanted}


def metadata_of(config: Any, architecture: str) -> dict[str, Any]:
    """What every file says; keys of an architecture's own are a test's."""
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    found = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": inner,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": getattr(config, "num_key_value_heads", config.num_attention_heads),
        "vocab_size": config.vocab_size,
    }
    if hasattr(config, "rms_norm_eps"):
        found["attention.layer_norm_rms_epsilon"] = config.rms_norm_eps
    if architecture == "llama":
        rotary = {"rope.dimension_count": config.head_dim, "rope.freq_base": config.rope_parameters["rope_theta"]}
        return found | rotary
    return found


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    architecture: str = "llama",
    pattern: str = "gpt-2",
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    extra: Mapping[str, np.ndarray] | None = None,
    metadata: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    name: str = "tiny",
    parts: int = 1,
) -> dict[str, np.ndarray]:
    """Write model and tokenizer; matrices as `kind`. Returns what was written, each tensor dequantised."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    if parts > 1:
        writer.add_uint16("split.count", parts)
    for key, value in (metadata_of(model.config, architecture) | dict(metadata or {})).items():
        if key not in without:
            add(writer, f"{architecture}.{key}", value)
    if "tokenizer" not in without:
        write_tokenizer(writer, tokenizer, pattern)
    state, written = model.state_dict(), {}
    values = {place: stored(own, state[own].numpy(), model.config, architecture)
              for own, place in names_of(model, architecture).items()}  # fmt: skip
    for place, weight in (values | dict(extra or {})).items():
        its = gguf.GGMLQuantizationType.F32 if weight.ndim == 1 else kind
        packed = gguf.quants.quantize(weight, its)
        writer.add_tensor(place, packed, raw_dtype=its)
        written[place] = gguf.quants.dequantize(packed, its)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


def add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    kinds = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}
    kinds[type(value)](key, value)


def write_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any, pattern: str) -> None:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    special = {token["id"] for token in state["added_tokens"]}
    tokens = [tokenizer.convert_ids_to_tokens(number) for number in range(len(tokenizer))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pattern)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if number in special else 1 for number in range(len(tokens))])
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(state["post_processor"] is not None)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def state_of(written: Mapping[str, np.ndarray], model: PreTrainedModel, architecture: str = "llama") -> dict[str, Any]:
    """A state dict of what was written."""
    return {
        own: torch.from_numpy(np.ascontiguousarray(stored(own, written[place], model.config, architecture, back=True)))
        for own, place in names_of(model, architecture).items()
    }
