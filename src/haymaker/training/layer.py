"""A pre-norm decoder layer (Llama's, Mistral's, Qwen2's and Qwen3's, Phi-3's) run on its own weights, for training.

Same numbers as transformers' forward, to rounding. Its two halves are apart so that one of them can be computed again.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.models.extend import layer_types
from haymaker.training.kernels import gated, norm_of, rotate, take_rows
from haymaker.training.layout import PADDED, Layout, Sight
from haymaker.training.projections import project

FAMILY = ("llama", "mistral", "qwen2", "qwen3", "phi3")

Hidden = Float[Tensor, "batch token dim"]


@dataclass(frozen=True)
class Layer:
    """One layer, the angles of the batch's positions, how many tokens it may see back, and how the rows lie."""

    module: Any
    cos: Float[Tensor, "batch token rotated"]
    sin: Float[Tensor, "batch token rotated"]
    window: int | None
    keeps_probabilities: bool = True
    layout: Layout = PADDED

    def sight(self, keeps_probabilities: bool = False) -> Sight:
        return Sight(self.module.self_attn.scaling, self.window, keeps_probabilities)

    @property
    def attention_weights(self) -> list[nn.Parameter]:
        return [weight for weight in self.module.self_attn.parameters() if weight.requires_grad]

    @property
    def mlp_weights(self) -> list[nn.Parameter]:
        return [weight for weight in self.module.mlp.parameters() if weight.requires_grad]

    def attention(self, hidden: Hidden) -> Hidden:
        """The layer's first half: what goes on into the MLP."""
        heads = self.heads(hidden, self.keeps_probabilities)
        return project([self.module.self_attn.o_proj], heads, onto=hidden)[0]

    def heads(self, hidden: Hidden, keeps_probabilities: bool = False) -> Float[Tensor, "batch token joined"]:
        """What attention gives of every token, before the output projection."""
        query, key, value = self.queries_keys_values(hidden)
        query, key = rotate(query, self.cos, self.sin), rotate(key, self.cos, self.sin)
        return joined(self.layout.attend(query, key, value, self.sight(keeps_probabilities)))

    def attention_of_rows(self, hidden: Hidden, rows: Int64[Tensor, "batch row"]) -> Float[Tensor, "batch row dim"]:
        """The first half for some rows: they query the keys and values of all."""
        attention = self.module.self_attn
        if not self.layout.few(rows, hidden.shape[1], attention.num_key_value_groups):
            heads = take_rows(self.heads(hidden), rows)
            return project([attention.o_proj], heads, onto=take_rows(hidden, rows))[0]
        query, key, value = self.queries_keys_values(hidden, rows)
        cos, sin = (angle.expand(len(rows), -1, -1) for angle in (self.cos, self.sin))
        query = rotate(query, take_rows(cos, rows), take_rows(sin, rows))
        heads = self.layout.attend_rows(query, rotate(key, self.cos, self.sin), value, rows, self.sight())
        return project([attention.o_proj], joined(heads), onto=take_rows(hidden, rows))[0]

    def queries_keys_values(self, hidden: Hidden, rows: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """query [batch, head, token or row, dim]; key and value [batch, kv_head, token, dim], before RoPE."""
        attention, before = self.module.self_attn, norm_of(self.module.input_layernorm)
        dim = attention.head_dim
        if hasattr(attention, "qkv_proj"):  # Phi-3
            (together,) = project([attention.qkv_proj], hidden, before)
            kv_size = attention.config.num_key_value_heads * dim
            query, key, value = together.split([together.shape[-1] - 2 * kv_size, kv_size, kv_size], dim=-1)
            query = query if rows is None else take_rows(query, rows)
        elif rows is None:
            query, key, value = project([attention.q_proj, attention.k_proj, attention.v_proj], hidden, before)
        else:
            (query,) = project([attention.q_proj], take_rows(hidden, rows), before)
            key, value = project([attention.k_proj, attention.v_proj], hidden, before)
        parts = [part.unflatten(-1, (-1, dim)) for part in (query, key, value)]
        if hasattr(attention, "q_norm"):  # Qwen3 normalises each head
            parts[:2] = [norm_of(attention.q_norm)(parts[0]), norm_of(attention.k_norm)(parts[1])]
        query, key, value = (part.transpose(1, 2) for part in parts)
        return query, key, value

    def mlp(self, hidden: Float[Tensor, "*rest dim"], wants_values: bool = True) -> Float[Tensor, "*rest dim"]:
        """The second half, of each token alone. Without values only its gradient can be had, one product cheaper."""
        mlp, before = self.module.mlp, norm_of(self.module.post_attention_layernorm)
        if hasattr(mlp, "gate_up_proj"):  # Phi-3
            gate, up = project([mlp.gate_up_proj], hidden, before)[0].chunk(2, dim=-1)
            inner = gated(mlp.activation_fn, gate, up)
        else:
            gate, up = project([mlp.gate_proj, mlp.up_proj], hidden, before)
            inner = gated(mlp.act_fn, gate, up)
        return project([mlp.down_proj], inner, onto=hidden, wants_values=wants_values)[0]


def joined(heads: Float[Tensor, "batch head token dim"]) -> Float[Tensor, "batch token joined"]:
    return heads.transpose(1, 2).flatten(2)


def windows(model: PreTrainedModel) -> list[int | None]:
    """Tokens that each layer sees back, None for all."""
    size = getattr(model.config, "sliding_window", None)
    return [size if kind == "sliding_attention" else None for kind in layer_types(model)]


def is_known(model: Any) -> bool:
    """Whether `Layer` knows a model's layers: by its family, and by what its modules hold."""
    if model.config.model_type not in FAMILY:
        return False
    parts = ("self_attn", "mlp", "input_layernorm", "post_attention_layernorm")
    return all(hasattr(layer, part) for layer in model.get_decoder().layers for part in parts) and isinstance(
        model.get_output_embeddings(), nn.Linear
    )


def angles(decoder: Any, hidden: Hidden, layout: Layout) -> tuple[Tensor, Tensor]:
    """cos and sin [1, token, rotated] of the tokens' positions. Some kinds of RoPE turn by the length of the row."""
    positions = torch.arange(layout.longest(hidden.shape[1]), device=hidden.device)[None]
    cos, sin = decoder.rotary_emb(hidden, positions)
    return layout.of_tokens(cos), layout.of_tokens(sin)
