"""Random decoders of many families, of a size that trains in milliseconds: other names, fused projections, Conv1D."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 97
LLAMA: dict[str, Any] = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
GPT2: dict[str, Any] = dict(
    vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=256, n_ctx=256, pad_token_id=0, bos_token_id=1,
    eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
)  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "gpt2": GPT2,
    "gptj": GPT2 | {"rotary_dim": 4},
    "codegen": GPT2 | {"rotary_dim": 4},
    "gpt_bigcode": GPT2 | {"n_inner": 48},
    "mistral": LLAMA | {"sliding_window": 8},
    "mpt": dict(vocab_size=VOCABULARY, d_model=32, n_layers=3, n_heads=4, max_seq_len=256),
    "bloom": dict(vocab_size=VOCABULARY, hidden_size=32, n_layer=3, n_head=4),
    "falcon": dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, alibi=False),
    "gpt_neo": dict(
        vocab_size=VOCABULARY, hidden_size=32, num_layers=2, num_heads=4, max_position_embeddings=256, window_size=16,
        attention_types=[[["global", "local"], 1]],
    ),
    "opt": dict(
        vocab_size=VOCABULARY, hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=256, word_embed_proj_dim=32, pad_token_id=1,
    ),
    "qwen3": LLAMA | {"head_dim": 12},
    "gemma": LLAMA | {"head_dim": 8},
    "gemma2": LLAMA | {"head_dim": 8, "query_pre_attn_scalar": 8},
    "gemma3_text": LLAMA | {"head_dim": 8, "query_pre_attn_scalar": 8},
    "cohere": LLAMA,
    "stablelm": LLAMA,
}  # fmt: skip
FAMILIES = (
    "llama", "mistral", "qwen2", "qwen3", "phi3", "gpt2", "gpt_neox", "gptj", "codegen", "gpt_bigcode", "gpt_neo",
    "opt", "bloom", "falcon", "mpt", "gemma", "gemma2", "gemma3_text", "starcoder2", "stablelm", "olmo2", "phi",
    "cohere", "granite", "smollm3", "persimmon",
)  # fmt: skip


def small_decoder(family: str) -> PreTrainedModel:
    """A model of a family, with weights larger than transformers' so that differences show, frozen and in eval mode."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **OTHERS.get(family, LLAMA))
    model = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.data.normal_(std=0.15)
    return model.requires_grad_(False).eval()
