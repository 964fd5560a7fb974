"""A tiny model of any causal architecture that transformers knows, by shrinking the numbers of its default config.

No architecture is written out here: sizes shrink by the name that transformers' configs give them, lists over layers
become as short as the model with every kind of layer kept, and what else does not fit is in `ALSO`.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY, CONTEXT, WINDOW, LAYERS = 97, 128, 16, 4
MOST_PARAMETERS = 6_000_000

SIZES: dict[str, int] = (
    dict.fromkeys(["vocab_size", "decoder_vocab_size", "vocab_size_per_layer_input", "unpadded_vocab_size"], VOCABULARY)
    | dict.fromkeys(["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_target_positions"], CONTEXT)
    | dict.fromkeys(["model_max_length", "context_length", "original_max_position_embeddings"], CONTEXT)
    | dict.fromkeys(["hidden_size", "n_embd", "d_model", "embedding_size", "emb_dim", "embedding_dim", "dim"], 32)
    | dict.fromkeys(["word_embed_proj_dim", "lru_width", "attention_hidden_size", "backbone_hidden_size"], 32)
    | dict.fromkeys(["input_embedding_size", "output_embedding_size", "ple_embed_dim", "d_inner_"], 32)
    | dict.fromkeys(["intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "d_inner", "dff"], 48)
    | dict.fromkeys(["n_inner", "dim_ff", "ffn_hidden_size", "expert_ffn_hidden_size", "intermediate_size_mlp"], 48)
    | dict.fromkeys(["shared_intermediate_size", "dense_intermediate_size", "feed_forward_size"], 48)
    | dict.fromkeys(
        ["moe_intermediate_size", "shared_expert_intermediate_size", "shared_experts_intermediate_size"], 16
    )
    | dict.fromkeys(["moe_shared_expert_intermediate_size", "router_hidden_size"], 16)
    | dict.fromkeys(["num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "num_blocks"], LAYERS)
    | dict.fromkeys(["encoder_layers", "num_encoder_layers", "num_layers_per_stack", "num_decoder_layers"], LAYERS)
    | dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"], 4)
    | dict.fromkeys(["encoder_attention_heads", "num_encoder_attention_heads", "attention_heads"], 4)
    | dict.fromkeys(["num_decoder_attention_heads", "linear_num_heads", "swa_num_attention_heads", "index_n_heads"], 4)
    | dict.fromkeys(["num_key_value_heads", "swa_num_key_value_heads", "linear_num_key_heads"], 2)
    | dict.fromkeys(["linear_num_value_heads", "num_query_groups", "num_kv_heads", "num_global_key_value_heads"], 2)
    | dict.fromkeys(["head_dim", "swa_head_dim", "dim_head", "d_head", "kv_channels", "attention_head_size"], 16)
    | dict.fromkeys(["linear_head_dim", "linear_key_head_dim", "linear_value_head_dim", "index_head_dim"], 8)
    | dict.fromkeys(["global_head_dim", "v_head_dim", "qk_nope_head_dim", "qk_rope_head_dim", "attention_head_dim"], 8)
    | dict.fromkeys(["rotary_dim"], 4)
    | dict.fromkeys(["q_lora_rank", "kv_lora_rank", "o_lora_rank", "laurel_rank", "hc_lowrank", "adapter_rank"], 16)
    | dict.fromkeys(["gated_norm_rank", "hidden_size_per_layer_input", "query_pre_attn_scalar"], 8)
    | dict.fromkeys(["qk_head_dim"], 16)
    | dict.fromkeys(["num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"], 4)
    | dict.fromkeys(["num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk", "zero_expert_num"], 2)
    | dict.fromkeys(["sliding_window", "sliding_window_size", "window_size", "local_attention", "block_size"], WINDOW)
    | dict.fromkeys(["attention_window_size", "attention_chunk_size", "floor_scale", "keep_window_size"], WINDOW)
    | dict.fromkeys(["local_attn_chunk_length", "lsh_attn_chunk_length"], WINDOW)
    | dict.fromkeys(["index_topk"], 64)
    | dict.fromkeys(["mamba_d_state", "state_size", "ssm_state_size", "mamba_chunk_size", "chunk_size"], 8)
    | dict.fromkeys(["mamba_n_heads", "mamba_num_heads", "n_mamba_heads"], 8)
    | dict.fromkeys(["mamba_d_head", "mamba_head_dim", "mamba_headdim"], 8)
    | dict.fromkeys(["mamba_dt_rank", "time_step_rank", "d_rel"], 8)
    | dict.fromkeys(["mamba_d_ssm"], 64)
    | dict.fromkeys(["rel_extent"], 32)
    | dict.fromkeys(["n_group", "n_groups", "topk_group", "num_expert_group", "o_groups", "moe_n_group"], 1)
    | dict.fromkeys(["num_kv_shared_layers", "mamba_n_groups", "mamba_ngroups", "first_k_dense_replace"], 1)
    | dict.fromkeys(["attn_layer_period", "expert_layer_period", "layer_group_size"], 2)
    | dict.fromkeys(["max_window_layers"], 0)
)
KEPT_LISTS = ("layer_types", "layers_block_type", "block_types", "mlp_layer_types", "attn_layers", "indexer_types")
HYBRID = ["linear_attention", "full_attention"] * 2
PLAIN = ["full_attention"] * LAYERS
HALF = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5}
ALSO: dict[str, dict[str, Any]] = {
    "qwen2": {"use_sliding_window": True},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10_000.0},
             "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2}},
    "dots3_note_text": {"layer_types": ["indexed_attention", "sliding_attention"] * 2, "swa_num_attention_heads": 2,
                        "swa_num_key_value_heads": 2, "swa_q_lora_rank": 16, "swa_kv_lora_rank": 16, "swa_head_dim": 24,
                        "swa_qk_nope_head_dim": 16, "swa_v_head_dim": 16, "head_dim": 16},
    "qwen4_exp_text": {"layer_types": ["linear_attention", "indexed_attention"] * 2, "indexer_n_heads": 2,
                       "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 64,
                       "indexer_compress_ratio": 4},
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": HYBRID},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10_000.0}}},
    "dots1": {"layer_types": PLAIN, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "gemma3n_text": {
        "hidden_size_per_layer_input": 8, "intermediate_size": 48, "activation_sparsity_pattern": [0.0] * LAYERS,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "blt": {"encoder_hash_byte_group_vocab": 50},
    "gpt_neox": {"rope_parameters": HALF},
    "stablelm": {"rope_parameters": HALF},
    "longcat_flash": {"head_dim": 8},
    "mimo_v2_flash": {"head_dim": 24},
    "xlnet": {"d_head": 8},
    "helium": {"head_dim": 8},
    "hrm_text": {"num_layers_per_stack": 2, "num_hidden_layers": 16},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "jamba": {"attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "ministral": {"head_dim": 16},
    "moshi": {"sliding_window": CONTEXT},  # as its own is: its mask knows no window, its cache does
    "nemotron": {"num_key_value_heads": 2, "head_dim": 16},
    "reformer": {"axial_pos_embds_dim": [16, 16], "axial_pos_shape": [8, 16]},
    "roc_bert": dict.fromkeys(["pronunciation_vocab_size", "shape_vocab_size"], 20)
    | dict.fromkeys(["pronunciation_embed_dim", "shape_embed_dim"], 8),
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_key_value_heads": 4, "attention_hidden_size": 64, "attention_head_dim": 16, "n_mamba_heads": 2,
              "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zamba2": {"num_key_value_heads": 4, "attention_hidden_size": 64, "attention_head_dim": 16, "n_mamba_heads": 8,
               "use_mem_rope": True, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip


def causal_architectures() -> list[str]:
    """Model types that transformers can build a causal language model of, without those that read an encoder."""
    return list(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(kind: str) -> PreTrainedConfig:
    """The default config of a model type, with the sizes of a toy; its YaRN ends where its context does."""
    config = shrunk(CONFIG_MAPPING[kind], ALSO.get(kind, {}))
    given = getattr(config, "rope_parameters", None) or {}
    for rule in [given, *given.values()]:
        if isinstance(rule, dict) and rule.get("rope_type") == "yarn":
            rule |= {"factor": 4.0, "original_max_position_embeddings": CONTEXT // 4}
    return config


def shrunk(config_class: type[PreTrainedConfig], also: Mapping[str, Any]) -> PreTrainedConfig:
    default: Any = config_class()
    parts = {name: shrunk(type(part), {}) for name, part in vars(default).items() if isinstance(part, PreTrainedConfig)}
    values = {name: smaller(name, value) for name, value in vars(default).items()}
    changed = {name: value for name, value in values.items() if value is not None and name not in parts}
    if "kv_lora_rank" in values:
        changed["num_key_value_heads"] = changed["num_attention_heads"]
        changed.pop("head_dim", None)
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3}
    return config_class(**{**changed, **parts, **tokens, **also})


def smaller(name: str, value: Any) -> Any:
    """A smaller value of a config's entry, None where the class shall choose."""
    if isinstance(value, int) and not isinstance(value, bool):
        return SIZES.get(name)
    if name in KEPT_LISTS and isinstance(value, Sequence) and value:
        return every_kind(value)
    return None


def every_kind(values: Sequence[Any]) -> list[Any]:
    """As many of `values` as there are layers, each kind among them, in their order of appearance."""
    kinds = list(dict.fromkeys(values))
    return (kinds * LAYERS)[:LAYERS]


def tiny(kind: str, seed: int = 0) -> PreTrainedModel:
    """A tiny random model of a model type, in float32 and eval mode, the same weights every time."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    config = tiny_config(kind)
    if getattr(config, "is_decoder", None) is False:
        config.is_decoder = True
    with torch.device("meta"):
        size = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"{size} parameters: no way known to build it tiny")
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for weight in model.parameters():
        if weight.ndim == 1:  # norms and sinks start at 0 or 1: make them visible
            torch.nn.init.normal_(weight, mean=float(weight.detach().mean()), std=0.2)
    return model.requires_grad_(False)
