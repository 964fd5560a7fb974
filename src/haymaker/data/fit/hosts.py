"""Pieces of documents that have something put into another one: only what stands around the place is tokenised.

The other's tokens are known up to a blank some way before the place, and from one some way behind it on. Where a token
crosses either, the document is tokenised whole.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from haymaker.data.fit.pieces import BEFORE, Offsets, Piece, pieces_of
from haymaker.drafts import Document, Host
from haymaker.records import Segment

if TYPE_CHECKING:
    from haymaker.data.fit.measure import Measure

MARGIN_CHARACTERS = 24  # between the place and the blanks
KEPT_HOSTS = 1_024


class Hosts:
    """Tokens of documents that others were put into."""

    def __init__(self, measure: "Measure") -> None:
        self.measure = measure
        self.known: dict[tuple[str, str], Offsets] = {}  # by title and text, of the document as it is drawn

    def pieces(self, documents: Sequence[Document]) -> list[Piece]:
        """Pieces of documents with hosts, as measuring them whole would give them."""
        return [self.piece(document, document.host) for document in documents if document.host]

    def piece(self, document: Document, host: Host) -> Piece:
        measure = self.measure
        text, places = measure.draw([document])
        _, body, stop, _ = places[0]
        joiner = len(measure.style.joiner)
        known = self.offsets(document, host.text)
        if document.text == host.text:
            return pieces_of([document], places, joiner, known)[0]
        start = text.rfind(" ", 0, max(0, body + host.before - MARGIN_CHARACTERS))
        end = text.find(" ", stop - host.after + MARGIN_CHARACTERS, stop)
        if start < body or end < 0:
            return measure.measure([document])[0]
        longer = len(document.text) - len(host.text)
        middle = measure.offsets([BEFORE + text[start:end]])[0].moved(start - len(BEFORE))
        if not (known.parted(start) and known.parted(end - longer) and middle.parted(start)):
            return measure.measure([document])[0]
        known_after, first = known.moved(longer), known.before(start)
        parts = [
            (known.starts[:first], known.stops[:first]),
            (middle.starts[middle.before(start) :], middle.stops[middle.before(start) :]),
            (known_after.starts[known_after.before(end) :], known_after.stops[known_after.before(end) :]),
        ]
        starts, stops = (np.concatenate(column) for column in zip(*parts, strict=True))
        return pieces_of([document], places, joiner, Offsets(starts, stops))[0]

    def offsets(self, document: Document, text: str) -> Offsets:
        """Of the host as it is drawn with the document's title."""
        key = document.title, text
        if key not in self.known:
            if len(self.known) >= KEPT_HOSTS:
                self.known.clear()
            drawn, _ = self.measure.draw([replace(document, segments=(Segment(text),))])
            self.known[key] = self.measure.offsets([drawn])[0]
        return self.known[key]
