"""What is wrong with a config's values: found, and said."""

from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

MOST_SAID = 200  # characters of a value that is wrong
FLAGS = frozenset({bool, Any, BaseModel})  # kinds of values in which true and false may stand


@cache
def kinds_of(annotation: Any) -> frozenset[Any]:
    """The kinds of values that an annotation admits, at any depth; BaseModel for a config, which checks its own."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return frozenset({BaseModel})
    inner = get_args(annotation)
    return frozenset({annotation}).union(*map(kinds_of, inner)) if inner else frozenset({annotation})


def refuse_flags(value: Any) -> None:
    """ValueError for true or false, which pydantic takes for 1 and 0, also in lists and groups of keys."""
    match value:
        case bool():
            raise ValueError("expected no true or false here")
        case dict():
            refuse_flags([*value, *value.values()])
        case list() | tuple():
            for inner in value:
                refuse_flags(inner)


def refuse_unknown_to_machines(value: Any) -> None:
    """ValueError for an integer of more than 64 bits or a text with half a letter, also in lists and groups of keys."""
    match value:
        case int() if not -(2**63) <= value < 2**63:
            raise ValueError("expected an integer of at most 64 bits")
        case str() if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError("holds half of a letter (a surrogate), as names of files have that are not in UTF-8")
        case dict():
            for key, inner in value.items():
                refuse_unknown_to_machines(key)
                refuse_unknown_to_machines(inner)
        case list() | tuple():
            for inner in value:
                refuse_unknown_to_machines(inner)


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """Pydantic's findings as one sentence: key, what is wrong, what was found, which keys there are."""
    parts = []
    every = error.errors()
    inside = {found["loc"][:-1] for found in every}
    for found in every:
        if found["type"] == "too_short" and found["loc"] in inside:
            continue  # pydantic counts what it has accepted so far
        key = ".".join(str(part) for part in found["loc"]) or "the config"
        if found["type"] == "extra_forbidden":
            parts.append(f"unknown key {key} (known here: {', '.join(known_keys(kind, found['loc']))})")
        elif found["type"] == "missing":
            parts.append(f"{key} is required")
        else:
            said, given = found["msg"].removeprefix("Value error, "), shortened(found["input"])
            said = said.removeprefix(f"{key.rpartition('.')[2]}: ")
            parts.append(f"{key}: {said}" if given in said else f"{key}: {said}, found {given}")
    return "; ".join(parts)


def shortened(value: Any) -> str:
    """How a value is spelled, of a long one its beginning."""
    spelled = repr(value)
    return spelled if len(spelled) <= MOST_SAID else f"{spelled[:MOST_SAID]}..."


def known_keys(kind: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys allowed where an unknown one was found."""
    for part in location[:-1]:
        field = kind.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        kind = field.annotation
    return sorted(kind.model_fields)
