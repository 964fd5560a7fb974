"""One row's prompt: its text with every label's characters, tokenised whole to say where the labels' tokens stand."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from haymaker.drafts import Document, Draft, Style
from haymaker.errors import DataError
from haymaker.records import Label
from haymaker.rendering import Prompt
from haymaker.tokens import Aligner, Tokens, token_ranges

Stretch = tuple[Label, int, int]  # characters of the content, half-open
Place = tuple[Label, int, int, int, int]  # characters of the content, tokens of the prompt; half-open


@dataclass(frozen=True)
class Page:
    """One row's prompt as it is tokenised."""

    content: str
    places: list[Place]
    documents: list[Document]
    answers: tuple[str, ...]
    prompt_tokens: int
    target_tokens: int
    room: int = 0  # tokens that are left free for an answer, whatever the target takes

    @property
    def tokens(self) -> int:
        """Tokens of the prompt and of the answer, or of the room for one."""
        return self.prompt_tokens + max(self.target_tokens, self.room)

    def starts(self, kind: str) -> list[int]:
        """Where the labels of a kind start (tokens), in order."""
        return sorted(place[3] for place in self.places if place[0].kind == kind)


Writing = Generator[Prompt, Tokens, Page]
"""A page on its way: it gives prompts and is sent their tokens."""


def write(draft: Draft, documents: Sequence[Document], style: Style, aligner: Aligner, name: str) -> Writing:
    """The prompt, tokenised with its answer, with every label's place in characters and in tokens. `name` is the row's.

    Asks for the prompt's tokens (`together.py`). Raises DataError where a template changes the text, or a label has no
    token.
    """
    content, stretches = laid_out(draft.question, documents, style)
    answers = draft.answers
    if draft.cites:
        answers = cited(n for n, document in enumerate(documents, 1) if document.role == "gold")
    prompt = aligner.rendered([("user", content)], answers[0] if draft.cites else draft.target, name)
    tokens = yield prompt
    ranges = np.array([stretch[1:] for stretch in stretches], np.int64) + prompt.contents[0][0]
    found = token_ranges(ranges, tokens.offsets).tolist()
    places = [(*stretch, first, last) for stretch, (first, last) in zip(stretches, found, strict=True)]
    for label, start, stop, first, last in places:
        if first >= last:
            raise DataError(f"{name}: no token holds {label} ({content[start:stop]!r}); leave its document out")
    return Page(content, places, list(documents), answers, tokens.prompt_length, len(tokens.ids) - tokens.prompt_length)


def laid_out(question: str, documents: Sequence[Document], style: Style) -> tuple[str, list[Stretch]]:
    """The content of the prompt's one message, and what stands where in it."""
    parts, at = [style.head], len(style.head)
    stretches: list[Stretch] = [(Label("instruction"), 0, at)] if style.head else []
    for number, document in enumerate(documents, 1):
        before, after = style.around(document.title, number)
        joiner = style.joiner if number > 1 else ""
        start = at + len(joiner)
        body = start + len(before)
        at = body + len(document.text) + len(after)
        labelled = [(Label("document", number), start, at), *number_stretches(style, document, number, start)]
        for label, first, last in document.marks:
            labelled.append((Label(label.kind, number) if label.index < 0 else label, body + first, body + last))
        if len(labelled) > 2:  # one label alone stands behind the document that holds it
            labelled.sort(key=lambda stretch: (stretch[1], -stretch[2], stretch[0]))
        stretches += labelled
        parts += (joiner, before, document.text, after)
    lead, tail = style.tail_around(question)
    stretches.append((Label("question"), at + len(lead), at + len(lead) + len(question)))
    return "".join((*parts, lead, question, tail)), stretches


def number_stretches(style: Style, document: Document, number: int, start: int) -> list[Stretch]:
    """The number of a gold document, where the style labels it."""
    if document.role != "gold" or not style.number_kinds:
        return []
    at, length = style.number_place(number)
    return [(Label(kind, number), start + at, start + at + length) for kind in style.number_kinds]


def cited(numbers: Iterable[int]) -> tuple[str, ...]:
    """The answer that cites these documents."""
    return ("".join(f"[{number}]" for number in numbers),)
