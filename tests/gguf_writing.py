"""GGUF files of tiny Llamas, written by hand as llama.cpp's converter writes them."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tiny_llama(vocabulary: int, seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    shape: dict[str, Any] = dict(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2, tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=1, rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
    )  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**shape)).eval()


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q and k as llama.cpp keeps them: the two halves that RoPE turns together lie side by side."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def name_of(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        _, _, layer, rest = stem.split(".", 3)
        return f"blk.{layer}.{NAMES[rest]}.weight"
    return f"{NAMES[stem]}.weight"


def tensors_of(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """The model's weights by llama.cpp's names, in its order of rows."""
    config, found = model.config, {}
    for name, weight in model.state_dict().items():
        values = weight.numpy()
        if "q_proj" in name or "k_proj" in name:
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            values = interleaved(values, heads)
        found[name_of(name)] = values
    return found


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pattern: str = "gpt-2",
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    extra: dict[str, np.ndarray] | None = None,
    scaling: str | None = None,
) -> dict[str, np.ndarray]:
    """Write model and tokenizer; matrices as `kind`. Returns what was written, each tensor dequantised."""
    writer, config = gguf.GGUFWriter(path, "llama"), model.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if scaling is not None:
        writer.add_string("llama.rope.scaling.type", scaling)
    write_tokenizer(writer, tokenizer, pattern)
    written = {}
    for name, values in (tensors_of(model) | (extra or {})).items():
        its = gguf.GGMLQuantizationType.F32 if values.ndim == 1 else kind
        packed = gguf.quants.quantize(values, its)
        writer.add_tensor(name, packed, raw_dtype=its)
        written[name] = gguf.quants.dequantize(packed, its)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return written


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


def state_of(written: dict[str, np.ndarray], model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    """A state dict of what was written: the tensors' rows put back by this file's own rule, not by the loader's."""
    config, state = model.config, {}
    for name in model.state_dict():
        values = written[name_of(name)]
        if "q_proj" in name or "k_proj" in name:
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            values = values.reshape(heads, -1, 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        state[name] = torch.from_numpy(np.ascontiguousarray(values))
    return state
