"""Which base model a stage reads, so that cells of one base go where it is loaded. Imports no torch."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haymaker.config import Extend
from haymaker.errors import ConfigError
from haymaker.models.names import BASE_FILE

ROLES = ("adapter", "recipient")  # of the adapter that stands on the base; a donor's is lent to it


@dataclass(frozen=True)
class Base:
    """A base model as it is loaded: name or place, the extension it stands at, and its precision."""

    name: str
    extend: Extend | None
    dtype: str

    @classmethod
    def of(cls, inputs: Mapping[str, Path], params: Any) -> "Base | None":
        """That of a stage with these inputs and parameters; None for a stage without a model."""
        if "model" not in inputs:
            return None
        adapters = [inputs[role] for role in ROLES if role in inputs]
        extend = getattr(params, "extend", None) or (extension_of(adapters[0]) if adapters else None)
        return cls(str(inputs["model"]), extend, getattr(params, "dtype", "auto"))


def extension_of(adapter: Path) -> Extend | None:
    """The extension that an adapter brings; None also where its record cannot be read, as loading it will say."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError):
        kept = json.loads((adapter / BASE_FILE).read_text())["extend"]
        return kept and Extend(**kept)
    return None
