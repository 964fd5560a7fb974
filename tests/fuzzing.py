"""What fuzzed tests share: values that a JSON file can hold, a value with some of its places broken, and how many."""

import copy
import gzip
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = "HAYMAKER_FUZZED"  # the variable that benchmarks/data_fuzz.py sets
LETTERS = st.characters(codec="utf-8") | st.sampled_from(list("aA\n \"'<|>{}[]\u200b\u0301é日ก") + ["\ud800"])
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=12)
    | st.sampled_from(["", " ", "a", "The The", "[1][2]", "<|end|>", "</s>", "x" * 5_000, "\ufeff"])
)  # fmt: skip
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.text(LETTERS, max_size=5), LEAVES, max_size=2)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*at, key))


@st.composite
def broken(draw: st.DrawFn, row: Any) -> Any:
    """The row with up to three places replaced, taken away or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from([path for path in paths(row) if path] or [("",)]))
        holder = row
        for key in parents:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "remove", "double"]))
        if how == "replace" or (how == "double" and isinstance(holder, dict)):
            holder[last] = draw(VALUES)
        elif how == "remove":
            del holder[last]
        else:
            holder.append(copy.deepcopy(holder[last]))
        if not row:
            break
    return row


def fuzz(*strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A test of as many examples as are asked for, the same in every run."""
    examples = int(os.environ.get(EXAMPLES, "25"))
    asked = settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    return lambda run: asked(given(*strategies)(run))


@st.composite
def spoilt(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes with up to three places replaced, taken away, doubled or cut off."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        stop = min(len(content), start + draw(st.integers(1, 20)))
        put = {"replace": draw(st.binary(max_size=20)), "remove": b"", "double": content[start:stop] * 2}
        how = draw(st.sampled_from([*put, "cut"]))
        content = content[:start] + (b"" if how == "cut" else put[how] + content[stop:])
    return content


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes | None:
    """A file's bytes as mishaps leave them: values broken or bytes spoilt, in another encoding, empty; None for no
    file."""
    values = values_in(content)
    how = draw(st.sampled_from(["values"] * 4 * bool(values) + ["bytes"] * 2 + ["whole"]))
    if how == "values":
        found = draw(broken(copy.deepcopy(values)))
        text = "\n".join(map(json.dumps, found if isinstance(found, list) else [found]))
        return text.encode()
    if how == "bytes":
        return draw(spoilt(content))
    return draw(
        st.sampled_from([None, b"", content * 2, b"\xef\xbb\xbf" + content, gzip.compress(content), *coded(content)])
    )


def values_in(content: bytes) -> list[Any]:
    """What stands in JSON, in lines of it, or in YAML; nothing of other files."""
    with suppress(ValueError, yaml.YAMLError):
        text = content.decode()
        return [yaml.safe_load(text)] if not text.startswith(("{", "[")) else lines_or_one(text)
    return []


def lines_or_one(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def coded(content: bytes) -> list[bytes]:
    """A text in another encoding; nothing of what is no text."""
    with suppress(UnicodeDecodeError):
        return [content.decode().encode("utf-16"), content.replace(b"\n", b"\r\n")]
    return []
