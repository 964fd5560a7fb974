"""The pooled layout of rows: every distinct text once, and rows that say which texts stand where.

A message is cut where its spans start and end. A labelled piece (a passage, evidence, an instruction) goes to the pool
and leaves a reference; what stands between, such as a document's number, stays with the row.
"""

import hashlib
from typing import Any

import pyarrow as pa

from haymaker.data.schema import MESSAGE, SCHEMA, Row, segments_of
from haymaker.errors import DataError
from haymaker.records import Segment

LEAST_CHARACTERS = 24  # a shorter piece costs less than its reference
DOCUMENTS = pa.schema([("id", pa.string()), ("text", pa.string())])
_PIECE = pa.struct([("document", pa.int32()), ("text", pa.string())])  # one of the two is null
_MESSAGE = pa.struct([("role", pa.string()), ("pieces", pa.list_(_PIECE))])
_AT = SCHEMA.get_field_index("messages")
POOLED = SCHEMA.set(_AT, pa.field("messages", pa.list_(_MESSAGE)))


class TextPool:
    """Gives every distinct text a number; keeps digests, not texts."""

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.fresh: list[dict[str, str]] = []

    def number(self, text: str) -> int:
        digest = hashlib.sha256(text.encode()).digest()[:16]
        if digest not in self.numbers:
            self.numbers[digest] = len(self.numbers)
            self.fresh.append({"id": digest.hex(), "text": text})
        return self.numbers[digest]

    def new_texts(self) -> pa.Table:
        """Texts that came since the last call, in the order of their numbers."""
        table, self.fresh = pa.Table.from_pylist(self.fresh, DOCUMENTS), []
        return table

    def pooled(self, table: pa.Table) -> pa.Table:
        """Rows with their texts replaced by references."""
        rows = table.select(["messages", "spans"]).to_pylist()
        messages = pa.array([self.messages(row) for row in rows], pa.list_(_MESSAGE))
        return table.set_column(_AT, POOLED.field(_AT), messages)

    def messages(self, row: Row) -> list[dict[str, Any]]:
        made = []
        for i, message in enumerate(row["messages"]):
            segments = segments_of(message["content"], [span for span in row["spans"] if span["message"] == i])
            made.append({"role": message["role"], "pieces": self.pieces(segments)})
        return made

    def pieces(self, segments: tuple[Segment, ...]) -> list[dict[str, Any]]:
        """References and, between them, runs of text that is not shared."""
        pieces: list[dict[str, Any]] = []
        for segment in segments:
            if len(segment.text) >= LEAST_CHARACTERS and any(label.kind != "document" for label in segment.labels):
                pieces.append({"document": self.number(segment.text), "text": None})
            elif pieces and pieces[-1]["text"] is not None:
                pieces[-1]["text"] += segment.text
            else:
                pieces.append({"document": None, "text": segment.text})
        return pieces


def restored(table: pa.Table, texts: pa.ChunkedArray) -> pa.Table:
    """Pooled rows with their texts back in place."""
    try:
        messages = [
            [{"role": message["role"], "content": content_of(message["pieces"], texts)} for message in row]
            for row in table.column("messages").to_pylist()
        ]
    except (TypeError, IndexError, OverflowError) as error:
        raise DataError(f"a message's pieces are not texts of the pool ({error}); pool the dataset again") from None
    at = table.column_names.index("messages")
    return table.set_column(at, SCHEMA.field("messages"), pa.array(messages, pa.list_(MESSAGE)))


def content_of(pieces: list[dict[str, Any]], texts: pa.ChunkedArray) -> str:
    """The pieces joined. Raises IndexError for a text that is not in the pool, TypeError for a piece without one."""
    numbers = [piece["document"] for piece in pieces]
    if any(number is not None and number < 0 for number in numbers):
        raise IndexError("a number below 0")
    said = (piece["text"] if n is None else texts[n].as_py() for n, piece in zip(numbers, pieces, strict=True))
    return "".join(said)
