"""An example of one's own prompt: where its needle stands is said once, and from then on carried by the segments."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from os.path import isfile
from typing import Any

from haymaker.console import note
from haymaker.errors import DataError
from haymaker.file_reading import refuse_half_letters
from haymaker.records import Example, Label, Message, Segment, Span, digest, is_range
from haymaker.tasks.own_answers import told_of
from haymaker.tasks.own_layouts import turns_in
from haymaker.tasks.own_spans import Range, Turn, cut, place_of, ranges_in, spelled_as

TASK = "qa"
CLOSING_CHARACTERS = 40  # that may follow a question which the text ends with: "\nAnswer:"
Place = str | Span | Sequence[int]


def example(
    text: str | Iterable[Message | Mapping[str, Any]],
    needle: Place | Iterable[Any] | None = None,
    question: str = "",
    answer: str | Iterable[str] = "",
    *,
    name: str | None = None,
) -> Example:
    """Your own prompt as an Example, which every call takes where it takes a dataset.

    Args:
        text: The text, or chat messages of role and content.
        needle: What the answer rests on: a text that stands in `text` exactly once, or a span of its characters
            (those of all messages one after the other); or several of these. None: unknown, to answer and train alone.
            Where the answer does not stand in it letter by letter, that is told on stderr.
        question: Asked behind the text; in a chat behind the last turn of the user. A text that ends with it already
            (nothing but, say, "Answer:" after it) stays as it is, and so does one without a question.
        answer: The answer that training teaches and heads are read on; of several texts the first one. In a chat that
            ends with it, as rows of files do, the assistant's last turn, which is then no part of the prompt.
        name: The example's id. None: a digest of what it says and asks.

    Returns:
        The example; `spans["evidence"]` are the needles, `spans["answer"]` the answer wherever it stands in them.

    Raises:
        DataError: No text or no answer, an answer other than the assistant's last turn, a needle that stands in the
            text twice or nowhere, two needles that overlap, one that runs over the end of a message, or a span beyond
            the text.

    Examples:
        >>> mill = hm.example("The bridge is of stone. Ada Reyes founded the mill in 1871.",
        ...                   needle="Ada Reyes founded the mill", question="Who founded the mill?", answer="Ada Reyes")
        >>> mill.text[mill.spans["answer"][0].slice], hm.detect_heads(lm, mill, metric="mass").values.shape
        ('Ada Reyes', (1, 4, 8))
    """
    asked_for = text_of("question", question)
    turns, given = without_answer(turns_of(text), asked_for, texts_of("answer", answer))
    whole = "".join(turn.text for turn in turns)
    answers = tuple(dict.fromkeys(spelled_as(one, whole) for one in given))
    if not whole.strip():
        raise DataError("text: expected a prompt, found none; give its text, or its messages of role and content")
    if not answers:
        raise DataError("answer: expected the answer that the prompt shall be given, found none")
    said = [whole, asked_for, *answers]
    refuse_half_letters(said, json.dumps(said), "text, question or answer")
    ranges = needles(needle, whole)
    messages = [*cut(turns, ranges, answers)]
    asked = with_question(messages, asked_for, chat=not isinstance(text, str))
    contents = [[message.role, message.text] for message in asked]
    made = f"{TASK}-{digest([contents, ranges, answers])[:20]}"
    found = Example(
        id=name or made,
        task=TASK,
        messages=tuple(asked),
        question=asked_for,
        answers=answers,
        pair_id=f"{TASK}-pair-{digest([contents, answers])[:20]}",
        concept="real",
        context="real",
        source={"dataset": "own"},
    )
    if told := told_of(found):
        note(f"{found.id}: {told}", style="yellow")
    return found


def turns_of(text: Any) -> list[Turn]:
    """The prompt's messages, as rows of a file may have them too; a text alone is one of the user."""
    if isinstance(text, str):
        if isfile(text):
            raise DataError(f"text: {text!r:.80} is a file; give what it holds, as in Path(...).read_text()")
        return [Turn("user", text)]
    if isinstance(text, Mapping | bytes) or not isinstance(text, Iterable):
        raise DataError(f"text: expected a text, or a list of messages of role and content, found {kind_of(text)}")
    turns = [
        [Turn(message.role, message.text)] if isinstance(message, Message) else turn_of(message, f"message {i}")
        for i, message in enumerate(text)
    ]
    return [one for turn in turns for one in turn]


def turn_of(message: Any, place: str) -> list[Turn]:
    if not isinstance(message, Mapping):
        raise DataError(f"{place}: expected an object of role and content, found {message!r:.80}")
    return turns_in([message], ("role", "content"), place)


def text_of(name: str, value: Any) -> str:
    """A text without the blanks around it. Raises DataError for anything else."""
    if not isinstance(value, str):
        raise DataError(f"{name}: expected a text, found {kind_of(value)}")
    return value.strip()


def texts_of(name: str, value: Any) -> list[str]:
    """A text, or several, empty ones left out."""
    given = [value] if isinstance(value, str) or not isinstance(value, Iterable) else value
    return [one for one in (text_of(name, said) for said in given) if one]


def without_answer(turns: list[Turn], question: str, answers: list[str]) -> tuple[list[Turn], list[str]]:
    """The turns without the assistant's last one, which is the answer; one that a further question follows stays.

    Raises DataError where another answer is given.
    """
    if not turns or turns[-1].role != "assistant":
        return turns, answers
    *before, last = turns
    said = last.text.strip()
    if not said or said in answers:
        return before, answers
    if question and not (before and asked_at(before[-1].text, question) >= 0):
        return turns, answers
    if answers:
        raise DataError(
            f"answer: {answers[0]!r:.60} is given, and the chat's last turn, the assistant's, says {said!r:.60}: leave "
            "the turn out, or give what it says"
        )
    return before, [said]


def kind_of(value: Any) -> str:
    return "none" if value is None else f"{type(value).__name__} {value!r:.60}"


def needles(needle: Any, text: str) -> list[Range]:
    """Character ranges of the needles, in order; DataError where one has no place of its own."""
    given = needle.tolist() if hasattr(needle, "tolist") else needle
    if given is None:
        return []
    places: Sequence[Any] = given if isinstance(given, list | tuple) and not is_range(given) else [given]
    found = [place_of((one.start, one.stop) if isinstance(one, Span) else one, text, "needle") for one in places]
    return ranges_in(found, "needle")


def with_question(messages: list[Message], question: str, chat: bool) -> list[Message]:
    """The messages with the question where it is asked, labelled."""
    if not question:
        return messages
    label = (Label("question"),)
    *before, last = messages
    standing = asked_at(last.text, question)
    if standing >= 0:
        return [*before, labelled(last, (standing, standing + len(question)), label)]
    if not chat:
        frame = (Segment("\n\nQuestion: "), Segment(question, label), Segment("\nAnswer:"))
        return [*before, Message(last.role, (*last.segments, *frame))]
    if last.role == "user":
        return [*before, Message("user", (*last.segments, Segment("\n\n"), Segment(question, label)))]
    return [*messages, Message("user", (Segment(question, label),))]


def asked_at(text: str, question: str) -> int:
    """Where a text asks the question that it ends with; -1 where it does not."""
    standing = text.rfind(question)
    return standing if len(text) - standing - len(question) <= CLOSING_CHARACTERS else -1


def labelled(message: Message, where: Range, label: tuple[Label, ...]) -> Message:
    """The message with a further label on a range of its characters."""
    pieces: list[Segment] = []
    bounds = list(accumulate((len(piece.text) for piece in message.segments), initial=0))
    for piece, at in zip(message.segments, bounds, strict=False):
        start, stop = (min(max(edge - at, 0), len(piece.text)) for edge in where)
        parts = ((piece.text[:start], ()), (piece.text[start:stop], label), (piece.text[stop:], ()))
        pieces += [Segment(text, (*piece.labels, *more)) for text, more in parts if text]
    return Message(message.role, tuple(pieces))
