"""What a GGUF file says of its model's function, put into the config that transformers makes of it, or refused.

transformers reads a model's sizes and passes over the rest without a word: windows, soft caps, widths of heads, rotated
dimensions, scaled RoPE and its tables, tokens that end a text. What these keys mean, and what holds where they lack, is
llama.cpp's.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LlamaConfig, MistralConfig, PreTrainedConfig

from haymaker.errors import ModelError
from haymaker.models.rope import frequencies, llama3_frequencies

CHECKPOINT = "load the checkpoint that the file was made from"
NEEDED = ("block_count", "context_length", "embedding_length", "attention.head_count")
GROUPED = "attention.head_count_kv"  # without it transformers leaves Llama's q and k in llama.cpp's order of rows
EPSILONS = {  # a file has one of them
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps", "norm_eps"),
    "attention.layer_norm_epsilon": ("norm_epsilon", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"),
}
CAPS = ("attn_logit_softcapping", "final_logit_softcapping")  # 0: none
LARGEST = {"gemma2": 46, "gemma3": 62}  # layers of the 27B ones, which scale scores in another way
FACTORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
SCALED = ("linear", "yarn")
SCALING = {  # of `rope.scaling.`, what transformers calls it
    "factor": "factor",
    "original_context_length": "original_max_position_embeddings",
    "attn_factor": "attention_factor",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
}
PASSED_OVER = ("type", "finetuned")
PLAIN = ("none", "default")
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}  # of every Llama 3; the file has only what comes of them
FACTOR_TOLERANCE = 1e-4


def completed_config(gguf: Any, config: PreTrainedConfig) -> PreTrainedConfig:
    """The config with all that the file says of the function.

    Raises ModelError, which names the key, for what transformers' model of this kind has no place for.
    """
    check_needed(gguf)
    if gguf.architecture == "llama" and isinstance(config, MistralConfig):  # by its name; such files have no window
        config = LlamaConfig(**{key: getattr(config, key) for key in MISTRAL_KEPT})
    set_sizes(gguf, config)
    set_attention(gguf, config)
    set_tokens(gguf, config)
    set_rope(gguf, config)
    return config


MISTRAL_KEPT = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "rope_parameters",
)  # fmt: skip


def said(gguf: Any, key: str) -> Any:
    """A value of the file by its key without the architecture; None where it lacks."""
    return gguf.get(f"{gguf.architecture}.{key}")


def refuse(gguf: Any, key: str, config: PreTrainedConfig) -> ModelError:
    return ModelError(
        f"{gguf.file}: it says {gguf.architecture}.{key} = {said(gguf, key)}, for which transformers' "
        f"{config.model_type} has no place, so it would be another model; {CHECKPOINT}"
    )


def check_needed(gguf: Any) -> None:
    """Raise ModelError for a part of a model, and where a size lacks that transformers would make up."""
    if (parts := gguf.get("split.count", 1)) > 1:
        raise ModelError(
            f"{gguf.file}: one of the {parts} files of a model; join them with llama.cpp's `llama-gguf-split --merge`"
        )
    needed = NEEDED + ((GROUPED,) if gguf.architecture == "llama" else ())
    lost = [key for key in needed if said(gguf, key) is None]
    if all(said(gguf, key) is None for key in EPSILONS):
        lost.append(next(iter(EPSILONS)))
    if lost:
        raise ModelError(
            f"{gguf.file}: its metadata lacks {', '.join(f'{gguf.architecture}.{key}' for key in lost)}, so nothing "
            f"says what model it is; {CHECKPOINT}"
        )


# ---- sizes, attention, tokens


def set_sizes(gguf: Any, config: Any) -> None:
    """Context, width of a head, and what is added to a norm's variance."""
    if getattr(config, "max_position_embeddings", None) is not None:
        config.max_position_embeddings = int(said(gguf, "context_length"))
    for key, names in EPSILONS.items():
        value, places = said(gguf, key), [name for name in names if hasattr(config, name)]
        if value is not None and places and not math.isclose(getattr(config, places[0]), value, rel_tol=1e-6):
            setattr(config, places[0], float(value))
    width = said(gguf, "attention.key_length")
    if width is None or int(width) == width_of(config):
        return
    if getattr(config, "head_dim", None) is None:
        raise refuse(gguf, "attention.key_length", config)
    config.head_dim = int(width)


def width_of(config: Any) -> int:
    """Of a head of queries."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def set_attention(gguf: Any, config: Any) -> None:
    """Windows and which layers have them, soft caps, and by what scores are multiplied."""
    set_windows(gguf, config)
    for key in CAPS:
        if (cap := said(gguf, key)) is not None:
            if hasattr(config, key):
                setattr(config, key, float(cap) or None)
            elif cap:
                raise refuse(gguf, key, config)
    if hasattr(config, "query_pre_attn_scalar"):
        config.query_pre_attn_scalar = pre_attention_scalar(gguf, config)
    elif (scale := said(gguf, "attention.scale")) and not math.isclose(scale, width_of(config) ** -0.5, rel_tol=1e-4):
        raise refuse(gguf, "attention.scale", config)


def pre_attention_scalar(gguf: Any, config: Any) -> int:
    """Gemma's scores are divided by the root of it: of its width of heads, but for its largest model."""
    if scale := said(gguf, "attention.scale"):
        return round(float(scale) ** -2)
    if LARGEST.get(gguf.architecture) == config.num_hidden_layers:
        return config.hidden_size // config.num_attention_heads
    return width_of(config)


def set_windows(gguf: Any, config: Any) -> None:
    window, key = said(gguf, "attention.sliding_window"), "attention.sliding_window"
    if window is not None:
        if hasattr(config, "sliding_window"):
            config.sliding_window = int(window) or None
        elif 0 < window < said(gguf, "context_length"):
            raise refuse(gguf, key, config)
    pattern = said(gguf, f"{key}_pattern")
    if pattern is not None and window:
        if getattr(config, "layer_types", None) is None:
            raise refuse(gguf, f"{key}_pattern", config)
        config.layer_types = windowed_layers(pattern, config.num_hidden_layers)


def windowed_layers(pattern: int | Sequence[bool], layers: int) -> list[str]:
    """Kinds of the layers: of each one whether it has a window, or that every n-th has none."""
    if isinstance(pattern, int):
        pattern = [bool((layer + 1) % pattern) for layer in range(layers)]
    return ["sliding_attention" if windowed else "full_attention" for windowed in pattern]


def set_tokens(gguf: Any, config: Any) -> None:
    """Tokens that begin and end a text, in place of defaults of another vocabulary: words here."""
    for kind in ("bos", "eos"):
        config_name = f"{kind}_token_id"
        number = gguf.get(f"tokenizer.ggml.{config_name}")
        if number is not None and getattr(config, config_name, None) != number:
            setattr(config, config_name, int(number))
    if getattr(config, "pad_token_id", None) is not None:
        number = gguf.get("tokenizer.ggml.padding_token_id")
        config.pad_token_id = None if number is None else int(number)


# ---- RoPE


def set_rope(gguf: Any, config: Any) -> None:
    """The base, the rotated share of a head, and a rule that scales, with its tables of factors."""
    parameters = getattr(config, "rope_parameters", None)
    if parameters is None:
        return
    full = parameters.get("full_attention", parameters)  # where windows have a rule of their own, theirs stays plain
    if (theta := said(gguf, "rope.freq_base")) is not None:
        full["rope_theta"] = float(theta)
    set_windows_theta(gguf, config, parameters)
    rotated = said(gguf, "rope.dimension_count")
    if rotated is not None and ("partial_rotary_factor" in full or int(rotated) != width_of(config)):
        full["partial_rotary_factor"] = int(rotated) / width_of(config)
    full.update(scaling_of(gguf, full, config))
    if "original_max_position_embeddings" in full and hasattr(config, "original_max_position_embeddings"):
        config.original_max_position_embeddings = full["original_max_position_embeddings"]


def set_windows_theta(gguf: Any, config: Any, parameters: Any) -> None:
    local = said(gguf, "rope.freq_base_swa")
    if local is None:
        return
    if "sliding_attention" in parameters:
        parameters["sliding_attention"]["rope_theta"] = float(local)
    elif local != said(gguf, "rope.freq_base"):
        raise refuse(gguf, "rope.freq_base_swa", config)


def scaling_of(gguf: Any, full: Any, config: Any) -> dict[str, Any]:
    """What scales RoPE, in transformers' words; nothing where it is plain."""
    tables = {tensor.name: torch.from_numpy(tensor.data.copy()).double() for tensor in gguf.reader.tensors
              if tensor.name in FACTORS}  # fmt: skip
    kind, given = said(gguf, "rope.scaling.type"), scaling_values(gguf, config)
    if FACTORS[0] in tables:
        return llama3_of(gguf, tables[FACTORS[0]], full, config)
    if tables:
        return longrope_of(gguf, tables, given)
    if kind is None or kind in PLAIN or (kind in SCALED and given.get("factor", 1.0) == 1.0):
        return {}
    if kind not in SCALED:
        raise refuse(gguf, "rope.scaling.type", config)
    if kind == "yarn":
        given.setdefault("original_max_position_embeddings", int(said(gguf, "context_length")))
        return {"rope_type": kind, **given}
    return {"rope_type": kind, "factor": given["factor"]}


def scaling_values(gguf: Any, config: Any) -> dict[str, Any]:
    """The keys below `rope.scaling.`; a zero says nothing. Raises ModelError for one that is not known."""
    start, found = f"{gguf.architecture}.rope.scaling.", {}
    for name in gguf.reader.fields:
        key = name.removeprefix(start)
        if not name.startswith(start) or key in PASSED_OVER:
            continue
        if key not in SCALING:
            raise refuse(gguf, f"rope.scaling.{key}", config)
        if value := gguf.get(name):
            found[SCALING[key]] = int(value) if key == "original_context_length" else float(value)
    return found


def longrope_of(gguf: Any, tables: dict[str, torch.Tensor], given: dict[str, Any]) -> dict[str, Any]:
    """LongRoPE's two tables (Phi 3), by what each frequency is divided below and above the original length."""
    if len(tables) != 2 or "original_max_position_embeddings" not in given:
        raise ModelError(
            f"{gguf.file}: of {', '.join(FACTORS[1:])} and rope.scaling.original_context_length, which go together, it "
            f"lacks a part; {CHECKPOINT}"
        )
    long, short = (tables[name].tolist() for name in FACTORS[1:])
    return {"rope_type": "longrope", "long_factor": long, "short_factor": short, **given}


def llama3_of(gguf: Any, factors: torch.Tensor, full: Any, config: Any) -> dict[str, Any]:
    """Llama 3.1's rule, of which a file has only what each frequency is divided by: the numbers that give these."""
    if bool((factors == 1).all()):
        return {}
    factor = float(f"{float(factors.max()):.6g}")
    plain = frequencies(float(full["rope_theta"]), 2 * len(factors))
    for length in original_lengths(factors, 2 * math.pi / plain):
        found = {"rope_type": "llama3", "factor": factor, **LLAMA3, "original_max_position_embeddings": length}
        if torch.allclose(plain / llama3_frequencies(found, plain), factors, rtol=FACTOR_TOLERANCE, atol=0):
            return found
    raise ModelError(f"{gguf.file}: no rule of {config.model_type} gives the factors in {FACTORS[0]}; {CHECKPOINT}")


def original_lengths(factors: torch.Tensor, waves: torch.Tensor) -> list[int]:
    """Original lengths that may have given these factors, with low and high at 1 and 4, by the lengths of the waves.

    A wave that is slowed by a part of the factor tells it; where there is none, any between those that are slowed and
    those that are not.
    """
    kept = (1 / factors - 1 / factors.max()) / (1 - 1 / factors.max())
    between = (kept > FACTOR_TOLERANCE) & (kept < 1 - FACTOR_TOLERANCE)
    if between.any():
        return [round(float((waves * (1 + 3 * kept))[between].median()))]
    whole, slowed = 4 * waves[kept > 0.5], waves[kept < 0.5]
    return [8_192, round(float(whole.max() if len(whole) else slowed.min())) + 1]


def check_rotated(gguf: Any, model: Any) -> None:
    """Raise ModelError where the model turns another number of dimensions than the file says."""
    rotated, rotary = said(gguf, "rope.dimension_count"), getattr(model.base_model, "rotary_emb", None)
    turned = getattr(rotary, "inv_freq", getattr(rotary, "full_attention_inv_freq", None))
    if rotated is not None and turned is not None and 2 * len(turned) != rotated:
        raise refuse(gguf, "rope.dimension_count", model.config)
