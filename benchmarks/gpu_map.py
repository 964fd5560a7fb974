"""The causal map of all heads on a GPU: seconds, beside one forward per head, and peak memory."""

from typing import Any

import torch
from gpu_common import Page, Setting
from torch import Tensor

from haymaker.attention.edits import Zero
from haymaker.interventions.branches import Trunk

ANSWER = 8
HEADER = ["tokens", "plain forward, s", "causal map, s", "of heads x plain", "plain, MiB", "causal map, MiB"]


def causal_map(model: Any, ids: list[int]) -> Tensor:
    """log p of the answer without each head [head], and before them with all."""
    trunk = Trunk(model, ids[:-ANSWER])
    branches = [[], *([Zero([head])] for head in trunk.architecture.heads)]
    return trunk.log_probabilities(branches, ids[-ANSWER:]).sum(-1)


@torch.no_grad()
def measure_map(setting: Setting, model: Any) -> None:
    page = Page(
        setting, "map", "The causal map",
        f"Random weights in Llama-3.1-8B's shape, bfloat16; every head, {ANSWER} answer tokens, batch 1.", HEADER,
    )  # fmt: skip
    heads = model.config.num_hidden_layers * model.config.num_attention_heads
    for tokens in setting.lengths([32_768, 131_072]):
        ids = setting.ids(model, tokens)

        def plain(ids: Tensor = ids) -> Any:
            return model(input_ids=ids, use_cache=False, logits_to_keep=ANSWER).logits

        def mapped(ids: Tensor = ids) -> Any:
            return causal_map(model, ids[0].tolist())

        plain()
        (forward, peak), (seconds, map_peak) = setting.measured(plain), setting.measured(mapped)
        page.add([
            f"{tokens:,}", f"{forward:.3f}", f"{seconds:.2f}", f"1/{heads * forward / seconds:.0f}",
            f"{peak / 2**20:,.0f}", f"{map_peak / 2**20:,.0f}",
        ])  # fmt: skip
