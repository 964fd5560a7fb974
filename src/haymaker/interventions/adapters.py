"""Two adapters of one base model as rows of one batch: each row goes through its own, over one copy of the weights.

PEFT computes such mixed batches. Its own way of asking for them (the argument `adapter_names`) puts hooks on the model
that other threads run into and that stay after an exception, so here a context variable says whose row is whose.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.attention.threads import MAKING
from haymaker.errors import ModelError
from haymaker.interventions.pairs import adapter_obstacle, kind_obstacle, lora_layers, own_obstacle
from haymaker.models.explaining import explained
from haymaker.models.handshake import BaseRecord, base_name, base_of, check_base, check_probe, is_adapters
from haymaker.models.load import LanguageModel, attach_adapter
from haymaker.models.lora import ADAPTER_FILES, modules_put_back, quiet_peft, remove_lora
from haymaker.models.other_adapters import adapter_files, check_other_adapter
from haymaker.models.turns import changed_here

NO_ADAPTER = "__base__"  # PEFT's name for the model without any
_NAMES: ContextVar[tuple[str, ...] | None] = ContextVar("haymaker_adapter_names", default=None)
_NUMBERS = count()  # so that two threads may lend to one model


@dataclass
class Shared:
    """One model that is both donor and recipient, and PEFT's name of each; no names where it has no adapters."""

    model: Any
    donor: str | None
    recipient: str | None
    ended: bool = False  # the block that lent the adapter

    def check_open(self) -> None:
        """Raises ModelError after the end of the block that lent the donor's adapter."""
        if self.ended:
            raise ModelError("the block that lent the donor's adapter has ended: run the model inside it")

    def names(self, recipients: int, donors: int) -> tuple[str, ...] | None:
        """The adapter of every batch row, recipients first."""
        if self.donor is None or self.recipient is None:
            return None
        return (self.recipient,) * recipients + (self.donor,) * donors


class OneAdapter(nn.Module):
    """A shared model that takes one of its adapters for every row."""

    def __init__(self, model: Any, name: str | None) -> None:
        super().__init__()
        self.model, self.name, self.config = model, name, model.config

    def get_base_model(self) -> PreTrainedModel:
        return base_of(self.model)

    def forward(self, input_ids: Tensor, **options: Any) -> Any:
        with rows_as(None if self.name is None else (self.name,) * len(input_ids)):
            return self.model(input_ids=input_ids, **options)


# ---- whose row is whose


@contextmanager
def rows_as(names: tuple[str, ...] | None) -> Iterator[None]:
    """Inside the block, in this thread, row i of a batch goes through adapter names[i] of an open `mixed` model."""
    token = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(token)


@contextmanager
def mixed(model: Any) -> Iterator[None]:
    """Lets `rows_as` choose the adapters of `model`, until the block ends."""
    with ExitStack() as hooks:
        for layer in lora_layers(model).values():
            hooks.callback(layer.register_forward_pre_hook(_choose, with_kwargs=True).remove)
        yield


def _choose(_: nn.Module, args: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]] | None:
    names = _NAMES.get()
    return None if names is None else (args, options | {"adapter_names": list(names)})


# ---- making them one


@contextmanager
def one_model(donor: LanguageModel | Path, recipient: LanguageModel) -> Iterator[Shared]:
    """Donor and recipient as one model, until the block ends; then both are as they were, also after exceptions.

    The donor's adapter is lent to the recipient's model, or to its base, without a copy of a LanguageModel's weights;
    from a folder it is read and checked as `load_model` does. Raises ModelError where that cannot be.
    """
    with ExitStack() as stack:
        if isinstance(donor, Path):
            shared = stack.enter_context(lent_from_folder(donor, recipient))
        elif donor.model is recipient.model or not isinstance(donor.model, PeftModel):
            own = active_adapter(recipient.model)
            other = own if donor.model is recipient.model else own and NO_ADAPTER
            shared = Shared(recipient.model, other, own)
            stack.enter_context(mixed(recipient.model))
        elif not isinstance(recipient.model, PeftModel):
            shared = Shared(donor.model, active_adapter(donor.model), NO_ADAPTER)
            stack.enter_context(mixed(donor.model))
        else:
            name = donor.model.active_adapters[0]
            weights = get_peft_model_state_dict(donor.model, adapter_name=name, save_embedding_layers=False)
            shared = stack.enter_context(lent(recipient.model, donor.model.peft_config[name], weights))
        try:
            yield shared
        finally:
            shared.ended = True


def active_adapter(model: Any) -> str | None:
    return model.active_adapters[0] if isinstance(model, PeftModel) else None


@contextmanager
def lent(model: PeftModel, config: Any, weights: dict[str, Tensor]) -> Iterator[Shared]:
    """A second adapter on a PeftModel, frozen, while the block is open."""
    name, own = f"haymaker_donor_{next(_NUMBERS)}", model.active_adapters[0]
    try:
        with MAKING, quiet_peft(), modules_put_back(model):
            trained = {key: weight.requires_grad for key, weight in model.named_parameters()}
            model.add_adapter(name, deepcopy(config), low_cpu_mem_usage=True)
            found = set_peft_model_state_dict(model, weights, adapter_name=name, low_cpu_mem_usage=True)
            refuse_partial(found, name)
            for key, weight in model.named_parameters():
                weight.requires_grad_(trained.get(key, False))
                if f".{name}." in key:  # PEFT rounds them to the base model's precision
                    weight.data = weights[key.replace(f".{name}.", ".")].to(weight.device)
            model.eval()
        with mixed(model):
            yield Shared(model, name, own)
    finally:
        with MAKING:
            if name in model.peft_config:
                model.delete_adapter(name)


def refuse_partial(found: Any, name: str) -> None:
    lost = [*(key for key in found.missing_keys if name in key), *found.unexpected_keys]
    if lost:
        raise ModelError(f"{len(lost)} weights of the donor's adapter do not fit the recipient's model, as {lost[0]}")


@contextmanager
def lent_from_folder(folder: Path, recipient: LanguageModel) -> Iterator[Shared]:
    """An adapter folder's adapter beside the recipient's own, or on its base, while the block is open."""
    record = BaseRecord.find(folder)
    if reason := own_obstacle(recipient):
        raise ModelError(f"{folder} cannot be lent to the recipient, which {reason}; load both as models")
    with explained(str(folder), "adapter"):
        adapter_files(folder)
        config = PeftConfig.from_pretrained(str(folder))
        if reason := kind_obstacle(config):
            raise ModelError(f"the donor {folder} {reason}; load both as models")
    if not isinstance(recipient.model, PeftModel):
        with changed_here(recipient.base, f"patching it with {folder}"):
            carrier = replace(recipient)
            attach_adapter(carrier, record, folder)
            try:
                if reason := adapter_obstacle(carrier.model):
                    raise ModelError(f"{folder} on this base {reason}; load both as models")
                with mixed(carrier.model):
                    yield Shared(carrier.model, active_adapter(carrier.model), NO_ADAPTER)
            finally:
                remove_lora(carrier.model)
        return
    if record is None:
        check_other_adapter(folder, recipient)
    else:
        check_base(record, folder, recipient)
    with explained(str(folder), "adapter"):
        read = load_file(folder / ADAPTER_FILES[1])
    weights = {name: weight.float() for name, weight in read.items() if is_adapters(name)}
    refuse_more_modules(folder, weights, recipient)
    with ExitStack() as stack:
        with explained(str(folder), "adapter"):
            shared = stack.enter_context(lent(recipient.model, config, weights))
            if record is not None:
                check_probe(record, folder, replace(recipient, model=OneAdapter(shared.model, shared.donor)))
        yield shared


def refuse_more_modules(folder: Path, weights: Mapping[str, Tensor], recipient: LanguageModel) -> None:
    """Raise ModelError where the donor would wrap layers of the recipient that stay wrapped behind it."""
    adapted = {base_name(name).partition(".lora_")[0] for name in weights} - lora_layers(recipient.model).keys()
    if adapted:
        raise ModelError(
            f"the donor {folder} adapts {len(adapted)} modules that the recipient does not, such as {min(adapted)}; "
            "load both as models"
        )
