"""What is wrong with a config's values: found, and said."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

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
    parts, unknown = [], dict[tuple[int | str, ...], list[str]]()
    every = error.errors()
    inside = {found["loc"][:-1] for found in every}
    for found in every:
        if found["type"] == "too_short" and found["loc"] in inside:
            continue  # pydantic counts what it has accepted so far
        key = ".".join(str(part) for part in found["loc"]) or "the config"
        if found["type"] == "extra_forbidden":
            unknown.setdefault(found["loc"][:-1], []).append(key)
        elif found["type"] == "missing":
            parts.append(f"{key} is required")
        else:
            said, given = found["msg"].removeprefix("Value error, "), shortened(found["input"])
            said = said.removeprefix(f"{key.rpartition('.')[2]}: ")
            if found["type"] in ("tuple_type", "list_type"):
                said = f"expected a list, as in [{given}]"
            parts.append(f"{key}: {said}" if given in said else f"{key}: {said}, found {given}")
    return "; ".join([*(refusal(keys, known_keys(kind, (*place, ""))) for place, keys in unknown.items()), *parts])


def refusal(keys: Sequence[str], known: Sequence[str]) -> str:
    """What is said of unknown keys: which known ones may be meant, and once all that there are."""
    meant = {key: near(key.rpartition(".")[2], known) for key in keys}
    told = ", ".join(f"{key} ({' or '.join(names)}?)" if names else key for key, names in meant.items())
    return f"unknown key{'s' * (len(keys) > 1)} {told} (known here: {', '.join(known)})"


def near(key: str, known: Sequence[str]) -> list[str]:
    """The known keys that one may mean: what others call so, else those spelled much alike."""
    plain = key.lower().replace("-", "_")
    other = [name for name, called in ELSEWHERE.items() if plain in called and name in known]
    return other or get_close_matches(plain, known, n=2, cutoff=0.75)


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
