"""TransformerLens: a bridge over the same Hugging Face model, with hooks at `hook_z` and `hook_pattern`."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer

from haymaker.models.packaged import MINIATURES
from haymaker.records import Head


class Peer:
    package = "transformer-lens"

    def __init__(self, model: Any, donor: Any) -> None:
        self.model, self.donor = bridge(model), bridge(donor)

    def zero(self, ids: Tensor, heads: Sequence[Head]) -> Tensor:
        return self.model.run_with_hooks(ids, fwd_hooks=hooks(heads, lambda head, z: torch.zeros_like(z)))

    def patch(self, ids: Tensor, heads: Sequence[Head]) -> Tensor:
        names = {z_of(head.layer) for head in heads}
        _, cache = self.donor.run_with_cache(ids, names_filter=lambda name: name in names)
        put = hooks(heads, lambda head, z: cache[z_of(head.layer)][:, :, head.head])
        return self.model.run_with_hooks(ids, fwd_hooks=put)

    def generate(self, ids: Tensor, heads: Sequence[Head], new_tokens: int) -> Tensor:
        with self.model.hooks(fwd_hooks=hooks(heads, lambda head, z: torch.zeros_like(z))):
            return self.model.generate(
                ids, max_new_tokens=new_tokens, do_sample=False, stop_at_eos=False, verbose=False, return_type="tokens"
            )

    def outputs(self, ids: Tensor, heads: Sequence[Head], rows: Sequence[int]) -> Tensor:
        names = [z_of(layer) for layer in sorted({head.layer for head in heads})]
        _, cache = self.model.run_with_cache(ids, names_filter=lambda name: name in names)
        return torch.cat([cache[name][:, rows] for name in names], dim=2)

    def attention(self, ids: Tensor, rows: Sequence[int]) -> Tensor:
        _, cache = self.model.run_with_cache(ids, names_filter=lambda name: name.endswith("hook_pattern"))
        layers = range(self.model.cfg.n_layers)
        return torch.stack([cache[f"blocks.{i}.attn.hook_pattern"][:, :, rows].amax(-1) for i in layers])


def bridge(model: Any) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llama")  # it wants one; token ids go in
    return TransformerBridge.boot_transformers("random-llama", hf_model=model, tokenizer=tokenizer, device="cpu")


def z_of(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_z"


def hooks(heads: Sequence[Head], value: Callable[[Head, Tensor], Tensor]) -> list[tuple[str, Callable]]:
    def hook(head: Head) -> Callable:
        def write(z: Tensor, hook: Any) -> Tensor:
            z = z.clone()
            z[:, :, head.head] = value(head, z[:, :, head.head])
            return z

        return write

    return [(z_of(head.layer), hook(head)) for head in heads]
