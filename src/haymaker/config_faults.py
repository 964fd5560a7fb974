"""What is wrong with a config's values: found, and said."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

MOST_SAID = 200  # characters of a value that is wrong
ELSEWHERE: Mapping[str, tuple[str, ...]] = {  # our keys, and what trainers and benchmarks call the same
    "alpha": ("lora_alpha",),
    "batch": ("batch_size", "bs", "per_device_train_batch_size", "train_batch_size", "global_batch_size"),
    "clip_norm": ("max_grad_norm", "gradient_clipping", "grad_clip", "clip"),
    "competitors": ("needles", "num_needles", "num_needle_k", "distractor_needles"),
    "documents": ("num_documents", "num_docs", "n_docs", "k"),
    "length": ("max_length", "max_seq_length", "seq_length", "max_tokens", "context_length", "tokens"),
    "rank": ("r", "lora_r", "lora_rank"),
    "rate": ("lr", "learning_rate", "max_lr"),
    "rows": ("num_samples", "num_examples", "num_rows", "n", "size", "examples"),
    "save_every": ("save_steps", "checkpoint_every"),
    "schedule": ("lr_scheduler_type", "scheduler", "lr_scheduler"),
    "source": ("data", "dataset", "file", "path"),
    "steps": ("max_steps", "num_steps", "train_steps", "iters", "num_train_steps", "epochs", "num_train_epochs"),
    "targets": ("target_modules", "lora_targets"),
    "theta": ("rope_theta", "rope_base", "base"),
    "warmup_share": ("warmup", "warmup_ratio", "warmup_steps"),
}
FLAGS = frozenset({bool, Any, BaseModel})  # kinds of values in which true and false may stand
BOUND = re.compile("^Input should be(?= greater| less)")
CHOICE = re.compile(r"^(int|float|str)$|[\[(]")  # what pydantic calls one of several kinds of value: no key
KINDS = {  # of pydantic's errors, by how their names begin
    "int_": "an integer",
    "float_": "a number",
    "bool_": "true or false",
    "string_type": "a text",
    "dict_type": "keys with values",
    "model_": "keys with values",
}


Place = tuple[int | str, ...]


@dataclass(frozen=True)
class KeysOf:
    """Marks a mapping whose keys are those of a config that is made of it later."""

    kind: type[BaseModel]


def is_config(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def parts_of(annotation: Any) -> Iterator[Any]:
    """An annotation and what stands in it, at any depth."""
    yield annotation
    for inner in get_args(annotation):
        yield from parts_of(inner)


@cache
def kinds_of(annotation: Any) -> frozenset[Any]:
    """The kinds of values that an annotation admits, at any depth; BaseModel for a config, which checks its own."""
    if is_config(annotation):
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
    parts, unknown = [], dict[Place, list[str]]()
    every = error.errors()
    inside = {found["loc"][:-1] for found in every}
    for found in every:
        if found["type"] == "too_short" and found["loc"] in inside:
            continue  # pydantic counts what it has accepted so far
        *above, last = found["loc"] or ("",)
        is_key = found["type"] == "extra_forbidden"  # whatever it looks like
        place = tuple(part for part in above if not CHOICE.search(str(part)))
        place += (last,) if found["loc"] and (is_key or not CHOICE.search(str(last))) else ()
        key = ".".join(map(str, place)) or "the config"
        if is_key:
            unknown.setdefault(place[:-1], []).append(str(place[-1]))
        elif found["type"] == "missing":
            parts.append(f"{key} is required")
        else:
            given = shortened(found["input"])
            said = in_words(found, given).removeprefix(f"{key.rpartition('.')[2]}: ")
            parts.append(f"{key}: {said}" if given in said else f"{key}: {said}, found {given}")
    return "; ".join([*(refusal(kind, place, names) for place, names in unknown.items()), *parts])


def in_words(found: Any, given: str) -> str:
    """What pydantic found wrong, in the words of a YAML file."""
    kind, said = found["type"], found["msg"].removeprefix("Value error, ")
    if kind in ("tuple_type", "list_type"):
        return f"expected a list, as in [{given}]"
    wanted = next((words for start, words in KINDS.items() if kind.startswith(start)), "")
    if wanted:
        return f"expected {wanted}"
    return BOUND.sub("expected a value", said).replace("Input should be", "expected", 1)


def refusal(root: type[BaseModel], place: Place, names: Sequence[str]) -> str:
    """What is said of unknown keys at one place: which known ones may be meant, and once all that there are."""
    kind, above = config_at(root, place), ".".join(map(str, place))
    known, told = sorted(kind.model_fields), []
    for name in names:
        below = [f"{above}.{one}" if above else one for one in places_of(kind, name)]
        meant = near(name, known) or below or places_of(root, name)
        key = f"{above}.{name}" if above else name
        told.append(f"{key} ({' or '.join(meant)}?)" if meant else key)
    return f"unknown key{'s' * (len(names) > 1)} {', '.join(told)} (known here: {', '.join(known)})"


def config_at(kind: type[BaseModel], place: Place) -> type[BaseModel]:
    """The config at a place of another one; a key of a mapping or a place in a list leads to what stands there."""
    for part in place:
        field = kind.model_fields.get(str(part))
        kind = kind if field is None else config_in(field) or kind
    return kind


def places_of(kind: type[BaseModel], name: str, depth: int = 3) -> list[str]:
    """Where in a config, or in the configs inside it, a key of this name is known."""
    inner = {key: config_in(field) for key, field in kind.model_fields.items()}
    found = [
        f"{key}.{place}" for key, one in inner.items() if one and depth for place in places_of(one, name, depth - 1)
    ]
    return [name, *found] if name in kind.model_fields else found


def config_in(field: FieldInfo) -> type[BaseModel] | None:
    """The config that a field holds, or holds some of, or gives keys to (`KeysOf`)."""
    told = next((one.kind for one in field.metadata if isinstance(one, KeysOf)), None)
    return told or next((one for one in parts_of(field.annotation) if is_config(one)), None)


def near(key: str, known: Sequence[str]) -> list[str]:
    """The known keys that one may mean: what others call so, else those spelled much alike."""
    plain = key.lower().replace("-", "_")
    other = [name for name, called in ELSEWHERE.items() if plain in called and name in known]
    return other or get_close_matches(plain, known, n=2, cutoff=0.75)


def shortened(value: Any) -> str:
    """How a value is spelled, of a long one its beginning."""
    spelled = repr(value)
    return spelled if len(spelled) <= MOST_SAID else f"{spelled[:MOST_SAID]}..."
