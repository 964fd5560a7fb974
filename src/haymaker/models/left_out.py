"""Weights of a checkpoint for which the model of its config has no place: it would be another model."""

import re
from collections.abc import Iterable, Mapping

from torch import nn
from transformers import PreTrainedModel

from haymaker.console import note
from haymaker.errors import ModelError

NUMBER = re.compile(r"\.(\d+)\.")
AHEAD = re.compile(r"\.(eh_proj|[eh]norm|(token|hidden)_layernorm|shared_head|mtp\w*)\.")
LEARNED = re.compile(r"\.(weight|sinks|(?!masked)\w+_bias)$")
BESIDE = re.compile(r"norm|(^|_)ln(_|$)|embed|position|^w[tp]e$|^project_(in|out)$")  # learned parts that are no layers
FOREIGN = re.compile(  # towers, other heads, further tokens; tables, masks and scales that are computed anew
    r"vis(ion|ual)|image|img|video|audio|speech|multi_?modal|projector|connector|merger|perceiver|talker|(token|code)2wav"
    r"|mtp|medusa|(^|\.)(score|v_head|classifier|pooler|cls|qa_outputs|reward_head)\b|seq_relationship"
    r"|inv_freq|rotary|masked_bias|(attn|attention)\.bias|position_ids|embed_positions\.(weights|_float_tensor)|alibi"
    r"|num_batches_tracked|(?<!embed)_scales?$|\.scales?$|zero_point$|_format$"
)
CODED = re.compile(r"\.(weight_scale(_inv|_2)?|weight_zero_point|SCB|scales|qzeros|g_idx|weight\.(absmax|quant_\w+))$")


def check_left_out(name: str, model: PreTrainedModel, unexpected: Iterable[str]) -> None:
    """Raise ModelError where a checkpoint has parts of its decoder for which its config has no place: layers, parts of
    layers, biases, and beside the layers norms and embeddings.

    transformers leaves them out with a report. What else it leaves out is told, unless its name says that it is no part
    of the decoder: masks, rotary tables and scales, layers that predict further tokens, towers, heads of other tasks.
    """
    modules = dict(model.named_modules())
    prefix = f"{model.base_model_prefix}."  # which names in a file may lack
    modules = {name.removeprefix(prefix): module for name, module in modules.items()} | modules
    keys = sorted(unexpected)
    ahead = {found[0] for key in keys if AHEAD.search(key) and (found := layer_of(modules, key))}
    plain = getattr(model.config, "quantization_config", None) is None  # others have scales of their codes
    lost = [
        key for key in keys
        if is_of_layer(modules, key, ahead) or is_bias(modules, key) or is_beside(modules, key)
        or (plain and CODED.search(key) and key.rpartition(".")[0].removesuffix(".weight") in modules)
    ]  # fmt: skip
    if lost:
        raise ModelError(
            f"{name}: its file holds {len(lost)} weights for which its config leaves no place, such as {lost[0]}, so "
            "the model would be another one; give the config that was saved with these weights"
        )
    unknown = [key for key in keys if not FOREIGN.search(key) and (layer_of(modules, key) or (None,))[0] not in ahead]
    if unknown:
        note(f"{name}: {len(unknown)} weights of its file are left out, such as {unknown[0]}; its config has no place "
             "for them", style="yellow")  # fmt: skip


def use_own_head(name: str, model: PreTrainedModel) -> None:
    """Take a head that stands in the file beside other embeddings, where the config says that they are one, and say so.

    transformers computes with both then, and whoever reads the config alone would not.
    """
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = getattr(model.config, "tie_word_embeddings", False) and model._tied_weights_keys
    if not tied or getattr(model.config, "quantization_config", None) is not None or head is None:
        return
    if head.weight is embeddings.weight:
        return
    model.config.tie_word_embeddings = False
    note(f"{name}: its config ties the head to the embeddings, and its file holds a head of its own, which is used",
         style="yellow")  # fmt: skip


def layer_of(modules: Mapping[str, nn.Module], key: str) -> tuple[str, bool] | None:
    """The layer that a weight belongs to, and whether the model has it; None for what stands in no list of layers."""
    for found in NUMBER.finditer(key):
        layers = modules.get(key[: found.start()])
        if isinstance(layers, nn.ModuleList):
            return key[: found.end()], int(found[1]) < len(layers)
    return None


def is_of_layer(modules: Mapping[str, nn.Module], key: str, ahead: set[str]) -> bool:
    """Whether it is learned by a layer that the model has, or of one behind the last that is none of those `ahead`."""
    found = layer_of(modules, key)
    if found is None or found[0] in ahead:
        return False
    return not found[1] or LEARNED.search(key) is not None


def is_bias(modules: Mapping[str, nn.Module], key: str) -> bool:
    """Whether it is the bias of a product or a norm that has none here."""
    place, _, kind = key.rpartition(".")
    module = modules.get(place)
    if kind != "bias" or module is None or any(module.children()):
        return False
    return getattr(module, "weight", None) is not None and "bias" not in dict(module.named_buffers(recurse=False))


def is_beside(modules: Mapping[str, nn.Module], key: str) -> bool:
    """Whether it is a norm or an embedding beside the layers, such as a last norm or learned positions."""
    place, _, kind = key.rpartition(".")
    parent, _, part = place.rpartition(".")
    if kind not in ("weight", "bias") or NUMBER.search(key) or FOREIGN.search(key):
        return False
    return parent in modules and BESIDE.search(part) is not None
