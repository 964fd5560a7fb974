"""Attribution patching: an estimate of every head's effect at once, from one forward and one backward pass.

To first order, changing what a head writes by delta changes a metric by (d metric / d z) . delta, where z is the head's
output before the output projection (Nanda 2023; Syed et al. 2023, arXiv 2310.10348; Kramar et al. 2024, arXiv
2403.00745). With delta = -z that estimates zero ablation, with delta = donor - z patching.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import DynamicCache

from haymaker.attention.canary import Architecture, check_architecture
from haymaker.attention.edits import SCOPES
from haymaker.attention.hook import decoder_of
from haymaker.attention.recording import Recording, record
from haymaker.console import OnProgress
from haymaker.errors import ConfigError, ProbeError
from haymaker.heads.scores import HeadScores
from haymaker.interventions.branches import is_late, layers_without_keys
from haymaker.interventions.causal import effects_of_examples, kept_effects
from haymaker.models.load import LanguageModel
from haymaker.records import Encoded, Example

ADVICE = "use scope='last+decode', build shorter rows, or use more memory"


def attribute(
    lm: LanguageModel,
    examples: Iterable[Example],
    donor: LanguageModel | None = None,
    scope: str = "last+decode",
    on_progress: OnProgress | None = None,
    *,
    keep: str | Path | None = None,
) -> HeadScores:
    """The estimated effect of every head on the log-probability of the gold answer (nats, summed over its tokens).

    Exact where the model is linear in the head; `causal_map` measures what this estimates, with the same scopes and
    signs. With "last" and "decode" alone the prompt is read without a graph, so memory is that of a plain forward with
    cache. Else all activations of the sequence are kept: per token and layer some 10 to 20 times the hidden size in
    numbers; so they are where a layer keeps a state instead of keys (linear attention), as later tokens overwrite it.
    Examples are read one by one, as that memory is of one example: there is no batch to bound.

    Args:
        lm: The model.
        examples: A Dataset, or any Examples.
        donor: None: what the answer loses without the head, positive where it helps. Another model of the same shape:
            what it gains with the donor's output in the head's place.
        scope: The positions that count: "last", the row that predicts the first answer token; "decode", those after it;
            "prompt", all before the answer, "last" among them; "all"; several joined by +.
        on_progress: Called with the number of examples finished since its last call.
        keep: A file in which rows are kept as they are done: after a stop the same call goes on, and gives the same.
            It is left when the call ends well, for the caller to remove.

    Returns:
        Values [example, layer, head] in nats; NaN in layers without attention.

    Raises:
        ConfigError: An unknown scope.
        LengthError: An example longer than the model's context.
        ModelError: A donor of another shape or vocabulary, or a model in train mode.
        ProbeError: An architecture that cannot be read.
        OutOfMemory: An example that does not fit the machine; none is ever skipped.

    Source:
        Attribution patching: Nanda 2023; Syed et al. 2023 (arXiv 2310.10348); Kramar et al. 2024 (arXiv 2403.00745).

    Examples:
        >>> hm.attribute(lm, rows).values.shape
        (2, 4, 8)
    """
    if unknown := [part for part in scope.split("+") if part not in SCOPES]:
        raise ConfigError(f"scope: expected {', '.join(SCOPES)}, joined by +, found {unknown}")
    about = {"metric": "attribution", "scope": scope, "advice": ADVICE, "divisible": False}

    def one(item: Encoded, room: int, parts: int) -> Float[np.ndarray, "layer head"]:
        return effects(lm, item, donor, scope)  # one example is one forward and one backward pass

    keeping = partial(kept_effects, keep)
    return effects_of_examples(lm, donor, examples, one, **about, on_progress=on_progress, keeping=keeping)


def effects(
    lm: LanguageModel, item: Encoded, donor: LanguageModel | None, scope: str
) -> Float[np.ndarray, "layer head"]:
    """One example's effects."""
    architecture = check_architecture(lm.model)
    apart = is_late(scope) and not layers_without_keys(decoder_of(lm.model), architecture)
    first = item.prompt_length - 1 if apart else 0  # only these rows need a graph
    outputs, slopes = slopes_of(lm, item, first, architecture)
    lent = None if donor is None else written(donor, item, first, architecture)
    chosen = in_scope(item, scope)[first:].to(lm.device)
    table = np.full(
        (decoder_of(lm.model).config.num_hidden_layers, max(s.heads for s in architecture.layers.values())), np.nan
    )
    for layer, slope in slopes.items():
        own = outputs[layer].detach()
        gained = (slope * (own if lent is None else lent.layer(layer).to(own) - own)).sum(-1)[0]
        table[layer, : gained.shape[1]] = found = gained[chosen].sum(0).double().cpu().numpy()
        if not np.isfinite(found).all():  # the root of a row of zeros in Gemma 3n, for one
            raise ProbeError(
                f"{lm.name}, {item.example_id}: the gradients at the heads of layer {layer} are no numbers: something "
                "behind them has none there; use causal_map, which needs none"
            )
    return table


def in_scope(item: Encoded, scope: str) -> Bool[Tensor, " position"]:
    """Which positions count, of those that are fed: all tokens but the answer's last."""
    positions, last = torch.arange(len(item) - 1), item.prompt_length - 1
    parts = {
        "all": positions >= 0,
        "prompt": positions <= last,
        "last": positions == last,
        "decode": positions > last,
    }
    return torch.stack([parts[part] for part in scope.split("+")]).any(0)


def slopes_of(
    lm: LanguageModel, item: Encoded, first: int, architecture: Architecture
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Head outputs [1, position, head, head_dim] by layer from position `first` on, and the slopes of the answer's
    log-probability along them."""
    with record(lm.model, architecture.heads, gradients=True) as recording, torch.enable_grad():
        logits = answer_logits(lm, item, first)
        wanted = torch.tensor(item.answer_ids, device=logits.device)
        total = logits.log_softmax(-1).gather(1, wanted[:, None]).sum()
        layers = sorted(recording.tensors)
        outputs, reached = [recording.tensors[layer] for layer in layers], total.requires_grad
        slopes = torch.autograd.grad(total, outputs, allow_unused=True) if reached else [None]
    if lost := [layer for layer, slope in zip(layers, slopes, strict=False) if slope is None]:
        raise ProbeError(  # torchao's 8 bits of weights and activations
            f"{lm.name}: no gradient comes back to the heads of layer {lost[0]}: what stands behind them (quantised "
            "weights?) has none on this device; use causal_map, which needs none"
        )
    return recording.tensors, {layer: one for layer, one in zip(layers, slopes, strict=True) if one is not None}


@torch.no_grad()
def written(donor: LanguageModel, item: Encoded, first: int, architecture: Architecture) -> Recording:
    """What the donor's heads write from position `first` on."""
    with record(donor.model, architecture.heads, rows=range(first, len(item) - 1)) as recording:
        answer_logits(donor, item, first)
    return recording


def answer_logits(lm: LanguageModel, item: Encoded, first: int) -> Float[Tensor, "token vocabulary"]:
    """Logits of the answer's tokens, in float32 or more; what stands before `first` is read without a graph."""
    ids = torch.tensor([item.input_ids[:-1]], device=lm.device)
    count = len(item.answer_ids)
    if first == 0:
        logits = lm.model(input_ids=ids, use_cache=False, logits_to_keep=count).logits
    else:
        cache = DynamicCache(config=lm.base.config)
        with torch.no_grad():
            lm.model(input_ids=ids[:, :first], past_key_values=cache, logits_to_keep=1)
        places = torch.arange(first, ids.shape[1], device=lm.device)[None]
        logits = lm.model(
            input_ids=ids[:, first:], position_ids=places, past_key_values=cache, logits_to_keep=count
        ).logits
    return logits[0].float() if logits.dtype.itemsize < 4 else logits[0]
