"""What the peers are asked to do, and how Haymaker does it.

A peer is a class with `package` and some of the methods of Haymaker below; it is built from a model, which it may
change, and a donor. Methods it lacks are left out of the comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from haymaker.attention.canary import check_architecture
from haymaker.attention.edits import Patch, Zero, edit
from haymaker.attention.probing import probe
from haymaker.attention.recording import record
from haymaker.records import Head


@dataclass(frozen=True)
class Shape:
    layers: int = 8
    heads: int = 16
    kv_heads: int = 8
    head_dim: int = 64
    hidden: int = 1024
    mlp: int = 2816
    tokens: int = 1024
    rows: int = 16
    new_tokens: int = 8


SMALL = Shape(layers=3, heads=4, kv_heads=2, head_dim=8, hidden=32, mlp=48, tokens=40, rows=4, new_tokens=6)
VOCABULARY = 1_000


def random_llama(shape: Shape, seed: int) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=shape.hidden, intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=4 * shape.tokens, pad_token_id=0, bos_token_id=1,
        initializer_range=0.2 if shape is SMALL else 0.05,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config).eval()
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    return model


class Work:
    """One task of each kind, the same for everyone."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        generator = torch.Generator().manual_seed(0)
        self.ids = torch.randint(3, VOCABULARY, (1, shape.tokens), generator=generator)
        self.heads = [Head(shape.layers // 2, shape.heads - 1)]
        self.every = [Head(layer, head) for layer in range(shape.layers) for head in range(shape.heads)]
        self.rows = list(range(shape.tokens - shape.rows, shape.tokens))

    def of(self, peer: Any) -> dict[str, Any]:
        """What a peer can do, by name of the task."""
        tasks = {
            "zero one head: logits": ("zero", self.ids, self.heads),
            "patch one head from a donor model: logits": ("patch", self.ids, self.heads),
            "greedy generation without one head: tokens": ("generate", self.ids, self.heads, self.shape.new_tokens),
            "outputs of every head at the last rows": ("outputs", self.ids, self.every, self.rows),
            "highest attention probability of the last rows, every head": ("attention", self.ids, self.rows),
        }
        return {
            task: lambda method=method, given=given: getattr(peer, method)(*given)
            for task, (method, *given) in tasks.items()
            if hasattr(peer, method)
        }


class Haymaker:
    """Ours."""

    package = "haymaker"

    def __init__(self, model: Any, donor: Any) -> None:
        self.model, self.donor = model, donor
        for one in (model, donor):
            check_architecture(one)  # once per model, not part of the work

    def logits(self, ids: Tensor) -> Tensor:
        return self.model(input_ids=ids, use_cache=False).logits

    def zero(self, ids: Tensor, heads: Sequence[Head]) -> Tensor:
        with edit(self.model, Zero(heads)):
            return self.logits(ids)

    def patch(self, ids: Tensor, heads: Sequence[Head]) -> Tensor:
        with record(self.donor, heads) as recording:
            self.donor(input_ids=ids, use_cache=False)
        with edit(self.model, Patch(heads, recording)):
            return self.logits(ids)

    def generate(self, ids: Tensor, heads: Sequence[Head], new_tokens: int) -> Tensor:
        with edit(self.model, Zero(heads)):
            return self.model.generate(ids, max_new_tokens=new_tokens, do_sample=False)

    def outputs(self, ids: Tensor, heads: Sequence[Head], rows: Sequence[int]) -> Tensor:
        """[batch, row, head, head_dim], heads layer by layer."""
        with record(self.model, heads, rows=rows) as recording:
            self.logits(ids)
        return recording.values

    def attention(self, ids: Tensor, rows: Sequence[int]) -> Tensor:
        """[layer, batch, head, row]."""
        with probe(self.model, rows=rows) as seen:
            self.logits(ids)
        return seen.top_probability[..., 0]
