"""Whether donor and recipient can be two rows of one batch: LoRA adapters, or none, over equal base models."""

from typing import Any

import torch
from peft import PeftModel, PeftType
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.attention.hook import decoder_of, open_tools
from haymaker.models.extend import positions_of
from haymaker.models.handshake import base_name
from haymaker.models.load import LanguageModel


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
    config: Any = model.peft_config[model.active_adapters[0]]
    if config.peft_type != PeftType.LORA:
        return f"has an adapter of type {config.peft_type}, not LoRA"
    extras = ("use_dora", "modules_to_save", "trainable_token_indices", "alora_invocation_tokens")
    if config.bias != "none" or (extra := [name for name in extras if getattr(config, name, None)]):
        return f"has an adapter with {'bias' if config.bias != 'none' else extra[0]}, which rows cannot have apart"
    if any(layer.merged or layer.disable_adapters for layer in lora_layers(model).values()):
        return "has its adapter merged or disabled"
    return None


def settings_of(base: PreTrainedModel) -> dict[str, Any]:
    """What of a config decides the function that the weights compute."""
    about = ("transformers_version", "architectures", "dtype")
    return {key: value for key, value in base.config.to_dict().items() if key[0] != "_" and key not in about}


@torch.no_grad()
def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Whether two models are equal in all but their LoRA, bit for bit and on one device."""
    ours, theirs = (
        {base_name(name): weight for name, weight in model.named_parameters() if "lora_" not in name}
        for model in (first, second)
    )
    return ours.keys() == theirs.keys() and all(same_tensor(weight, theirs[name]) for name, weight in ours.items())


def same_tensor(first: Tensor, second: Tensor) -> bool:
    kinds = [(one.shape, one.dtype, one.device) for one in (first, second)]
    return first is second or (kinds[0] == kinds[1] and torch.equal(first, second))


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The layers of a model that carry LoRA, by their names in the base model."""
    return {base_name(name): layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
