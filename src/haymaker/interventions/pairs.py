"""What must hold before models are intervened on, alone or as donor and recipient.

And when the two can be rows of one batch: as LoRA adapters, or none, over equal base models.
"""

from inspect import signature
from typing import Any

import torch
from peft import PeftModel, PeftType
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.attention.canary import check_architecture
from haymaker.attention.hook import decoder_of, open_tools
from haymaker.console import note
from haymaker.errors import ModelError
from haymaker.models.extend import positions_of
from haymaker.models.handshake import base_name, is_adapters, weights_digest
from haymaker.models.load import LanguageModel
from haymaker.models.quantised import own_tensors

PLAIN_LORA = {  # keys of PEFT's config that leave an adapter x -> B A x times a number, or say how it began
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "bias", "lora_bias"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out", "lora_dropout"),
    *("init_lora_weights", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config"),
    *("megatron_config", "megatron_core", "qalora_group_size", "ensure_weight_tying"),
}


def check_pair(donor: LanguageModel, recipient: LanguageModel) -> None:
    """Raise ModelError where the heads or tokens of one model have no counterpart in the other."""
    shapes = [shape_of(lm) for lm in (donor, recipient)]
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"patching needs two models of one shape (layers, heads, width of a head, vocabulary): donor {shapes[0]}, "
            f"recipient {shapes[1]}; use two adapters of one base model"
        )
    if donor.tokenizer is not recipient.tokenizer and donor.tokenizer.get_vocab() != recipient.tokenizer.get_vocab():
        raise ModelError(
            f"patching needs two models that read the same tokens: the tokenizers of {donor.name} and "
            f"{recipient.name} differ; use two adapters of one base model"
        )


def shape_of(lm: LanguageModel) -> tuple[Any, ...]:
    """Layers, heads and width of a head (by layer, where layers have their own), vocabulary."""
    config: Any = decoder_of(lm.model).config
    layers = check_architecture(lm.model).layers
    sizes = {layer: (shape.heads, shape.head_dim) for layer, shape in sorted(layers.items())}
    every = set(sizes.values())
    return config.num_hidden_layers, *(every.pop() if len(every) == 1 else (sizes,)), config.vocab_size


def tell_pair(donor: LanguageModel, recipient: LanguageModel) -> None:
    """Say where heads are lent between models that are not one base in one context: that may be meant."""
    bases = donor.base, recipient.base
    other = []
    if bases[0] is not bases[1]:
        if not alike(*bases):
            other.append("other weights")
        if positions_of(bases[0]) != positions_of(bases[1]):
            other.append("another extension of the context")
    if other:
        note(f"donor {donor.name}: has {' and '.join(other)} than the recipient {recipient.name}", style="yellow")


def alike(first: PreTrainedModel, second: PreTrainedModel) -> bool:
    """Whether two bases have the same weights, or may have: of float32 and a lower precision, as that one rounds them;
    of two lower ones nobody knows."""
    lower = sorted({first.dtype, second.dtype} - {torch.float32}, key=str)
    rounded = lower[0] if first.dtype != second.dtype else None
    return len(lower) > 1 or weights_digest(first, rounded) == weights_digest(second, rounded)


# ---- two rows of one batch


def obstacle(donor: LanguageModel, recipient: LanguageModel) -> str | None:
    """Why donor and recipient cannot be two rows of one batch; None where they can."""
    for role, lm in (("donor", donor), ("recipient", recipient)):
        if reason := own_obstacle(lm):
            return f"the {role} {reason}"
    if donor.model is recipient.model:
        return None
    if positions_of(donor.base) != positions_of(recipient.base):
        return "their context extensions differ"
    if settings_of(donor.base) != settings_of(recipient.base):
        return "the configs of their base models differ"
    if not same_weights(donor.model, recipient.model):
        return "their base weights differ"
    adapted = lora_layers(donor.model).keys() - lora_layers(recipient.model).keys()
    if adapted and isinstance(recipient.model, PeftModel):
        return f"the donor adapts {len(adapted)} modules that the recipient does not, such as {min(adapted)}"
    return None


def own_obstacle(lm: LanguageModel) -> str | None:
    """Why a model cannot lend its weights to two rows of one batch, as a predicate; None where it can."""
    if open_tools(decoder_of(lm.model)):
        return "is inside a probe or edit block, which would reach the rows of both"
    return adapter_obstacle(lm.model)


def adapter_obstacle(model: Any) -> str | None:
    """What keeps a model's adapter out of a mixed batch; None for plain LoRA, and without an adapter."""
    if not isinstance(model, PeftModel):
        return None
    if len(model.active_adapters) != 1:
        return f"has {len(model.active_adapters)} active adapters, not one"
    if reason := kind_obstacle(model.peft_config[model.active_adapters[0]]):
        return reason
    layers = lora_layers(model).values()
    if any(layer.merged or layer.disable_adapters for layer in layers):
        return "has its adapter merged or disabled"
    if alone := sorted({type(layer).__name__ for layer in layers if not takes_rows_apart(layer)}):
        return f"has its adapter on quantised layers, whose rows cannot have adapters of their own ({', '.join(alone)})"
    return None


def takes_rows_apart(layer: LoraLayer) -> bool:
    """Whether PEFT's layer lets each row of a batch have its own adapter: those of GPTQ and AWQ do not."""
    options = signature(layer.forward).parameters.values()  # type: ignore[attr-defined] - of every subclass
    return any(one.name == "adapter_names" or one.kind is one.VAR_KEYWORD for one in options)


def kind_obstacle(config: Any) -> str | None:
    """What of an adapter's PEFT config keeps it out of a mixed batch."""
    if config.peft_type != PeftType.LORA:
        return f"has an adapter of type {config.peft_type}, not LoRA"
    extra = [name for name, value in config.to_dict().items() if value and name not in PLAIN_LORA]
    if config.bias != "none" or extra:
        return f"has an adapter with {'bias' if config.bias != 'none' else extra[0]}, which rows cannot have apart"
    return None


def settings_of(base: PreTrainedModel) -> dict[str, Any]:
    """What of a config decides the function that the weights compute."""
    about = ("transformers_version", "architectures", "dtype")
    return {key: value for key, value in base.config.to_dict().items() if key[0] != "_" and key not in about}


@torch.no_grad()
def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Whether two models are equal in all but their LoRA, bit for bit and on one device."""
    ours, theirs = (
        {base_name(name): weight for name, weight in own_tensors(model) if not is_adapters(name)}
        for model in (first, second)
    )
    return ours.keys() == theirs.keys() and all(same_tensor(weight, theirs[name]) for name, weight in ours.items())


def same_tensor(first: Tensor, second: Tensor) -> bool:
    kinds = [(one.shape, one.dtype, one.device) for one in (first, second)]
    return first is second or (kinds[0] == kinds[1] and torch.equal(first, second))


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The layers of a model that carry LoRA, by their names in the base model."""
    return {base_name(name): layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
