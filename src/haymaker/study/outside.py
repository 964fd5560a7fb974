"""What cells read from outside the store: models, tokenizers and data files, by content. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from haymaker.errors import ConfigError

TOKENIZER_FILES = (
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    "spiece.model",
)
WEIGHT_FILES = ("*.safetensors",)
MODEL_FILES = ("config.json", "generation_config.json", "*.safetensors.index.json", *WEIGHT_FILES, *TOKENIZER_FILES)
PACKAGED = Path(__file__).parents[1] / "miniature" / "models"
PACKAGED_PREFIX = "miniature-"


@dataclass(frozen=True)
class Outside:
    """Something that a study reads and does not make: a path or, for models, also a packaged name or Hub id."""

    kind: Literal["file", "model", "tokenizer"]
    name: str

    def path(self) -> Path:
        """Where it lies on this machine. Raises ConfigError where it does not."""
        if self.kind == "file":
            return existing_file(self.name)
        folder = model_folder(self.name)
        required = TOKENIZER_FILES if self.kind == "tokenizer" else WEIGHT_FILES
        if not any(any(folder.glob(pattern)) for pattern in required):
            what = "tokenizer files" if self.kind == "tokenizer" else "weights (*.safetensors)"
            raise ConfigError(
                f"model {self.name}: expected {what} in {folder}, found none; give a complete model folder"
            )
        return folder

    def files(self) -> list[Path]:
        """The files whose contents count."""
        path = self.path()
        if self.kind == "file":
            return [path]
        patterns = TOKENIZER_FILES if self.kind == "tokenizer" else MODEL_FILES
        return sorted({found for pattern in patterns for found in path.glob(pattern) if found.is_file()})


def existing_file(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"{name}: no such file; paths of a study are relative to the folder it is run in ({Path.cwd()})"
        )
    return path


def model_folder(name: str) -> Path:
    """The folder of a packaged model (`miniature-llama`), of a path, or of a Hub id in the local Hub cache."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    packaged = PACKAGED / name.removeprefix(PACKAGED_PREFIX)
    if name.startswith(PACKAGED_PREFIX) and packaged.is_dir():
        return packaged
    if name.count("/") == 1 and (cached := hub_folder(name)):
        return cached
    known = sorted(PACKAGED_PREFIX + path.name for path in PACKAGED.iterdir() if path.is_dir())
    raise ConfigError(
        f"model {name}: no such folder and not in the local Hub cache; packaged models are {', '.join(known)}, "
        f"others are fetched with `hf download {name}`"
    )


def hub_folder(name: str) -> Path | None:
    """The newest snapshot of a Hub id on this machine, without asking the network."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None
