"""What a training run keeps on disk: a state that resumes bit for bit, and one line of metrics per step."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from haymaker.errors import DataError
from haymaker.files import whole_file, write_jsonl
from haymaker.models.lora import lora_parameters

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
    with whole_file(folder / STATE_FILE) as scratch:
        save_file(kept, scratch, {"step": str(step), "identity": json.dumps(identity)})


def read_state_header(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Finished steps of the saved state and the identity of its run; None where there is no state."""
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            return int(metadata["step"]), json.loads(metadata["identity"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a training state ({error}); delete it or train with overwrite") from None


@torch.no_grad()
def load_state(folder: Path, model: PeftModel, optimizer: torch.optim.Optimizer) -> None:
    """Put the saved adapter, moments and random state back."""
    with safe_open(folder / STATE_FILE, "pt") as file:
        torch.set_rng_state(file.get_tensor("random"))
        for name, weight in lora_parameters(model).items():
            weight.copy_(file.get_tensor(f"adapter/{name}"))
            moments = {key: file.get_tensor(f"{key}/{name}") for key in MOMENTS}
            optimizer.state[weight] = {key: placed(key, value, weight) for key, value in moments.items()}


def placed(key: str, value: Tensor, weight: Tensor) -> Tensor:
    """Adam's step counter stays on the CPU, its moments live beside the weight."""
    return value if key == "step" else value.to(weight.device)


# ---- metrics


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(values) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The metrics of every step; a last line that a crash cut short is left out, as its step runs again."""
    lines = path.read_text().splitlines() if path.is_file() else []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise DataError(f"{path}: line {number} is not JSON; delete the file or train with overwrite") from None
    return found


def keep_lines(path: Path, steps: int) -> list[dict[str, Any]]:
    """Forget the metrics of steps that run again; returns the others."""
    kept = [line for line in read_lines(path) if line["step"] <= steps]
    write_jsonl(path, kept)
    return kept
