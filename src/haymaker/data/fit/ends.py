"""What stands before the first document of a prompt and behind its last one, where tokens may hold some of both."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from haymaker.data.fit.pieces import BEFORE, DUMMY, Ending, Offsets, Opening
from haymaker.drafts import Document
from haymaker.records import Segment

if TYPE_CHECKING:
    from haymaker.data.fit.measure import Measure

WINDOW_CHARACTERS = 24  # of a document, up to a blank: enough to tell how its tokens join what stands beside it
KEPT = 32


class Ends:
    """Measures openings and endings in one style for one tokenizer."""

    def __init__(self, measure: "Measure") -> None:
        self.measure, self.style = measure, measure.style
        self.usual = Document("usual", (Segment(self.style.usual),), title=DUMMY.title)
        self.openings: dict[str, Opening] = {}
        self.endings: dict[tuple[str, int, str], Ending] = {}
        self.going_on: dict[str, Offsets] = {}

    # ---- before the first document

    @cached_property
    def usual_opening(self) -> Opening:
        return self.opening(self.usual)

    def opening(self, first: Document) -> Opening:
        """Special tokens, template and instruction before this document."""
        window = self.start_of(first)
        if window not in self.openings:
            if len(self.openings) > KEPT:
                self.openings.clear()
            self.openings[window] = self.measure_opening(window)
        return self.openings[window]

    def start_of(self, first: Document) -> str:
        """The document's start. Where the style begins every document alike, any will do."""
        document = DUMMY if self.style.alike else first
        text = self.style.around(document.title, 1)[0] + document.text
        end = text.find(" ", WINDOW_CHARACTERS)
        return text if self.style.alike or end < 0 else text[:end]

    def measure_opening(self, window: str) -> Opening:
        """The tokens before a prompt's first document, and from where on its own are those it has behind another."""
        measure, joiner = self.measure, self.style.joiner
        head, origin = measure.prefix + self.style.head, len(BEFORE + joiner)
        real, behind = measure.offsets([head + window, BEFORE + joiner + window])
        piece = behind.before(len(BEFORE) + measure.cut)
        at, behind_at = real.before(len(head)), behind.before(origin)
        alike = common_start((real.starts[at:] - len(head))[::-1], (behind.starts[behind_at:] - origin)[::-1])
        sure = int(real.starts[len(real) - alike]) - len(head) if alike else len(window)
        before = len(real) - len(behind) + int(piece)
        first = int(real.holding(len(head)))
        stands = first == before + int(behind.holding(origin) - piece)
        special = measure.special_before
        said = (int(real.holding(len(measure.prefix))), int(at)) if self.style.head else (0, 0)
        return Opening(
            tokens=special + before,
            first=special + first,
            unsure=0 if self.style.alike else sure,
            instruction=(special + said[0], special + said[1]),
            closed=bool(alike and behind.parted(len(BEFORE) + measure.cut))
            and (sure <= len(self.style.alike) if self.style.alike else stands),
        )

    # ---- behind the last one

    def ending(self, last: Document, question: str) -> Ending:
        """What the question, template and special tokens add behind this last document."""
        key = *self.end_of(last), question
        if key not in self.endings:
            if len(self.endings) > KEPT:
                self.endings.clear()
            self.endings[key] = self.measure_ending(*key)
        return self.endings[key]

    def end_of(self, last: Document) -> tuple[str, int]:
        """The document's end, and where in it tokens part."""
        before, after = self.style.around(last.title, 1)
        text = last.text + after
        start = text.rfind(" ", 0, max(0, len(text) - WINDOW_CHARACTERS))
        return (text[start:], 0) if start >= 0 else (self.style.joiner + before + text, self.measure.cut)

    def measure_ending(self, window: str, parting: int, question: str) -> Ending:
        measure = self.measure
        stop, (lead, tail) = len(BEFORE) + len(window), self.style.tail_around(question)
        asked = stop + len(lead)
        going_on = self.going_on.get(window)
        if going_on is None:
            another = self.style.joiner + self.style.around(DUMMY.title, 1)[0] + DUMMY.text
            going_on = measure.offsets([BEFORE + window + another])[0]
            if window == self.end_of(self.usual)[0]:  # each row's plan asks for it
                self.going_on[window] = going_on
        ending = measure.offsets([BEFORE + window + lead + question + tail + measure.suffix])[0]
        pieces, before = int(going_on.before(stop + measure.cut)), int(going_on.before(stop))
        alike = common_start(going_on.starts[:before], ending.starts[: ending.before(stop)])
        sure = int(min([stop, *going_on.starts[alike:before][:1], *ending.starts[alike:][:1]]))
        return Ending(
            tokens=len(ending) - pieces + measure.special_after,
            end=int(ending.before(stop)) - before,
            unsure=stop - sure,
            question=(int(ending.holding(asked)) - pieces, int(ending.before(asked + len(question))) - pieces),
            closed=bool(
                sure > len(BEFORE) + parting
                and ending.parted(len(BEFORE) + parting)
                and going_on.parted(stop + measure.cut)
            ),
        )


def common_start(one: np.ndarray, other: np.ndarray) -> int:
    """How many of their first numbers two arrays share."""
    size = min(len(one), len(other))
    return int(np.append(np.flatnonzero(one[:size] != other[:size]), size)[0])
