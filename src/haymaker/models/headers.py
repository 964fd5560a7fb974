"""What safetensors files say of their tensors, without reading one. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haymaker.file_reading import read_json

INDEX_FILE = "model.safetensors.index.json"
HEADER_BYTES = 8  # a safetensors file begins with the length of its header
MOST_OF_A_HEADER = 100_000_000  # as the format's own reader allows


def tensors_in(folder: Path) -> dict[str, Mapping[str, Any]]:
    """`dtype` and `shape` of every tensor of a model's folder; of its index's files alone, where it has an index."""
    index = read_json(folder / INDEX_FILE) if (folder / INDEX_FILE).is_file() else None
    named = index.get("weight_map") if isinstance(index, dict) else None
    wanted = {str(name) for name in named.values()} if isinstance(named, dict) else None
    files = (path for path in sorted(folder.glob("*.safetensors")) if path.is_file())
    headers = (header_of(path) for path in files if wanted is None or path.name in wanted)
    return {name: about for header in headers for name, about in header.items() if isinstance(about, dict)}


def header_of(path: Path) -> dict[str, Any]:
    """What a file says of its tensors; nothing where it is broken, which loading will tell."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_BYTES), "little")
        try:
            found = json.loads(file.read(length)) if length <= MOST_OF_A_HEADER else {}
        except (ValueError, RecursionError):
            return {}
    found = found if isinstance(found, dict) else {}
    return {name: about for name, about in found.items() if name != "__metadata__"}
