"""The keys of every config as rows of a table: key, what it takes, its default, and what it is."""

import json
import re
from collections.abc import Iterator
from inspect import cleandoc
from textwrap import dedent
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from haymaker.commands.training import TrainJob
from haymaker.config import Extend, Frozen, Recipe, TrackConfig, TrainConfig
from haymaker.study.config import (
    AblationConfig,
    EvaluationConfig,
    ExtendConfig,
    HeadsConfig,
    PartsConfig,
    PatchingConfig,
    SimilarityConfig,
    StudyConfig,
    TaskData,
)
from haymaker.study.runners.config import RunnerConfig
from haymaker.writing.config import WriterConfig

CONFIGS: dict[str, type[Frozen]] = {
    "keys_recipe": Recipe, "keys_train_job": TrainJob, "keys_train": TrainConfig, "keys_track": TrackConfig,
    "keys_extend": Extend, "keys_study": StudyConfig, "keys_tasks": TaskData, "keys_study_extend": ExtendConfig,
    "keys_evaluation": EvaluationConfig, "keys_heads": HeadsConfig, "keys_similarity": SimilarityConfig,
    "keys_ablation": AblationConfig, "keys_patching": PatchingConfig, "keys_parts": PartsConfig,
    "keys_runner": RunnerConfig, "keys_writer": WriterConfig,
}  # fmt: skip
WORDS: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    Any: "any",
}
ATTRIBUTES = re.compile(r"^Attributes:\n(.*?)(?=^\w+:\n|\Z)", re.DOTALL | re.MULTILINE)
ATTRIBUTE = re.compile(r"^(\w+): (.*?)(?=^\w+: |\Z)", re.DOTALL | re.MULTILINE)


def keys_of(kind: type[Frozen]) -> list[list[str]]:
    """A row of every key. What it is stands in the docstring of its config, or in the field's description."""
    about = attributes_of(kind)
    return [
        [f"`{name}`", taken(field.annotation), default_of(field), escaped(about.get(name) or field.description or "")]
        for name, field in kind.model_fields.items()
    ]


def attributes_of(kind: type) -> dict[str, str]:
    """The entries under `Attributes:`, each on one line."""
    found = ATTRIBUTES.search(cleandoc(kind.__doc__ or ""))
    if found is None:
        return {}
    return {name: " ".join(text.split()) for name, text in ATTRIBUTE.findall(dedent(found[1]))}


def taken(annotation: Any) -> str:
    """What a key takes, in a YAML file's words."""
    return escaped(" or ".join(dict.fromkeys(admitted(annotation))))


def admitted(annotation: Any) -> Iterator[str]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from admitted(inner[0])
    elif origin is Literal:
        yield from (f"`{value}`" for value in inner)
    elif origin in (Union, UnionType):
        for one in inner:
            yield from admitted(one)
    elif origin is tuple:
        yield f"list of {plural(inner[0])}"
    elif origin is dict:
        yield f"keys with {plural(inner[1])}"
    elif isinstance(annotation, type) and issubclass(annotation, Frozen):
        yield "keys of its own"
    else:
        yield WORDS[annotation]


def plural(annotation: Any) -> str:
    """Several of what is admitted."""
    odd = {"any": "values", "keys of its own": "keys of their own"}
    words = dict.fromkeys(admitted(annotation))
    return " or ".join(word if word.startswith("`") else odd.get(word, f"{word}s") for word in words)


def default_of(field: FieldInfo) -> str:
    """A key's default as YAML has it."""
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Frozen):
        return "its defaults"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{json.dumps(value)}`" if value is None or value == "" or isinstance(value, (bool, dict)) else f"`{value}`"


def escaped(text: str) -> str:
    return re.sub(r"\bNone\b", "null", text.replace("|", "\\|"))
