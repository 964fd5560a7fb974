"""Whether an answer stands in what it is said to rest on. Where it does not, heads are read on the evidence as a whole,
with scores that look like others, so it is told."""

from typing import NamedTuple

from haymaker.realism.answers import occurrences, whole_words
from haymaker.records import Example, Span


class Missed(NamedTuple):
    """An answer that is taught and does not stand in the evidence as it is given, and how it does, if it does."""

    answer: str
    written: str

    @property
    def reason(self) -> str:
        return f"the answer stands in the evidence {'in another spelling' if self.written else 'nowhere'}"


def missed(example: Example) -> Missed | None:
    """The first answer that is missed; None without one, or without evidence."""
    said = [example.text[span.slice] for span in example.spans.get("evidence", [])]
    taught = [example.target] if example.target in example.answers else example.answers
    for answer in taught if said else ():
        if not any(any(whole_words(text, answer, 0)) for text in said):
            written = (text[slice(*place)] for text in said for place in occurrences(text, answer))
            return Missed(answer, next(written, ""))
    return None


def told_of(example: Example) -> str:
    """What is missed in an example of one prompt, in a sentence; nothing where nothing is."""
    if (found := missed(example)) is None:
        return ""
    answer = f"the answer {found.answer!r:.60}"
    if found.written:
        return f"{answer} stands in the needle as {found.written!r:.60}; heads copy what stands there, so give it so"
    places = [Span(*place) for place in occurrences(example.text, found.answer)]
    cut = any(place.overlaps(needle) for place in places for needle in example.spans["evidence"])
    read = "its other answers there" if "answer" in example.spans else "the needle as a whole"
    return f"{answer} {'is cut by an end of' if cut else 'does not stand in'} the needle; heads are read on {read}"
