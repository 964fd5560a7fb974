"""An example of one's own prompt: where its needle stands is said once, and from then on carried by the segments."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, get_args

from haymaker.errors import DataError
from haymaker.records import Example, Label, Message, Role, Segment, Span, digest
from haymaker.tasks.own_spans import Range, Turn, cut, place_of, ranges_in

TASK = "qa"
CLOSING_CHARACTERS = 40  # that may follow a question which the text ends with: "\nAnswer:"
Place = str | Span | Sequence[int]


def example(
    text: str | Sequence[Message | Mapping[str, str]],
    needle: Place | Sequence[Place] | None = None,
    question: str = "",
    answer: str | Sequence[str] = "",
    *,
    name: str | None = None,
) -> Example:
    """Your own prompt as an Example, which every call takes where it takes a dataset.

    Args:
        text: The text, or chat messages of role and content.
        needle: What the answer rests on: a text that stands in `text` exactly once, or a span of its characters
            (those of all messages one after the other); or several of these. None: unknown, to answer and train alone.
        question: Asked behind the text; in a chat behind the last turn of the user. A text that ends with it already
            (nothing but, say, "Answer:" after it) stays as it is, and so does one without a question.
        answer: The answer that training teaches and heads are read on; of several texts the first one.
        name: The example's id. None: a digest of what it says and asks.

    Returns:
        The example; `spans["evidence"]` are the needles, `spans["answer"]` the answer wherever it stands in them.

    Raises:
        DataError: No text or no answer, a needle that stands in the text twice or nowhere, two needles that overlap,
            one that runs over the end of a message, or a span beyond the text.

    Examples:
        >>> mill = hm.example("The bridge is of stone. Ada Reyes founded the mill in 1871.",
        ...                   needle="Ada Reyes founded the mill", question="Who founded the mill?", answer="Ada Reyes")
        >>> mill.text[mill.spans["answer"][0].slice], hm.detect_heads(lm, mill, metric="mass").values.shape
        ('Ada Reyes', (1, 4, 8))
    """
    turns = turns_of(text)
    answers = tuple(one.strip() for one in ([answer] if isinstance(answer, str) else answer) if one.strip())
    if not "".join(turn.text for turn in turns).strip():
        raise DataError("text: expected a prompt, found none; give its text, or its messages of role and content")
    if not answers:
        raise DataError("answer: expected the answer that the prompt shall be given, found none")
    whole = "".join(turn.text for turn in turns)
    ranges = needles(needle, whole)
    messages = [*cut(turns, ranges, answers)]
    asked = with_question(messages, question.strip(), chat=not isinstance(text, str))
    contents = [[message.role, message.text] for message in asked]
    made = f"{TASK}-{digest([contents, ranges, answers])[:20]}"
    return Example(
        id=name or made,
        task=TASK,
        messages=tuple(asked),
        question=question.strip(),
        answers=answers,
        pair_id=f"{TASK}-pair-{digest([contents, answers])[:20]}",
        concept="real",
        context="real",
        source={"dataset": "own"},
    )


def turns_of(text: str | Sequence[Message | Mapping[str, str]]) -> list[Turn]:
    """The prompt's messages; a text alone is one of the user."""
    if isinstance(text, str):
        return [Turn("user", text)]
    return [turn_of(message, f"message {i}") for i, message in enumerate(text)]


def turn_of(message: Message | Mapping[str, str] | Any, place: str) -> Turn:
    if isinstance(message, Message):
        return Turn(message.role, message.text)
    said: Mapping[str, Any] = message if isinstance(message, Mapping) else {}
    role: Any = said.get("role")
    content = said.get("content")
    if role not in get_args(Role) or not isinstance(content, str):
        raise DataError(f"{place}: expected a role ({', '.join(get_args(Role))}) and a content, found {message!r:.80}")
    return Turn(role, content)


def needles(needle: Place | Sequence[Place] | None, text: str) -> list[Range]:
    """Character ranges of the needles, in order; DataError where one has no place of its own."""
    if needle is None:
        return []
    alone = isinstance(needle, str | Span) or (len(needle) == 2 and all(isinstance(one, int) for one in needle))
    places: Sequence[Any] = [needle] if alone else needle  # type: ignore[assignment]
    found = [place_of((one.start, one.stop) if isinstance(one, Span) else one, text, "needle") for one in places]
    return ranges_in(found, "needle")


def with_question(messages: list[Message], question: str, chat: bool) -> list[Message]:
    """The messages with the question where it is asked, labelled."""
    if not question:
        return messages
    label = (Label("question"),)
    *before, last = messages
    standing = last.text.rfind(question)
    if standing >= 0 and len(last.text) - standing - len(question) <= CLOSING_CHARACTERS:
        return [*before, labelled(last, (standing, standing + len(question)), label)]
    if not chat:
        frame = (Segment("\n\nQuestion: "), Segment(question, label), Segment("\nAnswer:"))
        return [*before, Message(last.role, (*last.segments, *frame))]
    if last.role == "user":
        return [*before, Message("user", (*last.segments, Segment("\n\n"), Segment(question, label)))]
    return [*messages, Message("user", (Segment(question, label),))]


def labelled(message: Message, where: Range, label: tuple[Label, ...]) -> Message:
    """The message with a further label on a range of its characters."""
    pieces: list[Segment] = []
    bounds = list(accumulate((len(piece.text) for piece in message.segments), initial=0))
    for piece, at in zip(message.segments, bounds, strict=False):
        start, stop = (min(max(edge - at, 0), len(piece.text)) for edge in where)
        parts = ((piece.text[:start], ()), (piece.text[start:stop], label), (piece.text[stop:], ()))
        pieces += [Segment(text, (*piece.labels, *more)) for text, more in parts if text]
    return Message(message.role, tuple(pieces))
