"""The columns of a dataset, rows as a table, and the example that a row holds."""

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from typing import Any, get_args

import pyarrow as pa

from haymaker.errors import DataError
from haymaker.records import Example, Label, Message, Role, Segment, Span

Row = dict[str, Any]
_SPAN = pa.struct(
    [("kind", pa.string())]
    + [(name, pa.int32()) for name in ("index", "message", "char_start", "char_end", "token_start", "token_end")]
)
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "pair_id", "task", "setting", "split", "concept", "context")]
    + [("messages", pa.list_(MESSAGE)), ("question", pa.string()), ("answers", pa.list_(pa.string()))]
    + [("spans", pa.list_(_SPAN))]
    + [(name, pa.int32()) for name in ("n_prompt_tokens", "n_target_tokens", "max_tokens")]
    + [("gold_depths", pa.list_(pa.float64()))]
    + [(name, pa.string()) for name in ("source", "provenance", "checks")]  # JSON
)
"""Columns of a shard. Character spans count code points of one message's content; token spans those of the prompt as
the build's tokenizer sees it, chat template included; all are half-open."""
NAMES = ("id", "task", "question", "pair_id", "split", "concept", "context")
MEASURED = ("setting", "n_prompt_tokens", "n_target_tokens", "max_tokens", "gold_depths")


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table; their spans may be lists of (label, character start, end, token start, end)."""
    columns = [span_column(rows) if name == "spans" else [row[name] for row in rows] for name in SCHEMA.names]
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(columns, SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def span_column(rows: list[dict[str, Any]]) -> pa.Array:
    """The spans of all rows, of the rows' one message each."""
    places = [place for row in rows for place in row["spans"]]
    bounds = list(accumulate((len(row["spans"]) for row in rows), initial=0))
    labels, *columns = zip(*places, strict=True) if places else [()] * 5
    kinds, indices = zip(*labels, strict=True) if labels else [()] * 2
    numbers = [pa.array(column, pa.int32()) for column in (indices, [0] * len(places), *columns)]
    spans = pa.StructArray.from_arrays([pa.array(kinds, pa.string()), *numbers], fields=list(_SPAN))
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), spans)


def source_of(row: Row) -> Any:
    """What a row's column says of its source; None where that is broken, which `validate` tells."""
    with suppress(TypeError, ValueError, RecursionError):
        return json.loads(row["source"])
    return None


def example_of(row: dict[str, Any]) -> Example:
    """The example that a row of the table holds. Raises DataError for one that is not what its columns say."""
    for wrong in wrong_in(row):
        raise DataError(f"row {row['id']}: {wrong}; build its dataset again")
    messages = tuple(
        Message(message["role"], segments_of(message["content"], [s for s in row["spans"] if s["message"] == i]))
        for i, message in enumerate(row["messages"])
    )
    return Example(
        **{name: row[name] for name in NAMES},
        messages=messages,
        answers=tuple(row["answers"]),
        source={**json.loads(row["source"]), **{name: row[name] for name in MEASURED}},
        provenance=tuple(json.loads(row["provenance"])),
    )


def wrong_in(row: dict[str, Any]) -> Iterator[str]:
    """In words, what keeps a row of the table from being an example."""
    missing = [name for name in (*NAMES, "messages", "answers", "spans") if row[name] is None]
    yield from (f"its {name} is missing" for name in missing)
    if missing:
        return
    if not row["answers"] or None in row["answers"]:
        yield "it has no answer"
    if not row["messages"] or any(message is None or message["content"] is None for message in row["messages"]):
        yield "it has no message, or one without text"
    elif unknown := {str(message["role"]) for message in row["messages"]} - set(get_args(Role)):
        yield f"a message is of {', '.join(sorted(unknown))}; known are {', '.join(get_args(Role))}"
    else:
        yield from broken_spans(row)
    yield from broken_json(row)


def broken_spans(row: dict[str, Any]) -> Iterator[str]:
    """Spans that do not stand in their message, or lack a part; tokens may not have been counted."""
    lengths = [len(message["content"]) for message in row["messages"]]
    for span in row["spans"]:
        if span is None or None in [span[name] for name in ("kind", "index", "message", "char_start", "char_end")]:
            yield "a span lacks its kind or a place"
            continue
        inside = 0 <= span["message"] < len(lengths)
        if not (inside and 0 <= span["char_start"] < span["char_end"] <= lengths[span["message"]]):
            yield f"span {span['kind']}:{span['index']} is not within its message"


def broken_json(row: dict[str, Any]) -> Iterator[str]:
    """Columns that hold JSON, and do not."""
    for name, kind in {"source": dict, "provenance": list}.items():
        try:
            found = json.loads(row[name])
        except (TypeError, ValueError, RecursionError):
            found = None
        parts = found if kind is list and isinstance(found, list) else []
        if not isinstance(found, kind) or not all(isinstance(part, dict) for part in parts):
            yield f"its {name} is not JSON of {'an object' if kind is dict else 'a list of objects'}"


def segments_of(content: str, spans: list[dict[str, Any]]) -> tuple[Segment, ...]:
    """The content cut wherever a span starts or ends, each piece with the labels of the spans that hold it."""
    cuts = sorted({0, len(content), *(s["char_start"] for s in spans), *(s["char_end"] for s in spans)})
    segments, open_spans = [], []
    ahead = sorted(spans, key=lambda s: (s["char_start"], -s["char_end"], s["kind"], s["index"]), reverse=True)
    for start, stop in zip(cuts, cuts[1:], strict=False):
        open_spans = [span for span in open_spans if span["char_end"] > start]
        while ahead and ahead[-1]["char_start"] == start:
            open_spans.append(ahead.pop())
        labels = tuple(Label(span["kind"], span["index"]) for span in open_spans)
        segments.append(Segment(content[start:stop], labels))
    return tuple(segments)


def token_spans_of(row: dict[str, Any]) -> tuple[tuple[Label, Span], ...]:
    """A row's token spans, as the build's tokenizer gave them."""
    return tuple((Label(s["kind"], s["index"]), Span(s["token_start"], s["token_end"])) for s in row["spans"])
