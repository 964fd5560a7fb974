"""What a model must share with the one an adapter was trained on: measured on the model, kept in `base.json`.

PEFT's files say nothing of the RoPE base, the window, the tokenizer or the weights, and load onto a wrong base without
a word. This record says it, with digests of the weights on both sides, and the logits of a fixed prompt as proof that
the same function was loaded: to 1e-3 in float32, and in a lower precision to what its rounding does to them, which is
measured, for it may be half of their norm.
"""

import hashlib
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from transformers import PreTrainedModel

from haymaker.config import Extend
from haymaker.errors import DataError, ExtensionError, ModelError
from haymaker.file_digests import file_digest
from haymaker.file_reading import only_fields, read_json_if_there, required
from haymaker.files import write_json
from haymaker.models.extend import Positions, positions_of
from haymaker.models.finite import at_fault
from haymaker.models.names import BASE_FILE as BASE_FILE
from haymaker.models.quantised import own_tensors
from haymaker.models.rounding import allowed_difference, relative_norm
from haymaker.vocabulary import tokenizer_digest

ADAPTER_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
RUN_FILE = "training.json"  # of `haymaker train`: an adapter with it has had a record of its base
ADAPTERS = ("lora_", "trainable_tokens_")  # of names of parameters that an adapter brings
FORMAT = 1
SAMPLES_PER_TENSOR = 1024
PROBE_TOKENS, PROBE_LOGITS = 32, 64
TOLERANCE_FLOAT32, TOLERANCE_ROUNDED = 1e-3, 5e-2  # norm of the difference over norm of the logits
LIBRARIES = ("torch", "transformers", "peft")
POSITIONS: dict[str, type | tuple[type, ...]] = {  # what a record of them holds
    "length": int,
    "theta": (int, float),
    "rope_parameters": dict,
    "frequencies_digest": str,
    "window": (int, type(None)),
}


@dataclass(frozen=True)
class BaseRecord:
    """The base model, tokenizer and positions of an adapter, and the adapted model's answer to the probe prompt."""

    base: str
    weights: str
    tokenizer: str
    extend: Extend | None
    positions: Positions | None
    dtype: str
    versions: dict[str, str]
    probe: tuple[float, ...]
    rounded: str = ""  # digest of the weights as bfloat16 holds them; empty in records of before
    adapter: str = ""  # sha256 of the adapter's weights as they were written, likewise

    def save(self, folder: Path) -> None:
        values = {**asdict(self), "format": FORMAT, "extend": self.extend and self.extend.model_dump()}
        write_json(folder / BASE_FILE, values)

    @classmethod
    def find(cls, folder: Path) -> "BaseRecord | None":
        """As `load`; None for an adapter of other people's making, which has no record of its base."""
        adapter, own = folder / ADAPTER_FILE, any((folder / name).exists() for name in (BASE_FILE, RUN_FILE))
        return None if adapter.is_file() and not own else cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "BaseRecord":
        """Raises ModelError for a folder that is no adapter, ExtensionError for one without a record of its base,
        DataError for a record that is no JSON."""
        values = read_record(folder)
        if values.pop("format", None) != FORMAT:
            raise ModelError(
                f"{folder / BASE_FILE}: expected format {FORMAT}; it was written by another Haymaker version"
            )
        try:
            only_fields(values, cls, "here")
            values["extend"] = None if values["extend"] is None else Extend(**values["extend"])
            values["positions"] = None if values["positions"] is None else positions_in(values["positions"])
            values["probe"] = tuple(values["probe"])
            return cls(**values)
        except (TypeError, OverflowError, DataError) as error:
            raise ModelError(
                f"{folder / BASE_FILE}: not the record that training wrote ({error}); restore the file or train again"
            ) from None


def positions_in(values: Any) -> Positions:
    """Raises DataError, TypeError or OverflowError for what is no record of positions."""
    for key, kind in POSITIONS.items():
        required(values, key, kind, "positions")
    return Positions(**values | {"theta": float(values["theta"])})


def read_record(folder: Path) -> dict[str, Any]:
    if not (folder / ADAPTER_FILE).is_file():
        raise ModelError(f"{folder}: expected an adapter folder ({ADAPTER_FILE} and weights), found none there")
    values = read_json_if_there(folder / BASE_FILE, "train again or restore the file")
    if values is None:
        raise ExtensionError(
            f"{folder}: no {BASE_FILE}, so nothing says which RoPE base and window this adapter was trained with; "
            "use an adapter that `haymaker train` wrote"
        )
    if not isinstance(values, dict):
        raise ModelError(f"{folder / BASE_FILE}: expected a mapping, found {type(values).__name__}")
    return values


def library_versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}


# ---- fingerprints


@torch.no_grad()
def weights_digest(model: nn.Module, rounded_to: torch.dtype | None = None) -> str:
    """Fingerprint of a model's own weights: up to 1,024 evenly spaced values of every tensor, adapters left out.

    The same in float32 and in the checkpoint's precision; `rounded_to` gives that of the weights in a lower one. Of
    quantised weights the scales count too. The probe's logits answer for the values in between.
    """
    whole = hashlib.sha256()
    found = {base_name(name): weight for name, weight in own_tensors(model) if not is_adapters(name)}
    for name, weight in sorted(found.items()):
        # What processes share out among them is put together: all of them ask for the same weights in the same order.
        flat = getattr(weight, "full_tensor", weight.detach)().flatten()
        sample = flat[:: max(1, flat.numel() // SAMPLES_PER_TENSOR)]
        sample = (sample if rounded_to is None else sample.to(rounded_to)).float().cpu()
        whole.update(f"{name}{list(weight.shape)}".encode() + sample.numpy().tobytes())
    return whole.hexdigest()


def base_name(name: str) -> str:
    """A parameter's name without what PEFT puts around it."""
    return name.removeprefix("base_model.model.").replace(".token_adapter.", ".").replace(".base_layer.", ".")


def is_adapters(name: str) -> bool:
    """Whether a parameter, or a tensor of an adapter's file, belongs to the adapter rather than to its base."""
    return any(part in name for part in ADAPTERS)


class ProbePrompt(NamedTuple):
    """Fixed tokens at positions spread over the whole context, and the entries of the vocabulary whose logits count."""

    input_ids: list[int]
    position_ids: list[int]
    entries: list[int]


def probe_prompt(vocabulary: int, context: int) -> ProbePrompt:
    """32 tokens and 64 entries."""
    ids = [number * 7919 % vocabulary for number in range(1, PROBE_TOKENS + 1)]
    positions = torch.linspace(0, context - 1, PROBE_TOKENS).long().tolist()
    return ProbePrompt(ids, positions, [number * 104_729 % vocabulary for number in range(PROBE_LOGITS)])


@torch.no_grad()
def probe_logits(model: nn.Module, context: int) -> Float32[Tensor, "entry"]:
    """64 logits after 32 fixed tokens at positions spread over the whole context, so that theta shows in them.

    Raises ModelError where they are not finite.
    """
    config: Any = model.config
    device = next(model.parameters()).device
    prompt = probe_prompt(config.get_text_config().vocab_size, context)
    ids, positions = (torch.tensor([some], device=device) for some in (prompt.input_ids, prompt.position_ids))
    # with a mask, transformers does not take the gaps between positions for borders between packed rows
    output = model(input_ids=ids, position_ids=positions, attention_mask=torch.ones_like(ids), use_cache=False)
    found = output.logits[0, -1, prompt.entries].float().cpu()
    if not found.isfinite().all():
        raise ModelError(f"{type(model).__name__}: its logits on the probe prompt are not finite, {at_fault(model)}")
    return found


# ---- the handshake


def describe_base(lm: Any, weights: str) -> BaseRecord:
    """The record of a LanguageModel as it stands, adapter included. `weights` is its base's digest."""
    probe = probe_logits(lm.model, lm.context)
    dtype = str(next(lm.base.parameters()).dtype).removeprefix("torch.")
    numbers = tuple(float(f"{value:.6g}") for value in probe)
    return BaseRecord(
        lm.name,
        weights,
        tokenizer_digest(lm.tokenizer),
        lm.extend,
        positions_of(lm.base),
        dtype,
        library_versions(),
        numbers,
        rounded=weights_digest(lm.model, torch.bfloat16),
    )


def base_of(model: Any) -> PreTrainedModel:
    """The transformers model inside a PeftModel, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def check_base(record: BaseRecord, folder: Path, lm: Any) -> None:
    """Refuse a base with other weights, tokenizer or positions. Raises ModelError or ExtensionError."""
    check_weights(record, folder, lm)
    if (found := positions_of(lm.base)) != record.positions:
        raise ExtensionError(
            f"{folder}: this adapter was trained at {say(record.positions)}, and the model stands at {say(found)}; "
            + (
                "load it without `extend`, and the adapter brings its own"
                if lm.extend
                else f"its base is {record.base!r}"
            )
        )


def check_weights(record: BaseRecord, folder: Path, lm: Any) -> None:
    """Refuse a base with other weights or another tokenizer, extended or not, and an adapter whose file was changed.
    Raises ModelError."""
    if record.adapter and record.adapter != file_digest(folder / WEIGHTS_FILE):
        raise ModelError(
            f"{folder / WEIGHTS_FILE}: not the weights that training wrote; restore the file or train again"
        )
    if not same_weights(record, lm):
        raise ModelError(f"{folder}: this adapter was trained on other weights than these; its base is {record.base!r}")
    if record.tokenizer != tokenizer_digest(lm.tokenizer):
        raise ModelError(f"{folder}: this adapter was trained with another tokenizer; its base is {record.base!r}")


def same_weights(record: BaseRecord, lm: Any) -> bool:
    """Whether a model has the record's weights, whichever of the two was rounded to bfloat16."""
    if record.weights == weights_digest(lm.model):
        return True
    dtypes = {record.dtype, str(next(lm.base.parameters()).dtype).removeprefix("torch.")}
    known = record.weights if record.dtype == "bfloat16" else record.rounded
    return "bfloat16" in dtypes and known == weights_digest(lm.model, torch.bfloat16)


def say(positions: Positions | None) -> str:
    if positions is None:
        return "positions without RoPE"
    window = "no window" if positions.window is None else f"a window of {positions.window}"
    return f"length {positions.length} tokens, theta {positions.theta:.6g}, {window}"


def check_probe(record: BaseRecord, folder: Path, lm: Any) -> None:
    """Refuse a model that answers the probe prompt otherwise than the adapter's record says. Raises ModelError."""
    found = probe_logits(lm.model, lm.context)
    difference = relative_norm(found, recorded_logits(record.probe, found, folder / BASE_FILE))
    dtype = str(next(lm.base.parameters()).dtype).removeprefix("torch.")
    allowed = allowed_here(lm, difference, exact=record.dtype == dtype == "float32")
    if not difference <= allowed:
        rounded = f", or {dtype} rounds what was trained in {record.dtype} by more: load it with dtype={record.dtype!r}"
        raise ModelError(
            f"{folder}: the loaded adapter's logits on the probe prompt differ from those recorded at training by "
            f"{difference:.3g} of their norm, with {allowed:.3g} allowed; a file of the adapter or the base was "
            f"changed{rounded if record.dtype != dtype else ''}"
        )


def recorded_logits(written: Any, found: Tensor, path: Path) -> Tensor:
    """The logits of the probe prompt that a file holds. Raises ModelError where those are not as many numbers."""
    try:
        logits = torch.tensor([float(value) for value in written])
    except (TypeError, ValueError, OverflowError):
        logits = torch.empty(0)
    if logits.shape != found.shape:
        raise ModelError(
            f"{path}: expected {len(found)} logits of the probe prompt, found something else; restore the file"
        )
    return logits


def allowed_here(lm: Any, difference: float, *, exact: bool) -> float:
    """How far a model's probe logits may be from others, where both were computed in float32 (`exact`) or not."""
    if exact:
        return TOLERANCE_FLOAT32
    return allowed_difference(difference, TOLERANCE_ROUNDED, lm.base, lambda: probe_logits(lm.model, lm.context))
