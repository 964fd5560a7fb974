"""What a training run keeps on disk: a state that resumes bit for bit, and one line of metrics per step."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from haymaker.console import note
from haymaker.errors import DataError, OutputError
from haymaker.file_reading import read_appended
from haymaker.files import whole_file, write_jsonl
from haymaker.models.lora import lora_parameters
from haymaker.records import digest

STATE_FILE, METRICS_FILE = "state.safetensors", "metrics.jsonl"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save_state(
    folder: Path, model: PeftModel, optimizer: torch.optim.Optimizer, step: int, identity: Mapping[str, Any]
) -> None:
    """Adapter, Adam moments, random state and step in one file, which replaces the old one at once."""
    tensors = {"random": torch.get_rng_state()}
    for name, weight in lora_parameters(model).items():
        tensors[f"adapter/{name}"] = weight.detach()
        tensors |= {f"{key}/{name}": torch.as_tensor(value) for key, value in optimizer.state[weight].items()}
    kept = {name: value.cpu().contiguous() for name, value in tensors.items()}
    header = {"step": str(step), "identity": json.dumps(identity), "digest": tensors_digest(kept)}
    with kept_on_disk(folder, step), whole_file(folder / STATE_FILE) as scratch:
        save_file(kept, scratch, {**header, "header": digest(header)})


@contextmanager
def kept_on_disk(folder: Path, step: int) -> Iterator[None]:
    """A full or broken disk as one sentence. What was saved before stays as it is: files are replaced whole."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{folder}: what step {step} left cannot be written ({reason}); what was saved before is kept: make room "
            "there, and give the same command again"
        ) from error


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names and bytes: safetensors checks a file's length, not what is in it."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(name.encode() + tensors[name].numpy().tobytes())
    return whole.hexdigest()


def read_state_header(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Finished steps of the saved state and the identity of its run; None where there is no state."""
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            if metadata.pop("header") != digest(metadata):
                raise ValueError("its header is not the one that was saved")
            return int(metadata["step"]), json.loads(metadata["identity"])
    except (SafetensorError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a training state ({error}); delete it or train with overwrite") from None


@torch.no_grad()
def load_state(folder: Path, model: PeftModel, optimizer: torch.optim.Optimizer) -> None:
    """Put the saved adapter, moments and random state back."""
    saved = read_state(folder)
    torch.set_rng_state(saved["random"])
    for name, weight in lora_parameters(model).items():
        weight.copy_(saved[f"adapter/{name}"])
        moments = {key: saved[f"{key}/{name}"] for key in MOMENTS}
        optimizer.state[weight] = {key: placed(key, value, weight) for key, value in moments.items()}


def read_state(folder: Path) -> dict[str, Tensor]:
    """All tensors of the saved state. Raises DataError where its bytes are not those that were written."""
    path = folder / STATE_FILE
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        expected = file.metadata()["digest"]
    if tensors_digest(tensors) != expected:
        raise DataError(f"{path}: its bytes are not those that were saved; delete it or train with overwrite")
    return tensors


def placed(key: str, value: Tensor, weight: Tensor) -> Tensor:
    """Adam's moments live beside the weight; its step counter on the CPU, unless the fused kernel counts."""
    return value if key == "step" and weight.device.type == "cpu" else value.to(weight.device)


# ---- metrics


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    with kept_on_disk(path.parent, values["step"]), path.open("a") as file:
        file.write(json.dumps(values) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The metrics of every step."""
    return read_appended(path, {"step": int, **dict.fromkeys(("loss", "seconds", "peak_bytes"), (int, float))})


def keep_lines(path: Path, steps: int, writes: bool = True) -> list[dict[str, Any]]:
    """Forget the metrics of steps that run again; returns the others. A run goes on without those that are lost."""
    kept = [line for line in read_lines(path) if line["step"] <= steps]
    if len(kept) != steps and writes:
        note(
            f"{path}: holds the metrics of {len(kept)} of the {steps} steps that are done; the others are lost",
            "yellow",
        )
    if writes:
        write_jsonl(path, kept)
    return kept
