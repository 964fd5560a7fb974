"""LoRA on chosen linear layers, and nothing else: added by PEFT, counted, and written in PEFT's file format."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from haymaker.attention.threads import MAKING
from haymaker.errors import ModelError
from haymaker.file_reading import read_json
from haymaker.files import whole_files, write_json
from haymaker.models.handshake import ADAPTER_FILE, WEIGHTS_FILE, base_name
from haymaker.models.lora_targets import ATTENTION, Targets, check_ranks, head_masks, sizes, suffixes, target_modules

SETS = ("target_modules", "exclude_modules")  # of PEFT's config; a text there is a pattern
ADAPTER_FILES = (ADAPTER_FILE, WEIGHTS_FILE)


def add_lora(model: PreTrainedModel, rank: int, alpha: float, seed: int, *, targets: Targets = ATTENTION) -> PeftModel:
    """Wrap `model` in LoRA (Hu et al. 2021): W + alpha/rank * B A, B zero at first, on attention or what is asked for.

    A depends on (seed, module) alone. Raises ModelError where the layers are not found, PEFT cannot wrap them, or
    others would be trained; ConfigError for layers or heads that there are not, and ranks above a layer's width.
    """
    modules = target_modules(model, targets)
    check_ranks(modules, rank, targets.ranks)
    masks = head_masks(model, targets, modules)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",  # type: ignore[arg-type]
        target_modules=suffixes(model, list(modules), targets.layers), rank_pattern=dict(targets.ranks),
        layers_to_transform=None if targets.layers is None else sorted(set(targets.layers)),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in modules.values()),
    )  # fmt: skip
    expected = lora_size(modules, rank, targets.ranks)
    model.requires_grad_(False)
    with MAKING, quiet_peft(), explained_by_peft(model), modules_put_back(model):
        wrapped = get_peft_model(model, config, autocast_adapter_dtype=True)  # A and B in float32 whatever the base
        check_trainable(wrapped, len(modules), expected)
    for name, weight in lora_parameters(wrapped).items():
        if ".lora_A." in name:
            reset_a(name, weight, seed)
    with torch.no_grad():
        for weight, mask in weights_with_masks(wrapped, masks):
            weight.mul_(mask)
    wrapped.eval()
    return wrapped


@contextmanager
def modules_put_back(model: PreTrainedModel | PeftModel) -> Iterator[None]:
    """Where the block fails, the model has the modules that it had: PEFT puts its own in their place one by one."""
    before, plain = {module: dict(module._modules) for module in model.modules()}, "peft_config" not in vars(model)
    try:
        yield
    except BaseException:
        for module, children in before.items():
            module._modules.clear()
            module._modules.update(children)
        if plain:
            vars(model).pop("peft_config", None)
        raise


@contextmanager
def explained_by_peft(model: PreTrainedModel) -> Iterator[None]:
    """PEFT's refusal of a kind of layer as one sentence."""
    try:
        yield
    except (ValueError, ImportError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{type(model).__name__}: PEFT cannot put LoRA on its layers: {reason}") from error


@contextmanager
def quiet_peft() -> Iterator[None]:
    """PEFT 0.21 asks transformers 5.23 for a property under its old name, which warns users of what is not theirs.

    It also warns of weights that an adapter's file lacks, which to us is an error (`check_complete`), and of those that
    could not be merged, which is one where it is asked for; and of a head that is the embedding, which `checkpoint`
    writes apart from it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found missing adapter keys", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*lora_bias=True.*was passed", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*a tied layer is part of the adapter", category=UserWarning)
        warnings.filterwarnings("ignore", message="Unexpected keyword arguments", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def lora_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The A and B matrices by name, in the model's order."""
    return {name: weight for name, weight in model.named_parameters() if ".lora_A." in name or ".lora_B." in name}


def lora_size(modules: Mapping[str, nn.Module], rank: int, ranks: Mapping[str, int]) -> int:
    """Trainable parameters in closed form: rank * (in + out) for every module."""
    return sum(ranks.get(name.rpartition(".")[2], rank) * sum(sizes(module)) for name, module in modules.items())


def weights_with_masks(
    wrapped: PeftModel, masks: Mapping[str, tuple[str, Tensor]]
) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Each matrix of which only a part may learn, and the mask of `head_masks` on it."""
    for name, weight in lora_parameters(wrapped).items():
        module, _, rest = base_name(name).partition(".lora_")
        which, mask = masks.get(module, ("", None))
        if mask is not None and f"lora_{rest}".startswith(which):
            yield weight, mask.to(weight.device)


def check_trainable(wrapped: PeftModel, modules: int, expected: int) -> None:
    """Exactly the A and B of the chosen modules, of the closed form's size."""
    trainable = {name: weight.numel() for name, weight in wrapped.named_parameters() if weight.requires_grad}
    if trainable.keys() != lora_parameters(wrapped).keys() or len(trainable) != 2 * modules:
        raise ModelError(
            f"expected exactly the A and B of {modules} linear layers to be trained, "
            f"found {len(trainable)} tensors, such as {', '.join(list(trainable)[:3])}"
        )
    if sum(trainable.values()) != expected:
        raise ModelError(f"expected {expected} trainable parameters, found {sum(trainable.values())}")


@torch.no_grad()
def reset_a(name: str, weight: Tensor, seed: int) -> None:
    """Uniform in +-1/sqrt(in), which is PEFT's own range, from a generator keyed by (seed, name); the same on a GPU."""
    key = hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)
    bound = weight.shape[1] ** -0.5
    weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))


def remove_lora(model: PeftModel) -> PreTrainedModel:
    """The base model as it was before `add_lora`."""
    base = model.unload()
    return base  # type: ignore[return-value]


def save_adapter(model: PeftModel, folder: Path, base_name: str | None) -> None:
    """Write PEFT's files into `folder`, each at once, without a local path in them."""
    with whole_files(folder) as scratch:
        model.save_pretrained(str(scratch), safe_serialization=True, save_embedding_layers=False)
        path = scratch / ADAPTER_FILES[0]
        config = read_json(path) | {"base_model_name_or_path": base_name, "inference_mode": True}
        # PEFT keeps names in sets, whose order is another in every process.
        write_json(path, config | {key: sorted(config[key]) for key in SETS if isinstance(config.get(key), list)})
        (scratch / "README.md").unlink()  # PEFT's blank card


def adapter_digest(folder: Path) -> str:
    """sha256 of an adapter's weights and config."""
    whole = hashlib.sha256()
    for name in ADAPTER_FILES:
        whole.update((folder / name).read_bytes())
    return whole.hexdigest()
