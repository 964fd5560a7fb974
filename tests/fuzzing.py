"""What fuzzed tests share: values that a JSON file can hold, a value with some of its places broken, and how many."""

import copy
import gzip
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

EXAMPLES, SEED = "HAYMAKER_FUZZED", "HAYMAKER_FUZZ_SEED"  # variables that benchmarks/data_fuzz.py sets
LETTERS = st.characters(codec="utf-8") | st.sampled_from(list("aA\n \"'<|>{}[]\u200b\u0301é日ก") + ["\ud800"])
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(LETTERS, max_size=12)
    | st.sampled_from(["", " ", "a", "The The", "[1][2]", "<|end|>", "</s>", "x" * 5_000, "\ufeff"])
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, -(2**63), 10**400, 1e308, 5e-324])
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
    """A test of as many examples as are asked for: the same in every run, or those of the seed that is asked for."""
    chosen = os.environ.get(SEED)
    asked = settings(
        max_examples=int(os.environ.get(EXAMPLES, "25")), deadline=None, derandomize=chosen is None, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip

    def test(run: Callable[..., None]) -> Callable[[], None]:
        found = asked(given(*strategies)(run))
        return found if chosen is None else seed(int(chosen))(found)

    return test


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


Change = Callable[[st.DrawFn], bytes | None]


def changes_of(content: bytes) -> Sequence[Change]:
    """What mishaps do to a file: values broken, bytes spoilt, another encoding, no file (None)."""
    values, header = values_in(content), header_in(content)

    def other_values(draw: st.DrawFn) -> bytes:
        found = draw(broken(copy.deepcopy(values)))
        return "\n".join(map(json.dumps, found if isinstance(found, list) else [found])).encode()

    def other_header(draw: st.DrawFn) -> bytes:
        found = json.dumps(draw(broken(copy.deepcopy(header)))).encode()
        return len(found).to_bytes(8, "little") + found + content[8 + int.from_bytes(content[:8], "little") :]

    likely: Sequence[Change] = [other_values] * 4 * bool(values) + [other_header] * 2 * bool(header)
    return [*likely, *[lambda draw: draw(spoilt(content))] * 2, lambda draw: draw(st.sampled_from(WHOLE))(content)]


def damaged(draw: st.DrawFn, changes: Sequence[Change]) -> bytes | None:
    """A file's bytes as one of these changes leaves them; None for no file."""
    return draw(st.sampled_from(changes))(draw)


WHOLE: list[Callable[[bytes], bytes | None]] = [
    lambda _: None,
    lambda _: b"",
    lambda content: content * 2,
    lambda content: b"\xef\xbb\xbf" + content,
    gzip.compress,
    lambda content: content.replace(b"\n", b"\r\n"),
    lambda content: content.decode(errors="replace").encode("utf-16"),
    lambda content: re.sub(rb"\d+", b"9" * 5_000, content, count=1),  # more digits than Python makes a number of
    lambda content: b"[" * 2_000 + content,
    lambda content: b'{"a":' * 2_000 + content,
]


def header_in(content: bytes) -> dict[str, Any]:
    """What a safetensors file says of its tensors; nothing of other files."""
    with suppress(ValueError):
        found = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return found if isinstance(found, dict) else {}
    return {}


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
