"""What a model's name stands for: a packaged model, a folder, or a Hugging Face id. Imports no torch."""

import re
from collections.abc import Callable
from pathlib import Path

from haymaker.errors import ConfigError, ModelError

MINIATURES = Path(__file__).parents[1] / "miniature" / "models"
PACKAGED = {"miniature-llama": MINIATURES / "llama"}
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")  # any one
TOKENIZER_FILES = (
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("spiece.model", "tekken.json"),
)
WEIGHT_FILES = ("*.safetensors",)
MODEL_FILES = ("config.json", "generation_config.json", "*.safetensors.index.json", *WEIGHT_FILES, *TOKENIZER_FILES)


def find_folder(path_or_id: str | Path) -> Path | None:
    """The folder that a packaged name or a path stands for; None for a Hugging Face id.

    A packaged name wins over a folder that happens to bear it. Raises ModelError for what is none of the three.
    """
    name = str(path_or_id)
    folder = PACKAGED.get(name) or Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name in PACKAGED or isinstance(path_or_id, Path) or not HUB_ID.fullmatch(name):
        raise ModelError(
            f"{name}: no such model folder; give a folder, a Hugging Face id (owner/name) or {', '.join(PACKAGED)}"
        )
    return None


def folder_here(name: str, check: Callable[[Path], None]) -> Path:
    """The folder of a model that must be on this machine, for an id its newest snapshot in the local Hub cache.

    `check` is `check_model` or `check_tokenizer`. Asks no network. Raises ConfigError where there is none or it lacks a
    part: a study or a flag then names what it cannot have.
    """
    try:
        folder = find_folder(name) or hub_snapshot(name)
        if folder is not None:
            check(folder)
    except ModelError as error:
        raise ConfigError(str(error)) from None
    if folder is None:
        raise ConfigError(
            f"{name}: no such folder and not in the local Hub cache; give {', '.join(PACKAGED)} or a folder, or fetch "
            f"it with `hf download {name}`"
        )
    return folder


def hub_snapshot(name: str) -> Path | None:
    """The newest snapshot of a Hugging Face id on this machine."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def display_name(name: str) -> str:
    """A name without a local path: packaged names and ids as they are, folders by their last part."""
    return name if name in PACKAGED or not Path(name).is_dir() else Path(name).resolve().name


def check_model(folder: Path) -> None:
    """Raise ModelError, with what is missing, for a folder that is no complete model."""
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: this is an adapter; give its base model, and this folder as the adapter")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json, so this is no model folder; give one that save_pretrained wrote")
    check_tokenizer(folder)
    if not files_of(folder, WEIGHT_FILES):
        raise ModelError(f"{folder}: no weights (looked for *.safetensors); pickled weights are not read, convert them")


def check_tokenizer(folder: Path) -> None:
    """Raise ModelError for a folder without a tokenizer."""
    if not files_of(folder, TOKENIZERS):
        raise ModelError(
            f"{folder}: no tokenizer (looked for {', '.join(TOKENIZERS)}); save the model's tokenizer there"
        )


def files_of(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of a folder whose names match a pattern, sorted."""
    return sorted({found for pattern in patterns for found in folder.glob(pattern) if found.is_file()})
