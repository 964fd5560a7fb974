"""Adapters of other people's making: plain PEFT folders, in which nothing says on which base they stand.

What cannot be taken as it was trained is refused before PEFT touches the base: PEFT itself leaves weights out, or
writes over the base's, with no more than a warning.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors import safe_open

from haymaker.console import note
from haymaker.errors import ExtensionError, ModelError
from haymaker.file_reading import read_json
from haymaker.models.adapter_card import EXTENDED_NAME
from haymaker.models.handshake import BASE_FILE, base_name, is_adapters
from haymaker.models.lora import ADAPTER_FILES

ADVICE = "; merge it into a checkpoint with its own tools, and load that"
UNMERGED = ", which no checkpoint can take up"  # it depends on the prompt, or stands before it
# What of a LoRA config makes another model of the base than LoRA beside its layers, what that is, and what to do.
OTHER_KINDS = {
    "alora_invocation_tokens": ("depends on tokens of the prompt (activated LoRA)", UNMERGED),
    "arrow_config": ("chooses among several adapters (Arrow)", UNMERGED),
    "layer_replication": ("repeats layers, so that heads are other ones than the base's", ADVICE),
    "megatron_config": ("is of Megatron's layers", ADVICE),
}
# First weights (`init_lora_weights`) for which PEFT takes a part out of the base's own weights, as it does for KaSA:
# again whenever such an adapter is loaded, by chance in part (pissa_niter); and it stays out when the adapter goes.
TAKEN_OUT_OF_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
KASA = "kasa_config"
KNOWN = {field.name for field in fields(LoraConfig)}
BELOW = ".base_layer."  # in the name of a weight that LoRA stands beside
NEVER_MERGED = (
    *("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT", "CARTRIDGE"),
    *("POLY", "XLORA", "SHADOW", "LILY"),
)


def check_other_adapter(folder: Path, lm: Any) -> None:
    """Refuse a PEFT folder that does not fit a model, and say of one that fits what nobody knows.

    Raises ModelError, or ExtensionError for one that names a base of another length.
    """
    config, names = adapter_files(folder)
    check_keys(folder, names, lm)
    named = str(config.get("base_model_name_or_path") or "").rstrip("/").rpartition("/")[2]
    own = lm.name.rpartition("/")[2]
    trained = EXTENDED_NAME.search(named)
    if trained and named != own and lm.context != int(trained[1]):
        raise ExtensionError(
            f"{folder}: no {BASE_FILE}, and its config names the base {named!r}, so it was trained at {trained[1]} "
            f"tokens, and {lm.name} stands at {lm.context}; give that checkpoint, or `extend` as it was then"
        )
    other = "" if named.lower() == own.lower() else f"; its config names the base {named!r}, and this is {lm.name!r}"
    note(
        f"{folder}: no {BASE_FILE}, so nothing says which weights, RoPE base and window this adapter was trained with; "
        f"it is taken unverified{other}",
        style="yellow",
    )
    if unknown := sorted(key for key in config.keys() - KNOWN if config[key]):
        note(
            f"{folder}: its config says {', '.join(unknown)}, which this PEFT does not know; it is taken "
            "without, so what another version or tool did by it is missing",
            style="yellow",
        )


def adapter_files(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """An adapter's config and the names of its weights, which need no model. Raises ModelError for another kind."""
    config = read_json(folder / ADAPTER_FILES[0])
    if not isinstance(config, dict):
        raise ModelError(f"{folder / ADAPTER_FILES[0]}: expected a mapping, found {type(config).__name__}")
    check_kind(folder, config)
    return config, weight_names(folder)


def check_kind(folder: Path, config: dict[str, Any]) -> None:
    """LoRA on a language model, of a kind that stands beside the base's layers."""
    kind, task = config.get("peft_type"), config.get("task_type")
    if kind != "LORA":
        advice = UNMERGED if kind in NEVER_MERGED else ADVICE
        raise ModelError(f"{folder}: expected a LoRA adapter, found PEFT's type {kind}{advice}")
    if task not in (None, "CAUSAL_LM"):
        raise ModelError(f"{folder}: expected an adapter of a causal language model, found one for the task {task}")
    if (bias := config.get("bias", "none")) != "none":
        raise ModelError(f"{folder}: it trained biases (bias: {bias}), which PEFT writes over the base's own{ADVICE}")
    for name, (what, advice) in OTHER_KINDS.items():
        if config.get(name):
            raise ModelError(f"{folder}: this adapter {what}: {name}{advice}")
    check_base_whole(folder, config)


def check_base_whole(folder: Path, config: dict[str, Any]) -> None:
    """Raise ModelError for an adapter that stands on a base from which PEFT took a part."""
    start = str(config.get("init_lora_weights")).lower()
    if start.startswith(TAKEN_OUT_OF_BASE) or config.get(KASA):
        named = KASA if config.get(KASA) else f"init_lora_weights: {start}"
        raise ModelError(
            f"{folder}: PEFT takes a part out of the base's weights for it ({named}), so they would not be the base's "
            "any more; save it as plain LoRA (PEFT's save_pretrained with path_initial_model_for_weight_conversion, "
            f"where that is offered){ADVICE.replace(';', ', or')}"
        )


def weight_names(folder: Path) -> list[str]:
    """Names of the tensors in the adapter's safetensors file, as PEFT writes them."""
    path = folder / ADAPTER_FILES[1]
    if not path.is_file():
        found = ", ".join(sorted(other.name for other in folder.glob("adapter_model*"))) or "none"
        raise ModelError(f"{path}: expected the adapter's weights as safetensors, found {found}; convert them to that")
    with safe_open(path, "pt") as file:
        return list(file.keys())


def check_keys(folder: Path, names: list[str], lm: Any) -> None:
    """Every tensor is of a module that the base has; whole ones are the base's own to the bit, as PEFT writes
    embeddings and the head beside LoRA on them."""
    modules = {base_name(name) for name, _ in lm.model.named_modules()}
    adapted = {name: base_name(name).partition(".lora_")[0] for name in names if ".lora_" in name}
    if lost := sorted({module for module in adapted.values() if module not in modules}):
        raise ModelError(f"{folder}: adapts {len(lost)} modules that {lm.name} does not have, such as {lost[0]}")
    if written := [name for name in names if not is_adapters(name) and not is_bases(folder, name, lm)]:
        raise ModelError(
            f"{folder}: holds whole weights beside LoRA that are not this base's, such as {base_name(written[0])}, "
            f"which would stand in their place{ADVICE}"
        )


def is_bases(folder: Path, name: str, lm: Any) -> bool:
    """Whether a whole tensor under a layer with LoRA is the base's, so that PEFT writes there what stands there."""
    own = dict(lm.base.named_parameters(remove_duplicate=False)).get(base_name(name))
    if BELOW not in name or own is None:
        return False
    with safe_open(folder / ADAPTER_FILES[1], "pt") as file:
        found = file.get_tensor(name)
    return found.shape == own.shape and torch.equal(found.to(own.device, own.dtype), own)


def check_complete(folder: Path, model: PeftModel) -> None:
    """Raise ModelError where PEFT would have filled in weights, or left some of the file's out."""
    expected = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    found = {name for name in weight_names(folder) if is_adapters(name)}
    more = found - expected
    if lost := expected - found:
        others = f"; it holds {len(more)} others, such as {min(more)}" if more else ""
        raise ModelError(
            f"{folder}: its config asks for {len(lost)} weights that its file lacks, such as {min(lost)}{others}"
        )
    if more:
        raise ModelError(f"{folder}: its file holds {len(more)} weights that its config does not name, as {min(more)}")
