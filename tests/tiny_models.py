"""Tiny random decoders, one for each trait that attention code gets wrong, built from configs in milliseconds.

Weights are larger than transformers' defaults, so that attention is peaked and differences show.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    BitNetConfig,
    BitNetForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

VOCABULARY, WINDOW = 97, 8
SHAPE: dict[str, Any] = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    initializer_range=0.3,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]

BUILDERS: dict[str, Callable[[], PreTrainedModel]] = {
    # grouped queries: four heads share two KV heads
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    # a window shorter than the sequences: a key's index is not its position
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=WINDOW)),
    # heads * head_dim = 48, not hidden_size
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=12)),
    # soft-capped scores, a scaling that is not 1/sqrt(head_dim), every other layer windowed
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(
            **SHAPE, head_dim=8, query_pre_attn_scalar=5, attn_logit_softcapping=2.0, sliding_window=WINDOW,
            layer_types=MIXED,
        )
    ),
    # learned attention sinks in the softmax
    "gpt_oss": lambda: GptOssForCausalLM(
        GptOssConfig(
            **SHAPE, head_dim=8, sliding_window=WINDOW, layer_types=MIXED, num_local_experts=2, num_experts_per_tok=1,
        )
    ),
    # queries, keys and values in one projection
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**SHAPE)),
    # a gate between attention and o_proj, and layers with linear attention instead
    "qwen3_next": lambda: Qwen3NextForCausalLM(
        Qwen3NextConfig(
            **SHAPE, head_dim=8, layer_types=["linear_attention", "full_attention", "full_attention"],
            linear_num_key_heads=2, linear_num_value_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
            num_experts=2, num_experts_per_tok=1, moe_intermediate_size=16, shared_expert_intermediate_size=16,
            decoder_sparse_step=1,
        )
    ),
    # a norm over all heads between attention and o_proj
    "bitnet": lambda: BitNetForCausalLM(BitNetConfig(**SHAPE)),
}  # fmt: skip


def tiny_model(name: str, backend: str | None = None, seed: int = 0) -> PreTrainedModel:
    """A tiny model with its default backend, or another; the same weights every time."""
    torch.manual_seed(seed)
    model = BUILDERS[name]().eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms and sinks start at 0 or 1: make them visible
            torch.nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.2)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    if backend is not None:
        model.set_attn_implementation(backend)
    return model


def tokens(batch: int = 1, length: int = 24, seed: int = 1) -> torch.Tensor:
    """Random token ids [batch, length], without special ones."""
    return torch.randint(3, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def logits(model: Any, ids: torch.Tensor, **options: Any) -> torch.Tensor:
    """Logits [batch, position, token] of a forward."""
    return model(input_ids=ids, **options).logits
