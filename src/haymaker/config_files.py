"""Configs read of YAML files and of `a.b=c` on the command line; errors name the file and the key."""

from math import inf
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from haymaker.config import Model
from haymaker.config_faults import explain
from haymaker.errors import ConfigError, DataError
from haymaker.file_reading import read_text
from haymaker.notation import RepeatedKey, parse_yaml

MOST_OF_A_CONFIG = 2**24  # characters of a file, and values that it says with all that its aliases repeat


def load_config(path: Path, kind: type[Model], overrides: list[str] | None = None) -> Model:
    """Read a YAML file as `kind`, with `a.b=c` overrides on top. Errors name the file and the key."""
    values = read_yaml(path)
    for override in overrides or []:
        set_dotted(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, kind)}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds."""
    try:
        values = parse_yaml("".join(read_text(path, MOST_OF_A_CONFIG)))
    except DataError as error:
        raise ConfigError(str(error)) from None
    except RepeatedKey as error:
        raise ConfigError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if values_in(values, {}) > MOST_OF_A_CONFIG:
        raise ConfigError(f"{path}: its aliases repeat more than {MOST_OF_A_CONFIG:,} values; write what is meant")
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {type(values).__name__}")
    return values


def values_in(value: Any, known: dict[int, float]) -> float:
    """How many values nested lists and mappings hold, what stands twice counted twice; endless in a cycle."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = inf  # until it is known: who meets it on the way down stands in a cycle
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(values_in(one, known) for one in inner)
    return known[id(value)]


def set_dotted(values: dict[str, Any], override: str) -> None:
    """Apply one `a.b=c` override to nested mappings; the value is read as YAML."""
    dotted, found, text = override.partition("=")
    if not found or not dotted:
        raise ConfigError(f"--set {override}: expected key=value, as in --set train.steps=50")
    *parents, last = dotted.split(".")
    for key in parents:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {key} is a value, not a group of keys")
    try:
        values[last] = parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {override}: the value is not YAML: {' '.join(str(error).split())}") from None
