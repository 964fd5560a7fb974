"""JSON and YAML read as they are meant: a key stands once, and a number or a word is what it looks like."""

import json
import re
from typing import Any

import yaml


class RepeatedKey(ValueError):
    """A key that stands twice in one object: of two values nobody can say which one is meant."""


def parse_json(text: str) -> Any:
    """The JSON value of a text. Raises ValueError (RepeatedKey among them), and RecursionError."""
    return DECODER.decode(text)


def parse_yaml(text: str) -> Any:
    """The YAML value of a text, words and numbers as in YAML 1.2: `no` and `on` are words, `1:30` is a text, 1e-3 is a
    number. `010` is a text too, of which a key that takes a number makes ten, and an id keeps its zero.

    Raises yaml.YAMLError, ValueError (RepeatedKey among them), and RecursionError.
    """
    return yaml.load(text, Loader)  # nothing but SafeLoader's own kinds


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise RepeatedKey(f"the key {twice!r} stands twice in one object; keep one")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=object_of)


class Loader(yaml.SafeLoader):
    """SafeLoader with the words and numbers of YAML 1.2, which refuses a key that stands twice."""

    yaml_implicit_resolvers = {}

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping, before anything is merged into it, whose values its own keys may replace."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue
            line, said = key.start_mark.line + 1, (key.tag, key.value)
            if said in lines:
                raise RepeatedKey(f"the key {key.value!r} stands in line {lines[said]} and in line {line}; keep one")
            lines[said] = line
        return node


MERGE = "tag:yaml.org,2002:merge"
WORDS = {  # core schema of YAML 1.2, and underscores in numbers
    "bool": ("tTfF", "true|True|TRUE|false|False|FALSE"),
    "int": ("-+0123456789", r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+|0o[0-7]+"),
    "float": (
        "-+.0123456789",
        r"[-+]?(?:(?:\.[0-9]+|[0-9][0-9_]*\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
    ),
    "merge": ("<", "<<"),
    "null": ("~nN", "~|null|Null|NULL|"),
}
for name, (starts, form) in WORDS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{form})$"), list(starts))
Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])
