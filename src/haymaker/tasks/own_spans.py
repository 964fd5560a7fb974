"""Where evidence and answers stand in texts of one's own: told by text or by characters, looked up once, at import."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple
from unicodedata import combining, normalize

from haymaker.errors import DataError
from haymaker.realism.answers import PLAIN, answer_ranges, unseen
from haymaker.records import Label, Message, Role, Segment, is_range

Range = tuple[int, int]
Labelled = tuple[Range, Label]
EXCERPT_CHARACTERS = 60
RANGE = re.compile(r"\s*\[\s*(\d+)\s*,\s*(\d+)\s*\]\s*")  # as a shell can say it


class Turn(NamedTuple):
    """A message before it is cut into segments."""

    role: Role
    text: str


def place_of(told: Any, text: str, place: str) -> Range:
    """The characters that a place names: a text that stands exactly once, or [start, stop) in it, also as a text of its
    own, `[24, 51]`, where that does not stand there."""
    if isinstance(told, str):
        written = None if told in text else RANGE.fullmatch(told)
        if written is None:
            return standing_once(told, text, place)
        told = (int(written[1]), int(written[2]))
    if not is_range(told):
        raise DataError(f"{place}: expected a text, or a start and a stop in characters, found {told!r:.80}")
    start, stop = map(int, told)
    if not 0 <= start < stop <= len(text):
        raise DataError(f"{place}: expected characters within a text of {len(text)}, found [{start}, {stop})")
    return start, stop


def spelled_as(said: str, text: str) -> str:
    """A text as another one spells it: as it is, else with its accents as letters' parts, or on their own."""
    return next((one for one in (said, normalize("NFC", said), normalize("NFD", said)) if one in text), said)


def standing_once(needle: str, text: str, place: str) -> Range:
    """Where a text stands in another. Raises DataError unless that is exactly once, its overlaps counted."""
    needle = spelled_as(needle, text)
    at = text.find(needle) if needle.strip() else -1
    excerpt = needle if len(needle) <= EXCERPT_CHARACTERS else f"{needle[:EXCERPT_CHARACTERS]}…"
    if at < 0:
        raise DataError(
            f"{place}: {excerpt!r} stands nowhere in the text{nearly(needle, text)}; give it letter by letter, or its "
            "characters"
        )
    again = text.find(needle, at + 1)
    if again >= 0:
        raise DataError(
            f"{place}: {excerpt!r} stands in the text more than once (at characters {at} and {again}); give more of "
            f"it, or its characters, as in [{at}, {at + len(needle)}]"
        )
    return at, at + len(needle)


def nearly(needle: str, text: str) -> str:
    """Behind the sentence that a text does not stand in another: how and where it nearly does."""
    (wanted, _), (letters, places) = folded(needle), folded(text)
    at = letters.find(wanted.strip()) if wanted.strip() else -1
    if at < 0:
        return ""
    start, stop = places[at], places[at + len(wanted.strip()) - 1] + 1
    while stop < len(text) and combining(text[stop]):
        stop += 1
    said, bare = text[start:stop], needle.strip()
    if said == bare:
        why = "the blanks or line breaks at its ends"
    elif said.casefold() == bare.casefold():
        why = "its case"
    else:
        why = "blanks or line breaks in it" if said.split() == bare.split() else "other forms of its characters"
    return f", but for {why} it does at [{start}, {stop}]"


def folded(text: str) -> tuple[str, list[int]]:
    """A text without case, accents, kinds of quotes and runs of blanks; and where each of its characters stood."""
    letters, places = "", list[int]()
    for at, letter in enumerate(text.translate(PLAIN)):
        for one in normalize("NFKD", letter).casefold():
            one = " " if one.isspace() else one
            if not unseen(one) and not (one == " " and letters[-1:] == " "):
                letters += one
                places.append(at)
    return letters, places


def ranges_in(found: Sequence[Range], place: str) -> list[Range]:
    """The ranges in order, each once. Raises DataError where two overlap."""
    ordered = sorted(set(found))
    for (start, stop), (following, end) in zip(ordered, ordered[1:], strict=False):
        if following < stop:
            raise DataError(f"{place}: characters [{start}, {stop}) and [{following}, {end}) overlap; give them apart")
    return ordered


def answers_within(text: str, ranges: Sequence[Range], answers: Sequence[str]) -> list[Range]:
    """Where the answers stand in these ranges of a text."""
    return [(a + start, b + start) for start, stop in ranges for a, b in answer_ranges(text[start:stop], answers)]


def pieces(text: str, labelled: Sequence[Labelled], around: tuple[Label, ...] = ()) -> tuple[Segment, ...]:
    """The text cut where a labelled range starts or ends; `around` is what no range holds."""
    cuts = sorted({0, len(text), *(edge for places, _ in labelled for edge in places)})
    segments = []
    for start, stop in zip(cuts, cuts[1:], strict=False):
        labels = tuple(label for (first, last), label in labelled if first <= start and stop <= last)
        segments.append(Segment(text[start:stop], labels or around))
    return tuple(segments)


def evidence_labels(text: str, ranges: Sequence[Range], answers: Sequence[str], first: int = 0) -> list[Labelled]:
    """Labels of evidence, counted from `first`, and within it of the answers."""
    evidence = [(place, Label("evidence", first + i)) for i, place in enumerate(ranges)]
    return [*evidence, *((place, Label("answer")) for place in answers_within(text, ranges, answers))]


def cut(turns: Sequence[Turn], ranges: Sequence[Range], answers: Sequence[str]) -> Iterator[Message]:
    """Messages of labelled segments; ranges are characters of all texts one after the other."""
    bounds = list(accumulate((len(turn.text) for turn in turns), initial=0))
    number = 0
    for turn, start, stop in zip(turns, bounds, bounds[1:], strict=False):
        inside = [(a - start, b - start) for a, b in ranges if start <= a < stop]
        if any(b > len(turn.text) for _, b in inside):
            raise DataError("a needle runs over the end of a message; give the part in each message on its own")
        yield Message(turn.role, pieces(turn.text, evidence_labels(turn.text, inside, answers, number)))
        number += len(inside)
